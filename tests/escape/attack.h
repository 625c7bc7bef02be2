#pragma once
/*
 * What the attacking programs share. Each is static, runs inside of a sandbox, says on its standard
 * error what it got, and exits with 0 if whatever it tried was refused or hit only itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t rnd(void)
{
    static uint64_t x;

    if (!x) { /* another seed, another walk: ATTACK_SEED */
        const char *seed = getenv("ATTACK_SEED");

        x = 0x9e3779b97f4a7c15ULL ^ (seed ? strtoull(seed, NULL, 0) * 0x100000001b3ULL : 0);
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static inline double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Each program stops trying after so long: the machine may be slow, the suite may not. */
enum { BUDGET_S = 10 };

static inline bool in_time(void)
{
    static double end;

    if (end == 0)
        end = now() + BUDGET_S;
    return now() < end;
}

/* Nothing that a process does may keep it from being killed. ATTACK_PATIENCE: another time, where a
 * control knows that it does. */
enum { DEATH_S = 20 };

static inline int kill_and_reap(pid_t pid)
{
    const char *patience = getenv("ATTACK_PATIENCE");
    double end = now() + (patience ? atof(patience) : DEATH_S);
    int status = 0;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now() > end) {
            fprintf(stderr, "a process that was killed does not end\n");
            _exit(4);
        }
        usleep(500);
    }
    return status;
}

/* Waits for a child at most `ms`, then kills it: what it did to itself is its own affair. */
static inline int reap(pid_t pid, int ms)
{
    int status = 0;
    double end = now() + ms / 1000.0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now() > end)
            return kill_and_reap(pid);
        usleep(200);
    }
    return status;
}

/*
 * What hostile arguments name by chance may be the judge: kill(0, SIGILL), prlimit of pid 1. Those
 * are calls that an attacker may make, not what is looked for. So judge and attackers are different
 * users: the judge acts as root but belongs to somebody, attackers are root without CAP_KILL.
 */
enum { JUDGE_UID = 4242 };

static inline bool become_attacker(void)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2];

    setsid();
    if (setresuid(0, 0, 0) < 0 || prctl(PR_CAPBSET_DROP, CAP_KILL) < 0 ||
        syscall(SYS_capget, &h, d) < 0)
        return false;
    d[0].effective &= ~(1U << CAP_KILL);
    d[0].permitted &= ~(1U << CAP_KILL);
    d[0].inheritable &= ~(1U << CAP_KILL);
    return syscall(SYS_capset, &h, d) == 0 && kill(getppid(), 0) < 0;
}

/* At the start of main(). An attack that cannot begin must not pass for one that failed. */
static inline void become_judge(void)
{
    pid_t pid;
    int status = -1;

    if (setresuid(JUDGE_UID, 0, JUDGE_UID) == 0) {
        pid = fork();
        if (pid == 0)
            _exit(become_attacker() ? 0 : 1);
        waitpid(pid, &status, 0);
    }
    if (status != 0) {
        fprintf(stderr, "no judge: %d\n", status);
        _exit(3);
    }
}

/* 0 in the attacker. */
static inline pid_t fork_attacker(void)
{
    pid_t pid = fork();

    if (pid < 0) {
        perror("fork");
        _exit(3);
    }
    if (pid == 0 && !become_attacker())
        _exit(3);
    return pid;
}

/* Runs fn in a process of its own. */
static inline int apart(void (*fn)(void *), void *arg, int ms)
{
    pid_t pid = fork_attacker();

    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    return reap(pid, ms);
}

/*
 * fn(arg, i) for i in [0, n), many in one process; where one of them ends the process or takes
 * longer than `ms`, another goes on behind it. Returns how many processes it took.
 */
static inline int batch(void (*fn)(void *, long), void *arg, long n, int ms)
{
    volatile long *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int taken = 0;
    long i = 0;

    for (; i < n && in_time(); taken++) {
        pid_t pid = fork_attacker();
        long seen = i;
        double end = now() + ms / 1000.0;

        if (pid == 0) {
            for (; i < n; i++) {
                *at = i;
                fn(arg, i);
            }
            _exit(0);
        }
        while (waitpid(pid, NULL, WNOHANG) == 0) {
            if (*at != seen) {
                seen = *at;
                end = now() + ms / 1000.0;
            } else if (now() > end) {
                kill_and_reap(pid);
                break;
            }
            usleep(500);
        }
        seen = *at; /* hostile, too: never backwards */
        i = seen >= i && seen < n ? seen + 1 : i + 1;
    }
    if (i < n)
        fprintf(stderr, "out of time: %ld of %ld\n", i, n);
    return taken;
}

/* The kernel of this sandbox still works for processes that did nothing wrong. */
static inline bool healthy(void)
{
    int p[2], status = -1;
    char c = 0;
    pid_t pid;

    if (pipe(p) < 0)
        return false;
    pid = fork();
    if (pid == 0)
        _exit(write(p[1], "x", 1) == 1 ? 7 : 1);
    if (pid < 0 || read(p[0], &c, 1) != 1 || c != 'x')
        return false;
    waitpid(pid, &status, 0);
    close(p[0]);
    close(p[1]);
    return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static inline int verdict(int bad, const char *what)
{
    bool ok = healthy();

    fprintf(stderr, "%s: %d bad, %s\n", what, bad, ok ? "healthy" : "NOT HEALTHY");
    return bad || !ok;
}
