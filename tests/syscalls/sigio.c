/* O_ASYNC: signals for readiness (fcntl(2): F_SETOWN, F_SETOWN_EX, F_SETSIG; FIOASYNC). */
#include "t.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>

/* Prints the signals that come, and what they say: `wanted` ones within the time, others at once;
 * fd is not a number that runs agree on: told is whether it is the expected one. */
static void show_wait(const char *name, int fd, int wanted, int ms)
{
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000L};
    siginfo_t info;
    sigset_t set;
    int n = 0;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGIO);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGURG);
    (void)sigaddset(&set, SIGRTMIN + 3);
    while (n < 4 && sigtimedwait(&set, &info, &limit) > 0) {
        bool poll = info.si_code > 0 && info.si_code < SI_KERNEL;

        printf("%s: signal %s code %d", name,
               info.si_signo == SIGRTMIN + 3 ? "RT3" : sigabbrev_np(info.si_signo), info.si_code);
        if (poll)
            printf(" band %lx fd %s", info.si_band, info.si_fd == fd ? "mine" : "other");
        printf("\n");
        if (++n >= wanted)
            limit = (struct timespec){0, 2000000};
    }
    if (!n)
        printf("%s: nothing\n", name);
    (void)fflush(stdout);
}

static void show(const char *name, int fd)
{
    show_wait(name, fd, 1, 2000);
}

static void none(const char *name)
{
    show_wait(name, -1, 1, 20);
}

static int on(int fd, int sig)
{
    int r = fcntl(fd, F_SETOWN, getpid());

    if (r == 0 && sig)
        r = fcntl(fd, F_SETSIG, sig);
    return r == 0 ? fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) : r;
}

static void pipes(void)
{
    char c[10];
    int p[2];

    SECTION("pipes");
    (void)pipe2(p, O_NONBLOCK);
    R(on(p[0], 0));
    none("set on an empty pipe");
    (void)write(p[1], "a", 1);
    show("written", p[0]);
    (void)write(p[1], "b", 1);
    show("written again, not read", p[0]);
    R(fcntl(p[0], F_SETSIG, SIGRTMIN + 3));
    (void)write(p[1], "c", 1);
    (void)write(p[1], "d", 1);
    show_wait("written twice", p[0], 2, 2000);
    (void)read(p[0], c, sizeof(c));
    none("read");
    R(fcntl(p[0], F_SETFL, O_NONBLOCK));
    (void)write(p[1], "e", 1);
    none("written with the flag off");
    R(fcntl(p[0], F_SETFL, O_NONBLOCK | O_ASYNC));
    none("turned on with something there");
    (void)close(p[1]);
    show("the writer has closed", p[0]);
    (void)close(p[0]);

    (void)pipe2(p, O_NONBLOCK);
    R(on(p[1], SIGUSR1));
    for (int i = 0; i < 16; i++) {
        static char page[4096];

        (void)write(p[1], page, sizeof(page));
    }
    R(write(p[1], "x", 1));
    none("filled");
    {
        static char page[4096];

        (void)read(p[0], page, sizeof(page));
    }
    show("room again", p[1]);
    (void)close(p[0]);
    show("the reader has closed", p[1]);
    (void)close(p[1]);
}

