/* sigaction(2), sigprocmask(2), kill(2) and their kin: decode, copy, call signal/. */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/signal/frame.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"

#include <errno.h>

enum { SIGSET_BYTES = 8 };

static bool valid(int sig)
{
    return sig >= 1 && sig <= L_NSIG;
}

/* Setting a signal to be ignored forgets those pending (sigaction(2)). tasks_lock and sighand lock
 * held. */
static void forget_ignored(struct process *p, int sig)
{
    struct task *t;

    sigpending_flush(&p->pending, l_sigmask(sig));
    list_for_each_entry (t, &p->threads, thread_link) {
        sigpending_flush(&t->pending_own, l_sigmask(sig));
        signal_recalc_locked(t);
    }
}

long sys_rt_sigaction(struct task *t, const struct sysargs *a)
{
    int sig = (int)a->v[0];
    struct sighand *s = t->process->sighand;
    struct l_sigaction in, old;

    if (a->v[3] != SIGSET_BYTES || !valid(sig))
        return -EINVAL;
    if (a->v[1]) {
        if (l_sigmask(sig) & SIGMASK_UNBLOCKABLE)
            return -EINVAL;
        if (copy_in(t, &in, a->v[1], sizeof(in)) < 0)
            return -EFAULT;
        in.mask &= ~SIGMASK_UNBLOCKABLE;
    }
    mutex_lock(&s->lock);
    old = s->actions[sig - 1];
    if (a->v[1])
        s->actions[sig - 1] = in;
    mutex_unlock(&s->lock);
    if (a->v[1] &&
        (in.handler == 1 || (in.handler == 0 && (l_sigmask(sig) & SIGMASK_IGNORED_BY_DEFAULT)))) {
        mutex_lock(&g_tasks_lock);
        mutex_lock(&s->lock);
        forget_ignored(t->process, sig);
        mutex_unlock(&s->lock);
        mutex_unlock(&g_tasks_lock);
    }
    if (a->v[2] && copy_out(t, a->v[2], &old, sizeof(old)) < 0)
        return -EFAULT;
    return 0;
}

long sys_rt_sigprocmask(struct task *t, const struct sysargs *a)
{
    l_sigset_t old = t->blocked, in, set;

    if (a->v[3] != SIGSET_BYTES)
        return -EINVAL;
    if (a->v[1]) {
        if (copy_in(t, &in, a->v[1], sizeof(in)) < 0)
            return -EFAULT;
        switch ((int)a->v[0]) {
        case SIG_BLOCK:
            set = old | in;
            break;
        case SIG_UNBLOCK:
            set = old & ~in;
            break;
        case SIG_SETMASK:
            set = in;
            break;
        default:
            return -EINVAL;
        }
        signal_set_mask(t, set);
    }
    if (a->v[2] && copy_out(t, a->v[2], &old, sizeof(old)) < 0)
        return -EFAULT;
    return 0;
}

long sys_rt_sigreturn(struct task *t, const struct sysargs *a)
{
    (void)a;
    if (signal_pop_frame(t) < 0) {
        struct l_siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL};

        signal_force(t, SIGSEGV, &info);
    }
    t->set_regs = true;
    t->no_restart = true;
    return 0;
}

long sys_rt_sigpending(struct task *t, const struct sysargs *a)
{
    l_sigset_t set;

    if (a->v[1] > SIGSET_BYTES)
        return -EINVAL;
    mutex_lock(&t->process->sighand->lock);
    set = signal_pending_set_locked(t) & t->blocked;
    mutex_unlock(&t->process->sighand->lock);
    return copy_out(t, a->v[0], &set, a->v[1]);
}

static long sleep_until_signal(struct task *t)
{
    while (!signal_pending(t)) {
        task_sleep_begin(t);
        if (task_sleep(t, NULL, 0, DEADLINE_NONE) < 0)
            break;
    }
    return -ERESTARTNOHAND;
}

long sys_pause(struct task *t, const struct sysargs *a)
{
    (void)a;
    return sleep_until_signal(t);
}

