/*
 * On the way back to the guest: restart or fail the interrupted call, take default actions, push
 * handler frames. As arch/x86's do_signal and kernel/signal.c's get_signal, described in signal(7).
 */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/core.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace.h"

#include <errno.h>

enum { NR_RESTART_SYSCALL = 219, SYSCALL_BYTES = 2 };

void signal_set_mask(struct task *t, l_sigset_t mask)
{
    struct sighand *s = t->process->sighand;

    mutex_lock(&s->lock);
    t->blocked = mask & ~SIGMASK_UNBLOCKABLE;
    signal_publish_mask(t);
    signal_recalc_locked(t);
    mutex_unlock(&s->lock);
}

void signal_mask_changed(struct task *t)
{
    t->blocked = signal_mask(t);
    t->robust_list = plat_robust_list(t->th);
}

void signal_set_temporary_mask(struct task *t, l_sigset_t mask)
{
    t->saved_mask = t->blocked;
    t->restore_mask = true;
    signal_set_mask(t, mask);
}

static void restart(struct plat_regs *regs, uint64_t nr)
{
    regs->rax = nr;
    regs->rip -= SYSCALL_BYTES;
}

/* What becomes of an interrupted call. `action` NULL: no handler runs. */
static void settle_syscall(struct task *t, const struct l_sigaction *action)
{
    struct plat_regs *regs = plat_regs(t->th);
    long result = (long)regs->rax;

    if (t->no_restart || result > -ERESTARTSYS || result < -ERESTART_RESTARTBLOCK ||
        (int64_t)t->sysno < 0) /* a debugger gave the call up */
        return;
    t->no_restart = true;
    switch (-result) {
    case ERESTARTNOINTR:
        restart(regs, t->sysno);
        break;
    case ERESTARTSYS:
        if (action && !(action->flags & SA_RESTART))
            regs->rax = (uint64_t)-EINTR;
        else
            restart(regs, t->sysno);
        break;
    case ERESTARTNOHAND:
        if (action)
            regs->rax = (uint64_t)-EINTR;
        else
            restart(regs, t->sysno);
        break;
    case ERESTART_RESTARTBLOCK:
        if (action)
            regs->rax = (uint64_t)-EINTR;
        else
            restart(regs, NR_RESTART_SYSCALL);
        break;
    default:
        regs->rax = (uint64_t)-EINTR;
    }
}

/* SIG_DFL of sig. Returns true if the task must leave (die or stop). sighand lock held on entry,
 * dropped. *ret_core: it is to leave a core file. */
static bool default_action_unlock(struct task *t, int sig, bool *ret_core)
{
    struct process *p = t->process;
    bool is_init = p->pidns->init == p && !t->forced && sig != SIGKILL && sig != SIGSTOP &&
                   !(p->container->foreground && p == p->container->init);

    if ((l_sigmask(sig) & SIGMASK_IGNORED_BY_DEFAULT) || is_init) {
        mutex_unlock(&p->sighand->lock);
        return false;
    }
    if (l_sigmask(sig) & SIGMASK_STOP) {
        process_stop_locked(p, sig);
        mutex_unlock(&p->sighand->lock);
        return true;
    }
    *ret_core = core_begin_locked(t, sig);
    process_group_exit_locked(p, sig);
    mutex_unlock(&p->sighand->lock);
    return true;
}

/* There is no room for a frame; or, with -ESRCH, no process: somebody outside has killed it. */
static void no_frame(struct task *t, int sig, int why)
{
    struct l_siginfo segv = {.signo = SIGSEGV, .code = SI_KERNEL};

    if (why == -ESRCH) {
        task_exit_request(t, SIGKILL, true);
    } else if (sig == SIGSEGV) {
        mutex_lock(&g_tasks_lock);
        mutex_lock(&t->process->sighand->lock);
        process_group_exit_locked(t->process, SIGSEGV);
        mutex_unlock(&t->process->sighand->lock);
        mutex_unlock(&g_tasks_lock);
    } else {
        signal_force(t, SIGSEGV, &segv);
    }
}

