/*
 * Wait queues and the sleep of tasks (wait.h). A task sleeps on its own word, or, if host
 * descriptors are involved, in ppoll(2) with the wake signal unblocked for just that call: so no
 * wake-up can be lost between check and sleep.
 */
#include "runtime/sentry/wait.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum wake_state { AWAKE, NOTIFIED, SLEEPS_ON_WORD, SLEEPS_IN_POLL };

void waitq_init(struct waitq *q)
{
    q->lock = (struct mutex)MUTEX_INIT;
    list_init(&q->waiters);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
    mutex_lock(&q->lock);
    w->queue = q;
    list_append(&q->waiters, &w->link);
    mutex_unlock(&q->lock);
}

void waitq_remove(struct waiter *w)
{
    struct waitq *q = w->queue;

    if (!q)
        return;
    mutex_lock(&q->lock);
    list_remove(&w->link);
    w->queue = NULL;
    mutex_unlock(&q->lock);
}

static void wake(struct waitq *q, uint32_t events, bool one)
{
    /* An end or an error is everybody's business. */
    bool plain = events && !(events & (POLLHUP | POLLERR | POLLRDHUP)), done = false;
    struct waiter *w, *next;

    if (!waitq_has_waiters(q))
        return;
    mutex_lock(&q->lock);
    list_for_each_entry_safe (w, next, &q->waiters, link) {
        bool sole = w->exclusive && (one || (w->always_exclusive && plain));

        if (sole && done)
            continue;
        done |= w->wake(w, events) && sole;
    }
    mutex_unlock(&q->lock);
}

void waitq_wake(struct waitq *q, uint32_t events)
{
    wake(q, events, false);
}

void waitq_wake_one(struct waitq *q, uint32_t events)
{
    wake(q, events, true);
}

static bool task_waiter_wake(struct waiter *w, uint32_t events)
{
    (void)events;
    task_wake(container_of(w, struct task_waiter, w)->task);
    return true;
}

void task_waiter_init(struct task_waiter *w, struct task *t)
{
    list_init(&w->w.link);
    w->w.queue = NULL;
    w->w.wake = task_waiter_wake;
    w->w.exclusive = w->w.always_exclusive = false;
    w->task = t;
}

void task_sleep_begin(struct task *t)
{
    __atomic_store_n(&t->wake_word, AWAKE, __ATOMIC_SEQ_CST);
}

void task_wake(struct task *t)
{
    switch (__atomic_exchange_n(&t->wake_word, NOTIFIED, __ATOMIC_SEQ_CST)) {
    case SLEEPS_ON_WORD:
        (void)syscall(SYS_futex, &t->wake_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        break;
    case SLEEPS_IN_POLL:
        (void)syscall(SYS_tgkill, getpid(), t->host_tid, TASK_WAKE_SIGNAL);
        break;
    }
}

/* 0 or -ETIMEDOUT, -ENOSYS-free: the word leaves `state` only by task_wake. */
static int sleep_on_word(struct task *t, nsec_t deadline)
{
    struct timespec ts = ns_to_timespec(deadline);

    while (__atomic_load_n(&t->wake_word, __ATOMIC_ACQUIRE) == SLEEPS_ON_WORD) {
        long r = syscall(SYS_futex, &t->wake_word, FUTEX_WAIT_BITSET_PRIVATE, SLEEPS_ON_WORD,
                         deadline == DEADLINE_NONE ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);

        if (r < 0 && errno == ETIMEDOUT)
            return -ETIMEDOUT;
    }
    return 0;
}

static int sleep_in_poll(struct task *t, struct pollfd *host, unsigned n, nsec_t deadline)
{
    sigset_t unblocked;
    struct timespec ts;
    int r;

    if (deadline != DEADLINE_NONE) {
        nsec_t left = deadline - time_monotonic();

        ts = ns_to_timespec(left > 0 ? left : 0);
    }
    (void)sigfillset(&unblocked);
    (void)sigdelset(&unblocked, TASK_WAKE_SIGNAL);
    r = ppoll(host, n, deadline == DEADLINE_NONE ? NULL : &ts, &unblocked);
    if (r == 0 && __atomic_load_n(&t->wake_word, __ATOMIC_ACQUIRE) == SLEEPS_IN_POLL)
        return -ETIMEDOUT;
    return 0;
}

int task_sleep(struct task *t, struct pollfd *host, unsigned n_host, nsec_t deadline)
{
    uint32_t awake = AWAKE;
    int r;

    if (signal_pending(t))
        return -ERESTARTSYS;
    if (!__atomic_compare_exchange_n(&t->wake_word, &awake,
                                     n_host ? SLEEPS_IN_POLL : SLEEPS_ON_WORD, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return 0;
    /* A signal sent between the check above and the exchange set the flag first and then found us
     * awake. */
    if (t->th)
        plat_blocking(t->th); /* its guest thread need not spin for the answer */
    if (signal_pending(t))
        r = 0;
    else if (n_host)
        r = sleep_in_poll(t, host, n_host, deadline);
    else
        r = sleep_on_word(t, deadline);
    __atomic_store_n(&t->wake_word, AWAKE, __ATOMIC_SEQ_CST);
    if (signal_pending(t))
        return -ERESTARTSYS;
    if (t->th && t->mm && __atomic_load_n(&t->mm->sample_wanted, __ATOMIC_RELAXED))
        mm_sample(t);
    return r;
}

void task_sleep_uninterruptible(struct task *t)
{
    uint32_t awake = AWAKE;

    if (__atomic_compare_exchange_n(&t->wake_word, &awake, SLEEPS_ON_WORD, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        (void)sleep_on_word(t, DEADLINE_NONE);
    __atomic_store_n(&t->wake_word, AWAKE, __ATOMIC_SEQ_CST);
}

static int wait_on(struct waitq *q, struct mutex *lock, nsec_t deadline, bool exclusive)
{
    struct task *t = current_task();
    struct task_waiter w;
    int r;

    task_waiter_init(&w, t);
    w.w.exclusive = exclusive;
    task_sleep_begin(t);
    waitq_add(q, &w.w);
    mutex_unlock(lock);
    r = task_sleep(t, NULL, 0, deadline);
    waitq_remove(&w.w);
    mutex_lock(lock);
    return r;
}

int wait_interruptible(struct waitq *q, struct mutex *lock, nsec_t deadline)
{
    return wait_on(q, lock, deadline, false);
}

int wait_interruptible_exclusive(struct waitq *q, struct mutex *lock, nsec_t deadline)
{
    return wait_on(q, lock, deadline, true);
}

int wait_host_fds(struct pollfd *fds, unsigned n, nsec_t deadline)
{
    struct task *t = current_task();

    for (;;) {
        int r;

        task_sleep_begin(t);
        r = task_sleep(t, fds, n, deadline);
        if (r < 0)
            return r;
        for (unsigned i = 0; i < n; i++)
            if (fds[i].revents)
                return 0;
        /* Woken for nothing, or by a signal that was taken back: look once without sleeping. */
        if (poll(fds, n, 0) > 0)
            return 0;
    }
}
