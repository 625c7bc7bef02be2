/* Threads and futexes. */
#include "t.h"
#include <linux/futex.h>
#include <semaphore.h>
#include <stdatomic.h>

static long futex(uint32_t *word, int op, uint32_t val, const struct timespec *ts, uint32_t *word2,
                  uint32_t val3)
{
    return syscall(SYS_futex, word, op, val, ts, word2, val3);
}

static uint32_t words[4];
static atomic_int woken, counter;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static __thread int local = 5;

static void *sleeper(void *arg)
{
    uint32_t *w = arg;

    if (futex(w, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0)
        woken++;
    return NULL;
}

/* Until n wait there: requeueing them to where they are counts them. */
static void await_waiters(uint32_t *w, int private, int n)
{
    for (int i = 0; i < 1000 && futex(w, FUTEX_CMP_REQUEUE | private, 0, (void *)100, w, *w) < n;
         i++)
        sleep_ms(10);
}

static void operations(void)
{
    struct timespec ts = {0, 20000000}, at;
    pthread_t t[4];

    SECTION("futex");
    R(futex(words, FUTEX_WAIT, 1, NULL, NULL, 0));
    R(futex(words, FUTEX_WAIT, 0, &ts, NULL, 0));
    R(futex(words, FUTEX_WAKE, 1, NULL, NULL, 0));
    R(futex((uint32_t *)((char *)words + 1), FUTEX_WAIT, 0, &ts, NULL, 0));
    R(futex(bad_address, FUTEX_WAIT, 0, &ts, NULL, 0));
    R(futex(words, 99, 0, NULL, NULL, 0));
    ts.tv_nsec = 2000000000;
    R(futex(words, FUTEX_WAIT, 0, &ts, NULL, 0));
    MUST(clock_gettime(CLOCK_REALTIME, &at));
    at.tv_nsec += 20000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    R(futex(words, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &at, NULL, 1));
    R(futex(words, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        MUST(pthread_create(&t[i], NULL, sleeper, words));
    await_waiters(words, FUTEX_PRIVATE_FLAG, 4);
    R(futex(words, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    R(futex(words, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, words + 1, 9));
    R(futex(words, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, words + 1, 0));
    R(futex(words, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
    R(futex(words + 1, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        MUST(pthread_join(t[i], NULL));
    R(woken);
    R(futex(words, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, words + 2,
            FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 0)));
    R(words[2]);
    uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (!pid)
        _exit(futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0) ? 1 : 0);
    await_waiters(shared, 0, 1);
    R(futex(shared, FUTEX_WAKE, 5, NULL, NULL, 0));
    int st;
    MUST(waitpid(pid, &st, 0));
    wait_status("woken across processes", st);
    pid = fork();
    if (!pid) {
        (void)alarm(1);
        _exit(futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0) ? 1 : 0);
    }
    MUST(waitpid(pid, &st, 0));
    wait_status("killed in a wait", st);
}

static void *adder(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        (void)pthread_mutex_lock(&mutex);
        counter = counter + 1;
        (void)pthread_mutex_unlock(&mutex);
    }
    local = 6;
    return (void *)(long)local;
}

static void *waiter(void *arg)
{
    (void)pthread_mutex_lock(&mutex);
    while (!*(bool *)arg)
        (void)pthread_cond_wait(&cond, &mutex);
    woken++;
    (void)pthread_mutex_unlock(&mutex);
    return NULL;
}

static void *robber(void *arg)
{
    (void)pthread_mutex_lock(arg);
    return NULL;
}

static void library(void)
{
    pthread_t t[8];
    void *r;
    bool go = false;
    struct timespec at;
    pthread_mutexattr_t ma;
    pthread_mutex_t robust;

    SECTION("pthreads");
    for (int i = 0; i < 8; i++)
        MUST(pthread_create(&t[i], NULL, adder, NULL));
    for (int i = 0; i < 8; i++)
        MUST(pthread_join(t[i], &r));
    R(counter);
    printf("%ld %d\n", (long)r, local);
    woken = 0;
    for (int i = 0; i < 8; i++)
        MUST(pthread_create(&t[i], NULL, waiter, &go));
    sleep_ms(30);
    (void)pthread_mutex_lock(&mutex);
    go = true;
    (void)pthread_cond_broadcast(&cond);
    (void)pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 8; i++)
        MUST(pthread_join(t[i], NULL));
    R(woken);
    MUST(clock_gettime(CLOCK_REALTIME, &at));
    at.tv_sec++;
    (void)pthread_mutex_lock(&mutex);
    R(pthread_cond_timedwait(&cond, &mutex, &at) == ETIMEDOUT);
    (void)pthread_mutex_unlock(&mutex);
    (void)pthread_mutexattr_init(&ma);
    (void)pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
    (void)pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutex_init(&robust, &ma);
    MUST(pthread_create(&t[0], NULL, robber, &robust));
    MUST(pthread_join(t[0], NULL));
    R(pthread_mutex_lock(&robust) == EOWNERDEAD);
    R(pthread_mutex_consistent(&robust));
    R(pthread_mutex_unlock(&robust));
    pthread_mutex_t *across =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)pthread_mutex_init(across, &ma);
    CHILD("dies holding it", (void)pthread_mutex_lock(across));
    R(pthread_mutex_lock(across) == EOWNERDEAD);
    sem_t *sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(sem_init(sem, 1, 0));
    pid_t pid = fork();
    if (!pid) {
        sleep_ms(30);
        _exit(sem_post(sem));
    }
    R(sem_wait(sem));
    MUST(waitpid(pid, NULL, 0));
}

static void *exits(void *arg)
{
    if (arg)
        _exit(12);
    sleep_ms(50);
    syscall(SYS_exit, 3);
    return NULL;
}

static void *forever(void *arg)
{
    (void)arg;
    for (;;)
        (void)pause();
    return NULL;
}

static volatile pid_t handler_tid;
static void who(int sig)
{
    (void)sig;
    handler_tid = gettid();
}

static void *directed(void *arg)
{
    *(pid_t *)arg = gettid();
    while (!handler_tid)
        sleep_ms(1);
    return NULL;
}

static void *masked(void *arg)
{
    sigset_t s;

    (void)arg;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &s, NULL);
    while (!handler_tid)
        sleep_ms(1);
    return NULL;
}

static void *execs(void *arg)
{
    (void)execl("/proc/self/exe", "x", "after", NULL);
    return arg;
}

static void processes(void)
{
    pthread_t t, u;

    SECTION("threads and processes");
    R(gettid() == getpid());
    CHILD("exit_group in a thread", {
        MUST(pthread_create(&t, NULL, exits, (void *)1));
        (void)forever(NULL);
    });
    CHILD("main thread ends first", {
        MUST(pthread_create(&t, NULL, exits, NULL));
        pthread_exit(NULL);
    });
    CHILD("fork has one thread", {
        MUST(pthread_create(&t, NULL, forever, NULL));
        CHILD("inner", R(gettid() == getpid()));
    });
    CHILD("killed with threads", {
        for (int i = 0; i < 5; i++)
            MUST(pthread_create(&t, NULL, forever, NULL));
        (void)raise(SIGKILL);
    });
    CHILD("exec in a thread", {
        MUST(pthread_create(&u, NULL, forever, NULL));
        MUST(pthread_create(&t, NULL, execs, NULL));
        (void)forever(NULL);
    });
    (void)signal(SIGUSR1, who);
    pid_t tid = 0;
    MUST(pthread_create(&t, NULL, directed, &tid));
    while (!*(volatile pid_t *)&tid)
        sleep_ms(1);
    R(pthread_kill(t, SIGUSR1));
    MUST(pthread_join(t, NULL));
    R(handler_tid == tid);
    handler_tid = 0;
    (void)signal(SIGUSR2, who);
    MUST(pthread_create(&t, NULL, masked, NULL));
    sleep_ms(20);
    R(kill(getpid(), SIGUSR2));
    MUST(pthread_join(t, NULL));
    R(handler_tid == getpid()); /* the one that doesn't block it */
    R(syscall(SYS_tgkill, getpid(), tid, 0));
    int name = 0;
    for (int i = 0; i < 200; i++) {
        MUST(pthread_create(&t, NULL, adder, NULL));
        MUST(pthread_join(t, NULL));
        name++;
    }
    R(name);
}

static atomic_int storms;

static void on_storm(int sig)
{
    (void)sig;
    storms++;
}

/* Only a wait may be broken off by a handler: wakes and requeues never answer EINTR. */
static void under_signals(void)
{
    struct sigaction sa = {.sa_handler = on_storm}, old;
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0}};
    uint32_t a = 0, b = 0;
    long broken = 0;

    SECTION("wakes under signals");
    MUST(sigaction(SIGALRM, &sa, &old));
    MUST(setitimer(ITIMER_REAL, &often, NULL));
    while (storms < 1000) {
        for (int i = 0; i < 100; i++) {
            broken += futex(&a, FUTEX_WAKE, 1, NULL, NULL, 0) < 0;
            broken += futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) < 0;
            broken += futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &b, 0) < 0;
        }
    }
    MUST(setitimer(ITIMER_REAL, &never, NULL));
    MUST(sigaction(SIGALRM, &old, NULL));
    R(broken);
}

