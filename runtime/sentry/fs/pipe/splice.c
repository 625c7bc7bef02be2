/* What splice, tee and vmsplice do with a pipe, and its size. See pipe.h. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/pipe/pipe_internal.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>

ssize_t pipe_peek(struct pipe *p, void *data, size_t size, size_t skip)
{
    struct uio u;
    ssize_t r;

    uio_init_kernel(&u, data, size);
    mutex_lock(&p->lock);
    if (p->ring.size > skip)
        r = ring_copy(&p->ring, &u, MIN(size, p->ring.size - skip), skip);
    else
        r = p->writers ? -EAGAIN : 0;
    mutex_unlock(&p->lock);
    uio_fini(&u);
    return r;
}

void pipe_consume(struct pipe *p, size_t size)
{
    mutex_lock(&p->lock);
    ring_drop(&p->ring, MIN(size, p->ring.size));
    mutex_unlock(&p->lock);
    waitq_wake(&p->write_wait, POLLOUT | POLLWRNORM);
    waitq_wake_one(&p->write_sleep, POLLOUT | POLLWRNORM);
}

static ssize_t pipe_give_locked(struct pipe *p, struct uio *u, size_t size)
{
    size_t n = MIN(size, ring_room(&p->ring));
    ssize_t r;

    if (!p->readers)
        return -EPIPE;
    if (!n)
        return -EAGAIN;
    r = ring_reserve(&p->ring, n);
    if (r == 0)
        r = ring_fill(&p->ring, u, n);
    if (r > 0)
        (void)ring_mark(&p->ring, (size_t)r, false);
    return r;
}

ssize_t pipe_give(struct pipe *p, const void *data, size_t size)
{
    struct uio u;
    ssize_t r;

    uio_init_kernel(&u, (void *)data, size);
    mutex_lock(&p->lock);
    r = pipe_give_locked(p, &u, size);
    mutex_unlock(&p->lock);
    uio_fini(&u);
    if (r > 0) {
        waitq_wake(&p->read_wait, POLLIN | POLLRDNORM);
        waitq_wake_one(&p->read_sleep, POLLIN | POLLRDNORM);
    }
    return r;
}

size_t pipe_available(struct pipe *p)
{
    size_t n;

    mutex_lock(&p->lock);
    n = p->ring.size;
    mutex_unlock(&p->lock);
    return n;
}

size_t pipe_room(struct pipe *p)
{
    size_t n;

    mutex_lock(&p->lock);
    n = ring_room(&p->ring);
    mutex_unlock(&p->lock);
    return n;
}

long pipe_get_size(struct file *f)
{
    struct pipe *p = pipe_of(f);

    return p ? (long)__atomic_load_n(&p->ring.limit, __ATOMIC_RELAXED) : -EBADF;
}

long pipe_set_size(struct task *t, struct file *f, uint64_t size)
{
    struct pipe *p = pipe_of(f);
    size_t limit = PIPE_ATOMIC;
    long r;

    if (!p)
        return -EBADF;
    if (size > 1ULL << 31)
        return -EINVAL;
    while (limit < size)
        limit *= 2;
    /* The upper bound holds for everybody: it is the sandbox's own memory. */
    if (limit > PIPE_MAX_SIZE)
        return capable(t, CAP_SYS_RESOURCE) ? -ENOMEM : -EPERM;
    if (!pipe_charge(limit))
        return -EPERM;
    mutex_lock(&p->lock);
    r = p->ring.size > limit ? -EBUSY : ring_resize(&p->ring, limit);
    pipe_uncharge(r < 0 ? limit : p->charged);
    if (r == 0)
        p->charged = limit;
    mutex_unlock(&p->lock);
    waitq_wake(&p->write_wait, POLLOUT | POLLWRNORM);
    waitq_wake(&p->write_sleep, POLLOUT | POLLWRNORM);
    return r < 0 ? r : (long)limit;
}
