/*
 * Guest seccomp (seccomp(2)). Filters form a list from the newest to the oldest; all run, the
 * strictest answer counts. Programs are validated once, when installed: every jump stays inside,
 * every load is aligned and within struct seccomp_data. User notification (SECCOMP_RET_USER_NOTIF)
 * is not offered.
 */
#include "runtime/sentry/syscalls/seccomp.h"

#include "common/cleanup.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/trace.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { INSTRUCTIONS_MAX = 4096, PATH_MAX_INSTRUCTIONS = 32768 };

struct seccomp_filter {
    struct ref ref;
    struct seccomp_filter *older;
    unsigned n, total;
    bool strict; /* SECCOMP_MODE_STRICT: no program */
    /* Calls that this filter and all older ones allow whatever their arguments: these run no
     * program.
     */
    uint64_t always[SYSCALL_MAX / 64];
    struct sock_filter code[];
};

void *seccomp_inherit(void *filters)
{
    if (filters)
        ref_get(&((struct seccomp_filter *)filters)->ref);
    return filters;
}

void seccomp_put(void *filters)
{
    struct seccomp_filter *f = filters;

    while (f && ref_put(&f->ref)) {
        struct seccomp_filter *older = f->older;

        free(f);
        f = older;
    }
}

static bool load_ok(const struct sock_filter *i)
{
    return i->k < sizeof(struct seccomp_data) && !(i->k & 3);
}

static bool jump_ok(unsigned pc, uint64_t offset, unsigned n)
{
    return pc + 1 + offset < n;
}

static bool instruction_ok(const struct sock_filter *i, unsigned pc, unsigned n)
{
    switch (i->code) {
    case BPF_LD | BPF_W | BPF_ABS:
        return load_ok(i);
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_ALU | BPF_NEG:
        return true;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        return i->k < BPF_MEMWORDS;
    case BPF_JMP | BPF_JA:
        return jump_ok(pc, i->k, n);
    }
    if (BPF_CLASS(i->code) == BPF_JMP)
        return BPF_OP(i->code) <= BPF_JSET && jump_ok(pc, i->jt, n) && jump_ok(pc, i->jf, n);
    if (BPF_CLASS(i->code) == BPF_ALU) {
        if (BPF_OP(i->code) > BPF_XOR)
            return false;
        if (BPF_OP(i->code) == BPF_DIV || BPF_OP(i->code) == BPF_MOD)
            return BPF_SRC(i->code) == BPF_X || i->k != 0;
        return true;
    }
    return false;
}

static bool program_ok(const struct sock_filter *code, unsigned n)
{
    for (unsigned pc = 0; pc < n; pc++)
        if (!instruction_ok(&code[pc], pc, n))
            return false;
    return BPF_CLASS(code[n - 1].code) == BPF_RET;
}

static uint32_t alu(uint16_t op, uint32_t a, uint32_t v, bool *ret_stop)
{
    switch (op) {
    case BPF_ADD:
        return a + v;
    case BPF_SUB:
        return a - v;
    case BPF_MUL:
        return a * v;
    case BPF_DIV:
        *ret_stop = v == 0;
        return v ? a / v : 0;
    case BPF_MOD:
        *ret_stop = v == 0;
        return v ? a % v : 0;
    case BPF_OR:
        return a | v;
    case BPF_AND:
        return a & v;
    case BPF_LSH:
        return v < 32 ? a << v : 0;
    case BPF_RSH:
        return v < 32 ? a >> v : 0;
    case BPF_XOR:
        return a ^ v;
    default:
        return -a;
    }
}

static bool test(uint16_t op, uint32_t a, uint32_t v)
{
    switch (op) {
    case BPF_JEQ:
        return a == v;
    case BPF_JGT:
        return a > v;
    case BPF_JGE:
        return a >= v;
    default:
        return a & v;
    }
}

