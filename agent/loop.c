#include "agent/loop.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

int loop_init(struct loop *l)
{
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->stop = false;
    list_init(&l->timers);
    return l->epoll_fd < 0 ? -errno : 0;
}

void loop_fini(struct loop *l)
{
    close_fd(&l->epoll_fd);
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

uint64_t loop_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int next_timeout(const struct loop *l)
{
    struct loop_timer *t = list_first(&l->timers, struct loop_timer, link);
    uint64_t now;

    if (!t)
        return -1;
    now = loop_now_ms();
    if (t->at_ms <= now)
        return 0;
    return (int)MIN(t->at_ms - now, (uint64_t)INT_MAX);
}

static void run_due_timers(struct loop *l)
{
    uint64_t now = loop_now_ms();
    struct loop_timer *t;

    while ((t = list_first(&l->timers, struct loop_timer, link)) && t->at_ms <= now) {
        list_remove(&t->link);
        t->fn(t->ctx);
    }
}

int loop_run(struct loop *l)
{
    while (!l->stop) {
        struct epoll_event ev;
        /* One event at a time: a callback may free any other source without leaving a stale
         * pointer in a batch. */
        int n = epoll_wait(l->epoll_fd, &ev, 1, next_timeout(l));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 1) {
            struct loop_fd *s = ev.data.ptr;

            s->fn(s->ctx, ev.events);
        }
        run_due_timers(l);
    }
    return 0;
}

int loop_fd_add(struct loop *l, struct loop_fd *s, int fd, uint32_t events,
                void (*fn)(void *ctx, uint32_t events), void *ctx)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};

    *s = (struct loop_fd){.fd = fd, .fn = fn, .ctx = ctx};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return -errno;
    s->loop = l;
    return 0;
}

int loop_fd_modify(struct loop_fd *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};

    if (!s->loop)
        return -EINVAL;
    return epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_remove(struct loop_fd *s)
{
    if (s->loop)
        (void)epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    s->loop = NULL;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms, void (*fn)(void *ctx),
                    void *ctx)
{
    struct loop_timer *after;

    loop_timer_cancel(t);
    t->at_ms = loop_now_ms() + delay_ms;
    t->fn = fn;
    t->ctx = ctx;
    list_for_each_entry (after, &l->timers, link)
        if (after->at_ms > t->at_ms)
            break;
    list_insert(after->link.prev, &after->link, &t->link);
}

void loop_timer_cancel(struct loop_timer *t)
{
    if (t->link.next)
        list_remove(&t->link);
}

static void child_event(void *ctx, uint32_t events)
{
    struct loop_child *c = ctx;
    int status = -1;

    (void)events;
    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        status = -1;
    loop_child_remove(c);
    c->fn(c->ctx, status);
}

int loop_child_add(struct loop *l, struct loop_child *c, pid_t pid,
                   void (*fn)(void *ctx, int status), void *ctx)
{
    int r;

    c->pid = pid;
    c->fn = fn;
    c->ctx = ctx;
    c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (c->pidfd < 0) {
        c->pid = 0;
        return -errno;
    }
    r = loop_fd_add(l, &c->source, c->pidfd, EPOLLIN, child_event, c);
    if (r < 0) {
        close_fd(&c->pidfd);
        c->pid = 0;
    }
    return r;
}

void loop_child_remove(struct loop_child *c)
{
    if (c->pid == 0)
        return;
    loop_fd_remove(&c->source);
    close_fd(&c->pidfd);
    c->pid = 0;
}

int loop_child_signal(const struct loop_child *c, int sig)
{
    if (c->pid == 0)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, c->pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

static void signal_event(void *ctx, uint32_t events)
{
    struct loop_signals *s = ctx;
    struct signalfd_siginfo si;

    (void)events;
    if (read(s->fd, &si, sizeof(si)) == sizeof(si))
        s->fn(s->ctx, (int)si.ssi_signo);
}

int loop_signals_add(struct loop *l, struct loop_signals *s, const int *signals, size_t n,
                     void (*fn)(void *ctx, int sig), void *ctx)
{
    sigset_t set;
    int r;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < n; i++)
        (void)sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    s->fn = fn;
    s->ctx = ctx;
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->fd < 0)
        return -errno;
    r = loop_fd_add(l, &s->source, s->fd, EPOLLIN, signal_event, s);
    if (r < 0)
        close_fd(&s->fd);
    return r;
}