static void run_handler(struct task *t, const struct l_sigaction *action,
                        const struct l_siginfo *info)
{
    int sig = info->signo, r;
    l_sigset_t old = t->restore_mask ? t->saved_mask : t->blocked;
    l_sigset_t blocked;

    settle_syscall(t, action);
    t->restore_mask = false;
    r = signal_push_frame(t, action, info, old);
    if (r < 0) {
        no_frame(t, sig, r);
        return;
    }
    blocked = t->blocked | action->mask;
    if (!(action->flags & SA_NODEFER))
        blocked |= l_sigmask(sig);
    signal_set_mask(t, blocked);
    if (t->trace)
        trace_handler_entered(t);
}

/* Asks the tracer. True: there is nothing to deliver now; otherwise info says what is. */
static bool traced_away(struct task *t, struct l_siginfo *info)
{
    struct sighand *s = t->process->sighand;
    int sig;
    bool blocked;

    sig = trace_signal(t, info->signo, info);
    if (!sig)
        return true;
    info->signo = sig;
    mutex_lock(&s->lock);
    blocked = t->blocked & l_sigmask(sig);
    if (blocked) {
        (void)sigpending_add(&t->pending_own, sig, info, UINT32_MAX);
        signal_recalc_locked(t);
    }
    mutex_unlock(&s->lock);
    return blocked;
}

/* One signal. False: none left (or the task must stop looking). */
static bool deliver_one(struct task *t)
{
    struct process *p = t->process;
    struct l_sigaction action;
    struct l_siginfo info;
    int sig;

    mutex_lock(&g_tasks_lock); /* default actions walk the thread list */
    mutex_lock(&p->sighand->lock);
    sig = signal_dequeue_locked(t, ~t->blocked, &info);
    if (!sig) {
        signal_recalc_locked(t);
        mutex_unlock(&p->sighand->lock);
        mutex_unlock(&g_tasks_lock);
        return false;
    }
    if (t->trace && sig != SIGKILL) {
        mutex_unlock(&p->sighand->lock);
        mutex_unlock(&g_tasks_lock);
        if (traced_away(t, &info))
            return true;
        sig = info.signo;
        mutex_lock(&g_tasks_lock);
        mutex_lock(&p->sighand->lock);
    }
    action = p->sighand->actions[sig - 1];
    if (action.handler > (uint64_t)(uintptr_t)SIG_IGN && (action.flags & SA_RESETHAND))
        p->sighand->actions[sig - 1].handler = (uint64_t)(uintptr_t)SIG_DFL;
    if (action.handler == (uint64_t)(uintptr_t)SIG_DFL) {
        bool core = false, leave = default_action_unlock(t, sig, &core);

        t->forced = false;
        mutex_unlock(&g_tasks_lock);
        if (core)
            core_finish(t, &info);
        if (leave && p->stopped && !t->trace)
            process_notify_parent_stop(p, CLD_STOPPED, sig);
        return !leave;
    }
    t->forced = false;
    mutex_unlock(&p->sighand->lock);
    mutex_unlock(&g_tasks_lock);
    if (action.handler != (uint64_t)(uintptr_t)SIG_IGN)
        run_handler(t, &action, &info);
    return true;
}

void signal_deliver(struct task *t)
{
    struct process *p = t->process;

    for (;;) {
        bool notify;

        if (t->killed || p->group_exit)
            return;
        mutex_lock(&p->sighand->lock);
        notify = p->notify_continued && !p->stopped;
        p->notify_continued = false;
        mutex_unlock(&p->sighand->lock);
        if (notify)
            process_notify_parent_stop(p, CLD_CONTINUED, SIGCONT);
        if (t->trace_request && trace_stop_if_wanted(t))
            continue;
        if (task_stop_due(t)) {
            if (t->trace)
                trace_group_stop(t);
            else
                task_stop_wait(t);
            continue;
        }
        if (!deliver_one(t) && !task_stop_due(t) && !t->trace_request)
            break;
    }
    settle_syscall(t, NULL);
    if (t->restore_mask) {
        t->restore_mask = false;
        signal_set_mask(t, t->saved_mask);
    }
    if (!task_stop_due(t)) {
        mutex_lock(&p->sighand->lock);
        signal_recalc_locked(t);
        mutex_unlock(&p->sighand->lock);
    }
}