/* *ret_depends: the result depends on more than number and architecture. */
static uint32_t run(const struct seccomp_filter *f, const struct seccomp_data *d, bool *ret_depends)
{
    uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0}, word;
    bool stop = false;

    for (unsigned pc = 0; pc < f->n && !stop; pc++) {
        const struct sock_filter *i = &f->code[pc];
        uint32_t v = BPF_SRC(i->code) == BPF_X ? x : i->k;

        switch (BPF_CLASS(i->code)) {
        case BPF_LD:
        case BPF_LDX:
            if (BPF_MODE(i->code) == BPF_ABS)
                *ret_depends |= i->k >= offsetof(struct seccomp_data, instruction_pointer);
            if (BPF_MODE(i->code) == BPF_ABS)
                memcpy(&word, (const char *)d + i->k, sizeof(word));
            else if (BPF_MODE(i->code) == BPF_MEM)
                word = mem[i->k];
            else
                word = BPF_MODE(i->code) == BPF_LEN ? sizeof(*d) : i->k;
            *(BPF_CLASS(i->code) == BPF_LD ? &a : &x) = word;
            break;
        case BPF_ST:
            mem[i->k] = a;
            break;
        case BPF_STX:
            mem[i->k] = x;
            break;
        case BPF_ALU:
            a = alu(BPF_OP(i->code), a, v, &stop);
            break;
        case BPF_JMP:
            if (BPF_OP(i->code) == BPF_JA)
                pc += i->k;
            else
                pc += test(BPF_OP(i->code), a, v) ? i->jt : i->jf;
            break;
        case BPF_RET:
            return BPF_RVAL(i->code) == BPF_A ? a : i->k;
        default:
            if (BPF_MISCOP(i->code) == BPF_TAX)
                x = a;
            else
                a = x;
        }
    }
    return SECCOMP_RET_KILL_THREAD;
}

/* Strictest first: the action as a signed number orders them (include/uapi/linux/seccomp.h). */
static uint32_t verdict(const struct seccomp_filter *f, const struct seccomp_data *d)
{
    uint32_t result = SECCOMP_RET_ALLOW;

    for (; f; f = f->older) {
        uint32_t r;

        if (f->strict)
            r = d->nr == 0 || d->nr == 1 || d->nr == 60 || d->nr == 15 ? SECCOMP_RET_ALLOW
                                                                       : SECCOMP_RET_KILL_THREAD;
        else
            r = run(f, d, &(bool){false});
        if ((int32_t)(r & SECCOMP_RET_ACTION_FULL) < (int32_t)(result & SECCOMP_RET_ACTION_FULL))
            result = r;
    }
    return result;
}

static bool always_allows(const struct seccomp_filter *f, uint64_t nr)
{
    return nr < SYSCALL_MAX && (f->always[nr / 64] >> (nr % 64) & 1);
}

static void find_always(struct seccomp_filter *f)
{
    for (unsigned nr = 0; nr < SYSCALL_MAX && !f->strict; nr++) {
        struct seccomp_data d = {.nr = (int)nr, .arch = AUDIT_ARCH_X86_64};
        bool depends = false;

        if ((!f->older || always_allows(f->older, nr)) &&
            run(f, &d, &depends) == SECCOMP_RET_ALLOW && !depends)
            f->always[nr / 64] |= 1ULL << (nr % 64);
    }
}

bool seccomp_allows_local(const void *filters)
{
    /* platform/stub/tramp.c, handler.c and native.c. */
    static const unsigned local[] = {
        SYS_getpid,         SYS_gettid,  SYS_getppid,        SYS_getuid,      SYS_geteuid,
        SYS_getgid,         SYS_getegid, SYS_futex,          SYS_sched_yield, SYS_pread64,
        SYS_rt_sigprocmask, SYS_madvise, SYS_read,           SYS_lseek,       SYS_getpgrp,
        SYS_rseq,           SYS_umask,   SYS_set_robust_list};

    for (size_t i = 0; filters && i < ARRAY_SIZE(local); i++)
        if (!always_allows(filters, local[i]))
            return false;
    return true;
}

