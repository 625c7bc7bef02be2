/*
 * The timer thread. It sleeps on a futex word until the earliest deadline; arming an earlier one
 * changes the word and wakes it. Started at the first use and never ended. The heap's storage is
 * bounded by the number of timers that exist, which their owners limit.
 */
#include "runtime/sentry/time/timer.h"

#include "common/cleanup.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TIMER_STACK = 65536 };

static struct timers {
    struct mutex lock; /* guards all below; leaf */
    struct ktimer **heap;
    size_t n, capacity;
    struct ktimer *firing; /* whose callback runs now */
    pthread_t thread;
    bool running;
    uint32_t kick;   /* futex: changes when the earliest deadline does */
    uint32_t rounds; /* futex: changes when a callback is done */
} g_timers;

static void place(size_t i, struct ktimer *k)
{
    g_timers.heap[i] = k;
    k->slot = i + 1;
}

static void sift_up(size_t i, struct ktimer *k)
{
    while (i && g_timers.heap[(i - 1) / 2]->deadline > k->deadline) {
        place(i, g_timers.heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(i, k);
}

static void sift_down(size_t i, struct ktimer *k)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < g_timers.n &&
            g_timers.heap[child + 1]->deadline < g_timers.heap[child]->deadline)
            child++;
        if (child >= g_timers.n || g_timers.heap[child]->deadline >= k->deadline)
            break;
        place(i, g_timers.heap[child]);
        i = child;
    }
    place(i, k);
}

static void heap_remove(struct ktimer *k)
{
    size_t i = k->slot - 1;
    struct ktimer *last = g_timers.heap[--g_timers.n];

    k->slot = 0;
    if (last == k)
        return;
    if (i && g_timers.heap[(i - 1) / 2]->deadline > last->deadline)
        sift_up(i, last);
    else
        sift_down(i, last);
}

static int heap_grow(void)
{
    size_t capacity = g_timers.capacity ? g_timers.capacity * 2 : 64;
    struct ktimer **h;

    if (g_timers.n < g_timers.capacity)
        return 0;
    h = realloc(g_timers.heap, capacity * sizeof(struct ktimer *));
    if (!h)
        return -ENOMEM;
    g_timers.heap = h;
    g_timers.capacity = capacity;
    return 0;
}

/* Runs what is due. Lock held; dropped around callbacks. */
static void fire_due(void)
{
    while (g_timers.n && g_timers.heap[0]->deadline <= time_monotonic()) {
        struct ktimer *k = g_timers.heap[0];

        heap_remove(k);
        g_timers.firing = k;
        mutex_unlock(&g_timers.lock);
        k->fire(k);
        mutex_lock(&g_timers.lock);
        g_timers.firing = NULL;
        g_timers.rounds++;
        (void)syscall(SYS_futex, &g_timers.rounds, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    }
}

static void *timer_thread(void *arg)
{
    (void)arg;
    mutex_lock(&g_timers.lock);
    for (;;) {
        nsec_t deadline;
        struct timespec ts;
        uint32_t kick;

        fire_due();
        deadline = g_timers.n ? g_timers.heap[0]->deadline : DEADLINE_NONE;
        kick = g_timers.kick;
        mutex_unlock(&g_timers.lock);
        ts = ns_to_timespec(deadline);
        (void)syscall(SYS_futex, &g_timers.kick, FUTEX_WAIT_BITSET_PRIVATE, kick,
                      deadline == DEADLINE_NONE ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
        mutex_lock(&g_timers.lock);
    }
    return NULL;
}

/* Lock held. All signals stay blocked: they are for the tasks' threads. */
static int start_thread(void)
{
    pthread_attr_t attr;
    sigset_t all, old;
    int r;

    if (g_timers.running)
        return 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, TIMER_STACK);
    r = pthread_create(&g_timers.thread, &attr, timer_thread, NULL);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    g_timers.running = r == 0;
    return r == 0 ? 0 : -ENOMEM;
}

void ktimer_init(struct ktimer *k, void (*fire)(struct ktimer *k))
{
    *k = (struct ktimer){.fire = fire};
}

static int arm_locked(struct ktimer *k, nsec_t deadline)
{
    int r = start_thread();

    if (r == 0)
        r = heap_grow();
    if (r < 0)
        return r;
    k->deadline = deadline;
    g_timers.n++;
    sift_up(g_timers.n - 1, k);
    if (k->slot == 1) {
        (void)__atomic_fetch_add(&g_timers.kick, 1, __ATOMIC_RELEASE);
        (void)syscall(SYS_futex, &g_timers.kick, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return 0;
}

int ktimer_arm(struct ktimer *k, nsec_t deadline)
{
    int r = 0;

    mutex_lock(&g_timers.lock);
    if (k->slot)
        heap_remove(k);
    if (deadline != DEADLINE_NONE)
        r = arm_locked(k, deadline);
    mutex_unlock(&g_timers.lock);
    return r;
}

bool ktimer_cancel_sync(struct ktimer *k)
{
    bool armed = false;

    mutex_lock(&g_timers.lock);
    for (;;) {
        uint32_t rounds = g_timers.rounds;

        if (k->slot) {
            heap_remove(k);
            armed = true;
        }
        if (g_timers.firing != k)
            break;
        mutex_unlock(&g_timers.lock);
        (void)syscall(SYS_futex, &g_timers.rounds, FUTEX_WAIT_PRIVATE, rounds, NULL, NULL, 0);
        mutex_lock(&g_timers.lock);
    }
    mutex_unlock(&g_timers.lock);
    return armed;
}

nsec_t ktimer_deadline(struct ktimer *k)
{
    nsec_t deadline;

    mutex_lock(&g_timers.lock);
    deadline = k->slot ? k->deadline : DEADLINE_NONE;
    mutex_unlock(&g_timers.lock);
    return deadline;
}
