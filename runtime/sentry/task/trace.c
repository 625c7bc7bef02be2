/*
 * Tracing: who traces whom, and how a tracee stops and goes on. A stop is a sleep of the tracee's
 * own sentry thread, outside of any call's other locks; SIGKILL ends it. Any thread of the tracer's
 * process may ask for things (Linux: the one that attached).
 */
#include "runtime/sentry/task/trace_internal.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/userns.h"

#include <linux/ptrace.h>
#include <stdlib.h>
#include <string.h>

static void recalc(struct task *t)
{
    mutex_lock(&t->process->sighand->lock);
    signal_recalc_locked(t);
    mutex_unlock(&t->process->sighand->lock);
}

static void request(struct task *t, bool on)
{
    t->trace_request = on;
    recalc(t);
    if (on)
        task_kick(t);
}

int trace_attach_locked(struct task *t, struct process *tracer, unsigned options, bool seized)
{
    struct trace *tr;

    mutex_assert_held(&g_tasks_lock);
    if (t->trace || t->exiting || tracer->state != PROCESS_ALIVE)
        return -EPERM;
    tr = calloc(1, sizeof(*tr));
    if (!tr)
        return -ENOMEM;
    tr->task = task_get(t);
    tr->tracer = tracer;
    tr->options = options;
    tr->seized = seized;
    list_append(&tracer->tracees, &tr->link);
    t->traced = true;
    t->stop_seen = t->process->stop_count - 1;
    __atomic_store_n(&t->trace, tr, __ATOMIC_RELEASE);
    task_publish_identity(t);
    recalc(t);
    task_kick(t); /* one that is stopped already becomes a tracee's stop */
    return 0;
}

void trace_detach_locked(struct task *t, int sig)
{
    struct trace *tr = t->trace;

    mutex_assert_held(&g_tasks_lock);
    list_remove(&tr->link);
    t->trace_signal = tr->stopped ? sig : 0;
    t->traced = false;
    t->stop_seen = t->process->stop_count - 1;
    __atomic_store_n(&t->trace, NULL, __ATOMIC_RELEASE);
    if (tr->call) {
        tr->call->result = -ESRCH;
        tr->call->done = true;
        task_wake(tr->call->caller);
    }
    if (tr->dead) {
        struct pid *pid = t->pid;

        t->pid = NULL;
        pid->task = NULL;
        pid_release_if_unused_locked(pid);
    } else {
        task_publish_identity(t);
        request(t, false);
        task_wake(t);
    }
    free(tr);
    task_put(t);
}

void trace_resume_locked(struct task *t, enum trace_mode mode, bool step, int sig)
{
    struct trace *tr = t->trace;

    mutex_assert_held(&g_tasks_lock);
    tr->mode = mode;
    tr->step = step;
    tr->stopped = tr->listening = false;
    t->trace_signal = sig;
    task_wake(t);
}

void trace_interrupt_locked(struct task *t)
{
    struct trace *tr = t->trace;

    mutex_assert_held(&g_tasks_lock);
    if (tr->stopped && !tr->listening)
        return;
    tr->want_stop = true;
    if (tr->listening)
        trace_resume_locked(t, TRACE_RUN, false, 0);
    request(t, true);
}

void trace_continued_locked(struct process *p)
{
    struct task *t;

    list_for_each_entry (t, &p->threads, thread_link) {
        struct trace *tr = t->trace;

        if (!tr || !tr->seized)
            continue;
        tr->want_stop = true;
        if (tr->listening)
            trace_resume_locked(t, TRACE_RUN, false, 0);
        t->trace_request = true; /* the caller recalculates and kicks */
    }
}

int trace_call_locked(struct task *t, int (*fn)(struct task *t, void *arg), void *arg)
{
    struct task *me = current_task();
    struct trace_call c = {.fn = fn, .arg = arg, .caller = me};

    mutex_assert_held(&g_tasks_lock);
    if (t == me)
        return fn(t, arg);
    if (!t->trace || !t->trace->stopped || t->trace->call)
        return -ESRCH;
    t->trace->call = &c;
    task_wake(t);
    while (!c.done) {
        task_sleep_begin(me);
        mutex_unlock(&g_tasks_lock);
        task_sleep_uninterruptible(me);
        mutex_lock(&g_tasks_lock);
    }
    return c.result;
}

static void run_call(struct task *t, struct trace *tr)
{
    struct trace_call *c = tr->call;
    int r;

    mutex_unlock(&g_tasks_lock);
    r = c->fn(t, c->arg);
    mutex_lock(&g_tasks_lock);
    if (t->trace && t->trace->call == c) { /* else its tracer let go meanwhile, and told it */
        t->trace->call = NULL;
        c->result = r;
        c->done = true;
        task_wake(c->caller);
    }
}

/* ---- stops ----------------------------------------------------------------------------------- */