long sys_rt_sigsuspend(struct task *t, const struct sysargs *a)
{
    l_sigset_t set;

    if (a->v[1] != SIGSET_BYTES)
        return -EINVAL;
    if (copy_in(t, &set, a->v[0], sizeof(set)) < 0)
        return -EFAULT;
    signal_set_temporary_mask(t, set);
    return sleep_until_signal(t);
}

long sys_rt_sigtimedwait(struct task *t, const struct sysargs *a)
{
    nsec_t deadline = DEADLINE_NONE;
    struct timespec ts;
    struct l_siginfo info;
    l_sigset_t set;
    int sig, r = 0;

    if (a->v[3] != SIGSET_BYTES)
        return -EINVAL;
    if (copy_in(t, &set, a->v[0], sizeof(set)) < 0)
        return -EFAULT;
    if (a->v[2]) {
        if (copy_in(t, &ts, a->v[2], sizeof(ts)) < 0)
            return -EFAULT;
        if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC)
            return -EINVAL;
        deadline = deadline_after(timespec_to_ns(&ts));
    }
    set &= ~SIGMASK_UNBLOCKABLE;
    for (;;) {
        mutex_lock(&t->process->sighand->lock);
        sig = signal_dequeue_locked(t, set, &info);
        t->wait_mask = sig ? 0 : set;
        mutex_unlock(&t->process->sighand->lock);
        if (sig || r < 0)
            break;
        task_sleep_begin(t);
        mutex_lock(&t->process->sighand->lock);
        r = signal_pending_set_locked(t) & set ? 1 : 0;
        mutex_unlock(&t->process->sighand->lock);
        if (r == 0)
            r = task_sleep(t, NULL, 0, deadline);
    }
    t->wait_mask = 0;
    if (!sig)
        return r == -ETIMEDOUT ? -EAGAIN : -EINTR;
    if (a->v[1] && copy_out(t, a->v[1], &info, sizeof(info)) < 0)
        return -EFAULT;
    return sig;
}

long sys_sigaltstack(struct task *t, const struct sysargs *a)
{
    uint64_t sp = plat_regs(t->th)->rsp;
    struct l_stack old = t->altstack, in;
    int mode;

    old.flags = signal_altstack_flags(t, sp) | (t->altstack.flags & (int)(1U << 31));
    if (a->v[0]) {
        if (copy_in(t, &in, a->v[0], sizeof(in)) < 0)
            return -EFAULT;
        if (old.flags & SS_ONSTACK)
            return -EPERM;
        mode = in.flags & ~(int)(1U << 31);
        if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
            return -EINVAL;
        if (mode == SS_DISABLE)
            t->altstack = (struct l_stack){.flags = SS_DISABLE};
        else if (in.size < 2048)
            return -ENOMEM;
        else
            t->altstack =
                (struct l_stack){.sp = in.sp, .size = in.size, .flags = in.flags & (int)(1U << 31)};
    }
    if (a->v[1] && copy_out(t, a->v[1], &old, sizeof(old)) < 0)
        return -EFAULT;
    return 0;
}

/* ---- kill
 * ------------------------------------------------------------------------------------------ */

/* To one process, permission checked; tasks_lock held. */
static int kill_one(struct task *t, struct process *p, int sig, const struct l_siginfo *info)
{
    int r = signal_permission_locked(t, p, sig);

    if (r < 0 || !sig)
        return r;
    return signal_send_process_locked(p, sig, info);
}

static long kill_group(struct task *t, struct pid *group, int sig, const struct l_siginfo *info)
{
    long r = -ESRCH;
    struct process *p;

    if (!group)
        return -ESRCH;
    list_for_each_entry (p, &group->pgrp, pgrp_link) {
        int e = kill_one(t, p, sig, info);

        if (r != 0)
            r = e;
    }
    return r;
}

static long kill_everybody(struct task *t, int sig, const struct l_siginfo *info)
{
    const struct pidns *ns = task_pidns(t);
    long r = -ESRCH;

    for (int nr = pidns_next_process_locked(ns, 0); nr; nr = pidns_next_process_locked(ns, nr)) {
        struct process *p = process_find_locked(ns, nr);
        int e;

        if (!p || p == t->process || p == ns->init)
            continue;
        e = kill_one(t, p, sig, info);
        if (r != 0 && e != -EPERM)
            r = e;
    }
    return r;
}

