/*
 * Sending. Whether a signal is dropped (ignored and not blocked), what SIGCONT and the stop signals
 * undo in the queues, which thread is woken for a process-wide one: as in kernel/signal.c's
 * prepare_signal and complete_signal, described in signal(7).
 */
#include "runtime/sentry/signal/signal.h"

#include "runtime/sentry/sentry.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>
#include <string.h>

void task_kick(struct task *t)
{
    task_wake(t);
    if (__atomic_load_n(&t->in_guest, __ATOMIC_SEQ_CST) && t->th)
        plat_interrupt(t->th);
}

/* Its host thread may be in hostile code that heeds no interrupt, or owe the sentry's thread the
 * end of an operation. */
void task_kill_locked(struct task *t)
{
    t->killed = true;
    signal_recalc_locked(t);
    task_kick(t);
    if (t->th && t == current_task())
        plat_ending(t->th);
    else if (t->th)
        plat_doom(t->th);
}

static bool ignored(const struct task *t, int sig)
{
    const struct process *p = t->process;
    uint64_t handler = p->sighand->actions[sig - 1].handler;

    if (signal_mask(t) & l_sigmask(sig))
        return false;
    if (t->traced)
        return false;
    if (handler == (uint64_t)(uintptr_t)SIG_IGN)
        return true;
    return handler == (uint64_t)(uintptr_t)SIG_DFL && (l_sigmask(sig) & SIGMASK_IGNORED_BY_DEFAULT);
}

/* init of a pid namespace gets only what it has handlers for, unless the sender is outside
 * (pid_namespaces(7)). */
static bool protects_init(const struct process *p, int sig, bool from_outside)
{
    if (p->pidns->init != p)
        return false;
    if ((p->container->foreground && p == p->container->init) ||
        (from_outside && (sig == SIGKILL || sig == SIGSTOP)))
        return false;
    return p->sighand->actions[sig - 1].handler == (uint64_t)(uintptr_t)SIG_DFL;
}

static void each_thread_flush(struct process *p, l_sigset_t which)
{
    struct task *t;

    sigpending_flush(&p->pending, which);
    list_for_each_entry (t, &p->threads, thread_link)
        sigpending_flush(&t->pending_own, which);
}

/* False: drop it. sighand lock held; thread list guarded by g_tasks_lock (held). */
static bool prepare(struct process *p, struct task *t, int sig, bool from_outside)
{
    if (p->state != PROCESS_ALIVE)
        return false;
    if (l_sigmask(sig) & SIGMASK_STOP)
        each_thread_flush(p, l_sigmask(SIGCONT));
    if (sig == SIGCONT) {
        each_thread_flush(p, SIGMASK_STOP);
        process_continue_locked(p);
    }
    /* A blocked one is kept, for signalfd and sigwait; its delivery would find it ignored. */
    if (!(signal_mask(t) & l_sigmask(sig)) && protects_init(p, sig, from_outside))
        return false;
    return !ignored(t, sig);
}

static void wake_for(struct process *p, struct task *only, int sig)
{
    struct task *t, *best = NULL;

    if (only) {
        signal_recalc_locked(only);
        task_kick(only);
        return;
    }
    list_for_each_entry (t, &p->threads, thread_link) {
        signal_recalc_locked(t);
        if (t->exiting || (signal_mask(t) & l_sigmask(sig) && !(t->wait_mask & l_sigmask(sig))))
            continue;
        if (!best || t == p->leader)
            best = t;
    }
    if (best)
        task_kick(best);
}

static int send_locked(struct process *p, struct task *only, int sig, const struct l_siginfo *info,
                       bool from_outside)
{
    struct l_siginfo kernel = {.signo = sig, .code = SI_KERNEL};
    struct task *t = only ? only : process_any_task_locked(p);
    struct sighand *s = p->sighand;
    struct task *each;
    int r = 0;

    if (!t)
        return 0;
    mutex_lock(&s->lock);
    if (prepare(p, t, sig, from_outside)) {
        unsigned limit = (unsigned)MIN(p->rlimits[RLIMIT_SIGPENDING].rlim_cur, 65536UL);

        r = sigpending_add(only ? &only->pending_own : &p->pending, sig, info ? info : &kernel,
                           limit);
        if (r == 0) {
            if (sig == SIGKILL && !p->group_exit) {
                process_group_exit_locked(p, SIGKILL);
            } else {
                wake_for(p, only, sig);
            }
            waitq_wake(&p->signal_wait, 0);
            list_for_each_entry (each, &p->threads, thread_link)
                if ((each->wait_mask & l_sigmask(sig)) && each != only)
                    task_wake(each);
        }
    }
    mutex_unlock(&s->lock);
    return r;
}

