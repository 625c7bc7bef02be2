/* mq_open, mq_unlink, mq_timedsend, mq_timedreceive, mq_notify, mq_getsetattr. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/mqueue/mqueue.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/netlink.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Fresh name without the slash that libc took off already. */
static int read_name(struct task *t, char *name, gaddr_t addr)
{
    return copy_in_path(t, name, addr, false);
}

long sys_mq_open(struct task *t, const struct sysargs *a)
{
    unsigned flags = (unsigned)a->v[1];
    struct mq_attr attr;
    char name[PATH_MAX];
    struct file *f;
    int r = read_name(t, name, a->v[0]);

    if (r < 0)
        return r;
    if (a->v[3] && copy_in(t, &attr, a->v[3], sizeof(attr)) < 0)
        return -EFAULT;
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    r = mqueue_open(t, name, flags, (mode_t)a->v[2], a->v[3] ? &attr : NULL, &f);
    return r < 0 ? r : install_file(t, f, true); /* always close-on-exec */
}

long sys_mq_unlink(struct task *t, const struct sysargs *a)
{
    char name[PATH_MAX];
    int r = read_name(t, name, a->v[0]);

    return r < 0 ? r : mqueue_unlink(t, name);
}

/* Absolute time of the wall clock at addr -> deadline. */
static int read_deadline(struct task *t, gaddr_t addr, nsec_t *ret)
{
    struct timespec ts;

    *ret = DEADLINE_NONE;
    if (!addr)
        return 0;
    if (copy_in(t, &ts, addr, sizeof(ts)) < 0)
        return -EFAULT;
    if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    *ret = deadline_after(timespec_to_ns(&ts) - time_realtime());
    return 0;
}

long sys_mq_timedsend(struct task *t, const struct sysargs *a)
{
    size_t size = a->v[2];
    struct file *f;
    nsec_t deadline;
    char *data;
    long r = read_deadline(t, a->v[4], &deadline);

    if (r < 0)
        return r;
    f = fd_get(t, (int)a->v[0]);
    if (!f)
        return -EBADF;
    r = mqueue_message_size(f);
    if (r >= 0 && size > (size_t)r)
        r = -EMSGSIZE;
    if (r < 0) {
        file_put(f);
        return r;
    }
    data = malloc(size + 1);
    if (!data)
        r = -ENOMEM;
    else if (size && copy_in(t, data, a->v[1], size) < 0)
        r = -EFAULT;
    else
        r = mqueue_send(f, data, size, (unsigned)a->v[3], deadline);
    free(data);
    file_put(f);
    return r;
}

long sys_mq_timedreceive(struct task *t, const struct sysargs *a)
{
    unsigned priority = 0;
    struct file *f;
    nsec_t deadline;
    char *data;
    long r = read_deadline(t, a->v[4], &deadline);

    if (r < 0)
        return r;
    f = fd_get(t, (int)a->v[0]);
    if (!f)
        return -EBADF;
    r = mqueue_message_size(f);
    if (r >= 0 && a->v[2] < (size_t)r)
        r = file_readable(f) ? -EMSGSIZE : -EBADF;
    if (r < 0) {
        file_put(f);
        return r;
    }
    data = malloc((size_t)r);
    r = data ? mqueue_receive(f, data, (size_t)r, &priority, deadline) : -ENOMEM;
    file_put(f);
    if (r >= 0 && ((r && copy_out(t, a->v[1], data, (size_t)r) < 0) ||
                   (a->v[3] && copy_out(t, a->v[3], &priority, sizeof(priority)) < 0)))
        r = -EFAULT;
    free(data);
    return r;
}

/* The netlink socket and the message of SIGEV_THREAD. */
static int copy_in_thread(struct task *t, const struct sigevent *ev, struct mqueue_thread **ret)
{
    struct mqueue_thread *th = calloc(1, sizeof(*th));
    int r = th ? 0 : -ENOMEM;

    if (r == 0 && copy_in(t, th->cookie, (gaddr_t)(uintptr_t)ev->sigev_value.sival_ptr,
                          sizeof(th->cookie)) < 0)
        r = -EFAULT;
    if (r == 0) {
        th->send = netlink_send_to;
        th->socket = fd_get(t, ev->sigev_signo);
        r = !th->socket ? -EBADF : netlink_is(th->socket) ? 0 : -EINVAL;
    }
    if (r < 0) {
        mqueue_thread_free(th);
        return r;
    }
    *ret = th;
    return 0;
}

long sys_mq_notify(struct task *t, const struct sysargs *a)
{
    struct mqueue_thread *thread = NULL;
    struct sigevent ev;
    struct file *f;
    long r;

    if (a->v[1]) {
        if (copy_in(t, &ev, a->v[1], sizeof(ev)) < 0)
            return -EFAULT;
        if (ev.sigev_notify != SIGEV_NONE && ev.sigev_notify != SIGEV_SIGNAL &&
            ev.sigev_notify != SIGEV_THREAD)
            return -EINVAL;
        if (ev.sigev_notify == SIGEV_SIGNAL && (unsigned)ev.sigev_signo > L_NSIG)
            return -EINVAL;
    }
    if (a->v[1] && ev.sigev_notify == SIGEV_THREAD) {
        r = copy_in_thread(t, &ev, &thread);
        if (r < 0)
            return r;
    }
    f = fd_get(t, (int)a->v[0]);
    if (!f) {
        mqueue_thread_free(thread);
        return -EBADF;
    }
    r = mqueue_notify(t, f, a->v[1] ? &ev : NULL, thread);
    file_put(f);
    return r;
}

static void set_nonblock(struct file *f, bool on)
{
    if (on)
        (void)__atomic_fetch_or(&f->flags, O_NONBLOCK, __ATOMIC_RELAXED);
    else
        (void)__atomic_fetch_and(&f->flags, ~(unsigned)O_NONBLOCK, __ATOMIC_RELAXED);
}

long sys_mq_getsetattr(struct task *t, const struct sysargs *a)
{
    struct mq_attr set, old;
    struct file *f;
    long r;

    if (a->v[1]) {
        if (copy_in(t, &set, a->v[1], sizeof(set)) < 0)
            return -EFAULT;
        if (set.mq_flags & ~(long)O_NONBLOCK)
            return -EINVAL;
    }
    f = fd_get(t, (int)a->v[0]);
    if (!f)
        return -EBADF;
    r = mqueue_getattr(f, &old);
    if (r == 0 && a->v[1])
        set_nonblock(f, set.mq_flags & O_NONBLOCK);
    file_put(f);
    if (r == 0 && a->v[2] && copy_out(t, a->v[2], &old, sizeof(old)) < 0)
        r = -EFAULT;
    return r;
}