long sys_kill(struct task *t, const struct sysargs *a)
{
    int nr = (int)a->v[0], sig = (int)a->v[1];
    struct l_siginfo info;
    struct process *p;
    long r;

    if (sig < 0 || sig > L_NSIG)
        return -EINVAL;
    if (nr == INT32_MIN)
        return -ESRCH;
    siginfo_user(&info, sig, t);
    mutex_lock(&g_tasks_lock);
    if (nr > 0) {
        p = process_find_locked(task_pidns(t), nr);
        r = p ? kill_one(t, p, sig, &info) : -ESRCH;
    } else if (nr == -1) {
        r = kill_everybody(t, sig, &info);
    } else {
        r = kill_group(t, nr ? pid_find_locked(task_pidns(t), -nr) : t->process->pgrp, sig, &info);
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* tgid 0: any. */
static long kill_thread(struct task *t, int tgid, int tid, int sig, const struct l_siginfo *info)
{
    struct task *target;
    long r;

    if (sig < 0 || sig > L_NSIG || tid <= 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = task_find_locked(task_pidns(t), tid);
    if (!target || (tgid && pid_in(target->process->pid, task_pidns(t)) != tgid)) {
        r = -ESRCH;
    } else {
        r = signal_permission_locked(t, target->process, sig);
        if (r == 0 && sig && !target->exiting)
            r = signal_send_task_locked(target, sig, info);
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_tkill(struct task *t, const struct sysargs *a)
{
    struct l_siginfo info;

    siginfo_user(&info, (int)a->v[1], t);
    info.code = SI_TKILL;
    return kill_thread(t, 0, (int)a->v[0], (int)a->v[1], &info);
}

long sys_tgkill(struct task *t, const struct sysargs *a)
{
    struct l_siginfo info;

    if ((int)a->v[0] <= 0)
        return -EINVAL;
    siginfo_user(&info, (int)a->v[2], t);
    info.code = SI_TKILL;
    return kill_thread(t, (int)a->v[0], (int)a->v[1], (int)a->v[2], &info);
}

static int copy_in_info(struct task *t, struct l_siginfo *info, gaddr_t at, int sig, int target)
{
    if (copy_in(t, info, at, sizeof(*info)) < 0)
        return -EFAULT;
    info->signo = sig;
    /* Nobody may pose as the kernel or as kill(2) to others (rt_sigqueueinfo(2)). */
    if ((info->code >= 0 || info->code == SI_TKILL) && target != task_tgid(t))
        return -EPERM;
    return 0;
}

long sys_rt_sigqueueinfo(struct task *t, const struct sysargs *a)
{
    int nr = (int)a->v[0], sig = (int)a->v[1];
    struct l_siginfo info;
    struct process *p;
    long r = copy_in_info(t, &info, a->v[2], sig, nr);

    if (r < 0)
        return r;
    if (sig < 0 || sig > L_NSIG)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    p = process_find_locked(task_pidns(t), nr);
    if (!p) { /* any thread's number names its process */
        struct task *thread = task_find_locked(task_pidns(t), nr);

        p = thread ? thread->process : NULL;
    }
    r = p ? kill_one(t, p, sig, &info) : -ESRCH;
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_rt_tgsigqueueinfo(struct task *t, const struct sysargs *a)
{
    struct l_siginfo info;
    long r;

    if ((int)a->v[0] <= 0)
        return -EINVAL;
    r = copy_in_info(t, &info, a->v[3], (int)a->v[2], (int)a->v[0]);
    return r < 0 ? r : kill_thread(t, (int)a->v[0], (int)a->v[1], (int)a->v[2], &info);
}

long sys_restart_syscall(struct task *t, const struct sysargs *a)
{
    (void)a;
    return t->restart_fn ? t->restart_fn(t) : -EINTR;
}
