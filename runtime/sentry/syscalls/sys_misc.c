/* Identity of the kernel, prctl(2), the log, random bytes, and the calls that are refused by
 * decision. */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/utsname.h>

long sys_uname(struct task *t, const struct sysargs *a)
{
    struct utsns *ns = t->ns->uts;
    struct utsname u;

    memset(&u, 0, sizeof(u));
    (void)snprintf(u.sysname, sizeof(u.sysname), "%s", SENTRY_SYSNAME);
    (void)snprintf(u.release, sizeof(u.release), "%s", SENTRY_RELEASE);
    (void)snprintf(u.version, sizeof(u.version), "%s", SENTRY_VERSION);
    (void)snprintf(u.machine, sizeof(u.machine), "%s", SENTRY_MACHINE);
    mutex_lock(&ns->lock);
    memcpy(u.nodename, ns->nodename, sizeof(u.nodename));
    memcpy(u.domainname, ns->domainname, sizeof(u.domainname));
    mutex_unlock(&ns->lock);
    return copy_out(t, a->v[0], &u, sizeof(u));
}

static long set_name(struct task *t, const struct sysargs *a, char *field)
{
    struct utsns *ns = t->ns->uts;
    char name[65] = {0};

    if (!cred_capable_in(t->cred, ns->userns, CAP_SYS_ADMIN))
        return -EPERM;
    if (a->v[1] > 64)
        return -EINVAL;
    if (copy_in(t, name, a->v[0], a->v[1]) < 0)
        return -EFAULT;
    mutex_lock(&ns->lock);
    memcpy(field, name, sizeof(name));
    mutex_unlock(&ns->lock);
    return 0;
}

long sys_sethostname(struct task *t, const struct sysargs *a)
{
    return set_name(t, a, t->ns->uts->nodename);
}

long sys_setdomainname(struct task *t, const struct sysargs *a)
{
    return set_name(t, a, t->ns->uts->domainname);
}

/* ---- prctl
 * -------------------------------------------------------------------------------------------- */

#define SECUREBITS_ALL 0xffULL /* four, and a lock for each */

static long set_capability_bits(struct task *t, int option, uint64_t v)
{
    struct cred *c;

    if (option == PR_CAPBSET_DROP && !cred_capable_own(t->cred, CAP_SETPCAP))
        return -EPERM;
    if (option == PR_SET_SECUREBITS &&
        (v & ~SECUREBITS_ALL || !cred_capable_own(t->cred, CAP_SETPCAP)))
        return -EPERM;
    if (option == PR_CAPBSET_DROP && v > CAP_LAST_CAP)
        return -EINVAL;
    c = cred_copy(t->cred);
    if (!c)
        return -ENOMEM;
    if (option == PR_CAPBSET_DROP)
        c->bounding &= ~CAP_BIT(v);
    else if (option == PR_SET_SECUREBITS)
        c->securebits = (uint32_t)v;
    else
        c->securebits =
            v ? c->securebits | SECBIT_KEEP_CAPS : c->securebits & ~(uint32_t)SECBIT_KEEP_CAPS;
    task_set_cred(t, c);
    return 0;
}

static long ambient(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint64_t cap = a->v[2];
    struct cred *c;

    if (a->v[3] || a->v[4] || cap > (a->v[1] == PR_CAP_AMBIENT_CLEAR_ALL ? 0 : CAP_LAST_CAP))
        return -EINVAL;
    if (a->v[1] == PR_CAP_AMBIENT_IS_SET)
        return !!(o->ambient & CAP_BIT(cap));
    if (a->v[1] == PR_CAP_AMBIENT_RAISE && (!(o->permitted & o->inheritable & CAP_BIT(cap)) ||
                                            (o->securebits & SECBIT_NO_CAP_AMBIENT_RAISE)))
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    switch (a->v[1]) {
    case PR_CAP_AMBIENT_RAISE:
        c->ambient |= CAP_BIT(cap);
        break;
    case PR_CAP_AMBIENT_LOWER:
        c->ambient &= ~CAP_BIT(cap);
        break;
    case PR_CAP_AMBIENT_CLEAR_ALL:
        c->ambient = 0;
        break;
    default:
        cred_put(c);
        return -EINVAL;
    }
    task_set_cred(t, c);
    return 0;
}