/* ---- waiting for several futexes; being bound to a processor ---- */
struct waitv {
    uint64_t value, word;
    uint32_t flags, reserved;
};
static uint32_t several_words[3];

static void *wake_second(void *arg)
{
    long woken = 0;

    for (int i = 0; i < 2000 && !woken; i++) {
        sleep_ms(5);
        woken = syscall(SYS_futex, &several_words[1], 1 | 128, 1, NULL, NULL, 0);
    }
    return arg;
}

static void several(void)
{
    enum { NR = 449, U32_PRIVATE = 2 | 128 };
    struct waitv w[3];
    struct timespec past = {0, 1};
    pthread_t t;

    SECTION("several futexes");
    for (int i = 0; i < 3; i++)
        w[i] = (struct waitv){0, (uintptr_t)&several_words[i], U32_PRIVATE, 0};
    (void)pthread_create(&t, NULL, wake_second, NULL);
    R(syscall(NR, w, 3, 0, NULL, 0));
    (void)pthread_join(t, NULL);
    R(syscall(NR, w, 3, 0, &past, CLOCK_MONOTONIC));
    several_words[2] = 1;
    R(syscall(NR, w, 3, 0, NULL, 0));
    R(syscall(NR, w, 0, 0, NULL, 0));
    R(syscall(NR, w, 3, 1, NULL, 0));
    R(syscall(NR, bad_address, 3, 0, NULL, 0));
}

static void bound(void)
{
    cpu_set_t all, one, got;
    bool stayed = true;
    int first = -1;

    SECTION("a bound thread");
    MUST(sched_getaffinity(0, sizeof(all), &all));
    for (int i = 0; i < CPU_SETSIZE && first < 0; i++)
        if (CPU_ISSET(i, &all))
            first = i;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    R(sched_setaffinity(0, sizeof(one), &one));
    for (int i = 0; i < 2000; i++) {
        stayed &= sched_getcpu() == first;
        if (i % 100 == 0)
            sleep_ms(1);
    }
    OK(stayed);
    CHILD("a child", {
        MUST(sched_getaffinity(0, sizeof(got), &got));
        OK(CPU_EQUAL(&got, &one) && sched_getcpu() == first);
    });
    R(sched_setaffinity(0, sizeof(all), &all));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("%s exec: %d\n", argv[1], gettid() == getpid());
        return 21;
    }
    operations();
    library();
    processes();
    under_signals();
    several();
    bound();
    return 0;
}
