/*
 * Whom an open file's signals go to and what they say (fcntl(2)). The rights to send are those of
 * whoever named the owner, as they were then.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/signal/signal.h"
#include "runtime/sentry/task/cred.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/async_internal.h"

#include <errno.h>
#include <poll.h>

/* What a signal says of events, the first row that matches: si_code, si_band. */
static const struct band {
    uint32_t events;
    bool alone; /* nothing else is told */
    int code;
    int64_t band;
} bands[] = {
    {POLLERR, true, POLL_ERR, POLLERR},
    {POLLHUP, true, POLL_HUP, POLLHUP | POLLERR},
    {POLLPRI, false, POLL_PRI, POLLPRI | POLLRDBAND},
    {POLLMSG, false, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG}, /* dnotify */
    {POLLIN, false, POLL_IN, POLLIN | POLLRDNORM},
    {POLLOUT, false, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND},
};

void async_owner_fini(struct async_owner *o)
{
    pid_put(o->pid);
    o->pid = NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */
static bool may_send(const struct async_owner *o, struct process *p)
{
    const struct task *target = process_any_task_locked(p);
    const struct cred *c = target ? target->cred : NULL;

    return c && (o->euid == 0 || o->euid == c->suid || o->euid == c->uid || o->uid == c->suid ||
                 o->uid == c->uid);
}

static int send_one(const struct async_owner *o, struct process *p, struct task *only, int sig,
                    const struct l_siginfo *info)
{
    if (!p || !may_send(o, p))
        return 0;
    return only ? signal_send_task_locked(only, sig, info)
                : signal_send_process_locked(p, sig, info);
}

/* With info, or, if its queue is full, as plain SIGIO. */
static void send_to(const struct async_owner *o, struct process *p, struct task *only, int sig,
                    const struct l_siginfo *info)
{
    if (send_one(o, p, only, sig, info) == -EAGAIN)
        (void)send_one(o, p, only, SIGIO, NULL);
}

static void send_owner(const struct async_owner *o, int sig, const struct l_siginfo *info)
{
    struct pid *pid = o->pid;
    struct process *p;

    mutex_lock(&g_tasks_lock);
    if (o->type == F_OWNER_PGRP) {
        list_for_each_entry (p, &pid->pgrp, pgrp_link)
            send_to(o, p, NULL, sig, info);
    } else if (o->type == F_OWNER_TID) {
        if (pid->task)
            send_to(o, pid->task->process, pid->task, sig, info);
    } else {
        send_to(o, pid->task ? pid->task->process : pid->process, NULL, sig, info);
    }
    mutex_unlock(&g_tasks_lock);
}

static void tell_band(const struct async_owner *o, const struct band *b, int fd)
{
    struct l_siginfo info = {.signo = o->signal, .code = b->code};

    info.poll.band = b->band;
    info.poll.fd = fd;
    send_owner(o, o->signal ? o->signal : SIGIO, o->signal ? &info : NULL);
}

void async_tell(struct async *a, uint32_t events)
{
    struct async_owner o;
    bool on;
    int fd;

    mutex_lock(&a->lock);
    o = a->owner;
    if (o.pid)
        (void)pid_get(o.pid);
    on = a->on;
    fd = a->fd;
    mutex_unlock(&a->lock);
    if (!o.pid)
        return;
    if (events & POLLPRI)
        send_owner(&o, SIGURG, NULL); /* also without O_ASYNC */
    if (!on)
        events &= POLLMSG;
    for (size_t i = 0; i < ARRAY_SIZE(bands); i++) {
        if (!(events & bands[i].events) || (bands[i].code == POLL_PRI && !o.signal))
            continue;
        tell_band(&o, &bands[i], fd);
        if (bands[i].alone)
            break;
    }
    pid_put(o.pid);
}

void async_own_locked(struct task *t, struct async *a, struct pid *group)
{
    mutex_assert_held(&a->lock);
    a->owner.pid = group ? group : pid_get(t->process->pid);
    a->owner.type = group ? F_OWNER_PGRP : F_OWNER_PID;
    a->owner.uid = t->cred->uid;
    a->owner.euid = t->cred->euid;
}

/* ---- the owner ------------------------------------------------------------------------------- */
static struct pid *find(struct task *t, int id)
{
    struct pid *pid;

    mutex_lock(&g_tasks_lock);
    pid = pid_find_locked(t->process->pidns, id);
    if (pid)
        (void)pid_get(pid);
    mutex_unlock(&g_tasks_lock);
    return pid;
}

int async_set_owner(struct task *t, struct file *f, int type, int id)
{
    struct pid *pid = NULL, *old;
    struct async *a;

    if (type != F_OWNER_TID && type != F_OWNER_PID && type != F_OWNER_PGRP)
        return -EINVAL;
    if (id && !(pid = find(t, id)))
        return -ESRCH;
    a = async_of(f);
    if (!a) {
        pid_put(pid);
        return -ENOMEM;
    }
    mutex_lock(&a->lock);
    old = a->owner.pid;
    a->owner.pid = pid;
    a->owner.type = type;
    a->owner.uid = t->cred->uid;
    a->owner.euid = t->cred->euid;
    async_update_locked(t, f, a);
    mutex_unlock(&a->lock);
    if (pid && !old)
        async_forget_present(a);
    pid_put(old);
    return 0;
}

static bool alive(const struct async_owner *o)
{
    if (o->type == F_OWNER_PGRP)
        return !list_empty(&o->pid->pgrp);
    return o->pid->task || o->pid->process;
}

void async_owner(struct task *t, struct file *f, int *ret_type, int *ret_id)
{
    struct async *a = __atomic_load_n(&f->async, __ATOMIC_ACQUIRE);

    *ret_type = F_OWNER_TID;
    *ret_id = 0;
    if (!a)
        return;
    mutex_lock(&a->lock);
    *ret_type = a->owner.type;
    mutex_lock(&g_tasks_lock);
    if (a->owner.pid && alive(&a->owner))
        *ret_id = pid_in(a->owner.pid, t->process->pidns);
    mutex_unlock(&g_tasks_lock);
    mutex_unlock(&a->lock);
}

int async_set_owner_id(struct task *t, struct file *f, int id)
{
    if (id == INT32_MIN)
        return -EINVAL;
    return id < 0 ? async_set_owner(t, f, F_OWNER_PGRP, -id)
                  : async_set_owner(t, f, F_OWNER_PID, id);
}

int async_owner_id(struct task *t, struct file *f)
{
    int type, id;

    async_owner(t, f, &type, &id);
    return type == F_OWNER_PGRP ? -id : id;
}

int async_set_signal(struct file *f, uint64_t sig)
{
    struct async *a;

    if (sig > L_NSIG)
        return -EINVAL;
    a = async_of(f);
    if (!a)
        return -ENOMEM;
    mutex_lock(&a->lock);
    a->owner.signal = (int)sig;
    mutex_unlock(&a->lock);
    return 0;
}

int async_signal(const struct file *f)
{
    const struct async *a = __atomic_load_n(&f->async, __ATOMIC_ACQUIRE);

    return a ? a->owner.signal : 0;
}