static void owners(void)
{
    struct f_owner_ex o = {F_OWNER_TID, gettid()};
    int s[2], status;
    pid_t pid;

    SECTION("owners");
    (void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
    R(fcntl(s[0], F_GETOWN));
    R(fcntl(s[0], F_GETSIG));
    R(fcntl(s[0], F_SETFL, O_NONBLOCK | O_ASYNC));
    (void)write(s[1], "a", 1);
    none("nobody's");
    R(fcntl(s[0], F_SETOWN_EX, &o));
    (void)write(s[1], "a", 1);
    show("a thread's", s[0]);
    memset(&o, 0, sizeof(o));
    R(fcntl(s[0], F_GETOWN_EX, &o));
    OK(o.type == F_OWNER_TID && o.pid == gettid());
    (void)setpgid(0, 0);
    R(fcntl(s[0], F_SETOWN, -getpgrp()));
    (void)write(s[1], "a", 1);
    show("a group's", s[0]);
    OK(fcntl(s[0], F_GETOWN) == -getpgrp() || errno == 0);
    R(fcntl(s[0], F_SETOWN, 0));
    (void)write(s[1], "a", 1);
    none("given up");
    R(fcntl(s[0], F_SETOWN, 0x7ffffff0));
    R(fcntl(s[0], F_SETSIG, 65));
    R(fcntl(s[0], F_SETSIG, -1));
    pid = fork();
    if (!pid) {
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGUSR1);
        (void)fcntl(s[0], F_SETOWN, getpid());
        (void)fcntl(s[0], F_SETSIG, SIGUSR1);
        (void)write(s[0], "r", 1);
        _exit(sigtimedwait(&set, NULL, &(struct timespec){5, 0}) == SIGUSR1 ? 3 : 4);
    }
    {
        struct pollfd ready = {s[1], POLLIN};

        (void)poll(&ready, 1, 5000);
    }
    OK(fcntl(s[0], F_GETOWN) == pid);
    (void)write(s[1], "a", 1);
    (void)waitpid(pid, &status, 0);
    RESULT("the child's", WEXITSTATUS(status));
    RESULT("owner when it is gone", fcntl(s[0], F_GETOWN));
    (void)write(s[1], "a", 1);
    none("to one that is gone");
    (void)close(s[0]);
    (void)close(s[1]);
}

static void unix_sockets(void)
{
    int s[2], d, one = 1;
    char buf[4096] = {0};

    SECTION("unix sockets");
    (void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
    d = -getpid();
    R(ioctl(s[0], FIOSETOWN, bad_address));
    R(ioctl(s[0], SIOCSPGRP, &d));
    d = 0;
    R(ioctl(s[0], SIOCGPGRP, &d));
    OK(d == -getpid());
    d = getpid();
    R(ioctl(s[0], FIOSETOWN, &d));
    d = 0;
    R(ioctl(s[0], FIOGETOWN, &d));
    OK(d == getpid());
    d = INT32_MIN;
    R(ioctl(s[0], FIOSETOWN, &d));
    R(ioctl(1, FIOSETOWN, &d));
    R(on(s[0], SIGUSR1));
    R(ioctl(s[0], FIOASYNC, &one));
    d = dup(s[0]);
    (void)write(s[1], "a", 1);
    show("written", s[0]);
    one = 0;
    R(ioctl(s[0], FIOASYNC, &one));
    OK(!(fcntl(s[0], F_GETFL) & O_ASYNC));
    one = 1;
    R(ioctl(d, FIOASYNC, &one));
    (void)write(s[1], "a", 1);
    show("turned on by a duplicate", d);
    while (write(s[0], buf, sizeof(buf)) > 0)
        ;
    none("filled");
    while (read(s[1], buf, sizeof(buf)) > 0)
        ;
    {
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGUSR1);
        RESULT("room again", sigtimedwait(&set, NULL, &(struct timespec){1, 0}));
        while (sigtimedwait(&set, NULL, &(struct timespec){0, 10000000}) > 0)
            ;
    }
    (void)shutdown(s[1], SHUT_WR);
    show("no more to come", d);
    (void)close(s[1]);
    show("closed", d);
    (void)close(s[0]);
    (void)close(d);
    (void)socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s);
    R(on(s[0], SIGUSR1));
    (void)write(s[1], "a", 1);
    show("a datagram", s[0]);
    (void)close(s[1]);
    none("its sender has closed");
    (void)close(s[0]);
}

