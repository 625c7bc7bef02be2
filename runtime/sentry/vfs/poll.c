/*
 * Sleeping until files are ready: vfs_wait for one, poll_entries for poll(2) and select(2).
 *
 * The first pass over the files registers on their wait queues and host descriptors, later passes
 * only look. The task forgets old wake-ups before each pass, so that whatever changes during it
 * makes the sleep return at once. Registrations are undone when the call ends; files stay
 * referenced by the caller until then, which keeps their queues alive.
 */
#include "runtime/sentry/vfs/select.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>

enum { INLINE_WAITERS = 4, CHUNK_WAITERS = 60, INLINE_HOST = 4 };

struct waiter_chunk {
    struct waiter_chunk *next;
    unsigned n;
    struct task_waiter waiters[CHUNK_WAITERS];
};

struct sleeper {
    struct poll_table pt;
    struct task *task;
    struct task_waiter waiters[INLINE_WAITERS];
    unsigned n_waiters, n_host, host_capacity;
    struct waiter_chunk *chunks;
    struct pollfd inline_host[INLINE_HOST], *host;
    bool failed; /* out of memory while registering */
};

static struct task_waiter *sleeper_waiter(struct sleeper *s)
{
    struct waiter_chunk *c = s->chunks;

    if (s->n_waiters < INLINE_WAITERS)
        return &s->waiters[s->n_waiters++];
    if (!c || c->n == CHUNK_WAITERS) {
        c = malloc(sizeof(*c));
        if (!c)
            return NULL;
        c->n = 0;
        c->next = s->chunks;
        s->chunks = c;
    }
    return &c->waiters[c->n++];
}

static void sleeper_add_queue(struct poll_table *pt, struct waitq *q)
{
    struct sleeper *s = container_of(pt, struct sleeper, pt);
    struct task_waiter *w = sleeper_waiter(s);

    if (!w) {
        s->failed = true;
        return;
    }
    task_waiter_init(w, s->task);
    waitq_add(q, &w->w);
}

static bool sleeper_grow_host(struct sleeper *s)
{
    unsigned capacity = s->host_capacity * 2;
    struct pollfd *h = malloc(capacity * sizeof(*h));

    if (!h)
        return false;
    for (unsigned i = 0; i < s->n_host; i++)
        h[i] = s->host[i];
    if (s->host != s->inline_host)
        free(s->host);
    s->host = h;
    s->host_capacity = capacity;
    return true;
}

static void sleeper_add_host(struct poll_table *pt, int host_fd, uint32_t events)
{
    struct sleeper *s = container_of(pt, struct sleeper, pt);

    if (s->n_host == s->host_capacity && !sleeper_grow_host(s)) {
        s->failed = true;
        return;
    }
    s->host[s->n_host++] = (struct pollfd){
        .fd = host_fd, .events = (short)(events & (pt->events | POLLERR | POLLHUP))};
}

static void sleeper_init(struct sleeper *s, struct task *t)
{
    s->pt = (struct poll_table){sleeper_add_queue, sleeper_add_host, 0};
    s->task = t;
    s->n_waiters = s->n_host = 0;
    s->host_capacity = INLINE_HOST;
    s->chunks = NULL;
    s->host = s->inline_host;
    s->failed = false;
}

static void sleeper_fini(struct sleeper *s)
{
    struct waiter_chunk *c, *next;

    for (unsigned i = 0; i < s->n_waiters; i++)
        waitq_remove(&s->waiters[i].w);
    for (c = s->chunks; c; c = next) {
        next = c->next;
        for (unsigned i = 0; i < c->n; i++)
            waitq_remove(&c->waiters[i].w);
        free(c);
    }
    if (s->host != s->inline_host)
        free(s->host);
}

/* One look at all entries; registers as long as s is given and nothing is ready. */
static long scan(struct task *t, struct poll_entry *e, unsigned n, struct sleeper *s)
{
    long ready = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!e[i].file)
            continue;
        if (s)
            s->pt.events = e[i].events;
        e[i].revents = vfs_poll(t, e[i].file, s ? &s->pt : NULL) &
                       (e[i].events | POLLERR | POLLHUP | POLLNVAL);
        if (e[i].revents) {
            ready++;
            s = NULL;
        }
    }
    return ready;
}

static long scan_and_sleep(struct task *t, struct poll_entry *e, unsigned n, nsec_t deadline,
                           struct sleeper *s)
{
    for (bool first = true;; first = false) {
        long ready;
        int r;

        task_sleep_begin(t);
        ready = scan(t, e, n, first ? s : NULL);
        if (ready)
            return ready;
        if (s->failed)
            return -ENOMEM;
        r = task_sleep(t, s->host, s->n_host, deadline);
        if (r == -ETIMEDOUT)
            return scan(t, e, n, NULL);
        if (r < 0)
            return r;
    }
}

long poll_entries(struct task *t, struct poll_entry *e, unsigned n, nsec_t deadline)
{
    struct sleeper s;
    long r;

    if (deadline != DEADLINE_NONE && deadline <= time_monotonic())
        return scan(t, e, n, NULL);
    sleeper_init(&s, t);
    r = scan_and_sleep(t, e, n, deadline, &s);
    sleeper_fini(&s);
    return r;
}

int vfs_wait(struct task *t, struct file *f, uint32_t events, nsec_t deadline)
{
    struct poll_entry e = {.file = f, .events = events};
    long r = poll_entries(t, &e, 1, deadline);

    if (r < 0)
        return (int)r;
    return r ? 0 : -ETIMEDOUT;
}
