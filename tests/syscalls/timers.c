/* Clocks, sleeping, interval and POSIX timers. */
#include "t.h"
#include <sys/resource.h>
#include <sys/times.h>

static volatile int hits;
static volatile siginfo_t last;

static void hit(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)uc;
    last = *info;
    hits++;
}

static void clocks(void)
{
    static const clockid_t ids[] = {CLOCK_REALTIME,           CLOCK_MONOTONIC,
                                    CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                    CLOCK_MONOTONIC_RAW,      CLOCK_REALTIME_COARSE,
                                    CLOCK_MONOTONIC_COARSE,   CLOCK_BOOTTIME};
    struct timespec a, b, r;

    SECTION("clocks");
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        MUST(clock_gettime(ids[i], &a));
        MUST(clock_gettime(ids[i], &b));
        printf("%d %d", (int)i,
               b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
        printf(" %d\n", syscall(SYS_clock_gettime, ids[i], &r) == 0 && r.tv_sec >= b.tv_sec);
        MUST(clock_getres(ids[i], &r));
    }
    R(clock_gettime(99, &a));
    R(clock_getres(99, &a));
    R(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad_address));
    R(clock_settime(CLOCK_MONOTONIC, &a));
    CHILD("another user", {
        MUST(setresuid(2000, 2000, 2000));
        R(clock_settime(CLOCK_REALTIME, &a));
    });
    TRUTH("real time", time(NULL) > 1600000000);
    R(times(&(struct tms){0}) > 0);
    volatile double x = 1;
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a));
    for (int64_t end = now_ms() + 3000; now_ms() < end;) {
        for (int k = 0; k < 100000; k++)
            x = x * 1.0001;
        MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b));
        if ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 20)
            break;
    }
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b));
    TRUTH("cpu time passes",
          (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 10);
    struct rusage ru;
    R(getrusage(RUSAGE_SELF, &ru));
    TRUTH("rusage", ru.ru_utime.tv_sec > 0 || ru.ru_utime.tv_usec > 0);
    TRUTH("maxrss", ru.ru_maxrss > 100);
    R(getrusage(99, &ru));
}

static int no_work(void *arg)
{
    (void)arg;
    return 0;
}

/* A process that shares its parent's memory has CPU time of its own all the same. */
static void shared_memory(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct rusage mine, theirs;

    SECTION("CPU time of processes that share memory");
    for (int i = 0; i < 20; i++) {
        pid_t pid = clone(no_work, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            R(-1);
    }
    R(getrusage(RUSAGE_SELF, &mine));
    R(getrusage(RUSAGE_CHILDREN, &theirs));
    TRUTH("children that did nothing took less than the parent",
          timercmp(&theirs.ru_utime, &mine.ru_utime, <=));
}

static void sleeping(void)
{
    struct timespec ts = {0, 20000000}, at;

    SECTION("sleeping");
    int64_t t = now_ms();
    R(nanosleep(&ts, NULL));
    t = now_ms() - t;
    TRUTH("20 ms", t >= 20 && t < 500);
    ts.tv_nsec = 1000000000;
    R(nanosleep(&ts, NULL));
    ts = (struct timespec){-1, 0};
    R(nanosleep(&ts, NULL));
    R(nanosleep(bad_address, NULL));
    MUST(clock_gettime(CLOCK_MONOTONIC, &at));
    at.tv_nsec += 20000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    R(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &at, NULL) == EINVAL);
    R(clock_nanosleep(99, 0, &at, NULL) == EINVAL);
    R(usleep(1000));
}

static void intervals(void)
{
    struct itimerval it = {{0, 10000}, {0, 10000}}, old;
    struct sigaction sa = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO};

    SECTION("interval timers");
    MUST(sigaction(SIGALRM, &sa, NULL));
    MUST(sigaction(SIGVTALRM, &sa, NULL));
    MUST(sigaction(SIGPROF, &sa, NULL));
    int64_t began = now_ms();
    R(setitimer(ITIMER_REAL, &it, NULL));
    while (hits < 5 && now_ms() - began < 5000)
        sleep_ms(5);
    it = (struct itimerval){0};
    R(setitimer(ITIMER_REAL, &it, &old));
    TRUTH("several", hits >= 5 && hits <= (now_ms() - began) / 10 + 1);
    R(old.it_interval.tv_usec);
    R(alarm(100));
    R(alarm(0));
    R(alarm(0));
    R(setitimer(9, &it, NULL));
    R(getitimer(ITIMER_REAL, &it));
    it.it_value.tv_usec = 2000000;
    R(setitimer(ITIMER_REAL, &it, NULL));
    hits = 0;
    it = (struct itimerval){{0, 0}, {0, 20000}};
    R(setitimer(ITIMER_VIRTUAL, &it, NULL));
    for (int64_t end = now_ms() + 2000; !hits && now_ms() < end;)
        ;
    R(hits);
    R(setitimer(ITIMER_PROF, &it, NULL));
    for (int64_t end = now_ms() + 2000; hits < 2 && now_ms() < end;)
        ;
    R(hits);
    CHILD("alarm kills", {
        (void)signal(SIGALRM, SIG_DFL);
        it = (struct itimerval){{0, 0}, {0, 20000}};
        (void)setitimer(ITIMER_REAL, &it, NULL);
        (void)pause();
    });
    it = (struct itimerval){{0, 0}, {5, 0}};
    MUST(setitimer(ITIMER_REAL, &it, NULL));
    CHILD("not inherited", R(getitimer(ITIMER_REAL, &it) + (int)it.it_value.tv_sec));
    (void)alarm(0);
}

