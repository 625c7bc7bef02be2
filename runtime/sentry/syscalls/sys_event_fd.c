/* eventfd, timerfd, signalfd. */
#include "runtime/sentry/fs/event/event.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static long make_eventfd(struct task *t, unsigned initial, unsigned flags)
{
    struct file *f;
    int r;

    if (flags & ~(unsigned)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    r = eventfd_new(initial, flags, &f);
    return r < 0 ? r : install_file(t, f, flags & EFD_CLOEXEC);
}

long sys_eventfd(struct task *t, const struct sysargs *a)
{
    return make_eventfd(t, (unsigned)a->v[0], 0);
}

long sys_eventfd2(struct task *t, const struct sysargs *a)
{
    return make_eventfd(t, (unsigned)a->v[0], (unsigned)a->v[1]);
}

/* ---- timerfd --------------------------------------------------------------------------------- */
long sys_timerfd_create(struct task *t, const struct sysargs *a)
{
    clockid_t clock = (clockid_t)a->v[0];
    unsigned flags = (unsigned)a->v[1];
    struct file *f;
    int r;

    if (flags & ~(unsigned)(TFD_CLOEXEC | TFD_NONBLOCK))
        return -EINVAL;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
        break;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
        return -EPERM; /* needs CAP_WAKE_ALARM, which no sandbox has */
    default:
        return -EINVAL;
    }
    r = timerfd_new(clock, flags, &f);
    return r < 0 ? r : install_file(t, f, flags & TFD_CLOEXEC);
}

static bool timespec_ok(const struct timespec *ts)
{
    return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

long sys_timerfd_settime(struct task *t, const struct sysargs *a)
{
    const int known = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    struct itimerspec value, old;
    struct file *f;
    long r;

    if (copy_in(t, &value, a->v[2], sizeof(value)) < 0)
        return -EFAULT;
    if ((int)a->v[1] & ~known || !timespec_ok(&value.it_value) || !timespec_ok(&value.it_interval))
        return -EINVAL;
    f = fd_get(t, (int)a->v[0]);
    if (!f)
        return -EBADF;
    r = timerfd_set(f, (int)a->v[1], &value, &old);
    file_put(f);
    if (r == 0 && a->v[3] && copy_out(t, a->v[3], &old, sizeof(old)) < 0)
        r = -EFAULT;
    return r;
}

long sys_timerfd_gettime(struct task *t, const struct sysargs *a)
{
    struct file *f = fd_get(t, (int)a->v[0]);
    struct itimerspec value;
    long r;

    if (!f)
        return -EBADF;
    r = timerfd_get(f, &value);
    file_put(f);
    return r < 0 ? r : copy_out(t, a->v[1], &value, sizeof(value));
}

/* ---- signalfd -------------------------------------------------------------------------------- */
static long change_signalfd(struct task *t, int fd, l_sigset_t mask)
{
    struct file *f = fd_get(t, fd);
    long r;

    if (!f)
        return -EBADF;
    r = signalfd_set_mask(t, f, mask);
    file_put(f);
    return r < 0 ? r : fd;
}

static long do_signalfd(struct task *t, int fd, gaddr_t addr, uint64_t size, unsigned flags)
{
    l_sigset_t mask;
    struct file *f;
    int r;

    if (flags & ~(unsigned)(SFD_CLOEXEC | SFD_NONBLOCK) || size != sizeof(mask))
        return -EINVAL;
    if (copy_in(t, &mask, addr, sizeof(mask)) < 0)
        return -EFAULT;
    if (fd != -1)
        return change_signalfd(t, fd, mask);
    r = signalfd_new(mask, flags, &f);
    return r < 0 ? r : install_file(t, f, flags & SFD_CLOEXEC);
}

long sys_signalfd(struct task *t, const struct sysargs *a)
{
    return do_signalfd(t, (int)a->v[0], a->v[1], a->v[2], 0);
}

long sys_signalfd4(struct task *t, const struct sysargs *a)
{
    return do_signalfd(t, (int)a->v[0], a->v[1], a->v[2], (unsigned)a->v[3]);
}
