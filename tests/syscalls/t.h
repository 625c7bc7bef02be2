#pragma once
/*
 * Conformance programs: each prints one line a fact, the same on every Linux. run.sh compares what
 * a program prints natively and in the sandbox. So: no pids, addresses, times or inode numbers in
 * the output, only what was true about them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "name: 3" or "name: EBADF". */
#define R(expr) result(#expr, (long)(expr))
/* "name: yes" or "name: no" */
#define OK(expr) truth(#expr, (expr))
/* The same under a name of its own. */
#define RESULT(name, expr) result(name, (long)(expr))
#define TRUTH(name, expr)  truth(name, (expr))
#define SECTION(name)      printf("# %s\n", name), (void)fflush(stdout)

/* No address of any program; volatile: compilers know too much. */
static void *volatile bad_address __attribute__((unused)) = (void *)8;

static inline long result(const char *name, long r)
{
    if (r == -1)
        printf("%s: %s\n", name, strerrorname_np(errno));
    else
        printf("%s: %ld\n", name, r);
    (void)fflush(stdout);
    return r;
}

static inline bool truth(const char *name, bool v)
{
    printf("%s: %s\n", name, v ? "yes" : "no");
    (void)fflush(stdout);
    return v;
}

/* Setting up must not fail. */
#define MUST(expr)                                                                                 \
    ({                                                                                             \
        __typeof__(expr) must_ = (expr);                                                           \
        if ((long)must_ == -1) {                                                                   \
            printf("BROKEN %s:%d %s: %s\n", __FILE__, __LINE__, #expr, strerrorname_np(errno));    \
            (void)fflush(stdout);                                                                  \
            _exit(99);                                                                             \
        }                                                                                          \
        must_;                                                                                     \
    })

static inline void wait_status(const char *name, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited %d\n", name, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %s\n", name, sigabbrev_np(WTERMSIG(status)));
    else if (WIFSTOPPED(status))
        printf("%s: stopped by %s\n", name, sigabbrev_np(WSTOPSIG(status)));
    else
        printf("%s: continued\n", name);
    (void)fflush(stdout);
}

/* Runs body in a child and prints how it ended. */
#define CHILD(name, ...)                                                                           \
    do {                                                                                           \
        int status_;                                                                               \
        (void)fflush(stdout);                                                                      \
        pid_t pid_ = fork();                                                                       \
        if (!pid_) {                                                                               \
            __VA_ARGS__;                                                                           \
            (void)fflush(stdout);                                                                  \
            _exit(0);                                                                              \
        }                                                                                          \
        MUST(waitpid(pid_, &status_, 0));                                                          \
        wait_status(name, status_);                                                                \
    } while (0)

static inline int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

/* A fresh directory, which becomes the working directory. */
static inline void enter_scratch(void)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "/tmp/berm-syscalls-XXXXXX");
    if (!mkdtemp(path) || chdir(path) < 0) {
        printf("BROKEN scratch\n");
        exit(99);
    }
    MUST(chmod(path, 0755));
}

static inline void leave_scratch(void)
{
    char path[256], command[300];

    if (!getcwd(path, sizeof(path)) || strncmp(path, "/tmp/berm-syscalls-", 19) != 0)
        return;
    (void)snprintf(command, sizeof(command), "rm -rf %s", path);
    MUST(chdir("/"));
    (void)!system(command);
}

static inline void put(const char *path, const char *text)
{
    int fd = MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));

    (void)!write(fd, text, strlen(text));
    (void)close(fd);
}

static inline void show_file(const char *path)
{
    char text[256];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    printf("%s: %s\n", path, n < 0 ? strerrorname_np(errno) : (text[n] = '\0', text));
    if (fd >= 0)
        (void)close(fd);
}
