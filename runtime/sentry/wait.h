#pragma once
/*
 * Sleeping. One primitive for whatever blocks: a task registers on wait queues (and, for files that
 * are host descriptors, on those), checks its condition, and sleeps until woken, signalled or out
 * of time.
 *
 *     mutex_lock(&pipe->lock);
 *     while (pipe_empty(pipe)) {
 *         r = wait_interruptible(&pipe->readers, &pipe->lock, deadline);   // drops and retakes the
 * lock if (r < 0) break;                                  // -ERESTARTSYS, -ETIMEDOUT
 *     }
 *
 * Wake-ups may be spurious: always re-check. Wait queues are guarded by their own lock (leaf rank);
 * wake callbacks run under it and must not sleep or take any other lock of higher rank.
 */
#include "common/list.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/time/time.h"

#include <poll.h>

struct task;

struct waitq {
    struct mutex lock;
    struct list waiters;
};

struct waiter {
    struct list link; /* guarded by queue->lock */
    struct waitq *queue;
    /* Called under queue->lock with the POLL* events that became true (0 = unknown, take all).
     * Return true if this waiter consumed an exclusive wake-up. */
    bool (*wake)(struct waiter *w, uint32_t events);
    bool exclusive;        /* wake at most one of these for each waitq_wake_one */
    bool always_exclusive; /* and for each waitq_wake that tells of no end (EPOLLEXCLUSIVE) */
};

#define WAITQ_INIT(name)                                                                           \
    {                                                                                              \
        MUTEX_INIT, LIST_INIT((name).waiters)                                                      \
    }
void waitq_init(struct waitq *q);
void waitq_add(struct waitq *q, struct waiter *w); /* w->wake and w->exclusive are set */
void waitq_remove(struct waiter *w);               /* safe if not queued */
void waitq_wake(struct waitq *q, uint32_t events); /* all */
void waitq_wake_one(struct waitq *q,
                    uint32_t events); /* all non-exclusive ones and one exclusive one */
static inline bool waitq_has_waiters(const struct waitq *q)
{
    return __atomic_load_n(&q->waiters.next, __ATOMIC_SEQ_CST) != &q->waiters;
}

/* A waiter that wakes a task. */
struct task_waiter {
    struct waiter w;
    struct task *task;
};
void task_waiter_init(struct task_waiter *w, struct task *t);

/* Sleeps for the current task on q; lock is held by the caller, released while asleep.
 * 0 (woken, perhaps for nothing), -ERESTARTSYS (signal pending), -ETIMEDOUT. */
int wait_interruptible(struct waitq *q, struct mutex *lock, nsec_t deadline);
/* The same, woken by waitq_wake_one only one at a time (accept, thundering herds). */
int wait_interruptible_exclusive(struct waitq *q, struct mutex *lock, nsec_t deadline);
/* Blocks until one of the host descriptors has one of its events: 0, -ERESTARTSYS, -ETIMEDOUT.
 * Nothing may be locked. fds[].revents are filled. */
int wait_host_fds(struct pollfd *fds, unsigned n, nsec_t deadline);

/* The pieces the above are made of. task_sleep_begin forgets earlier wake-ups: register, begin,
 * check the condition, sleep; whatever wakes after begin makes task_sleep return at once. */
void task_sleep_begin(struct task *t);
int task_sleep(struct task *t, struct pollfd *host, unsigned n_host, nsec_t deadline);
/* Ignores signals but for being woken: stops. */
void task_sleep_uninterruptible(struct task *t);
void task_wake(struct task *t); /* any thread */