static long put_int(struct task *t, gaddr_t at, int v)
{
    return copy_out(t, at, &v, sizeof(v));
}

static long set_comm(struct task *t, gaddr_t at)
{
    char comm[COMM_SIZE] = {0};
    ssize_t n = copy_in_string(t, comm, at, sizeof(comm) - 1);

    if (n < 0 && n != -ENAMETOOLONG)
        return n;
    comm[COMM_SIZE - 1] = 0;
    memcpy(t->comm, comm, sizeof(comm));
    return 0;
}

long sys_prctl(struct task *t, const struct sysargs *a)
{
    struct process *p = t->process;
    uint64_t v = a->v[1];

    switch ((int)a->v[0]) {
    case PR_SET_PDEATHSIG:
        if (v > L_NSIG)
            return -EINVAL;
        t->parent_death_signal = (int)v;
        return 0;
    case PR_GET_PDEATHSIG:
        return put_int(t, v, t->parent_death_signal);
    case PR_GET_DUMPABLE:
        return t->mm->dumpable;
    case PR_SET_DUMPABLE:
        if (v > 1)
            return -EINVAL;
        t->mm->dumpable = v;
        return 0;
    case PR_SET_NAME:
        return set_comm(t, v);
    case PR_GET_NAME:
        return copy_out(t, v, t->comm, sizeof(t->comm));
    case PR_GET_KEEPCAPS:
        return !!(t->cred->securebits & SECBIT_KEEP_CAPS);
    case PR_SET_KEEPCAPS:
        return v > 1 ? -EINVAL : set_capability_bits(t, PR_SET_KEEPCAPS, v);
    case PR_CAPBSET_READ:
        return v > CAP_LAST_CAP ? -EINVAL : !!(t->cred->bounding & CAP_BIT(v));
    case PR_CAPBSET_DROP:
    case PR_SET_SECUREBITS:
        return set_capability_bits(t, (int)a->v[0], v);
    case PR_GET_SECUREBITS:
        return t->cred->securebits;
    case PR_CAP_AMBIENT:
        return ambient(t, a);
    case PR_SET_NO_NEW_PRIVS:
        if (v != 1 || a->v[2] || a->v[3] || a->v[4])
            return -EINVAL;
        t->no_new_privs = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return a->v[1] || a->v[2] || a->v[3] || a->v[4] ? -EINVAL : t->no_new_privs;
    case PR_SET_CHILD_SUBREAPER:
        p->is_subreaper = v;
        return 0;
    case PR_GET_CHILD_SUBREAPER:
        return put_int(t, v, p->is_subreaper);
    case PR_GET_SECCOMP:
        return t->seccomp ? 2 : 0;
    case PR_SET_SECCOMP:
        return seccomp_prctl(t, v, a->v[2]);
    case PR_SET_TIMERSLACK:
        t->timer_slack = v ? v : t->timer_slack_default;
        return 0;
    case PR_GET_TIMERSLACK:
        return (long)t->timer_slack;
    case PR_GET_TIMING:
        return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
        return v == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_TSC:
        return put_int(t, v, PR_TSC_ENABLE);
    case PR_SET_TSC:
        return v == PR_TSC_ENABLE ? 0 : -EINVAL;
    case PR_GET_THP_DISABLE:
        return v || a->v[2] || a->v[3] || a->v[4] ? -EINVAL : 0;
    case PR_SET_THP_DISABLE:
        return a->v[2] || a->v[3] || a->v[4] ? -EINVAL : 0;
    case PR_SET_PTRACER:
    case PR_MCE_KILL:
        return 0;
    case PR_GET_TID_ADDRESS:
        return copy_out(t, v, &t->clear_tid, sizeof(t->clear_tid));
    case 0x53564d41: /* PR_SET_VMA: names of anonymous mappings, for /proc only */
        return -EINVAL;
    case PR_GET_SPECULATION_CTRL:
        if (a->v[2] || a->v[3] || a->v[4])
            return -EINVAL;
        return v <= 2 ? 0 : -ENODEV;
    default:
        return -EINVAL;
    }
}

