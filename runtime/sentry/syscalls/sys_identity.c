/* getpid(2) and its kin; sessions and groups (setpgid(2), setsid(2)). */
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>

#define UNUSED_ARGS (void)a

long sys_getpid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return task_tgid(t);
}

long sys_gettid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return task_tid(t);
}

long sys_getppid(struct task *t, const struct sysargs *a)
{
    long r;

    UNUSED_ARGS;
    mutex_lock(&g_tasks_lock);
    r = t->process->parent ? pid_in(t->process->parent->pid, task_pidns(t)) : 0;
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_getuid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return uid_from_kernel(t->cred->userns, t->cred->uid);
}

long sys_geteuid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return uid_from_kernel(t->cred->userns, t->cred->euid);
}

long sys_getgid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return gid_from_kernel(t->cred->userns, t->cred->gid);
}

long sys_getegid(struct task *t, const struct sysargs *a)
{
    UNUSED_ARGS;
    return gid_from_kernel(t->cred->userns, t->cred->egid);
}

long sys_getpgrp(struct task *t, const struct sysargs *a)
{
    long r;

    UNUSED_ARGS;
    mutex_lock(&g_tasks_lock);
    r = pid_in(t->process->pgrp, task_pidns(t));
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* Process `pid` of t's namespace, or t's own for 0. tasks_lock held. */
static struct process *find(struct task *t, int pid)
{
    return pid ? process_find_locked(task_pidns(t), pid) : t->process;
}

long sys_getpgid(struct task *t, const struct sysargs *a)
{
    struct process *p;
    long r;

    mutex_lock(&g_tasks_lock);
    p = find(t, (int)a->v[0]);
    r = p ? pid_in(p->pgrp, task_pidns(t)) : -ESRCH;
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_getsid(struct task *t, const struct sysargs *a)
{
    struct process *p;
    long r;

    mutex_lock(&g_tasks_lock);
    p = find(t, (int)a->v[0]);
    r = p ? pid_in(p->session, task_pidns(t)) : -ESRCH;
    mutex_unlock(&g_tasks_lock);
    return r;
}

static void move_to_group(struct process *p, struct pid *group)
{
    struct pid *old = p->pgrp;

    list_remove(&p->pgrp_link);
    p->pgrp = group;
    list_append(&group->pgrp, &p->pgrp_link);
    pid_release_if_unused_locked(old);
}

static long set_group(struct task *t, int pid, int pgid)
{
    struct process *p = find(t, pid), *me = t->process;
    struct pid *group;

    if (pgid < 0)
        return -EINVAL;
    if (!p || p->state == PROCESS_DEAD)
        return -ESRCH;
    if (p != me && p->parent != me)
        return -ESRCH;
    if (p->parent == me && p != me) {
        if (p->session != me->session)
            return -EPERM;
        if (p->did_exec)
            return -EACCES;
    }
    if (p->session == p->pid)
        return -EPERM;
    group = pgid ? pid_find_locked(task_pidns(t), pgid) : p->pid;
    if (group != p->pid) {
        struct process *member = group ? list_first(&group->pgrp, struct process, pgrp_link) : NULL;

        if (!member || member->session != me->session)
            return -EPERM;
    }
    if (group != p->pgrp)
        move_to_group(p, group);
    return 0;
}

long sys_setpgid(struct task *t, const struct sysargs *a)
{
    long r;

    mutex_lock(&g_tasks_lock);
    r = set_group(t, (int)a->v[0], (int)a->v[1]);
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_setsid(struct task *t, const struct sysargs *a)
{
    struct process *p = t->process;
    struct pid *session, *group;
    struct tty *tty;

    UNUSED_ARGS;
    mutex_lock(&g_tasks_lock);
    if (!list_empty(
            &p->pid->pgrp)) { /* somebody, perhaps p itself, is in the group with our number */
        mutex_unlock(&g_tasks_lock);
        return -EPERM;
    }
    session = p->session;
    group = p->pgrp;
    list_remove(&p->session_link);
    p->session = p->pid;
    list_append(&p->pid->session, &p->session_link);
    move_to_group(p, p->pid);
    if (session != group) /* else that was the last look at it */
        pid_release_if_unused_locked(session);
    tty = p->tty;
    p->tty = NULL;
    mutex_unlock(&g_tasks_lock);
    tty_put(tty);
    return pid_in(p->pid, task_pidns(t));
}
