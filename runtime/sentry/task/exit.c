/*
 * How tasks end. A thread gives back what it holds, then unlinks itself; the last one makes its
 * process a zombie, hands its children to the nearest subreaper or the namespace's init, and tells
 * the parent. init's death kills its namespace (pid_namespaces(7)).
 */
#include "runtime/sentry/task/exit.h"

#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/core.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/robust.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/time/timers.h"

#include <string.h>
#include <sys/wait.h>

void exit_fill_siginfo_locked(struct l_siginfo *info, const struct process *p, int code, int status)
{
    const struct process *parent = p->parent;

    memset(info, 0, sizeof(*info));
    info->signo = SIGCHLD;
    info->code = code;
    info->chld.status = status;
    info->chld.pid = parent ? pid_in(p->pid, parent->pidns) : 0;
    info->chld.uid = p->exit_uid;
}

int exit_cld_code(int wait_status, int *ret_status)
{
    if (WIFEXITED(wait_status)) {
        *ret_status = WEXITSTATUS(wait_status);
        return CLD_EXITED;
    }
    *ret_status = WTERMSIG(wait_status);
    return WCOREDUMP(wait_status) ? CLD_DUMPED : CLD_KILLED;
}

void task_exit_request(struct task *t, int status, bool group)
{
    struct process *p = t->process;

    t->exit_status = status;
    if (!group) {
        t->killed = true;
        return;
    }
    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    process_group_exit_locked(p, status);
    mutex_unlock(&p->sighand->lock);
    mutex_unlock(&g_tasks_lock);
}

void task_vfork_done(struct task *t)
{
    struct task *parent;

    mutex_lock(&g_tasks_lock);
    parent = t->vfork_parent;
    t->vfork_parent = NULL;
    if (parent) {
        __atomic_store_n(&parent->vfork_waiting, false, __ATOMIC_SEQ_CST);
        task_wake(parent);
    }
    mutex_unlock(&g_tasks_lock);
    task_put(parent);
}