static void posix(void)
{
    struct sigevent ev = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
    struct itimerspec it = {.it_value = {0, 20000000}}, now;
    struct sigaction sa = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO};
    timer_t t;

    SECTION("POSIX timers");
    MUST(sigaction(SIGRTMIN, &sa, NULL));
    hits = 0;
    R(timer_create(CLOCK_MONOTONIC, &ev, &t));
    R(timer_settime(t, 0, &it, NULL));
    R(timer_gettime(t, &now));
    R(now.it_value.tv_nsec > 0);
    (void)pause();
    printf("%d %d %d\n", hits, last.si_code == SI_TIMER, last.si_value.sival_int);
    sigset_t s;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGRTMIN);
    MUST(sigprocmask(SIG_BLOCK, &s, NULL));
    it = (struct itimerspec){{0, 5000000}, {0, 5000000}};
    R(timer_settime(t, 0, &it, NULL));
    sleep_ms(60);
    siginfo_t info;
    R(sigwaitinfo(&s, &info) == SIGRTMIN);
    TRUTH("overrun", info.si_overrun >= 4);
    R(timer_getoverrun(t) >= 4);
    R(timer_delete(t));
    R(timer_delete(t));
    R(timer_settime(t, 0, &it, NULL));
    MUST(sigprocmask(SIG_UNBLOCK, &s, NULL));
    R(timer_create(99, &ev, &t));
    ev.sigev_signo = 100;
    R(timer_create(CLOCK_MONOTONIC, &ev, &t));
    ev = (struct sigevent){.sigev_notify = SIGEV_NONE};
    R(timer_create(CLOCK_REALTIME, &ev, &t));
    it = (struct itimerspec){{0, 0}, {0, 1000000}};
    R(timer_settime(t, 0, &it, NULL));
    sleep_ms(5);
    R(timer_gettime(t, &now));
    R(now.it_value.tv_nsec);
    it.it_value.tv_nsec = -1;
    R(timer_settime(t, 0, &it, NULL));
    R(syscall(SYS_timer_settime, t, 0, NULL, NULL));
    struct sigevent thread = {.sigev_notify = SIGEV_THREAD, .sigev_signo = SIGUSR1};
    R(syscall(SYS_timer_create, CLOCK_MONOTONIC, &thread, &t));
    R(clock_settime(CLOCK_REALTIME, &(struct timespec){.tv_nsec = -1}));
    R(clock_settime(CLOCK_MONOTONIC, &(struct timespec){0}));
}

static int64_t cpu_ms(void)
{
    struct rusage u;

    MUST(getrusage(RUSAGE_SELF, &u));
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

/* Timers of CPU time stand still while their process sleeps. */
static void cpu_timers(void)
{
    struct sigaction sa = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO};
    struct itimerval iv = {.it_value = {0, 80000}}, left;
    struct itimerspec it = {.it_value = {0, 1}, .it_interval = {0, 1000000}};
    struct timespec clock;
    volatile unsigned n = 0;
    int64_t before;
    timer_t t;

    SECTION("timers of CPU time");
    MUST(sigaction(SIGPROF, &sa, NULL));
    MUST(sigaction(SIGVTALRM, &sa, NULL));
    hits = 0;
    R(setitimer(ITIMER_PROF, &iv, NULL));
    sleep_ms(300);
    TRUTH("asleep", hits == 0);
    MUST(getitimer(ITIMER_PROF, &left));
    TRUTH("left", left.it_value.tv_usec > 30000);
    before = cpu_ms();
    while (!hits && cpu_ms() - before < 5000)
        n++;
    TRUTH("after work", hits == 1 && cpu_ms() - before >= 20);
    hits = 0;
    R(setitimer(ITIMER_VIRTUAL, &iv, NULL));
    sleep_ms(200);
    TRUTH("asleep", hits == 0);
    for (before = now_ms(); !hits && now_ms() - before < 20000;)
        n++;
    TRUTH("after work", hits == 1);
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &clock));
    TRUTH("clock", clock.tv_sec * 1000 + clock.tv_nsec / 1000000 >= cpu_ms() - 50);
    MUST(sigaction(SIGUSR1, &sa, NULL));
    MUST(timer_create(CLOCK_REALTIME,
                      &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1},
                      &t));
    sigset_t set;
    siginfo_t info;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    R(timer_settime(t, TIMER_ABSTIME, &it, NULL));
    MUST(sigwaitinfo(&set, &info)); /* while it is blocked: no other one comes between */
    TRUTH("missed periods of a time long past", timer_getoverrun(t) == INT32_MAX);
    R(timer_delete(t));
    (void)signal(SIGUSR1, SIG_IGN);
    MUST(sigprocmask(SIG_UNBLOCK, &set, NULL));
}

