/*
 * Job control stops. A stop is a state of the process: each of its threads parks on its way back to
 * the guest until SIGCONT or death. A traced thread stops by
 * trace_group_stop instead.
 */
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace.h"

#include <signal.h>

void process_stop_locked(struct process *p, int sig)
{
    struct task *t;

    if (p->stopped || p->group_exit)
        return;
    p->stopped = true;
    p->stop_count++;
    p->stop_signal = sig;
    p->stop_reported = false;
    p->continued = false;
    list_for_each_entry (t, &p->threads, thread_link) {
        signal_recalc_locked(t);
        task_kick(t);
    }
}

void process_continue_locked(struct process *p)
{
    struct task *t;

    if (!p->stopped)
        return;
    p->stopped = false;
    p->continued = true;
    p->continue_reported = false;
    p->notify_continued = true;
    trace_continued_locked(p);
    list_for_each_entry (t, &p->threads, thread_link) {
        signal_recalc_locked(t);
        task_kick(t);
    }
}

/* Parks while the process is stopped. No locks held. */
void task_stop_wait(struct task *t)
{
    struct process *p = t->process;

    for (;;) {
        task_sleep_begin(t);
        if (!__atomic_load_n(&p->stopped, __ATOMIC_SEQ_CST) || signal_fatal_pending(t) || t->trace)
            return;
        /* Not interruptible by other signals: they wait for SIGCONT. */
        task_sleep_uninterruptible(t);
    }
}

void process_notify_parent_stop(struct process *p, int code, int status)
{
    struct process *parent;

    mutex_lock(&g_tasks_lock);
    parent = p->parent;
    if (parent) {
        struct l_siginfo info;

        exit_fill_siginfo_locked(&info, p, code, status);
        if (!(parent->sighand->actions[SIGCHLD - 1].flags & SA_NOCLDSTOP))
            (void)signal_send_process_locked(parent, SIGCHLD, &info);
        waitq_wake(&parent->child_wait, 0);
    }
    mutex_unlock(&g_tasks_lock);
}