void trace_notify_locked(struct process *tracer, struct task *t, int why, int status)
{
    const struct l_sigaction *a = &tracer->sighand->actions[SIGCHLD - 1];
    struct l_siginfo info = {.signo = SIGCHLD, .code = why};
    const struct task *any = process_any_task_locked(tracer);

    info.chld.pid = t->pid ? pid_in(t->pid, tracer->pidns) : 0;
    info.chld.uid = uid_from_kernel(any ? any->cred->userns : NULL, t->cred->uid);
    info.chld.status = status;
    if (a->handler != (uint64_t)(uintptr_t)SIG_IGN && !(a->flags & SA_NOCLDSTOP))
        (void)signal_send_process_locked(tracer, SIGCHLD, &info);
    waitq_wake(&tracer->child_wait, 0);
}

/* What the tracee's calls were to store is in its memory before its tracer looks. */
static void settle_memory(struct task *t)
{
    int r;

    if (!t->th)
        return;
    r = plat_flush(t->th);
    if (r < 0 && r != -ESRCH) {
        mm_operation_failed(t);
        plat_regs(t->th)->rax = (uint64_t)(int64_t)r;
    }
}

static bool must_leave(const struct task *t, bool leaving)
{
    const struct process *p = t->process;

    return leaving ? p->group_exit && p->group_exit_status == SIGKILL : signal_fatal_pending(t);
}

static void begin_stop(struct task *t, struct trace *tr, const struct trace_stop *s)
{
    tr->stopped = true;
    tr->reported = tr->listening = false;
    tr->code = s->code;
    tr->op = s->op;
    tr->message = s->message;
    tr->event_stop = s->event_stop;
    tr->has_info = s->info != NULL;
    if (s->info)
        tr->info = *s->info;
    t->trace_signal = 0;
    trace_notify_locked(tr->tracer, t, s->why, s->code & 0x7f);
}

int trace_stop(struct task *t, const struct trace_stop *s)
{
    bool unpatch;
    int sig = 0;

    settle_memory(t);
    mutex_lock(&g_tasks_lock);
    unpatch = t->trace && !t->trace->patches_off && t->th;
    if (unpatch) {
        t->trace->patches_off = true;
        mutex_unlock(&g_tasks_lock);
        (void)plat_patch_off(t->th);
        mutex_lock(&g_tasks_lock);
    }
    if (!t->trace || must_leave(t, s->leaving))
        goto unlock;
    begin_stop(t, t->trace, s);
    for (;;) {
        task_sleep_begin(t);
        if (!t->trace || !t->trace->stopped || must_leave(t, s->leaving))
            break;
        if (t->trace->call) {
            run_call(t, t->trace);
            continue;
        }
        mutex_unlock(&g_tasks_lock);
        task_sleep_uninterruptible(t);
        mutex_lock(&g_tasks_lock);
    }
    if (t->trace) {
        struct trace_call *c = t->trace->call;

        t->trace->stopped = t->trace->listening = false;
        t->trace->call = NULL;
        if (c) {
            c->result = -ESRCH;
            c->done = true;
            task_wake(c->caller);
        }
    }
    sig = t->trace_signal;
    t->trace_signal = 0;
unlock:
    mutex_unlock(&g_tasks_lock);
    if (t->th)
        t->sysno = plat_regs(t->th)->orig_rax;
    return sig;
}

/* ---- the end of a tracee, or of a tracer -------------------------------------------------------
 */

static bool ignores_children(const struct process *p)
{
    const struct l_sigaction *a = &p->sighand->actions[SIGCHLD - 1];

    return a->handler == (uint64_t)(uintptr_t)SIG_IGN || (a->flags & SA_NOCLDWAIT);
}

static void notify_end(struct task *t, int wait_status)
{
    int status, code = exit_cld_code(wait_status, &status);

    trace_notify_locked(t->trace->tracer, t, code, status);
}

bool trace_thread_ended_locked(struct task *t, int status)
{
    struct trace *tr = t->trace;

    if (!tr)
        return false;
    if (ignores_children(tr->tracer)) {
        trace_detach_locked(t, 0);
        return false;
    }
    tr->dead = true;
    tr->dead_status = status;
    notify_end(t, status);
    return true;
}

bool trace_process_ended_locked(struct process *p)
{
    struct trace *tr = p->leader ? p->leader->trace : NULL;

    if (!tr || tr->tracer == p->parent)
        return false;
    if (ignores_children(tr->tracer)) {
        trace_detach_locked(p->leader, 0);
        return false;
    }
    notify_end(p->leader, p->exit_status);
    return true;
}

void trace_tracer_exits_locked(struct process *p)
{
    struct trace *tr, *next;

    list_for_each_entry_safe (tr, next, &p->tracees, link) {
        struct task *t = tr->task;
        struct process *tracee = t->process;
        bool kill = tr->options & PTRACE_O_EXITKILL;
        bool zombie = tracee->state == PROCESS_ZOMBIE && t == tracee->leader && tracee->parent != p;

        (void)process_get(tracee);
        trace_detach_locked(t, 0);
        if (zombie)
            exit_tell_parent_locked(tracee);
        else if (kill && tracee->state == PROCESS_ALIVE)
            (void)signal_send_process_locked(tracee, SIGKILL, NULL);
        process_put(tracee);
    }
}