/* ---- timers of one thread's CPU time ---- */
static __thread volatile int own_hits;
static volatile bool worked;

static void on_own(int sig)
{
    (void)sig;
    own_hits++;
}

static int64_t thread_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int own_timer(timer_t *ret)
{
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    struct itimerspec each = {{0, 10000000}, {0, 10000000}};

    e._sigev_un._tid = gettid();
    return timer_create(CLOCK_THREAD_CPUTIME_ID, &e, ret) < 0 ? -1
                                                              : timer_settime(*ret, 0, &each, NULL);
}

/* Asleep while the other one works: its timer stands still. */
static void *sleeper(void *arg)
{
    int *hits = arg;
    timer_t t;

    if (own_timer(&t) < 0)
        return NULL;
    while (!worked)
        sleep_ms(5);
    *hits = own_hits;
    (void)timer_delete(t);
    return NULL;
}

static void thread_timers(void)
{
    struct sigaction sa = {.sa_handler = on_own, .sa_flags = SA_RESTART};
    struct timespec of_other;
    clockid_t clock;
    pthread_t other;
    int others = -1;
    int64_t end;
    timer_t t;

    SECTION("timers of a thread's CPU time");
    MUST(sigaction(SIGUSR2, &sa, NULL));
    (void)pthread_create(&other, NULL, sleeper, &others);
    R(own_timer(&t));
    for (end = thread_ms() + 300; thread_ms() < end;)
        for (volatile int i = 0; i < 100000; i++)
            ;
    TRUTH("as often as it worked", own_hits >= 15 && own_hits <= 32);
    R(pthread_getcpuclockid(other, &clock));
    R(clock_gettime(clock, &of_other));
    TRUTH("the other one's clock", of_other.tv_sec == 0 && of_other.tv_nsec < 200000000);
    worked = true;
    (void)pthread_join(other, NULL);
    TRUTH("not while it slept", others >= 0 && others < 15);
    R(timer_delete(t));
}

static void *burn(void *arg)
{
    while (!*(volatile int *)arg)
        ;
    return NULL;
}

static void alarm_hits(int sig)
{
    (void)sig;
}

/* Sleeping until a process has used some time: it takes one that does. */
static void cpu_sleep(void)
{
    struct sigaction sa = {.sa_handler = alarm_hits};
    struct itimerval in = {{0, 0}, {0, 50000}};
    struct timespec ts = {0, 20000000}, a, b, left = {0, 0};
    volatile int stop = 0;
    clockid_t own;
    pthread_t th;

    SECTION("sleeping on a processor's time");
    (void)sigaction(SIGALRM, &sa, NULL);
    (void)setitimer(ITIMER_REAL, &in, NULL);
    ts.tv_sec = 100;
    R(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &ts, &left) == EINTR);
    OK(left.tv_sec == 99 || left.tv_sec == 100);
    (void)setitimer(ITIMER_REAL, &in, NULL);
    R(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &ts, NULL) == EINTR);
    (void)pthread_create(&th, NULL, burn, (void *)&stop);
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a));
    ts = (struct timespec){0, 20000000};
    R(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &ts, NULL));
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b));
    OK((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 20000000);
    R(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &a, NULL));
    b.tv_sec++;
    (void)setitimer(ITIMER_REAL, &in, NULL);
    R(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &b, NULL) == EINTR);
    stop = 1;
    (void)pthread_join(th, NULL);
    (void)pthread_getcpuclockid(pthread_self(), &own);
    R(clock_nanosleep(own, 0, &ts, NULL) == EINVAL);
}

/* What a process used can be read until it is waited for. */
static void clock_of_the_dead(void)
{
    struct timespec ts;
    siginfo_t info;
    clockid_t clock;
    int status;
    pid_t pid;

    SECTION("the clock of a process that has ended");
    (void)fflush(stdout);
    pid = fork();
    if (!pid) {
        do
            (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        while (!ts.tv_sec && ts.tv_nsec < 30000000);
        _exit(0);
    }
    R(clock_getcpuclockid(pid, &clock));
    R(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    R(clock_gettime(clock, &ts));
    OK(ts.tv_sec || ts.tv_nsec >= 30000000);
    (void)waitpid(pid, &status, 0);
    R(clock_gettime(clock, &ts));
}

int main(void)
{
    clocks();
    shared_memory();
    sleeping();
    intervals();
    posix();
    cpu_timers();
    thread_timers();
    clock_of_the_dead();
    cpu_sleep();
    return 0;
}