static void inet_sockets(void)
{
    struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    int l = socket(AF_INET, SOCK_STREAM, 0), c, s, u, u2, one = 1;
    socklen_t size = sizeof(a);

    SECTION("inet sockets");
    (void)bind(l, (struct sockaddr *)&a, size);
    (void)listen(l, 5);
    (void)getsockname(l, (struct sockaddr *)&a, &size);
    R(on(l, SIGUSR1));
    c = socket(AF_INET, SOCK_STREAM, 0);
    (void)connect(c, (struct sockaddr *)&a, size);
    show("a connection waits", l);
    s = accept(l, NULL, NULL);
    (void)setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    R(on(s, SIGUSR1));
    none("nothing there");
    (void)write(c, "a", 1);
    show("written", s);
    (void)write(c, "a", 1);
    show("written again, not read", s);
    R(fcntl(s, F_SETSIG, 0));
    (void)send(c, "u", 1, MSG_OOB);
    show_wait("out of band", s, 2, 2000);
    {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT};
        int ep = epoll_create1(0);

        (void)epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
        (void)close(ep);
    }
    none("an epoll looks at it");
    (void)shutdown(c, SHUT_WR);
    show("no more to come", s);
    (void)close(c);
    (void)close(s);
    (void)close(l);
    u = socket(AF_INET, SOCK_DGRAM, 0);
    u2 = socket(AF_INET, SOCK_DGRAM, 0);
    a.sin_port = 0;
    (void)bind(u, (struct sockaddr *)&a, size);
    (void)getsockname(u, (struct sockaddr *)&a, &size);
    R(on(u, SIGUSR1));
    (void)sendto(u2, "a", 1, 0, (struct sockaddr *)&a, size);
    show("a datagram", u);
    (void)sendto(u, "a", 1, 0, (struct sockaddr *)&a, size);
    show("to itself", u);
    (void)close(u);
    (void)close(u2);
}

static void urgent_only(void)
{
    struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    int l = socket(AF_INET, SOCK_STREAM, 0), c, s;
    socklen_t size = sizeof(a);

    SECTION("SIGURG takes an owner alone");
    (void)bind(l, (struct sockaddr *)&a, size);
    (void)listen(l, 5);
    (void)getsockname(l, (struct sockaddr *)&a, &size);
    c = socket(AF_INET, SOCK_STREAM, 0);
    (void)connect(c, (struct sockaddr *)&a, size);
    s = accept(l, NULL, NULL);
    R(fcntl(s, F_SETOWN, getpid()));
    (void)write(c, "a", 1);
    none("written");
    (void)send(c, "u", 1, MSG_OOB);
    show("out of band", s);
    (void)close(c);
    (void)close(s);
    (void)close(l);
}

static void terminals(void)
{
    int m = posix_openpt(O_RDWR | O_NOCTTY), s;
    struct termios t;
    char c[10];

    SECTION("terminals");
    (void)grantpt(m);
    (void)unlockpt(m);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    (void)tcgetattr(s, &t);
    t.c_lflag &= ~(unsigned)ECHO;
    (void)tcsetattr(s, TCSANOW, &t);
    R(on(s, SIGUSR1));
    (void)write(m, "ab", 2);
    none("half a line");
    (void)write(m, "c\n", 2);
    show("a line", s);
    (void)read(s, c, sizeof(c));
    none("read");
    R(fcntl(s, F_SETFL, O_RDWR));
    R(fcntl(s, F_SETOWN, 0));
    R(fcntl(s, F_SETSIG, 0));
    R(fcntl(s, F_SETFL, O_RDWR | O_ASYNC));
    OK(fcntl(s, F_GETOWN) == getpid());
    (void)write(m, "d\n", 2);
    show("its opener's by itself", s);
    R(on(m, SIGUSR1));
    (void)write(s, "x", 1);
    show("output", m);
    (void)close(s);
    (void)close(m);
}

