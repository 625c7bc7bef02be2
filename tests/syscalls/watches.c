/*
 * epoll_ctl so often that a runtime may answer it before the watch changes, mixed with everything
 * that must not be able to tell.
 */
#include "t.h"
#include <sys/epoll.h>
#include <sys/socket.h>

static struct epoll_event got[8];

static int control(int ep, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event e = {.events = events, .data.u64 = data};

    return epoll_ctl(ep, op, fd, &e);
}

/* How many are ready, and what of which. */
static void ready(const char *name, int ep)
{
    int n = epoll_wait(ep, got, 8, 0);

    RESULT(name, n);
    for (int i = 0; i < n; i++)
        printf("  %llu: %#x\n", (unsigned long long)got[i].data.u64, got[i].events);
}

/* All by one call site each, until it is hot. */
static int busy(const int p[2])
{
    int ep = epoll_create1(0);

    MUST(ep);
    for (uint64_t i = 0; i < 64; i++) {
        MUST(control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, i));
        MUST(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, i));
        MUST(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    }
    return ep;
}

static void sums(const int p[2])
{
    int ep = busy(p);

    SECTION("several before anybody looks");
    ready("nothing", ep);
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 1));
    ready("added", ep);
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 2));
    ready("for reading", ep);
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLOUT | EPOLLET, 3));
    ready("edge", ep);
    ready("no edge", ep);
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT | EPOLLET, 4));
    ready("anew", ep);
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLOUT | EPOLLONESHOT, 5));
    ready("once", ep);
    ready("spent", ep);
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLOUT | EPOLLONESHOT, 6));
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    ready("gone", ep);
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 7));
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    ready("gone again", ep);
    close(ep);
}

static void errors(const int p[2])
{
    int ep = busy(p), file = open("/proc/self/exe", O_RDONLY), extra;

    SECTION("errors");
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 0));
    R(control(ep, 7, p[0], EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_ADD, file, EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_ADD, 200, EPOLLIN, 0));
    R(control(p[0], EPOLL_CTL_ADD, p[1], EPOLLIN, 0));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], (void *)8));
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLEXCLUSIVE, 0));
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 0));
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    close(file);
    extra = dup(ep);
    R(control(extra, EPOLL_CTL_ADD, p[0], EPOLLOUT, 9));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 8));
    ready("by the other number", ep);
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    ready("by the first number", extra);
    close(extra);
    close(ep);
}

static void numbers(const int p[2])
{
    int ep = busy(p), q[2], other;

    SECTION("numbers change their meaning");
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, q));
    for (int i = 0; i < 32; i++) {
        MUST(control(ep, EPOLL_CTL_ADD, q[0], EPOLLOUT, 1));
        MUST(control(ep, EPOLL_CTL_DEL, q[0], 0, 0));
    }
    R(control(ep, EPOLL_CTL_ADD, q[0], EPOLLOUT, 1));
    R(close(q[0]));
    R(control(ep, EPOLL_CTL_MOD, q[0], EPOLLOUT, 1));
    ready("closed", ep);
    other = dup(p[0]);
    R(other == q[0]);
    R(control(ep, EPOLL_CTL_MOD, other, EPOLLOUT, 1));
    R(control(ep, EPOLL_CTL_ADD, other, EPOLLOUT, 2));
    ready("reused", ep);
    R(dup2(q[1], other) == other);
    R(control(ep, EPOLL_CTL_DEL, other, 0, 0));
    ready("still by its old file", ep);
    close(ep);
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 2));
    R(epoll_create1(0) == ep);
    R(control(ep, EPOLL_CTL_DEL, p[0], 0, 0));
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 3));
    ready("another epoll", ep);
    close(ep), close(other), close(q[1]);
}

static void processes(const int p[2])
{
    int ep = busy(p), status;
    pid_t pid;

    SECTION("processes");
    R(control(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 1));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int bad = epoll_wait(ep, got, 8, 0) != 1 || got[0].data.u64 != 1 ||
                  control(ep, EPOLL_CTL_MOD, p[0], EPOLLOUT, 2) != 0;

        _exit(bad);
    }
    MUST(waitpid(pid, &status, 0));
    R(status);
    ready("what the child changed", ep);
    R(control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 3));
    ready("and the parent after it", ep);
    close(ep);
}

struct both {
    int ep, fd;
};

static void *waits(void *arg)
{
    struct both *b = arg;
    struct epoll_event e;

    return epoll_wait(b->ep, &e, 1, 10000) == 1 && e.data.u64 == 77 ? NULL : arg;
}

static void threads(const int p[2])
{
    struct both b = {busy(p), p[0]};
    pthread_t t;
    void *bad;

    SECTION("threads");
    MUST(pthread_create(&t, NULL, waits, &b));
    usleep(20000);
    for (uint64_t i = 0; i < 20; i++) {
        MUST(control(b.ep, EPOLL_CTL_ADD, p[0], EPOLLIN, i));
        MUST(control(b.ep, EPOLL_CTL_DEL, p[0], 0, 0));
    }
    R(control(b.ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 77));
    MUST(pthread_join(t, &bad));
    OK(!bad);
    close(b.ep);
}

int main(void)
{
    int p[2];

    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    sums(p);
    errors(p);
    numbers(p);
    processes(p);
    threads(p);
    return 0;
}
