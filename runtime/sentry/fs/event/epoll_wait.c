/*
 * Collecting an epoll's events. The ready list says where to look; each item on it is polled, and
 * stays on the list if it is level-triggered and was ready, as in Linux.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/epoll_internal.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>

enum { HOST_BATCH = 64 };

/* Moves what the host's descriptors have to say to the ready list. Lock held: items that host
 * events point to exist. */
static void drain_host(struct epoll *ep)
{
    struct epoll_event e[HOST_BATCH];
    int n;

    if (ep->host_fd < 0)
        return;
    do {
        n = epoll_wait(ep->host_fd, e, HOST_BATCH, 0);
        for (int i = 0; i < n; i++) {
            struct epoll_item *item = e[i].data.ptr;

            if (item_events(item) & ~EPOLL_FLAGS)
                (void)epoll_mark_ready(item);
        }
    } while (n == HOST_BATCH);
}

/* Takes the first item off `from`. */
static struct epoll_item *pop(struct epoll *ep, struct list *from)
{
    struct epoll_item *item;

    mutex_lock(&ep->ready_lock);
    item = list_first(from, struct epoll_item, ready_link);
    if (item)
        list_remove(&item->ready_link);
    mutex_unlock(&ep->ready_lock);
    return item;
}

/* list_a's nodes go in front of list_b's; list_a becomes empty. */
static void splice_front(struct list *a, struct list *b)
{
    if (list_empty(a))
        return;
    a->prev->next = b->next;
    b->next->prev = a->prev;
    b->next = a->next;
    a->next->prev = b;
    list_init(a);
}

/* One round over the items that were ready when it began. Lock held. */
static unsigned collect_locked(struct task *t, struct epoll *ep, struct epoll_event *out,
                               unsigned max)
{
    struct list round = LIST_INIT(round);
    struct epoll_item *item;
    unsigned n = 0;

    mutex_lock(&ep->ready_lock);
    splice_front(&ep->ready, &round);
    mutex_unlock(&ep->ready_lock);
    while (n < max && (item = pop(ep, &round))) {
        uint32_t events;

        if (__atomic_exchange_n(&item->rehook, false, __ATOMIC_ACQUIRE))
            epoll_rehook(t, item);
        events = epoll_item_poll(t, item, NULL);
        if (!events)
            continue;
        out[n].events = events;
        out[n++].data.u64 = item->data;
        if (item_events(item) & EPOLLONESHOT)
            __atomic_store_n(&item->events, item_events(item) & EPOLL_FLAGS, __ATOMIC_RELAXED);
        else if (!(item_events(item) & (uint32_t)EPOLLET))
            (void)epoll_mark_ready(item);
    }
    mutex_lock(&ep->ready_lock);
    splice_front(&round, &ep->ready);
    mutex_unlock(&ep->ready_lock);
    return n;
}

static unsigned collect(struct task *t, struct epoll *ep, struct epoll_event *out, unsigned max)
{
    unsigned n;

    mutex_lock(&ep->lock);
    drain_host(ep);
    n = collect_locked(t, ep, out, max);
    mutex_unlock(&ep->lock);
    return n;
}

/* What one waiter leaves behind, or could not take, is for the next. */
static void pass_on(struct epoll *ep)
{
    bool more;

    mutex_lock(&ep->ready_lock);
    more = !list_empty(&ep->ready);
    mutex_unlock(&ep->ready_lock);
    if (more && waitq_has_waiters(&ep->wait))
        waitq_wake_one(&ep->wait, POLLIN | POLLRDNORM);
}

static long sleep_and_collect(struct task *t, struct epoll *ep, struct epoll_event *out,
                              unsigned max, nsec_t deadline)
{
    for (;;) {
        struct pollfd host = {.events = POLLIN};
        unsigned n;
        int r;

        task_sleep_begin(t);
        host.fd = __atomic_load_n(&ep->host_fd, __ATOMIC_ACQUIRE);
        n = collect(t, ep, out, max);
        if (n)
            return n;
        r = task_sleep(t, &host, host.fd >= 0, deadline);
        if (r == -ETIMEDOUT)
            return collect(t, ep, out, max);
        if (r < 0)
            return r;
    }
}

long epoll_collect(struct task *t, struct file *epf, struct epoll_event *out, unsigned max,
                   nsec_t deadline)
{
    struct epoll *ep = epf->private;
    struct task_waiter w;
    long r = collect(t, ep, out, max);

    if (r || (deadline != DEADLINE_NONE && deadline <= time_monotonic()))
        return r;
    task_waiter_init(&w, t);
    w.w.exclusive = true;
    waitq_add(&ep->wait, &w.w);
    r = sleep_and_collect(t, ep, out, max, deadline);
    waitq_remove(&w.w);
    pass_on(ep);
    return r;
}

/* Is an item ready? Drops from the list those that turn out not to be. Lock held. */
static bool any_ready_locked(struct task *t, struct epoll *ep)
{
    struct list round = LIST_INIT(round);
    struct epoll_item *item;
    bool found = false;

    mutex_lock(&ep->ready_lock);
    splice_front(&ep->ready, &round);
    mutex_unlock(&ep->ready_lock);
    while (!found && (item = pop(ep, &round))) {
        if (__atomic_exchange_n(&item->rehook, false, __ATOMIC_ACQUIRE))
            epoll_rehook(t, item);
        found = epoll_item_poll(t, item, NULL);
        if (found)
            (void)epoll_mark_ready(item);
    }
    mutex_lock(&ep->ready_lock);
    splice_front(&round, &ep->ready);
    mutex_unlock(&ep->ready_lock);
    return found;
}

uint32_t epoll_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct epoll *ep = f->private;
    bool ready;

    poll_wait(pt, &ep->wait);
    mutex_lock(&ep->lock);
    if (pt) {
        /* A watch is told when there comes to be a host epoll; a sleep has to know it now. */
        int host = epoll_registers(pt) ? ep->host_fd : epoll_host_fd_locked(ep);

        if (host >= 0)
            poll_host(pt, host, POLLIN);
    }
    drain_host(ep);
    ready = any_ready_locked(t, ep);
    mutex_unlock(&ep->lock);
    return ready ? POLLIN | POLLRDNORM : 0;
}
