/* eventfd(2): a 64-bit counter; reads take it (or one, with EFD_SEMAPHORE), writes add. */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/event.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct eventfd {
    struct mutex lock;
    uint64_t count;
    bool semaphore; /* immutable */
    struct waitq wait;
    uint64_t id; /* immutable */
};

static uint32_t eventfd_events(const struct eventfd *e)
{
    uint32_t events = 0;

    if (e->count > 0)
        events |= POLLIN | POLLRDNORM;
    if (e->count < UINT64_MAX - 1)
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static int eventfd_wait(struct eventfd *e, const struct file *f)
{
    return file_nonblock(f) ? -EAGAIN : wait_interruptible(&e->wait, &e->lock, DEADLINE_NONE);
}

static ssize_t counter_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct eventfd *e = f->private;
    uint64_t value = 0;
    int r = 0;

    (void)t;
    (void)pos;
    if (u->left < sizeof(value))
        return -EINVAL;
    mutex_lock(&e->lock);
    while (e->count == 0 && r == 0)
        r = eventfd_wait(e, f);
    if (r == 0) {
        value = e->semaphore ? 1 : e->count;
        e->count -= value;
    }
    mutex_unlock(&e->lock);
    if (r < 0)
        return r;
    waitq_wake(&e->wait, POLLOUT | POLLWRNORM);
    return uio_copy_to(u, &value, sizeof(value)) == sizeof(value) ? (ssize_t)sizeof(value)
                                                                  : -EFAULT;
}

static ssize_t counter_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct eventfd *e = f->private;
    uint64_t value;
    int r = 0;

    (void)t;
    (void)pos;
    if (u->left < sizeof(value))
        return -EINVAL;
    if (uio_copy_from(u, &value, sizeof(value)) != sizeof(value))
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    mutex_lock(&e->lock);
    while (UINT64_MAX - 1 - e->count < value && r == 0)
        r = eventfd_wait(e, f);
    if (r == 0)
        e->count += value;
    mutex_unlock(&e->lock);
    if (r < 0)
        return r;
    waitq_wake(&e->wait, POLLIN | POLLRDNORM);
    return sizeof(value);
}

static uint32_t eventfd_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct eventfd *e = f->private;
    uint32_t events;

    (void)t;
    poll_wait(pt, &e->wait);
    mutex_lock(&e->lock);
    events = eventfd_events(e);
    mutex_unlock(&e->lock);
    return events;
}

static void eventfd_release(struct file *f)
{
    free(f->private);
}

static void eventfd_show_fdinfo(struct file *f, void *buf)
{
    struct eventfd *e = f->private;

    (void)buf_printf(buf, "eventfd-count: %16lx\neventfd-id: %lu\n", e->count, e->id);
}

static const struct file_ops eventfd_ops = {
    .read = counter_read,
    .write = counter_write,
    .poll = eventfd_poll,
    .release = eventfd_release,
    .show_fdinfo = eventfd_show_fdinfo,
    .name = "anon_inode:[eventfd]",
};

int eventfd_new(unsigned initial, unsigned flags, struct file **ret)
{
    static uint64_t last_id;
    struct eventfd *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return -ENOMEM;
    e->count = initial;
    e->semaphore = flags & EFD_SEMAPHORE;
    e->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
    waitq_init(&e->wait);
    r = file_new(&eventfd_ops, O_RDWR | (flags & O_NONBLOCK), e, ret);
    if (r < 0)
        free(e);
    return r;
}