bool seccomp_allows_lent(const void *filters)
{
    /* platform/stub/lent.c, told.c. */
    static const unsigned lent[] = {SYS_read,   SYS_write,     SYS_pread64, SYS_pwrite64,
                                    SYS_readv,  SYS_writev,    SYS_lseek,   SYS_recvfrom,
                                    SYS_sendto, SYS_epoll_ctl, SYS_fstat,   SYS_newfstatat,
                                    SYS_close};

    for (size_t i = 0; filters && i < ARRAY_SIZE(lent); i++)
        if (!always_allows(filters, lent[i]))
            return false;
    return true;
}

void *seccomp_new(const struct sock_filter *code, unsigned n)
{
    struct seccomp_filter *f = calloc(1, sizeof(*f) + n * sizeof(*code));

    if (!f)
        return NULL;
    ref_init(&f->ref);
    f->n = n;
    f->total = n + 4;
    memcpy(f->code, code, n * sizeof(*code));
    if (!n || !program_ok(f->code, n)) {
        free(f);
        return NULL;
    }
    find_always(f);
    return f;
}

static long trap(struct task *t, const struct seccomp_data *d, uint32_t data)
{
    struct l_siginfo info = {.signo = SIGSYS, .code = 1 /* SYS_SECCOMP */, .error = (int)data};

    info.sys.call_addr = d->instruction_pointer;
    info.sys.syscall = d->nr;
    info.sys.arch = AUDIT_ARCH_X86_64;
    signal_force(t, SIGSYS, &info);
    t->no_restart = true;
    return d->nr;
}

static long check(struct task *t, uint64_t *nr, struct sysargs *a, bool may_ask);

/* Asks the tracer, who may make another call of it: the filters see that one, too. */
static long ask_tracer(struct task *t, unsigned data, uint64_t *nr, struct sysargs *a)
{
    const struct plat_regs *r = plat_regs(t->th);
    int said = trace_seccomp(t, data);

    if (said < 0)
        return said;
    if (said > 0)
        return (long)r->rax;
    *nr = t->sysno = (uint32_t)r->orig_rax;
    *a = (struct sysargs){{r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}};
    return check(t, nr, a, false);
}

static long check(struct task *t, uint64_t *nr, struct sysargs *a, bool may_ask)
{
    struct seccomp_data d = {
        .nr = (int)*nr, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = plat_regs(t->th)->rip};
    uint32_t r, data;

    memcpy(d.args, a->v, sizeof(d.args));
    r = verdict(t->seccomp, &d);
    data = r & SECCOMP_RET_DATA;
    switch (r & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
        return SECCOMP_GO_ON;
    case SECCOMP_RET_ERRNO:
        return -(long)MIN(data, 4095U);
    case SECCOMP_RET_TRAP:
        return trap(t, &d, data);
    case SECCOMP_RET_TRACE:
        return may_ask ? ask_tracer(t, data, nr, a) : SECCOMP_GO_ON;
    case SECCOMP_RET_USER_NOTIF:
        return -ENOSYS;
    case SECCOMP_RET_KILL_THREAD:
        /* Strict mode lets no filter be put over it, and kills without a name for the reason. */
        task_exit_request(t, ((const struct seccomp_filter *)t->seccomp)->strict ? SIGKILL : SIGSYS,
                          t->process->n_threads == 1);
        return -ENOSYS;
    default:
        task_exit_request(t, SIGSYS, true);
        return -ENOSYS;
    }
}

long seccomp_check(struct task *t, uint64_t *nr, struct sysargs *a)
{
    if (always_allows(t->seccomp, *nr))
        return SECCOMP_GO_ON;
    return check(t, nr, a, true);
}

/* A filter over t's present ones; strict: without a program. The reference on those stays t's. */
static int filter_from_guest(struct task *t, uint64_t program, bool strict,
                             struct seccomp_filter **ret)
{
    struct {
        uint16_t n;
        uint64_t code;
    } head = {0};
    struct seccomp_filter *f, *older = t->seccomp;
    int e = 0;

