/* epoll: level and edge, one-shot, nesting, files that go away, host descriptors, blocking. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/fs/event/event.h"
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/vfs/poll.h"
#include "runtime/sentry/vfs/select.h"
#include "tests/unit/sentry_event/fake_task.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

static struct task *t;
static struct file *ep, *ev;

static void setup(void)
{
    t = fake_task();
    cr_assert_eq(epoll_new(&ep), 0);
    cr_assert_eq(eventfd_new(0, O_NONBLOCK, &ev), 0);
}

static ssize_t add(struct file *f, uint64_t n)
{
    struct uio u;

    uio_init_kernel(&u, &n, sizeof(n));
    return f->ops->write(t, f, &u, NULL);
}

static ssize_t take(struct file *f, uint64_t *n)
{
    struct uio u;

    uio_init_kernel(&u, n, sizeof(*n));
    return f->ops->read(t, f, &u, NULL);
}

static int watch(struct file *e, int op, int fd, struct file *f, uint32_t events)
{
    struct epoll_event x = {.events = events, .data.u64 = (uint64_t)fd};

    return epoll_control(t, e, op, fd, f, &x);
}

static long collect(struct file *e, struct epoll_event *out)
{
    return epoll_collect(t, e, out, 8, 0);
}

TestSuite(epoll, .init = setup, .timeout = 20);

Test(epoll, level_reports_until_taken)
{
    struct epoll_event out[8];
    uint64_t n;

    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), 0);
    cr_assert_eq(collect(ep, out), 0);
    cr_assert_eq(add(ev, 1), 8);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(collect(ep, out), 1);
        cr_assert_eq(out[0].data.u64, 5);
        cr_assert_eq(out[0].events, EPOLLIN);
    }
    cr_assert_eq(take(ev, &n), 8);
    cr_assert_eq(collect(ep, out), 0);
}

Test(epoll, edge_reports_once_an_event)
{
    struct epoll_event out[8];

    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN | (uint32_t)EPOLLET), 0);
    cr_assert_eq(add(ev, 1), 8);
    cr_assert_eq(collect(ep, out), 1);
    cr_assert_eq(collect(ep, out), 0);
    cr_assert_eq(add(ev, 1), 8);
    cr_assert_eq(collect(ep, out), 1);
}

Test(epoll, one_shot_needs_arming)
{
    struct epoll_event out[8];

    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN | EPOLLONESHOT), 0);
    cr_assert_eq(add(ev, 1), 8);
    cr_assert_eq(collect(ep, out), 1);
    cr_assert_eq(add(ev, 1), 8);
    cr_assert_eq(collect(ep, out), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_MOD, 5, ev, EPOLLIN | EPOLLONESHOT), 0);
    cr_assert_eq(collect(ep, out), 1);
}

Test(epoll, control_errors)
{
    cr_assert_eq(watch(ep, EPOLL_CTL_MOD, 5, ev, EPOLLIN), -ENOENT);
    cr_assert_eq(watch(ep, EPOLL_CTL_DEL, 5, ev, EPOLLIN), -ENOENT);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), -EEXIST);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 6, ev, EPOLLIN), 0, "same file, other number");
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 7, ep, EPOLLIN), -EINVAL);
    cr_assert_eq(watch(ev, EPOLL_CTL_ADD, 7, ep, EPOLLIN), -EINVAL);
}

Test(epoll, nested_ones_pass_events_on)
{
    struct epoll_event out[8];
    struct file *outer;
    uint64_t n;

    cr_assert_eq(epoll_new(&outer), 0);
    cr_assert_eq(watch(outer, EPOLL_CTL_ADD, 3, ep, EPOLLIN), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), 0);
    cr_assert_eq(collect(outer, out), 0);
    cr_assert_eq(add(ev, 1), 8);
    cr_assert_eq(collect(outer, out), 1);
    cr_assert_eq(out[0].data.u64, 3);
    cr_assert_eq(take(ev, &n), 8);
    cr_assert_eq(collect(outer, out), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 9, outer, EPOLLIN), -ELOOP);
}

Test(epoll, nesting_is_bounded)
{
    struct file *e[8];
    int i;

    e[0] = ep;
    for (i = 1; i < 8; i++) {
        cr_assert_eq(epoll_new(&e[i]), 0);
        if (watch(e[i], EPOLL_CTL_ADD, i, e[i - 1], EPOLLIN) == -ELOOP)
            break;
    }
    cr_assert_eq(i, 5, "%d levels", i); /* EP_MAX_NESTS: as on Linux */
}

