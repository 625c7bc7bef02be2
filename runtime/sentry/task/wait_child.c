/*
 * Waiting for children and tracees (wait(2), ptrace(2)). A child that another process traces is
 * waited for by that one first.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/task/userns.h"

#include <string.h>
#include <sys/wait.h>

static bool matches(const struct process *child, enum wait_which which, const struct pid *pid,
                    int options)
{
    bool clone_child = child->exit_signal != SIGCHLD;

    if (which == WAIT_CHILD_PID && child->pid != pid)
        return false;
    if (which == WAIT_CHILD_PGRP && child->pgrp != pid)
        return false;
    return (options & __WALL) || clone_child == !!(options & __WCLONE);
}

static void fill_result(struct task *t, struct process *p, int code, int status, int wait_status,
                        struct wait_result *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->pid = pid_in(p->pid, task_pidns(t));
    ret->uid = uid_from_kernel(t->cred->userns, p->exit_uid);
    ret->code = code;
    ret->status = status;
    ret->wait_status = wait_status;
    ret->usage = p->exited_usage;
    usage_add(&ret->usage, &p->children_usage);
}

static bool take_zombie(struct task *t, struct process *child, int options, struct wait_result *ret)
{
    int status, code = exit_cld_code(child->exit_status, &status);

    if (child->state != PROCESS_ZOMBIE || !(options & WEXITED))
        return false;
    fill_result(t, child, code, status, child->exit_status, ret);
    if (!(options & WNOWAIT)) {
        usage_add(&t->process->children_usage, &ret->usage);
        exit_release_locked(child);
    }
    return true;
}

static const struct trace *trace_of(const struct process *p)
{
    return p->leader ? p->leader->trace : NULL;
}

/* Its stops are told as a tracee's. */
static bool traced_by(const struct process *p, const struct task *t)
{
    return trace_of(p) && trace_of(p)->tracer == t->process;
}

static bool take_stopped(struct task *t, struct process *child, int options,
                         struct wait_result *ret)
{
    bool found = false;

    mutex_lock(&child->sighand->lock);
    if ((options & WUNTRACED) && child->stopped && !child->stop_reported && !traced_by(child, t)) {
        fill_result(t, child, CLD_STOPPED, child->stop_signal, (child->stop_signal << 8) | 0x7f,
                    ret);
        child->stop_reported = !(options & WNOWAIT);
        found = true;
    } else if ((options & WCONTINUED) && child->continued && !child->continue_reported) {
        fill_result(t, child, CLD_CONTINUED, SIGCONT, 0xffff, ret);
        child->continue_reported = !(options & WNOWAIT);
        found = true;
    }
    mutex_unlock(&child->sighand->lock);
    return found;
}

/* ---- tracees ----------------------------------------------------------------------------------
 */

static bool matches_tracee(const struct task *t, enum wait_which which, const struct pid *pid)
{
    if (which == WAIT_CHILD_PID)
        return t->pid == pid;
    return which == WAIT_CHILD_ANY || t->process->pgrp == pid;
}

static void fill_tracee(struct task *t, struct task *tracee, int code, int status, int wait_status,
                        struct wait_result *ret)
{
    fill_result(t, tracee->process, code, status, wait_status, ret);
    ret->pid = tracee->pid ? pid_in(tracee->pid, task_pidns(t)) : 0;
    ret->uid = uid_from_kernel(t->cred->userns, tracee->cred->uid);
}

/* The whole process of the tracee ended. Its parent, if that is another one, hears of it now. */
static void take_ended_process(struct task *t, struct task *tracee, int options,
                               struct wait_result *ret)
{
    struct process *p = tracee->process;
    int status, code = exit_cld_code(p->exit_status, &status);

    fill_tracee(t, tracee, code, status, p->exit_status, ret);
    if (options & WNOWAIT)
        return;
    if (p->parent == t->process) {
        usage_add(&t->process->children_usage, &ret->usage);
        exit_release_locked(p);
    } else {
        trace_detach_locked(tracee, 0);
        exit_tell_parent_locked(p);
    }
}

static bool take_tracee(struct task *t, struct trace *tr, int options, struct wait_result *ret)
{
    struct task *tracee = tr->task;
    int status, code;

    if (tr->dead) {
        if (!(options & WEXITED))
            return false;
        code = exit_cld_code(tr->dead_status, &status);
        fill_tracee(t, tracee, code, status, tr->dead_status, ret);
        if (!(options & WNOWAIT))
            trace_detach_locked(tracee, 0);
        return true;
    }
    if (tracee == tracee->process->leader && tracee->process->state == PROCESS_ZOMBIE) {
        if (!(options & WEXITED))
            return false;
        take_ended_process(t, tracee, options, ret);
        return true;
    }
    if (!tr->stopped || tr->reported || tr->listening)
        return false;
    fill_tracee(t, tracee, CLD_TRAPPED, tr->code, (tr->code << 8) | 0x7f, ret);
    tr->reported = !(options & WNOWAIT);
    return true;
}

/* As scan. */
static int scan_tracees(struct task *t, enum wait_which which, const struct pid *pid, int options,
                        struct wait_result *ret)
{
    struct trace *tr, *next;
    int r = -ECHILD;

    list_for_each_entry_safe (tr, next, &t->process->tracees, link) {
        if (!matches_tracee(tr->task, which, pid))
            continue;
        r = 0;
        if (take_tracee(t, tr, options, ret))
            return 1;
    }
    return r;
}

/* 1 found, 0 there are children but nothing yet, -ECHILD. tasks_lock held. */
static int scan(struct task *t, enum wait_which which, const struct pid *pid, int options,
                struct wait_result *ret)
{
    struct process *child, *next;
    int r = -ECHILD, found;

    list_for_each_entry_safe (child, next, &t->process->children, sibling) {
        if (!matches(child, which, pid, options))
            continue;
        if (child->state != PROCESS_ZOMBIE || (options & WEXITED))
            r = 0; /* an ended one neither stops nor continues any more */
        if (!trace_of(child) && take_zombie(t, child, options, ret))
            return 1;
        if (child->state == PROCESS_ALIVE && take_stopped(t, child, options, ret))
            return 1;
    }
    if (list_empty(&t->process->tracees))
        return r;
    found = scan_tracees(t, which, pid, options, ret);
    return found == -ECHILD ? r : found;
}

int wait_child(struct task *t, enum wait_which which, struct pid *pid, int options,
               struct wait_result *ret)
{
    int r, interrupted = 0;

    mutex_lock(&g_tasks_lock);
    for (;;) {
        r = scan(t, which, pid, options, ret);
        if (r != 0 || (options & WNOHANG))
            break;
        if (interrupted < 0) { /* a child that ended is found even if its SIGCHLD has a handler */
            r = interrupted;
            break;
        }
        interrupted = wait_interruptible(&t->process->child_wait, &g_tasks_lock, DEADLINE_NONE);
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}
