/*
 * timerfd_create(2) over the kernel timers. A periodic timer fires once and waits until it was
 * read; the periods in between are counted by the clock then, so that an unread timer costs
 * nothing.
 *
 * Limits: absolute times of the wall clock are converted when set; a later jump of the host's clock
 * neither moves nor cancels them.
 */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/event.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/time/timer.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>

struct timerfd {
    struct mutex lock;
    clockid_t clock; /* immutable */
    nsec_t next;     /* monotonic time of the next expiry that was not counted; NONE: disarmed */
    nsec_t interval; /* 0: once */
    uint64_t ticks;  /* expired and not read */
    int settime_flags;
    struct ktimer timer;
    struct waitq wait;
};

/* Counts what expired until now and arms the kernel timer for the next. Lock held. */
static int timerfd_update(struct timerfd *e)
{
    nsec_t now = time_monotonic();

    if (e->next != DEADLINE_NONE && e->next <= now) {
        uint64_t n = e->interval ? (uint64_t)((now - e->next) / e->interval) + 1 : 1;

        e->ticks += n;
        e->next = e->interval ? e->next + (nsec_t)n * e->interval : DEADLINE_NONE;
    }
    /* Unread ticks: nobody needs to be told again. */
    return ktimer_arm(&e->timer, e->ticks ? DEADLINE_NONE : e->next);
}

static void timerfd_fire(struct ktimer *k)
{
    struct timerfd *e = container_of(k, struct timerfd, timer);

    mutex_lock(&e->lock);
    (void)timerfd_update(e);
    mutex_unlock(&e->lock);
    waitq_wake(&e->wait, POLLIN | POLLRDNORM);
}

static ssize_t timerfd_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct timerfd *e = f->private;
    uint64_t ticks;
    int r = 0;

    (void)t;
    (void)pos;
    if (u->left < sizeof(ticks))
        return -EINVAL;
    mutex_lock(&e->lock);
    (void)timerfd_update(e);
    while (!e->ticks && r == 0) {
        r = file_nonblock(f) ? -EAGAIN : wait_interruptible(&e->wait, &e->lock, e->next);
        if (r == -ETIMEDOUT)
            r = 0;
        (void)timerfd_update(e);
    }
    ticks = e->ticks;
    if (ticks) {
        e->ticks = 0;
        r = 0;
        (void)timerfd_update(e);
    }
    mutex_unlock(&e->lock);
    if (r < 0)
        return r;
    return uio_copy_to(u, &ticks, sizeof(ticks)) == sizeof(ticks) ? (ssize_t)sizeof(ticks)
                                                                  : -EFAULT;
}

static uint32_t timerfd_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct timerfd *e = f->private;
    uint32_t events;

    (void)t;
    poll_wait(pt, &e->wait);
    mutex_lock(&e->lock);
    (void)timerfd_update(e);
    events = e->ticks ? POLLIN | POLLRDNORM : 0;
    mutex_unlock(&e->lock);
    return events;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *e = f->private;

    (void)ktimer_cancel_sync(&e->timer);
    free(e);
}

static struct itimerspec timerfd_left(const struct timerfd *e)
{
    nsec_t left = 0;

    if (e->next != DEADLINE_NONE) {
        left = e->next - time_monotonic();
        left = MAX(left, 1);
    }
    return (struct itimerspec){ns_to_timespec(e->interval), ns_to_timespec(left)};
}

static void timerfd_show_fdinfo(struct file *f, void *buf)
{
    struct timerfd *e = f->private;
    struct itimerspec left;

    mutex_lock(&e->lock);
    left = timerfd_left(e);
    (void)buf_printf(buf,
                     "clockid: %d\nticks: %lu\nsettime flags: 0%o\nit_value: (%ld, %ld)\n"
                     "it_interval: (%ld, %ld)\n",
                     e->clock, e->ticks, (unsigned)e->settime_flags, left.it_value.tv_sec,
                     left.it_value.tv_nsec, left.it_interval.tv_sec, left.it_interval.tv_nsec);
    mutex_unlock(&e->lock);
}

static const struct file_ops timerfd_ops = {
    .read = timerfd_read,
    .poll = timerfd_poll,
    .release = timerfd_release,
    .show_fdinfo = timerfd_show_fdinfo,
    .name = "anon_inode:[timerfd]",
};

int timerfd_new(clockid_t clock, unsigned flags, struct file **ret)
{
    struct timerfd *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return -ENOMEM;
    e->clock = clock;
    e->next = DEADLINE_NONE;
    ktimer_init(&e->timer, timerfd_fire);
    waitq_init(&e->wait);
    r = file_new(&timerfd_ops, O_RDWR | (flags & O_NONBLOCK), e, ret);
    if (r < 0)
        free(e);
    return r;
}

/* When value expires first, on the monotonic clock. */
static nsec_t first_expiry(const struct timerfd *e, int flags, const struct itimerspec *value)
{
    nsec_t v = timespec_to_ns(&value->it_value), at;

    if (!v)
        return DEADLINE_NONE;
    if (!(flags & TFD_TIMER_ABSTIME))
        return deadline_after(v);
    if (__builtin_sub_overflow(v, time_clock(e->clock) - time_monotonic(), &at))
        return DEADLINE_NONE;
    return at;
}

int timerfd_set(struct file *f, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    struct timerfd *e = f->private;
    int r;

    if (f->ops != &timerfd_ops)
        return -EINVAL;
    mutex_lock(&e->lock);
    (void)timerfd_update(e);
    if (old)
        *old = timerfd_left(e);
    e->ticks = 0;
    e->settime_flags = flags;
    e->interval = timespec_to_ns(&value->it_interval);
    e->next = first_expiry(e, flags, value);
    r = timerfd_update(e);
    mutex_unlock(&e->lock);
    waitq_wake(&e->wait, 0);
    return r;
}

int timerfd_get(struct file *f, struct itimerspec *ret)
{
    struct timerfd *e = f->private;

    if (f->ops != &timerfd_ops)
        return -EINVAL;
    mutex_lock(&e->lock);
    (void)timerfd_update(e);
    *ret = timerfd_left(e);
    mutex_unlock(&e->lock);
    return 0;
}
