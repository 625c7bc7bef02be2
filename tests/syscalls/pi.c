/* Locks with priority inheritance, as far as nobody's priority matters. */
#include "t.h"
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/prctl.h>

static uint32_t word;
static atomic_int inside, most, total;

static long futex(uint32_t *at, int op, const struct timespec *ts)
{
    return syscall(SYS_futex, at, op, 0, ts, NULL, 0);
}

static struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec ts;

    MUST(clock_gettime(clock, &ts));
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

static void *holds(void *arg)
{
    atomic_int *stage = arg;

    R(futex(&word, FUTEX_LOCK_PI_PRIVATE, NULL));
    atomic_store(stage, 1);
    while (atomic_load(stage) == 1)
        (void)usleep(1000);
    return (void *)futex(&word, FUTEX_UNLOCK_PI_PRIVATE, NULL);
}

static void operations(void)
{
    struct timespec soon;
    atomic_int stage = 0;
    void *unlocked;
    pthread_t t;

    SECTION("operations");
    R(futex(&word, FUTEX_LOCK_PI, NULL));
    TRUTH("the word is our number", word == (uint32_t)gettid());
    R(futex(&word, FUTEX_LOCK_PI, NULL));
    R(futex(&word, FUTEX_TRYLOCK_PI, NULL));
    R(futex(&word, FUTEX_UNLOCK_PI, NULL));
    R(word);
    R(futex(&word, FUTEX_UNLOCK_PI, NULL));
    R(futex(&word, FUTEX_TRYLOCK_PI, NULL));
    R(futex(&word, FUTEX_UNLOCK_PI, NULL));
    R(futex((uint32_t *)((char *)&word + 1), FUTEX_LOCK_PI, NULL));
    R(futex(bad_address, FUTEX_LOCK_PI, NULL));
    R(futex(bad_address, FUTEX_UNLOCK_PI, NULL));
    MUST(pthread_create(&t, NULL, holds, &stage));
    while (!atomic_load(&stage))
        (void)usleep(1000);
    R(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, NULL));
    R(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, NULL));
    soon = in_ms(CLOCK_REALTIME, 30);
    R(futex(&word, FUTEX_LOCK_PI_PRIVATE, &soon));
    soon = in_ms(CLOCK_MONOTONIC, 30);
    R(futex(&word, FUTEX_LOCK_PI2_PRIVATE, &soon));
    soon.tv_nsec = -1;
    R(futex(&word, FUTEX_LOCK_PI_PRIVATE, &soon));
    atomic_store(&stage, 2);
    R(futex(&word, FUTEX_LOCK_PI_PRIVATE, NULL));
    (void)pthread_join(t, &unlocked);
    R(unlocked);
    TRUTH("ours", (word & FUTEX_TID_MASK) == (uint32_t)gettid());
    R(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, NULL));
    R(word);
}

static void enter(pthread_mutex_t *m)
{
    int n;

    MUST(-(pthread_mutex_lock(m) != 0));
    n = atomic_fetch_add(&inside, 1) + 1;
    if (n > atomic_load(&most))
        atomic_store(&most, n);
    if (total++ % 64 == 0)
        (void)usleep(10);
    atomic_fetch_sub(&inside, 1);
    MUST(-(pthread_mutex_unlock(m) != 0));
}

static void *contends(void *arg)
{
    for (int i = 0; i < 500; i++)
        enter(arg);
    return NULL;
}

static void nothing(int sig)
{
    (void)sig;
}

static void initialise(pthread_mutex_t *m, int shared, int robust)
{
    pthread_mutexattr_t a;

    (void)pthread_mutexattr_init(&a);
    R(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    R(pthread_mutexattr_setpshared(&a, shared));
    R(pthread_mutexattr_setrobust(&a, robust));
    R(pthread_mutex_init(m, &a));
}

/* Four threads, now and then hit by signals. */
static void contention(void)
{
    pthread_mutex_t m;
    pthread_t t[4];

    SECTION("contention");
    initialise(&m, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED);
    (void)signal(SIGUSR1, nothing);
    for (int i = 0; i < 4; i++)
        MUST(pthread_create(&t[i], NULL, contends, &m));
    for (int i = 0; i < 50; i++) {
        (void)usleep(200);
        (void)syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
        (void)kill(getpid(), SIGUSR1);
    }
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    R(most);
    R(total);
}

static void *robs(void *arg)
{
    (void)pthread_mutex_lock(arg);
    return NULL;
}

static void processes(void)
{
    pthread_mutex_t *m =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *count = (int *)(m + 1), st;
    pthread_t t;

    SECTION("processes, and owners that die");
    initialise(m, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 3; i++)
        if (!fork()) {
            for (int k = 0; k < 300; k++) {
                (void)pthread_mutex_lock(m);
                ++*count;
                (void)pthread_mutex_unlock(m);
            }
            _exit(0);
        }
    while (wait(&st) > 0)
        ;
    R(*count);
    MUST(pthread_create(&t, NULL, robs, m));
    (void)pthread_join(t, NULL);
    TRUTH("EOWNERDEAD", pthread_mutex_lock(m) == EOWNERDEAD);
    R(pthread_mutex_consistent(m));
    R(pthread_mutex_unlock(m));
    if (!fork()) {
        (void)pthread_mutex_lock(m);
        (void)usleep(50000);
        _exit(0);
    }
    while (!*(volatile int *)m)
        (void)usleep(1000);
    TRUTH("EOWNERDEAD while waiting", pthread_mutex_lock(m) == EOWNERDEAD);
    R(pthread_mutex_unlock(m));
    TRUTH("ENOTRECOVERABLE", pthread_mutex_lock(m) == ENOTRECOVERABLE);
}

int main(void)
{
    (void)alarm(20);
    operations();
    contention();
    processes();
    return 0;
}
