/*
 * signalfd(2): signals of the *reading* task (or its process) that are in the mask.
 *
 * A poll registers on the wait queue of the polling task's process; the file keeps each such
 * process's structure alive, since an epoll may stay registered after that process is gone.
 */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/event.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

_Static_assert(sizeof(struct signalfd_siginfo) == 128, "signalfd_siginfo");

struct signalfd {
    l_sigset_t mask;   /* atomic */
    struct mutex lock; /* guards the following */
    struct process **polled_by;
    unsigned n_polled_by;
};

static void to_signalfd_info(const struct l_siginfo *i, struct signalfd_siginfo *s)
{
    memset(s, 0, sizeof(*s));
    s->ssi_signo = (uint32_t)i->signo;
    s->ssi_errno = i->error;
    s->ssi_code = i->code;
    if (i->code == SI_TIMER) {
        s->ssi_tid = (uint32_t)i->timer.timerid;
        s->ssi_overrun = (uint32_t)i->timer.overrun;
        s->ssi_ptr = i->timer.value;
        s->ssi_int = (int32_t)i->timer.value;
    } else if (i->signo == SIGCHLD && i->code > 0) {
        s->ssi_pid = (uint32_t)i->chld.pid;
        s->ssi_uid = i->chld.uid;
        s->ssi_status = i->chld.status;
        s->ssi_utime = (uint64_t)i->chld.utime;
        s->ssi_stime = (uint64_t)i->chld.stime;
    } else if (i->signo == SIGPOLL && i->code > 0) {
        s->ssi_band = (uint32_t)i->poll.band;
        s->ssi_fd = i->poll.fd;
    } else if (i->code > 0 && i->code != SI_KERNEL && i->signo != SIGSYS) {
        s->ssi_addr = i->fault.addr;
        s->ssi_addr_lsb = (uint16_t)i->fault.addr_lsb;
    } else {
        s->ssi_pid = (uint32_t)i->rt.pid;
        s->ssi_uid = i->rt.uid;
        s->ssi_ptr = i->rt.value;
        s->ssi_int = (int32_t)i->rt.value;
    }
}

/* Takes one signal, waiting for it if `wait`. 1, 0 (none there), -ERESTARTSYS. */
static int take_signal(struct task *t, struct signalfd *s, bool wait, struct l_siginfo *info)
{
    struct mutex *lock = &t->process->sighand->lock;
    int r = 0, sig;

    mutex_lock(lock);
    while (!(sig = signal_dequeue_locked(t, __atomic_load_n(&s->mask, __ATOMIC_RELAXED), info)) &&
           wait && r == 0)
        r = wait_interruptible(signal_waitq(t->process), lock, DEADLINE_NONE);
    mutex_unlock(lock);
    return sig ? 1 : r;
}

static ssize_t signalfd_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct signalfd *s = f->private;
    ssize_t done = 0;

    (void)pos;
    if (u->left < sizeof(struct signalfd_siginfo))
        return -EINVAL;
    while (u->left >= sizeof(struct signalfd_siginfo)) {
        struct signalfd_siginfo out;
        struct l_siginfo info = {0};
        int r = take_signal(t, s, !done && !file_nonblock(f), &info);

        if (r == 0)
            return done ? done : -EAGAIN;
        if (r < 0)
            return done ? done : r;
        to_signalfd_info(&info, &out);
        if (uio_copy_to(u, &out, sizeof(out)) != sizeof(out))
            return done ? done : -EFAULT;
        done += (ssize_t)sizeof(out);
    }
    return done;
}

/* False: out of memory. */
static bool keep_process(struct signalfd *s, struct process *p)
{
    struct process **list;
    bool ok = true;

    mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n_polled_by; i++)
        if (s->polled_by[i] == p)
            goto unlock;
    list = realloc(s->polled_by, (s->n_polled_by + 1) * sizeof(struct process *));
    if (!list) {
        ok = false;
        goto unlock;
    }
    s->polled_by = list;
    s->polled_by[s->n_polled_by++] = process_get(p);
unlock:
    mutex_unlock(&s->lock);
    return ok;
}

static uint32_t signalfd_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct signalfd *s = f->private;
    l_sigset_t pending;

    if (pt && !keep_process(s, t->process))
        return POLLERR;
    poll_wait(pt, signal_waitq(t->process));
    mutex_lock(&t->process->sighand->lock);
    pending = signal_pending_set_locked(t) & __atomic_load_n(&s->mask, __ATOMIC_RELAXED);
    mutex_unlock(&t->process->sighand->lock);
    return pending ? POLLIN | POLLRDNORM : 0;
}

static void signalfd_release(struct file *f)
{
    struct signalfd *s = f->private;

    for (unsigned i = 0; i < s->n_polled_by; i++)
        process_put(s->polled_by[i]);
    free(s->polled_by);
    free(s);
}

static void signalfd_show_fdinfo(struct file *f, void *buf)
{
    struct signalfd *s = f->private;

    (void)buf_printf(buf, "sigmask:\t%016lx\n", __atomic_load_n(&s->mask, __ATOMIC_RELAXED));
}

static const struct file_ops signalfd_ops = {
    .read = signalfd_read,
    .poll = signalfd_poll,
    .release = signalfd_release,
    .show_fdinfo = signalfd_show_fdinfo,
    .name = "anon_inode:[signalfd]",
};

int signalfd_new(l_sigset_t mask, unsigned flags, struct file **ret)
{
    struct signalfd *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->mask = mask & ~(l_sigmask(SIGKILL) | l_sigmask(SIGSTOP));
    r = file_new(&signalfd_ops, O_RDWR | (flags & O_NONBLOCK), s, ret);
    if (r < 0)
        free(s);
    return r;
}

int signalfd_set_mask(struct task *t, struct file *f, l_sigset_t mask)
{
    struct signalfd *s = f->private;

    if (f->ops != &signalfd_ops)
        return -EINVAL;
    __atomic_store_n(&s->mask, mask & ~(l_sigmask(SIGKILL) | l_sigmask(SIGSTOP)), __ATOMIC_RELAXED);
    waitq_wake(signal_waitq(t->process), 0);
    return 0;
}