int task_kill_siblings(struct task *t)
{
    struct process *p = t->process;
    struct task *other;
    int r = 0;

    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    if (p->group_exit || p->exec_by) {
        r = -EAGAIN;
    } else {
        p->exec_by = t;
        list_for_each_entry (other, &p->threads, thread_link) {
            if (other == t)
                continue;
            task_kill_locked(other);
        }
    }
    mutex_unlock(&p->sighand->lock);
    while (r == 0 && p->n_threads > 1) {
        task_sleep_begin(t);
        mutex_unlock(&g_tasks_lock);
        task_sleep_uninterruptible(t);
        mutex_lock(&g_tasks_lock);
        if (p->group_exit)
            r = -EAGAIN;
    }
    p->exec_by = NULL;
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* Who takes over the children of p. tasks_lock held. */
static struct process *reaper_of(struct process *p)
{
    struct process *up = p->parent;

    for (; up && up->pidns == p->pidns; up = up->parent) {
        if (up->is_subreaper && up->state == PROCESS_ALIVE && !up->group_exit)
            return up;
        if (up == p->pidns->init)
            break;
    }
    return p->pidns->init == p ? NULL : p->pidns->init;
}

static void zap_namespace(struct pidns *ns)
{
    ns->dying = true;
    for (struct hash_node *n = hashmap_next(&ns->pids, NULL); n; n = hashmap_next(&ns->pids, n)) {
        struct process *p = hash_entry(n, struct pid_nr, node)->pid->process;

        if (!p || p == ns->init || p->state != PROCESS_ALIVE)
            continue;
        mutex_lock(&p->sighand->lock);
        process_group_exit_locked(p, SIGKILL);
        mutex_unlock(&p->sighand->lock);
    }
}

void exit_release_locked(struct process *p)
{
    struct pid *pid = p->pid, *pgrp = p->pgrp, *session = p->session;

    p->state = PROCESS_DEAD;
    list_remove(&p->sibling);
    list_remove(&p->pgrp_link);
    list_remove(&p->session_link);
    if (pid->process == p)
        pid->process = NULL;
    if (p->leader) {
        if (p->leader->trace)
            trace_detach_locked(p->leader, 0);
        if (pid->task == p->leader)
            pid->task = NULL;
        task_put(p->leader);
        p->leader = NULL;
    }
    pid_release_if_unused_locked(pid);
    if (pgrp != pid)
        pid_release_if_unused_locked(pgrp);
    if (session != pid && session != pgrp)
        pid_release_if_unused_locked(session);
    process_put(p);
}

static bool parent_ignores(const struct process *parent)
{
    const struct l_sigaction *a = &parent->sighand->actions[SIGCHLD - 1];

    return a->handler == (uint64_t)(uintptr_t)SIG_IGN || (a->flags & SA_NOCLDWAIT);
}

/* Tells the parent; true if nobody will wait for p (it may be released at once). */
static bool notify_parent(struct process *p)
{
    struct process *parent = p->parent;
    bool autoreap = !parent;
    struct l_siginfo info;
    int status, code = exit_cld_code(p->exit_status, &status);

    if (!parent || p->unborn)
        return true;
    if (p->exit_signal) {
        exit_fill_siginfo_locked(&info, p, code, status);
        info.signo = p->exit_signal;
        autoreap = p->exit_signal == SIGCHLD && parent_ignores(parent);
        if (!autoreap ||
            parent->sighand->actions[SIGCHLD - 1].handler != (uint64_t)(uintptr_t)SIG_IGN)
            (void)signal_send_process_locked(parent, p->exit_signal, &info);
    }
    waitq_wake(&parent->child_wait, 0);
    return autoreap;
}

/* Is pgrp orphaned: no member has a parent in the same session but another group (setpgid(2))? */
static bool pgrp_orphaned(const struct pid *pgrp, const struct process *leaving)
{
    struct process *p;

    list_for_each_entry (p, &pgrp->pgrp, pgrp_link)
        if (p != leaving && p->state == PROCESS_ALIVE && p->parent && p->parent->pgrp != pgrp &&
            p->parent->session == p->session)
            return false;
    return true;
}

static bool pgrp_has_stopped(const struct pid *pgrp)
{
    struct process *p;

    list_for_each_entry (p, &pgrp->pgrp, pgrp_link)
        if (p->stopped)
            return true;
    return false;
}

static void hangup_if_orphaned(struct process *p, const struct process *leaving)
{
    struct process *member;

    if (!pgrp_orphaned(p->pgrp, leaving) || !pgrp_has_stopped(p->pgrp))
        return;
    list_for_each_entry (member, &p->pgrp->pgrp, pgrp_link) {
        (void)signal_send_process_locked(member, SIGHUP, NULL);
        (void)signal_send_process_locked(member, SIGCONT, NULL);
    }
}

static void send_death_signals(struct process *child)
{
    struct task *t;

    list_for_each_entry (t, &child->threads, thread_link)
        if (t->parent_death_signal)
            (void)signal_send_task_locked(t, t->parent_death_signal, NULL);
}

static void parent_died(struct process *child)
{
    struct task *t;

    send_death_signals(child);
    list_for_each_entry (t, &child->threads, thread_link)
        task_publish_identity(t);
}

/* One of several threads ends: to the children that it made it was the parent (prctl(2)). */
static void parent_thread_died(const struct task *t)
{
    struct process *child;

    list_for_each_entry (child, &t->process->children, sibling)
        if (child->parent_task == t) {
            child->parent_task = NULL;
            send_death_signals(child);
        }
}

/* Its tracer is to wait for it first. */
static bool traced_by_other(const struct process *p)
{
    return p->leader && p->leader->trace && p->leader->trace->tracer != p->parent;
}

void exit_tell_parent_locked(struct process *p)
{
    if (notify_parent(p))
        exit_release_locked(p);
}

static void reparent_children(struct process *p)
{
    struct process *reaper = reaper_of(p), *child, *next;

    list_for_each_entry_safe (child, next, &p->children, sibling) {
        list_remove(&child->sibling);
        child->parent = reaper;
        parent_died(child);
        if (reaper) {
            list_append(&reaper->children, &child->sibling);
            child->exit_signal = SIGCHLD;
        }
        if (child->state == PROCESS_ZOMBIE && !traced_by_other(child) && notify_parent(child))
            exit_release_locked(child);
        else if (child->session == p->session && child->pgrp != p->pgrp)
            hangup_if_orphaned(child, NULL);
    }
}

static void process_became_zombie(struct process *p)
{
    p->state = PROCESS_ZOMBIE;
    if (p->pidns->init == p)
        zap_namespace(p->pidns);
    reparent_children(p);
    if (p->parent && p->parent->pgrp != p->pgrp && p->parent->session == p->session)
        hangup_if_orphaned(p, p);
    waitq_wake(&p->exit_wait, POLLIN);
    container_process_exited_locked(p);
    if (p->pidns->init == p)
        p->pidns->init = NULL;
    if (!trace_process_ended_locked(p))
        exit_tell_parent_locked(p);
}

/* Releases what needs no lock, outside in: memory, files, terminal. */
static void drop_resources(struct task *t)
{
    struct namespaces *ns = t->ns;
    struct fs_context *fs = t->fs;
    struct fdtable *files = t->files;
    struct mm *mm = t->mm;

    robust_list_exit(t);
    mm_task_exits(t);
    if (t->th) {
        gaddr_t clear = t->clear_tid;

        if (clear && mm_users(mm) == 0)
            clear = 0;
        plat_thread_exit(task_take_host(t), clear);
    }
    task_vfork_done(t);
    fdtable_put(t, files);
    mutex_lock(&g_tasks_lock);
    t->files = NULL;
    t->mm = NULL;
    t->fs = NULL;
    t->ns = NULL;
    mutex_unlock(&g_tasks_lock);
    mm_put(mm);
    fs_context_put(fs);
    namespaces_put(ns);
}

void task_exit(struct task *t)
{
    struct process *p = t->process;
    bool last, session_leader;
    struct tty *tty = NULL;

    if (t->th)
        plat_ending(t->th);
    if (p->core)
        core_thread_leaves(t);
    trace_exit(t, p->group_exit ? p->group_exit_status : t->exit_status);
    mutex_lock(&g_tasks_lock);
    t->exiting = true;
    last = p->n_threads == 1;
    if (!last)
        parent_thread_died(t);
    session_leader = last && p->session == p->pid;
    mutex_unlock(&g_tasks_lock);
    if (last) {
        timers_process_exit(p);
        sem_process_exit(p);
    }
    if (session_leader)
        tty_disassociate(p, true);
    task_account(t);
    drop_resources(t);

    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    sigpending_flush(&t->pending_own, ~0ULL);
    list_remove(&t->thread_link);
    p->n_threads--;
    p->exit_uid = t->cred->uid;
    usage_add(&p->exited_usage, &t->usage);
    mutex_unlock(&p->sighand->lock);
    if (t != p->leader &&
        !trace_thread_ended_locked(t, p->group_exit ? p->group_exit_status : t->exit_status)) {
        struct pid *pid = t->pid;

        pid->task = NULL;
        pid_release_if_unused_locked(pid);
        t->pid = NULL;
    }
    if (p->n_threads == 0) {
        p->exit_status = p->group_exit ? p->group_exit_status : t->exit_status;
        tty = p->tty;
        p->tty = NULL;
        mutex_lock(&p->sighand->lock);
        sigpending_flush(&p->pending, ~0ULL);
        mutex_unlock(&p->sighand->lock);
        container_task_gone_locked(p->container);
        trace_tracer_exits_locked(p);
        process_became_zombie(p);
    } else {
        container_task_gone_locked(p->container);
        if (p->exec_by)
            task_wake(p->exec_by);
    }
    mutex_unlock(&g_tasks_lock);
    if (tty)
        tty_put(tty);
}
