/*
 * What the tests run inside containers: pause, and programs that go over a limit. Each prints where
 * it stopped. Static, so that it runs in an empty image and, as the control, on the host.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void end(int signal)
{
    (void)signal;
    _exit(0);
}

static _Noreturn int do_pause(long n)
{
    (void)n;
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;)
        pause();
}

/* Until fork fails; the children live until the end. */
static int do_forks(long n)
{
    long i = 0;

    for (pid_t p = 1; p > 0 && i < n; i++) {
        p = fork();
        if (p == 0)
            for (;;)
                pause();
        if (p < 0)
            break;
    }
    printf("forks %ld %s\n", i, i < n ? strerrorname_np(errno) : "ok");
    fflush(stdout);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    return 0;
}

static void *sleeper(void *p)
{
    pause();
    return p;
}

static int do_threads(long n)
{
    pthread_attr_t attr;
    pthread_t t;
    long i = 0;
    int r = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    while (i < n && (r = pthread_create(&t, &attr, sleeper, NULL)) == 0)
        i++;
    printf("threads %ld %s\n", i, r ? strerrorname_np(r) : "ok");
    fflush(stdout);
    _exit(0);
}

/* n descriptors of this process, the soft limit raised as far as it goes. */
static int many(long n, int (*open_one)(void), const char *name)
{
    struct rlimit r;
    long i = 0;

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    while (i < n && open_one() >= 0)
        i++;
    printf("%s %ld %s\n", name, i, i < n ? strerrorname_np(errno) : "ok");
    fflush(stdout);
    return 0;
}

static int open_null(void)
{
    return open("/dev/null", O_RDONLY);
}

static int open_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}

static int open_event(void)
{
    int fds[2];

    return pipe(fds) < 0 ? -1 : fds[0];
}

static int do_descriptors(long n)
{
    return many(n, open_null, "descriptors");
}

static int do_sockets(long n)
{
    return many(n, open_socket, "sockets");
}

static int do_pipes(long n)
{
    return many(n, open_event, "pipes");
}

/* Touches n MiB; as the only process of its container it dies of that, or its child does. */
static int do_memory(long n)
{
    for (long i = 0; i < n; i++) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED) {
            printf("memory %ld %s\n", i, strerrorname_np(errno));
            return 1;
        }
        memset(p, 1, 1 << 20);
    }
    printf("memory %ld ok\n", n);
    return 0;
}

static int do_memory_child(long n)
{
    int status;
    pid_t p = fork();

    if (p == 0)
        _exit(do_memory(n));
    waitpid(p, &status, 0);
    printf("child %s %d, parent lives\n", WIFSIGNALED(status) ? "signal" : "exit",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fflush(stdout);
    return 0;
}

/* Burns CPU for n ms of wall time; prints the CPU time that it got, in percent. */
static int do_spin(long n)
{
    double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall;
    volatile unsigned long x = 0;

    do {
        for (int i = 0; i < 100000; i++)
            x += (unsigned long)i;
        wall = now(CLOCK_MONOTONIC) - start;
    } while (wall * 1000 < (double)n);
    printf("cpu %.0f\n", 100 * (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / wall);
    return 0;
}

/* A file of n MiB: sparse but for its last byte; then n MiB written for real. argv: the file. */
static const char *path = "/tmp/file";

static int do_sparse(long n)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int r = fd < 0 || pwrite(fd, "x", 1, (off_t)n << 20) != 1;

    printf("sparse %s\n", r ? strerrorname_np(errno) : "ok");
    return r;
}

static int do_fill(long n)
{
    static char block[1 << 20];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    long long done = 0;
    ssize_t w = 0;

    memset(block, 1, sizeof(block));
    while (fd >= 0 && done < (long long)n << 20 && (w = write(fd, block, sizeof(block))) > 0)
        done += w;
    printf("fill %lld %s\n", done >> 20, fd < 0 || w < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
    return fd < 0 || w < 0;
}

static const struct {
    const char *name;
    int (*run)(long n);
} verbs[] = {
    {"pause", do_pause},     {"forks", do_forks},
    {"threads", do_threads}, {"descriptors", do_descriptors},
    {"sockets", do_sockets}, {"pipes", do_pipes},
    {"memory", do_memory},   {"memory-child", do_memory_child},
    {"spin", do_spin},       {"sparse", do_sparse},
    {"fill", do_fill},
};

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "pause";

    path = argc > 3 ? argv[3] : path;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, verb) == 0)
            return verbs[i].run(argc > 2 ? atol(argv[2]) : 0);
    return 2;
}
