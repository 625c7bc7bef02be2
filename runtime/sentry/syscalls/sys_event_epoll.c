/* epoll_create, epoll_ctl, epoll_wait and their variants. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/deadline.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(struct epoll_event) == 12, "packed on x86-64");

/* More than this many events are left for the next call. */
enum { EVENTS_MAX = 128 };

static long create(struct task *t, unsigned flags)
{
    struct file *f;
    int r;

    if (flags & ~(unsigned)EPOLL_CLOEXEC)
        return -EINVAL;
    r = epoll_new(&f);
    return r < 0 ? r : install_file(t, f, flags & EPOLL_CLOEXEC);
}

long sys_epoll_create(struct task *t, const struct sysargs *a)
{
    return (int)a->v[0] > 0 ? create(t, 0) : -EINVAL;
}

long sys_epoll_create1(struct task *t, const struct sysargs *a)
{
    return create(t, (unsigned)a->v[0]);
}

/* By this one descriptor of this one task, nobody can tell when a watch changes before its next
 * call. The table's reference, and the caller's. */
static bool is_own(const struct file *epf)
{
    return __atomic_load_n(&epf->ref.n, __ATOMIC_ACQUIRE) == 2;
}

static long control(struct task *t, int epfd, int op, int fd, const struct epoll_event *event)
{
    struct file *epf = fd_get(t, epfd), *target = fd_get(t, fd);
    long r = -EBADF;

    if (epf && target)
        r = epoll_control(t, epf, op, fd, target, event);
    if (r == 0 && is_own(epf) && !(event->events & EPOLLEXCLUSIVE))
        fd_watched(t, epfd, fd, op != EPOLL_CTL_DEL);
    else if (r == 0)
        plat_watch_drop_all(plat_space_of(t->th)); /* what it knows is no longer true */
    file_put(epf);
    file_put(target);
    return r;
}

void epoll_told(struct task *t, int epfd, int op, int fd, const struct epoll_event *event)
{
    (void)control(t, epfd, op, fd, event);
}

void epoll_told_all(struct task *t, int epfd)
{
    struct file *epf = fd_get(t, epfd);

    if (!epf || !is_own(epf))
        plat_watch_drop_all(plat_space_of(t->th));
    file_put(epf);
}

long sys_epoll_ctl(struct task *t, const struct sysargs *a)
{
    struct epoll_event event = {0};
    int op = (int)a->v[1];

    if (op != EPOLL_CTL_DEL && copy_in(t, &event, a->v[3], sizeof(event)) < 0)
        return -EFAULT;
    return control(t, (int)a->v[0], op, (int)a->v[2], &event);
}

static long wait_events(struct task *t, int fd, gaddr_t out, int max, nsec_t deadline)
{
    struct epoll_event some[EVENTS_MAX], *events = some;
    struct file *epf;
    unsigned room;
    long n = -EINVAL;

    if (max <= 0 || max > INT32_MAX / (int)sizeof(struct epoll_event))
        return -EINVAL;
    epf = fd_get(t, fd);
    if (!epf)
        return -EBADF;
    if (epoll_is(epf)) {
        /* As many as may be ready, so that nobody is told of a part only. */
        room = MIN((unsigned)max, MAX(epoll_watches(epf), 1U));
        if (room > EVENTS_MAX && !(events = malloc(room * sizeof(*events)))) {
            events = some;
            room = EVENTS_MAX;
        }
        n = epoll_collect(t, epf, events, MIN((unsigned)max, MAX(room, (unsigned)EVENTS_MAX)),
                          deadline);
    }
    file_put(epf);
    if (n > 0 && copy_out(t, out, events, (size_t)n * sizeof(*events)) < 0)
        n = -EFAULT;
    if (events != some)
        free(events);
    return n == -ERESTARTSYS ? -EINTR : n;
}

long sys_epoll_wait(struct task *t, const struct sysargs *a)
{
    return wait_events(t, (int)a->v[0], a->v[1], (int)a->v[2], deadline_from_ms((int)a->v[3]));
}

long sys_epoll_pwait(struct task *t, const struct sysargs *a)
{
    int r = temporary_mask_from(t, a->v[4], a->v[5]);

    return r < 0 ? r : sys_epoll_wait(t, a);
}

long sys_epoll_pwait2(struct task *t, const struct sysargs *a)
{
    nsec_t deadline;
    int r = deadline_from_timespec(t, a->v[3], &deadline);

    if (r == 0)
        r = temporary_mask_from(t, a->v[4], a->v[5]);
    return r < 0 ? r : wait_events(t, (int)a->v[0], a->v[1], (int)a->v[2], deadline);
}