Test(epoll, a_closed_file_is_forgotten)
{
    struct epoll_event out[8];

    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), 0);
    cr_assert_eq(add(ev, 1), 8);
    file_put(ev);
    cr_assert_eq(collect(ep, out), 0);
    file_put(ep);
}

/* A file over a host descriptor. */
static uint32_t host_poll(struct task *task, struct file *f, struct poll_table *pt)
{
    struct pollfd p = {.fd = (int)(intptr_t)f->private, .events = POLLIN};

    (void)task;
    poll_host(pt, p.fd, POLLIN);
    return poll(&p, 1, 0) > 0 ? (uint32_t)p.revents : 0;
}
static const struct file_ops host_ops = {.poll = host_poll, .name = "host"};

static void *write_later(void *arg)
{
    uint64_t one = 1;

    (void)usleep(50000);
    (void)!write((int)(intptr_t)arg, &one, sizeof(one));
    return NULL;
}

Test(epoll, host_descriptors_wake_sleepers)
{
    struct epoll_event out[8];
    int fd = eventfd(0, EFD_NONBLOCK);
    struct file *a, *b;
    pthread_t thread;
    uint64_t n;

    cr_assert_eq(file_new(&host_ops, O_RDWR, (void *)(intptr_t)fd, &a), 0);
    cr_assert_eq(file_new(&host_ops, O_RDWR, (void *)(intptr_t)fd, &b), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 3, a, EPOLLIN), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 4, b, EPOLLIN), 0);
    cr_assert_eq(pthread_create(&thread, NULL, write_later, (void *)(intptr_t)fd), 0);
    cr_assert_geq(epoll_collect(t, ep, out, 8, DEADLINE_NONE), 1);
    cr_assert_eq(collect(ep, out), 2);
    cr_assert_eq(read(fd, &n, sizeof(n)), 8);
    cr_assert_eq(collect(ep, out), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, write_later, (void *)(intptr_t)fd), 0);
    cr_assert_geq(epoll_collect(t, ep, out, 8, DEADLINE_NONE), 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    file_put(a);
    file_put(b);
    cr_assert_eq(collect(ep, out), 0);
}

static void *add_later(void *arg)
{
    (void)fake_task();
    (void)usleep(50000);
    (void)add(arg, 1);
    return NULL;
}

Test(epoll, a_nested_one_gets_host_descriptors_later)
{
    struct epoll_event out[8];
    int fd = eventfd(0, EFD_NONBLOCK);
    struct file *outer, *a;
    pthread_t thread;

    cr_assert_eq(epoll_new(&outer), 0);
    cr_assert_eq(watch(outer, EPOLL_CTL_ADD, 3, ep, EPOLLIN), 0);
    cr_assert_eq(file_new(&host_ops, O_RDWR, (void *)(intptr_t)fd, &a), 0);
    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 4, a, EPOLLIN), 0);
    cr_assert_eq(pthread_create(&thread, NULL, write_later, (void *)(intptr_t)fd), 0);
    cr_assert_eq(epoll_collect(t, outer, out, 8, DEADLINE_NONE), 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(epoll, eventfd_wakes_sleepers_and_time_ends_them)
{
    struct epoll_event out[8];
    pthread_t thread;

    cr_assert_eq(watch(ep, EPOLL_CTL_ADD, 5, ev, EPOLLIN), 0);
    cr_assert_eq(epoll_collect(t, ep, out, 8, deadline_after(20000000)), 0);
    cr_assert_eq(pthread_create(&thread, NULL, add_later, ev), 0);
    cr_assert_eq(epoll_collect(t, ep, out, 8, DEADLINE_NONE), 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(epoll, timerfd_wakes_poll)
{
    struct itimerspec it = {.it_value = {.tv_nsec = 30000000},
                            .it_interval = {.tv_nsec = 10000000}};
    struct poll_entry e = {.events = POLLIN};
    uint64_t n;

    cr_assert_eq(timerfd_new(CLOCK_MONOTONIC, O_NONBLOCK, &e.file), 0);
    cr_assert_eq(poll_entries(t, &e, 1, deadline_after(10000000)), 0);
    cr_assert_eq(timerfd_set(e.file, 0, &it, NULL), 0);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(poll_entries(t, &e, 1, deadline_after(2000000000)), 1);
        cr_assert_eq(take(e.file, &n), 8);
        cr_assert_geq(n, 1);
    }
    file_put(e.file);
}
