/*
 * What a call costs while there are many of something: "KIND N MICROSECONDS" a line, best of
 * several. growth [KIND...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 400, ROUNDS = 7, PAGE = 4096 };

static uint32_t word;
static int last_fd;
static timer_t last_timer;

static double now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* ---- one more of something: false, no more can be had -------------------------------------------
 */
static int more_files(long i)
{
    (void)i;
    last_fd = open("/dev/null", O_RDONLY);
    return last_fd >= 0;
}

/* Of two kinds in turn, so that neighbours are not merged. */
static int more_mappings(long i)
{
    return mmap(NULL, PAGE, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0) != MAP_FAILED;
}

static void *wait_for_word(void *arg)
{
    while (!__atomic_load_n(&word, __ATOMIC_ACQUIRE))
        (void)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}

static int more_threads(long i)
{
    pthread_attr_t a;
    pthread_t t;
    int r;

    (void)i;
    (void)pthread_attr_init(&a);
    (void)pthread_attr_setstacksize(&a, 16384);
    r = pthread_create(&t, &a, wait_for_word, NULL);
    (void)pthread_attr_destroy(&a);
    return r == 0;
}

static int more_entries(long i)
{
    char name[64];
    int fd;

    if (i == 0)
        (void)mkdir("/tmp/growth", 0755);
    (void)snprintf(name, sizeof(name), "/tmp/growth/%ld", i);
    fd = open(name, O_CREAT | O_WRONLY, 0600);
    if (fd < 0)
        return 0;
    close(fd);
    return 1;
}

static int more_timers(long i)
{
    struct sigevent e = {.sigev_notify = SIGEV_NONE};
    struct itimerspec s = {.it_value = {1000 + i, 0}};

    return timer_create(CLOCK_MONOTONIC, &e, &last_timer) == 0 &&
           timer_settime(last_timer, 0, &s, NULL) == 0;
}

static int more_mounts(long i)
{
    char name[64];

    if (i == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/tmp", "tmpfs", 0, NULL) < 0)
            return 0;
    }
    (void)snprintf(name, sizeof(name), "/tmp/m%ld", i);
    return mkdir(name, 0755) == 0 && mount("tmpfs", name, "tmpfs", 0, "size=4k") == 0;
}

/* ---- a call -----------------------------------------------------------------------------------
 */
static void call_files(void)
{
    close(open("/dev/null", O_RDONLY));
}

static void call_mappings(void)
{
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)munmap(p, PAGE);
}

static void call_threads(void)
{
    uint32_t other = 0;

    (void)umask(022);
    (void)syscall(SYS_futex, &other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void call_entries(void)
{
    struct stat st;

    (void)stat("/tmp/growth/0", &st);
    close(open("/tmp/growth/new", O_CREAT | O_WRONLY, 0600));
    (void)unlink("/tmp/growth/new");
}

static void call_timers(void)
{
    struct itimerspec s = {.it_value = {500, 0}};

    (void)timer_settime(last_timer, 0, &s, NULL);
}

static void call_mounts(void)
{
    struct stat st;

    (void)stat("/tmp/m0", &st);
}

static const struct kind {
    const char *name;
    int (*more)(long i);
    void (*call)(void);
    long max;
} kinds[] = {
    {"files", more_files, call_files, 100000},
    {"mappings", more_mappings, call_mappings, 60000},
    {"threads", more_threads, call_threads, 2000},
    {"entries", more_entries, call_entries, 100000},
    {"timers", more_timers, call_timers, 1000},
    {"mounts", more_mounts, call_mounts, 1000},
};

static double measure(void (*call)(void))
{
    double best = 1e12;

    for (int r = 0; r < ROUNDS; r++) {
        double start = now_us(), took;

        for (int i = 0; i < CALLS; i++)
            call();
        took = (now_us() - start) / CALLS;
        if (took < best)
            best = took;
    }
    return best;
}

/* At 1, and at every eighth of the greatest number. */
static void grow(const struct kind *k)
{
    long next = 1;

    for (long i = 0; i < k->max; i++) {
        if (!k->more(i)) {
            printf("%s: no more than %ld: %s\n", k->name, i, strerror(errno));
            break;
        }
        if (i + 1 == next) {
            printf("%s %ld %.3f\n", k->name, next, measure(k->call));
            (void)fflush(stdout);
            next = next == 1 ? k->max / 8 : next + k->max / 8;
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit l = {200000, 200000};

    if (setrlimit(RLIMIT_NOFILE, &l) < 0)
        perror("setrlimit");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (int a = 1; a < argc; a++)
            if (strcmp(argv[a], kinds[i].name) == 0)
                grow(&kinds[i]);
    return 0;
}
