/* Registers of a tracee in the layouts of <sys/user.h> and of core notes. */
#include "runtime/sentry/syscalls/sys_ptrace.h"

#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/task/trace_debug.h"
#include "runtime/sentry/task/xstate.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/user.h>

_Static_assert(sizeof(struct plat_regs) == sizeof(struct user_regs_struct), "user_regs_struct");

enum {
    RPL_MASK = 3,
    MXCSR_OFF = 24,
    FX_BYTES = 512,
    SW_OFF = 464, /* of a signal frame: magic, size, features */
    MAGIC2_BYTES = 4,
};
/* CF PF AF ZF SF TF DF OF RF AC ID. */
#define EFLAGS_USER 0x250dd5UL

/* ---- general registers ---- */

static bool segments_ok(const struct plat_regs *r)
{
    return (r->cs & RPL_MASK) == RPL_MASK && (r->ss & RPL_MASK) == RPL_MASK &&
           r->fs_base < TASK_SIZE_BYTES && r->gs_base < TASK_SIZE_BYTES;
}

/* Segment registers stay what they are. */
static int set_general(struct task *t, const struct plat_regs *in)
{
    struct plat_regs *r = plat_regs(t->th), old = *r;

    if (!segments_ok(in))
        return -EIO;
    *r = *in;
    r->cs = old.cs, r->ss = old.ss;
    r->ds = old.ds, r->es = old.es, r->fs = old.fs, r->gs = old.gs;
    r->eflags = (old.eflags & ~EFLAGS_USER) | (in->eflags & EFLAGS_USER);
    return 0;
}

static bool is_debug_register(uint64_t at)
{
    return at >= offsetof(struct user, u_debugreg) &&
           at < offsetof(struct user, u_debugreg) + sizeof(((struct user *)0)->u_debugreg);
}

static unsigned debug_register(uint64_t at)
{
    return (unsigned)((at - offsetof(struct user, u_debugreg)) / sizeof(uint64_t));
}

int ptrace_peek_user(struct task *t, uint64_t at, uint64_t *ret)
{
    if ((at & 7) || at >= sizeof(struct user))
        return -EIO;
    *ret = 0;
    if (at < sizeof(struct plat_regs))
        memcpy(ret, (const char *)plat_regs(t->th) + at, sizeof(*ret));
    else if (is_debug_register(at))
        *ret = trace_debug_get(t, debug_register(at));
    return 0;
}

int ptrace_poke_user(struct task *t, uint64_t at, uint64_t value)
{
    struct plat_regs r = *plat_regs(t->th);

    if ((at & 7) || at >= sizeof(struct user))
        return -EIO;
    if (is_debug_register(at))
        return trace_debug_set(t, debug_register(at), value);
    if (at >= sizeof(r))
        return -EIO;
    memcpy((char *)&r + at, &value, sizeof(value));
    return set_general(t, &r);
}

/* ---- vector state: as a signal frame holds it, with other words in the software's bytes ---- */

static int load_frame(struct task *t, void *arg)
{
    return plat_fp_get(t->th, arg);
}

static int store_frame(struct task *t, void *arg)
{
    return plat_fp_set(t->th, arg);
}

static int get_vector(struct task *t, uint8_t *data, size_t *ret, bool legacy)
{
    int r = plat_fp_size() <= PTRACE_SET_MAX ? trace_call_locked(t, load_frame, data) : -EOPNOTSUPP;

    if (r < 0)
        return r;
    *ret = xstate_of_frame(data);
    if (legacy)
        *ret = FX_BYTES;
    return 0;
}

static int put_vector(struct task *t, const uint8_t *data, size_t size, bool legacy)
{
    uint8_t *frame = calloc(1, PTRACE_SET_MAX);
    size_t whole = legacy ? (size_t)FX_BYTES : plat_fp_size() - MAGIC2_BYTES;
    uint64_t legacy_features = 3, features;
    int r = frame ? trace_call_locked(t, load_frame, frame) : -ENOMEM;

    if (r == 0 && size < whole)
        r = -EINVAL;
    if (r == 0) {
        memcpy(frame, data, SW_OFF);
        if (legacy) {
            memcpy(&features, frame + FX_BYTES, sizeof(features));
            features |= legacy_features;
            memcpy(frame + FX_BYTES, &features, sizeof(features));
        } else {
            memcpy(frame + FX_BYTES, data + FX_BYTES, whole - FX_BYTES);
        }
        r = trace_call_locked(t, store_frame, frame);
    }
    free(frame);
    return r;
}

/* ---- by note type ---- */

int ptrace_get_set(struct task *t, unsigned type, void *data, size_t *ret)
{
    switch (type) {
    case NT_PRSTATUS:
        memcpy(data, plat_regs(t->th), sizeof(struct plat_regs));
        *ret = sizeof(struct plat_regs);
        return 0;
    case NT_PRFPREG:
    case NT_X86_XSTATE:
        return get_vector(t, data, ret, type == NT_PRFPREG);
    default:
        return -EINVAL;
    }
}

int ptrace_put_set(struct task *t, unsigned type, const void *data, size_t size)
{
    struct plat_regs r = *plat_regs(t->th);

    switch (type) {
    case NT_PRSTATUS:
        if (size % sizeof(uint64_t))
            return -EINVAL;
        memcpy(&r, data, size < sizeof(r) ? size : sizeof(r));
        return set_general(t, &r);
    case NT_PRFPREG:
    case NT_X86_XSTATE:
        return put_vector(t, data, size, type == NT_PRFPREG);
    default:
        return -EINVAL;
    }
}