static bool sender_outside(const struct process *p)
{
    struct task *me = current_task();

    return !me || me->process->pidns->level < p->pidns->level;
}

int signal_send_task_locked(struct task *t, int sig, const struct l_siginfo *info)
{
    mutex_assert_held(&g_tasks_lock);
    return send_locked(t->process, t, sig, info, sender_outside(t->process));
}

int signal_send_process_locked(struct process *p, int sig, const struct l_siginfo *info)
{
    mutex_assert_held(&g_tasks_lock);
    return send_locked(p, NULL, sig, info, sender_outside(p));
}

int signal_send_task(struct task *t, int sig, const struct l_siginfo *info)
{
    int r;

    mutex_lock(&g_tasks_lock);
    r = signal_send_task_locked(t, sig, info);
    mutex_unlock(&g_tasks_lock);
    return r;
}

int signal_send_process(struct process *p, int sig, const struct l_siginfo *info)
{
    int r;

    mutex_lock(&g_tasks_lock);
    r = signal_send_process_locked(p, sig, info);
    mutex_unlock(&g_tasks_lock);
    return r;
}

int signal_send_pgrp(struct pid *pgrp, int sig, const struct l_siginfo *info)
{
    struct process *p;

    mutex_lock(&g_tasks_lock);
    list_for_each_entry (p, &pgrp->pgrp, pgrp_link)
        (void)signal_send_process_locked(p, sig, info);
    mutex_unlock(&g_tasks_lock);
    return 0;
}

void signal_force(struct task *t, int sig, const struct l_siginfo *info)
{
    struct process *p = t->process;
    struct l_sigaction *action = &p->sighand->actions[sig - 1];

    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    if ((t->blocked & l_sigmask(sig)) || action->handler == (uint64_t)(uintptr_t)SIG_IGN) {
        action->handler = (uint64_t)(uintptr_t)SIG_DFL;
        t->blocked &= ~l_sigmask(sig);
        signal_publish_mask(t);
    }
    sigpending_flush(&t->pending_own, l_sigmask(sig));
    (void)sigpending_add(&t->pending_own, sig, info, UINT32_MAX);
    t->forced = true;
    signal_recalc_locked(t);
    mutex_unlock(&p->sighand->lock);
    mutex_unlock(&g_tasks_lock);
}

void siginfo_user(struct l_siginfo *info, int sig, const struct task *sender)
{
    memset(info, 0, sizeof(*info));
    info->signo = sig;
    info->code = SI_USER;
    info->rt.pid = task_tgid(sender);
    info->rt.uid = uid_from_kernel(sender->cred->userns, sender->cred->uid);
}

int signal_permission_locked(const struct task *t, struct process *p, int sig)
{
    struct task *target = process_any_task_locked(p);
    const struct cred *c = t->cred, *o = target ? target->cred : NULL;

    if (!o || p == t->process || cred_capable_in(c, o->userns, CAP_KILL))
        return 0;
    if (sig == SIGCONT && p->session == t->process->session)
        return 0;
    if (c->euid == o->suid || c->euid == o->uid || c->uid == o->suid || c->uid == o->uid)
        return 0;
    return -EPERM;
}

int signal_permission(const struct task *t, struct process *p, int sig)
{
    int r;

    mutex_lock(&g_tasks_lock);
    r = signal_permission_locked(t, p, sig);
    mutex_unlock(&g_tasks_lock);
    return r;
}

void process_group_exit_locked(struct process *p, int status)
{
    struct task *t;

    if (!p->group_exit) {
        p->group_exit = true;
        p->group_exit_status = status;
        p->stopped = false;
    }
    list_for_each_entry (t, &p->threads, thread_link)
        task_kill_locked(t);
}