    if (!strict && copy_in(t, &head, program, sizeof(head)) < 0)
        return -EFAULT;
    if (!strict && (!head.n || head.n > INSTRUCTIONS_MAX))
        return -EINVAL;
    if (!strict && !t->no_new_privs && !cred_capable_own(t->cred, CAP_SYS_ADMIN))
        return -EACCES;
    f = calloc(1, sizeof(*f) + head.n * sizeof(struct sock_filter));
    if (!f)
        return -ENOMEM;
    ref_init(&f->ref);
    f->n = head.n;
    f->strict = strict;
    f->total = head.n + (older ? older->total : 0) + 4;
    if (!strict && copy_in(t, f->code, head.code, head.n * sizeof(struct sock_filter)) < 0)
        e = -EFAULT;
    else if (f->total > PATH_MAX_INSTRUCTIONS)
        e = -ENOMEM;
    else if (!strict && !program_ok(f->code, f->n))
        e = -EINVAL;
    if (e < 0) {
        free(f);
        return e;
    }
    f->older = older;
    find_always(f);
    *ret = f;
    return 0;
}

static bool is_or_is_older(const struct seccomp_filter *f, const struct seccomp_filter *of)
{
    while (of && of != f)
        of = of->older;
    return of == f;
}

/* The thread that has filters which t's do not contain, NULL: none. tasks_lock held. */
static struct task *cannot_follow_locked(const struct task *t)
{
    struct task *other;

    list_for_each_entry (other, &t->process->threads, thread_link)
        if (other != t && !is_or_is_older(other->seccomp, t->seccomp))
            return other;
    return NULL;
}

/* Gives f to t, which holds the reference on what is older, and with sync to all of its threads.
 * Those that are just being judged read filters that f holds. */
static long attach(struct task *t, struct seccomp_filter *f, unsigned flags)
{
    struct task *other = NULL;

    mutex_lock(&g_tasks_lock);
    if (flags & SECCOMP_FILTER_FLAG_TSYNC)
        other = cannot_follow_locked(t);
    if (other) {
        long r = flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH
                                                         : pid_in(other->pid, t->process->pidns);

        mutex_unlock(&g_tasks_lock);
        free(f);
        return r;
    }
    t->seccomp = f;
    task_publish_identity(t);
    list_for_each_entry (other, &t->process->threads, thread_link) {
        void *old = other->seccomp;

        if (other == t || !(flags & SECCOMP_FILTER_FLAG_TSYNC))
            continue;
        other->seccomp = seccomp_inherit(f);
        other->no_new_privs |= t->no_new_privs;
        task_publish_identity(other);
        seccomp_put(old);
    }
    mutex_unlock(&g_tasks_lock);
    fdtable_unlend(t, t->files, false); /* by what the new one says from now on */
    return 0;
}

static long install(struct task *t, unsigned flags, uint64_t program, bool strict)
{
    struct seccomp_filter *f;
    int r;

    if (flags & ~(unsigned)(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |
                            SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC_ESRCH))
        return -EINVAL;
    r = filter_from_guest(t, program, strict, &f);
    return r < 0 ? r : attach(t, f, flags);
}

long sys_seccomp(struct task *t, const struct sysargs *a)
{
    uint32_t action;

    switch (a->v[0]) {
    case SECCOMP_SET_MODE_STRICT:
        return a->v[1] || a->v[2] ? -EINVAL : install(t, 0, 0, true);
    case SECCOMP_SET_MODE_FILTER:
        return install(t, (unsigned)a->v[1], a->v[2], false);
    case SECCOMP_GET_ACTION_AVAIL:
        if (a->v[1])
            return -EINVAL;
        if (copy_in(t, &action, a->v[2], sizeof(action)) < 0)
            return -EFAULT;
        return action == SECCOMP_RET_USER_NOTIF || (action & ~SECCOMP_RET_ACTION_FULL) ? -EOPNOTSUPP
                                                                                       : 0;
    default:
        return -EINVAL;
    }
}

long seccomp_prctl(struct task *t, uint64_t mode, uint64_t program)
{
    if (mode == SECCOMP_MODE_STRICT)
        return install(t, 0, 0, true);
    return mode == SECCOMP_MODE_FILTER ? install(t, 0, program, false) : -EINVAL;
}