long sys_arch_prctl(struct task *t, const struct sysargs *a)
{
    struct plat_regs *r = plat_regs(t->th);

    switch ((int)a->v[0]) {
    case ARCH_SET_FS:
        if (a->v[1] >= 0x7ffffffff000ULL)
            return -EPERM;
        r->fs_base = a->v[1];
        return 0;
    case ARCH_GET_FS:
        return copy_out(t, a->v[1], &r->fs_base, 8);
    case ARCH_SET_GS:
        if (a->v[1] >= 0x7ffffffff000ULL)
            return -EPERM;
        r->gs_base = a->v[1];
        return 0;
    case ARCH_GET_GS:
        return copy_out(t, a->v[1], &r->gs_base, 8);
    case 0x1011: /* ARCH_GET_CPUID */
        return 1;
    case 0x1012:        /* ARCH_SET_CPUID */
        return -ENODEV; /* as on a processor that can't let it fault */
    default:
        return -EINVAL;
    }
}

long sys_personality(struct task *t, const struct sysargs *a)
{
    uint32_t old = t->process->personality;

    if ((uint32_t)a->v[0] != 0xffffffffU)
        t->process->personality = (uint32_t)a->v[0];
    return old;
}

/* ---- log
 * ------------------------------------------------------------------------------------------------
 */

long sys_syslog(struct task *t, const struct sysargs *a)
{
    size_t size, n;
    const char *log = sentry_kernel_log(&size);
    int type = (int)a->v[0], len = (int)a->v[2];

    switch (type) {
    case 0: /* close */
    case 1: /* open */
    case 6:
    case 7:
    case 8: /* console on, off, level */
        return 0;
    case 2: /* read: blocks on Linux until there is more */
    case 3: /* read all */
    case 4: /* read and clear */
        if (!a->v[1] || len < 0)
            return -EINVAL;
        n = MIN((size_t)len, size);
        return copy_out_now(t, a->v[1], log + size - n, n) < 0 ? -EFAULT : (long)n;
    case 5: /* clear */
        return capable(t, CAP_SYSLOG) ? 0 : -EPERM;
    case 9: /* unread bytes */
        return 0;
    case 10: /* size of the buffer */
        return 65536;
    default:
        return -EINVAL;
    }
}

long sys_getrandom(struct task *t, const struct sysargs *a)
{
    char chunk[4096];
    uint64_t left = MIN(a->v[1], 0x1ffffffULL), done = 0;

    if (a->v[2] & ~7ULL || (a->v[2] & 6) == 6)
        return -EINVAL;
    while (left) {
        size_t n = MIN(left, sizeof(chunk));
        ssize_t got = getrandom(chunk, n, 0);

        if (got <= 0 || copy_out_now(t, a->v[0] + done, chunk, (size_t)got) < 0)
            return done ? (long)done : -EFAULT;
        done += (uint64_t)got;
        left -= (uint64_t)got;
    }
    return (long)done;
}

/* ---- refused by decision: the note of the row says why
 * --------------------------------------------------------- */

long sys_iopl(struct task *t, const struct sysargs *a)
{
    (void)t;
    return (unsigned)a->v[0] > 3 ? -EINVAL : -EPERM;
}

long sys_ioperm(struct task *t, const struct sysargs *a)
{
    (void)t;
    if (a->v[0] + a->v[1] <= a->v[0] || a->v[0] + a->v[1] > 65536)
        return -EINVAL;
    return (int)a->v[2] ? -EPERM : 0;
}

#define REFUSE(name, error)                                                                        \
    long sys_##name(struct task *t, const struct sysargs *a)                                       \
    {                                                                                              \
        (void)t;                                                                                   \
        (void)a;                                                                                   \
        return -(error);                                                                           \
    }
REFUSE(rseq, ENOSYS)
REFUSE(reboot, EPERM)
REFUSE(vhangup, EPERM)
REFUSE(perf_event_open, EACCES)
REFUSE(bpf, EPERM)
REFUSE(userfaultfd, EPERM)
REFUSE(io_uring_setup, EPERM)
REFUSE(io_uring_enter, EPERM)
REFUSE(io_uring_register, EPERM)
