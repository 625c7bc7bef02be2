/* What inotify has to tell and nobody has read yet: bounded for an instance and for the sandbox. */
#include "runtime/sentry/fs/event/inotify_queue.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

struct event {
    struct list link;
    struct inotify_event e; /* with the padded name behind it */
};

enum { QUEUED_MAX = 1 << 18 };
static unsigned g_n_queued; /* events of all queues; atomic */

void event_queue_init(struct event_queue *q)
{
    list_init(&q->events);
    waitq_init(&q->wait);
}

void event_queue_fini(struct event_queue *q)
{
    struct event *ev, *next;

    (void)__atomic_fetch_sub(&g_n_queued, q->n, __ATOMIC_RELAXED);
    list_for_each_entry_safe (ev, next, &q->events, link)
        free(ev);
}

static bool same_event(const struct event *a, const struct event *b)
{
    return a->e.wd == b->e.wd && a->e.mask == b->e.mask && a->e.cookie == b->e.cookie &&
           a->e.len == b->e.len && memcmp(a->e.name, b->e.name, a->e.len) == 0;
}

static struct event *event_new(int wd, uint32_t mask, uint32_t cookie, const char *name)
{
    size_t size = name ? strlen(name) + 1 : 0;
    size_t padded = (size + sizeof(struct inotify_event) - 1) & ~(sizeof(struct inotify_event) - 1);
    struct event *ev = calloc(1, sizeof(*ev) + padded);

    if (!ev)
        return NULL;
    ev->e =
        (struct inotify_event){.wd = wd, .mask = mask, .cookie = cookie, .len = (uint32_t)padded};
    if (name)
        memcpy(ev->e.name, name, size);
    return ev;
}

void event_queue_put(struct event_queue *q, int wd, uint32_t mask, uint32_t cookie,
                     const char *name)
{
    bool full = __atomic_load_n(&q->n, __ATOMIC_RELAXED) >= INOTIFY_QUEUE_MAX ||
                __atomic_load_n(&g_n_queued, __ATOMIC_RELAXED) >= QUEUED_MAX;
    struct event *ev =
        full ? event_new(-1, IN_Q_OVERFLOW, 0, NULL) : event_new(wd, mask, cookie, name);

    if (!ev)
        return; /* out of memory is an overflow that can't even be told */
    mutex_lock(&q->lock);
    if (!list_empty(&q->events) && same_event(list_entry(q->events.prev, struct event, link), ev)) {
        mutex_unlock(&q->lock);
        free(ev);
        return;
    }
    list_append(&q->events, &ev->link);
    q->n++;
    (void)__atomic_fetch_add(&g_n_queued, 1, __ATOMIC_RELAXED);
    q->bytes += sizeof(ev->e) + ev->e.len;
    mutex_unlock(&q->lock);
    waitq_wake(&q->wait, POLLIN | POLLRDNORM);
}

static struct event *take(struct event_queue *q, size_t room)
{
    struct event *ev = list_first(&q->events, struct event, link);

    if (!ev || sizeof(ev->e) + ev->e.len > room)
        return NULL;
    list_remove(&ev->link);
    q->n--;
    (void)__atomic_fetch_sub(&g_n_queued, 1, __ATOMIC_RELAXED);
    q->bytes -= sizeof(ev->e) + ev->e.len;
    return ev;
}

/* Waits for the first event. Lock held. */
static int wait_event(struct event_queue *q, bool nonblock)
{
    int r = 0;

    while (list_empty(&q->events) && r == 0)
        r = nonblock ? -EAGAIN : wait_interruptible(&q->wait, &q->lock, DEADLINE_NONE);
    return r;
}

ssize_t event_queue_read(struct event_queue *q, struct uio *u, bool nonblock)
{
    ssize_t done = 0, r;

    mutex_lock(&q->lock);
    r = wait_event(q, nonblock);
    while (r >= 0) {
        struct event *ev = take(q, u->left);
        ssize_t size;

        if (!ev) {
            r = done ? 0 : -EINVAL;
            break;
        }
        size = (ssize_t)(sizeof(ev->e) + ev->e.len);
        r = uio_copy_to(u, &ev->e, (size_t)size) == size ? 0 : -EFAULT;
        free(ev);
        if (r < 0)
            break;
        done += size;
        if (list_empty(&q->events))
            break;
    }
    mutex_unlock(&q->lock);
    return done ? done : r;
}

bool event_queue_any(struct event_queue *q)
{
    bool any;

    mutex_lock(&q->lock);
    any = !list_empty(&q->events);
    mutex_unlock(&q->lock);
    return any;
}

size_t event_queue_bytes(struct event_queue *q)
{
    size_t n;

    mutex_lock(&q->lock);
    n = q->bytes;
    mutex_unlock(&q->lock);
    return n;
}
