/*
 * One thread a container: it learns of stubs that died (their pidfd becomes readable) and wakes
 * whoever waits for them, and it keeps the pool of stubs filled, off the guest's way.
 */
#include "common/cleanup.h"
#include "runtime/guard.h"
#include "runtime/platform/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_STACK = 65536, EVENTS = 16, DOOM_MS = 500 };

/* The watcher's reference to the space ends here: no event of a removed pidfd can follow. Where
 * processes end, others begin. */
static void gone(struct plat *p, struct plat_space *s)
{
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, s->pidfd, NULL);
    space_died(s);
    space_fill_spare(p);
    plat_space_put(s);
}

static bool pool_is_full(struct plat *p)
{
    bool full;

    (void)pthread_mutex_lock(&p->lock);
    full = p->n_pool >= p->want_pool || atomic_load(&p->stop);
    (void)pthread_mutex_unlock(&p->lock);
    return full;
}

static void fill_pool(struct plat *p)
{
    struct plat_space *s = NULL;

    while (!pool_is_full(p) && space_begin(p, &s) == 0) {
        (void)pthread_mutex_lock(&p->lock);
        if (p->n_pool < POOL_MAX && !atomic_load(&p->stop))
            p->pool[p->n_pool++] = TAKE_PTR(s);
        (void)pthread_mutex_unlock(&p->lock);
        if (s)
            plat_space_put(s);
        s = NULL;
    }
}

static int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void plat_doom(struct plat_thread *th)
{
    struct plat_space *s = th->space;
    struct plat *p = s->plat;
    bool fresh;

    atomic_store(&th->doomed, true);
    (void)pthread_mutex_lock(&p->lock);
    fresh = !s->listed;
    if (fresh) {
        s->listed = true;
        s->next_doomed = p->doomed;
        p->doomed = plat_space_get(s);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (fresh)
        watch_kick(p);
}

/* One and the same answer has been owed for too long; says so once in that time. */
static bool overdue(struct plat_thread *th, int64_t now)
{
    unsigned n = atomic_load(&th->n_waits);
    bool late;

    if (!atomic_load(&th->waits)) {
        th->owed_since = 0;
        return false;
    }
    if (th->owed_since && th->owed == n && now - th->owed_since < DOOM_MS)
        return false;
    late = th->owed_since && th->owed == n;
    th->owed = n;
    th->owed_since = now;
    return late;
}

enum doomed { DOOMED_NONE, DOOMED_SOME, DOOMED_OVERDUE };

static enum doomed doomed_threads(struct plat_space *s, int64_t now)
{
    enum doomed r = DOOMED_NONE;

    if (atomic_load(&s->dead))
        return r;
    (void)pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n_indices; i++) {
        struct plat_thread *th = s->threads[i];

        if (th && atomic_load(&th->doomed))
            r = overdue(th, now) || r == DOOMED_OVERDUE ? DOOMED_OVERDUE : DOOMED_SOME;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

/* The next space with something to be done, with a reference: its threads are overdue, or none are
 * left and it is off the list. The lock is held all the while: one that gets doomed threads right
 * now must not be forgotten. */
static struct plat_space *next_due(struct plat *p, bool *ret_overdue)
{
    struct plat_space *s, **at = &p->doomed;
    int64_t now = now_ms();

    (void)pthread_mutex_lock(&p->lock);
    for (; (s = *at); at = &s->next_doomed) {
        enum doomed d = doomed_threads(s, now);

        *ret_overdue = d == DOOMED_OVERDUE;
        if (d == DOOMED_OVERDUE) {
            (void)plat_space_get(s);
            break;
        }
        if (d == DOOMED_NONE) {
            *at = s->next_doomed;
            s->listed = false;
            break;
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return s;
}

/* Kills what is overdue. Returns how long the watcher may sleep. */
static int sweep_doomed(struct plat *p)
{
    struct plat_space *s;
    bool late = false;
    int wait;

    while ((s = next_due(p, &late))) {
        if (late && GUARDED(LATE_ANSWERS))
            plat_space_kill(s);
        plat_space_put(s);
    }
    (void)pthread_mutex_lock(&p->lock);
    wait = p->doomed ? DOOM_MS / 5 : -1;
    (void)pthread_mutex_unlock(&p->lock);
    return wait;
}

static void *watch(void *arg)
{
    int wait = -1;
    struct plat *p = arg;
    struct epoll_event ev[EVENTS];
    uint64_t count;

    while (!p->orphan && !(atomic_load(&p->stop) && !atomic_load(&p->refs))) {
        int n = epoll_wait(p->epoll_fd, ev, EVENTS, wait);

        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr)
                gone(p, ev[i].data.ptr);
            else if (read(p->event_fd, &count, sizeof(count)) > 0)
                fill_pool(p);
        }
        wait = sweep_doomed(p);
    }
    if (p->orphan) {
        (void)pthread_detach(pthread_self());
        plat_destroy(p);
    }
    return NULL;
}

int watch_start(struct plat *p)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    pthread_attr_t attr;
    sigset_t all, old;
    int r;

    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->epoll_fd < 0 || p->event_fd < 0 ||
        epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->event_fd, &ev) < 0)
        return -errno;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, WATCH_STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&p->watcher, &attr, watch, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return -r;
}

int watch_add(struct plat_space *s)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

    (void)plat_space_get(s);
    if (epoll_ctl(s->plat->epoll_fd, EPOLL_CTL_ADD, s->pidfd, &ev) < 0) {
        int r = -errno;

        atomic_fetch_sub(&s->refs, 1);
        return r;
    }
    return 0;
}

void watch_kick(struct plat *p)
{
    uint64_t one = 1;
    ssize_t r = write(p->event_fd, &one, sizeof(one));

    (void)r;
}

void watch_stop(struct plat *p)
{
    atomic_store(&p->stop, true);
    watch_kick(p);
    (void)pthread_join(p->watcher, NULL);
}