static void other_files(void)
{
    char dir[] = "/tmp/sigio.XXXXXX", name[64];
    int one = 1, e = eventfd(0, 0), tf = timerfd_create(CLOCK_MONOTONIC, 0);
    int ep = epoll_create1(0), f, i, zero;

    SECTION("other files");
    R(ioctl(e, FIOASYNC, &one));
    R(ioctl(tf, FIOASYNC, &one));
    R(ioctl(ep, FIOASYNC, &one));
    R(fcntl(e, F_SETOWN, getpid()));
    R(fcntl(e, F_SETFL, O_RDWR | O_ASYNC));
    R(eventfd_write(e, 1));
    none("an eventfd");
    R(ioctl(e, FIOASYNC, &one));
    (void)mkdtemp(dir);
    (void)snprintf(name, sizeof(name), "%s/f", dir);
    f = open(name, O_RDWR | O_CREAT, 0600);
    R(ioctl(f, FIOASYNC, &one));
    zero = open("/dev/zero", O_RDWR);
    R(ioctl(zero, FIOASYNC, &one));
    R(ioctl(-1, FIOASYNC, &one));
    i = inotify_init1(IN_NONBLOCK);
    (void)inotify_add_watch(i, name, IN_MODIFY);
    R(on(i, SIGUSR1));
    (void)write(f, "a", 1);
    show("inotify", i);
    (void)unlink(name);
    (void)rmdir(dir);
}

static void directories(void)
{
    char dir[64] = "/tmp/sigio.XXXXXX", a[64], b[64];
    int d, f;

    SECTION("directories");
    (void)mkdtemp(dir);
    (void)snprintf(a, sizeof(a), "%s/a", dir);
    (void)snprintf(b, sizeof(b), "%s/b", dir);
    d = open(dir, O_RDONLY | O_DIRECTORY);
    R(fcntl(d, F_SETSIG, SIGUSR1));
    R(fcntl(d, F_NOTIFY, DN_CREATE));
    f = open(a, O_RDWR | O_CREAT, 0600);
    show("made", d);
    (void)close(open(b, O_RDWR | O_CREAT, 0600));
    none("once only");
    R(fcntl(d, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT));
    (void)unlink(b);
    show("removed", d);
    (void)rename(a, b);
    show("renamed", d);
    (void)write(f, "a", 1);
    none("written, not asked for");
    R(fcntl(d, F_NOTIFY, DN_MODIFY | DN_ATTRIB | DN_MULTISHOT));
    (void)write(f, "a", 1);
    show("written", d);
    (void)fchmod(f, 0644);
    show("mode of a file", d);
    (void)chmod(dir, 0755);
    show("its own mode", d);
    R(fcntl(d, F_NOTIFY, 0));
    R(fcntl(d, F_NOTIFY, DN_RENAME | DN_MULTISHOT));
    (void)rename(b, a);
    show("renamed in place", d);
    (void)snprintf(dir + strlen(dir), 4, ".b");
    (void)rename(a, dir);
    none("moved away");
    (void)rename(dir, b);
    none("moved here");
    dir[strlen(dir) - 2] = 0;
    R(fcntl(d, F_NOTIFY, 0));
    (void)write(f, "a", 1);
    none("no more");
    R(fcntl(f, F_NOTIFY, DN_MODIFY));
    R(fcntl(f, F_NOTIFY, 0));
    R(fcntl(d, F_NOTIFY, DN_MODIFY));
    (void)close(d);
    (void)write(f, "a", 1);
    none("closed");
    (void)unlink(b);
    (void)rmdir(dir);
}

static volatile sig_atomic_t g_handled;

static void handler(int sig)
{
    (void)sig;
    g_handled++;
}

/* The signal is there when the call that causes it returns. */
static void at_once(void)
{
    int s[2], n = 0;
    sigset_t set;

    SECTION("at once");
    (void)socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    (void)signal(SIGIO, handler);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGIO);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)on(s[0], 0);
    for (int i = 0; i < 100; i++) {
        (void)write(s[1], "a", 1);
        n += g_handled == i + 1;
    }
    RESULT("handled in time", n);
}

int main(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGIO);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGURG);
    (void)sigaddset(&set, SIGRTMIN + 3);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    pipes();
    owners();
    unix_sockets();
    inet_sockets();
    urgent_only();
    terminals();
    other_files();
    directories();
    at_once();
    return 0;
}
