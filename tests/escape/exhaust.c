/*
 * Takes all of everything: the sandbox may refuse, or kill who takes it, and goes on. With a name
 * only that. What has a documented limit tells by its exit status if there was more to be had.
 */
#include "attack.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { EACH_MS = 2500, FILES = 1024, TOO_MUCH = 9 };

static void *idle(void *arg)
{
    pause();
    return arg;
}

static void threads(void)
{
    pthread_attr_t a;
    pthread_t t;
    int n = 0;

    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 16384);
    while (n < 1500 && pthread_create(&t, &a, idle, NULL) == 0)
        n++;
}

static void maps(void)
{
    for (int i = 0; i < 70000; i++)
        if (mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            return;
    _exit(TOO_MUCH);
}

/* As deep as the stack is. */
__attribute__((noinline)) static int deep(volatile char *p, int left)
{
    char frame[65536];

    memset(frame, *p, sizeof(frame));
    return left ? deep(frame, left - 1) + frame[100] : 0;
}

static void stack(void)
{
    char c = 0;

    (void)deep(&c, 1 << 20);
}

static void files(void)
{
    struct rlimit r = {FILES, FILES};

    if (setrlimit(RLIMIT_NOFILE, &r) < 0)
        _exit(3);
    for (int n = 0; n <= FILES; n++)
        if (eventfd(0, 0) < 0)
            return;
    _exit(TOO_MUCH);
}

static void descriptors(void)
{
    struct rlimit r = {1 << 20, 1 << 20};
    int n = 0, p[2];

    (void)setrlimit(RLIMIT_NOFILE, &r);
    while (n < 30000 && eventfd(0, 0) >= 0)
        n++;
    while (n < 60000 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
        n++;
    while (n < 90000 && pipe(p) == 0)
        n++;
    while (n < 120000 && epoll_create1(0) >= 0)
        n++;
}

static void forks(void)
{
    for (int i = 0; i < 300; i++) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid == 0) {
            alarm(4);
            pause();
            _exit(0);
        }
    }
}

/* Sizes that overflow when they are multiplied or added to. */
static void sizes(void)
{
    static const uint64_t n[] = {1024,       1025,         1 << 20,
                                 0x7fffffff, 0xffffffff,   1ULL << 59,
                                 1ULL << 60, (uint64_t)-1, 0x1fffffffffffffff};
    static const long calls[] = {SYS_readv,      SYS_writev,    SYS_poll,       SYS_select,
                                 SYS_preadv,     SYS_sendmmsg,  SYS_recvmmsg,   SYS_setgroups,
                                 SYS_getdents64, SYS_getrandom, SYS_mincore,    SYS_readlink,
                                 SYS_getcwd,     SYS_sendto,    SYS_setsockopt, SYS_semget,
                                 SYS_msgget,     SYS_shmget,    SYS_io_setup,   SYS_epoll_wait};
    char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = memfd_create("x", 0);

    for (size_t c = 0; c < sizeof(calls) / sizeof(*calls); c++)
        for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++) {
            struct itimerval it = {{0, 0}, {0, 20000}};

            signal(SIGALRM, (void (*)(int))(void *)getpid);
            setitimer(ITIMER_REAL, &it, NULL);
            syscall(calls[c], fd, page, n[i], 0, 0, 0);
            syscall(calls[c], page, n[i], 0, 0, 0, 0);
            syscall(calls[c], fd, 0, n[i], n[i], 0, 0);
            syscall(calls[c], fd, 3, page, page, n[i], 0);
        }
}

static void sparse(void)
{
    int fd = open("/tmp/sparse", O_RDWR | O_CREAT, 0600);

    for (int i = 0; i < 40; i++)
        (void)!pwrite(fd, "x", 1, (off_t)1 << (i + 20));
    (void)unlink("/tmp/sparse");
}

static const struct {
    const char *name;
    void (*run)(void);
} all[] = {{"maps", maps},   {"files", files},  {"threads", threads},
           {"stack", stack}, {"forks", forks},  {"descriptors", descriptors},
           {"sizes", sizes}, {"sparse", sparse}};

static void one(void *arg)
{
    all[*(size_t *)arg].run();
}

int main(int argc, char **argv)
{
    int bad = 0;

    become_judge();
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        int status;

        if (argc > 1 && strcmp(argv[1], all[i].name) != 0)
            continue;
        status = apart(one, &i, EACH_MS);
        fprintf(stderr, "%s: status %x, %s\n", all[i].name, status, healthy() ? "healthy" : "SICK");
        if (!healthy())
            return 1;
        bad += WIFEXITED(status) && WEXITSTATUS(status) == TOO_MUCH;
    }
    return verdict(bad, "exhaust");
}
