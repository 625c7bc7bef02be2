/* poll, select, epoll, eventfd, timerfd, inotify. */
#include "t.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static void polls(void)
{
    int p[2], n;
    struct pollfd f[4];

    SECTION("poll");
    MUST(pipe(p));
    f[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
    f[1] = (struct pollfd){.fd = 999, .events = POLLIN};
    f[2] = (struct pollfd){.fd = -1, .events = POLLIN};
    f[3] = (struct pollfd){.fd = p[1], .events = POLLOUT};
    R(poll(f, 4, 0));
    printf("%x %x %x %x\n", f[0].revents, f[1].revents, f[2].revents, f[3].revents);
    int64_t t = now_ms();
    R(poll(f, 1, 50));
    t = now_ms() - t;
    TRUTH("waited", t >= 49 && t < 1000);
    R(poll(bad_address, 1, 0));
    R(poll(NULL, 0, 0));
    put("file", "x");
    f[0].fd = MUST(open("file", O_RDONLY));
    f[0].events = POLLIN | POLLOUT;
    R(poll(f, 1, 0));
    R(f[0].revents);
    pid_t pid = fork();
    if (!pid) {
        sleep_ms(30);
        (void)!write(p[1], "x", 1);
        _exit(0);
    }
    f[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
    R(poll(f, 1, 5000));
    MUST(waitpid(pid, NULL, 0));
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval tv = {1, 0};
    R(n = select(p[1] + 1, &r, &w, NULL, &tv));
    printf("%d %d\n", !!FD_ISSET(p[0], &r), !!FD_ISSET(p[1], &w));
    R(tv.tv_sec == 1 || tv.tv_usec > 900000);
    char c;
    (void)!read(p[0], &c, 1);
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    tv = (struct timeval){0, 20000};
    R(select(p[0] + 1, &r, NULL, NULL, &tv));
    R(FD_ISSET(p[0], &r));
    printf("%ld %ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
    FD_SET(40, &r);
    R(select(41, &r, NULL, NULL, &tv));
    R(select(-1, NULL, NULL, NULL, &tv));
    tv.tv_sec = -1;
    R(select(0, NULL, NULL, NULL, &tv));
}

static void counters(void)
{
    uint64_t v = 0;
    struct pollfd p;

    SECTION("eventfd");
    int fd = MUST(eventfd(3, EFD_NONBLOCK));
    p = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
    R(read(fd, &v, 8));
    R(v);
    R(read(fd, &v, 8));
    R(poll(&p, 1, 0));
    R(p.revents);
    v = UINT64_MAX;
    R(write(fd, &v, 8));
    v = UINT64_MAX - 1;
    R(write(fd, &v, 8));
    R(poll(&p, 1, 0));
    R(p.revents);
    v = 1;
    R(write(fd, &v, 8));
    R(write(fd, &v, 4));
    R(read(fd, &v, 4));
    fd = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    R(read(fd, &v, 8));
    R(v);
    R(read(fd, &v, 8));
    R(read(fd, &v, 8));
    R(eventfd(0, 0x100));
}

static void timers(void)
{
    uint64_t v = 0;
    struct itimerspec it = {.it_value = {0, 200000000}}, now;

    SECTION("timerfd");
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    R(read(fd, &v, 8));
    int64_t t = now_ms();
    R(timerfd_settime(fd, 0, &it, NULL));
    R(timerfd_gettime(fd, &now));
    R(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 200000000);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    R(poll(&p, 1, 2000));
    t = now_ms() - t;
    TRUTH("in time", t >= 198 && t < 2000);
    R(read(fd, &v, 8));
    R(v);
    R(read(fd, &v, 8));
    it = (struct itimerspec){.it_value = {0, 30000000}, .it_interval = {0, 10000000}};
    t = now_ms();
    R(timerfd_settime(fd, 0, &it, NULL));
    sleep_ms(100);
    R(read(fd, &v, 8));
    TRUTH("several", v >= 5 && v <= 2 + (uint64_t)(now_ms() - t) / 10); /* however late we are */
    it = (struct itimerspec){0};
    R(timerfd_settime(fd, 0, &it, &now));
    R(now.it_interval.tv_nsec);
    R(poll(&p, 1, 30));
    it.it_value = (struct timespec){1, 0};
    R(timerfd_settime(fd, TFD_TIMER_ABSTIME, &it, NULL)); /* long past */
    R(poll(&p, 1, 1000));
    it.it_value.tv_nsec = -1;
    R(timerfd_settime(fd, 0, &it, NULL));
    R(timerfd_settime(0, 0, &it, NULL));
    R(timerfd_create(77, 0));
    R(timerfd_create(CLOCK_REALTIME, 0x10));
    R(read(fd, &v, 4));
}

static void epolls(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7}, out[8];
    int p[2], ep = MUST(epoll_create1(EPOLL_CLOEXEC));
    char b[8];

    SECTION("epoll");
    R(fcntl(ep, F_GETFD));
    MUST(pipe(p));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &e));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &e));
    R(epoll_ctl(ep, 9, p[0], &e));
    R(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, MUST(open("file", O_RDONLY)), &e));
    R(epoll_wait(ep, out, 8, 0));
    R(epoll_wait(ep, out, 0, 0));
    MUST(write(p[1], "ab", 2));
    R(epoll_wait(ep, out, 8, 0));
    printf("%x %d\n", out[0].events, (int)out[0].data.u64);
    R(epoll_wait(ep, out, 8, 0)); /* level: still */
    e.events = EPOLLIN | EPOLLET;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    R(epoll_wait(ep, out, 8, 0));
    R(epoll_wait(ep, out, 8, 0)); /* edge: once */
    MUST(write(p[1], "c", 1));
    R(epoll_wait(ep, out, 8, 0));
    MUST(read(p[0], b, 1));
    R(epoll_wait(ep, out, 8, 0));
    e.events = EPOLLIN | EPOLLONESHOT;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    R(epoll_wait(ep, out, 8, 0));
    R(epoll_wait(ep, out, 8, 0));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    R(epoll_wait(ep, out, 8, 0));
    MUST(read(p[0], b, 8));
    e.events = EPOLLIN;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    int outer = MUST(epoll_create1(0));
    R(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &e));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, outer, &e));
    R(epoll_wait(outer, out, 8, 0));
    MUST(write(p[1], "n", 1));
    R(epoll_wait(outer, out, 8, 0));
    struct pollfd f = {.fd = ep, .events = POLLIN};
    R(poll(&f, 1, 0));
    MUST(read(p[0], b, 8));
    int d = MUST(dup(p[0]));
    (void)close(p[0]);
    MUST(write(p[1], "d", 1));
    R(epoll_wait(ep, out, 8, 0)); /* the description lives on */
    (void)close(d);
    R(epoll_wait(ep, out, 8, 0));
    MUST(pipe(p));
    e = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP, .data.u64 = 9};
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    pid_t pid = fork();
    if (!pid) {
        sleep_ms(30);
        (void)!write(p[1], "w", 1);
        _exit(0);
    }
    R(epoll_wait(ep, out, 8, 5000));
    MUST(waitpid(pid, NULL, 0));
    (void)close(p[1]);
    R(epoll_wait(ep, out, 8, 0));
    R(out[0].events);
    int64_t t = now_ms();
    MUST(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    R(epoll_wait(ep, out, 8, 40));
    t = now_ms() - t;
    TRUTH("waited", t >= 39 && t < 1000);
    int efd = MUST(eventfd(0, 0));
    e = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = 1};
    R(epoll_ctl(ep, EPOLL_CTL_ADD, efd, &e));
    R(epoll_wait(ep, out, 8, 0));
    R(out[0].events);
    uint64_t v = 1;
    MUST(write(efd, &v, 8));
    R(epoll_wait(ep, out, 8, 0));
    R(out[0].events);
    R(epoll_wait(ep, out, 8, 0));
    struct timespec ts = {0, 10000000};
    R(syscall(SYS_epoll_pwait2, ep, out, 8, &ts, NULL, 8));
    R(epoll_create(0));
    R(epoll_create1(5));
}

static void watch_event(int fd)
{
    _Alignas(8) char b[4096];
    ssize_t n = read(fd, b, sizeof(b));

    if (n < 0)
        printf("%s\n", strerrorname_np(errno));
    for (ssize_t at = 0; at < n;) {
        struct inotify_event *e = (void *)(b + at);

        printf("%x %s%s\n", e->mask, e->len ? e->name : "-", e->cookie ? " cookie" : "");
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    (void)fflush(stdout);
}

static void watches(void)
{
    SECTION("inotify");
    int fd = MUST(inotify_init1(IN_NONBLOCK));
    MUST(mkdir("w", 0755));
    int w = MUST(inotify_add_watch(fd, "w", IN_ALL_EVENTS));
    R(inotify_add_watch(fd, "none", IN_CREATE));
    R(inotify_add_watch(fd, "w", 0));
    watch_event(fd);
    put("w/a", "x");
    watch_event(fd);
    MUST(rename("w/a", "w/b"));
    watch_event(fd);
    MUST(chmod("w/b", 0600));
    MUST(rename("w/b", "out"));
    watch_event(fd);
    MUST(mkdir("w/d", 0755));
    MUST(rmdir("w/d"));
    watch_event(fd);
    show_file("out");
    watch_event(fd);
    int n;
    put("w/z", "");
    R(ioctl(fd, FIONREAD, &n));
    R(n > 0);
    watch_event(fd);
    R(inotify_rm_watch(fd, w));
    watch_event(fd);
    R(inotify_rm_watch(fd, w));
    w = MUST(inotify_add_watch(fd, "out", IN_DELETE_SELF | IN_ATTRIB | IN_ONESHOT));
    MUST(unlink("out"));
    watch_event(fd);
    R(inotify_rm_watch(0, 1));
}

/* One call may tell of all that are ready. */
static void many_ready(void)
{
    static struct epoll_event out[400];
    int ep = epoll_create1(0), base = eventfd(1, 0);

    SECTION("many ready");
    for (int i = 0; i < 300; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        (void)epoll_ctl(ep, EPOLL_CTL_ADD, dup(base), &e);
    }
    R(epoll_wait(ep, out, 400, 0));
    R(epoll_wait(ep, out, 200, 0));
    for (int fd = 3; fd < 320; fd++)
        (void)close(fd);
}

static void nested(void)
{
    struct epoll_event e = {.events = EPOLLIN};
    int last = eventfd(1, 0);

    SECTION("nested");
    for (int i = 0; i < 6; i++) {
        int ep = epoll_create1(0);
        R(epoll_ctl(ep, EPOLL_CTL_ADD, last, &e));
        last = ep;
    }
}

static void next_event(const char *name, int fd)
{
    char data[512] __attribute__((aligned(8)));
    ssize_t n = read(fd, data, sizeof(data));

    for (char *p = data; n > 0 && p < data + n;) {
        struct inotify_event *e = (void *)p;

        printf("%s: wd %d mask %x name %s\n", name, e->wd, e->mask, e->len ? e->name : "");
        p += sizeof(*e) + e->len;
    }
    if (n < 0)
        printf("%s: %s\n", name, strerrorname_np(errno));
    (void)fflush(stdout);
}

/* What is told of files that are deleted, open or not. */
static void deleted_files(void)
{
    int in = MUST(inotify_init1(IN_NONBLOCK)), fd;

    SECTION("deleted files");
    put("gone", "x");
    R(inotify_add_watch(in, "gone", IN_DELETE_SELF | IN_ATTRIB));
    MUST(unlink("gone"));
    next_event("unlinked", in);
    MUST(mkdir("gone-dir", 0755));
    R(inotify_add_watch(in, "gone-dir", IN_DELETE_SELF));
    MUST(rmdir("gone-dir"));
    next_event("removed", in);
    put("gone", "x");
    R(inotify_add_watch(in, ".", IN_MODIFY));
    fd = MUST(open("gone", O_WRONLY));
    MUST(unlink("gone"));
    MUST(write(fd, "y", 1));
    next_event("open, without name", in);
    R(inotify_add_watch(in, ".", IN_MODIFY | IN_EXCL_UNLINK));
    MUST(write(fd, "y", 1));
    next_event("excluded", in);
    (void)close(fd);
    (void)close(in);
}

int main(void)
{
    many_ready();
    nested();
    enter_scratch();
    polls();
    counters();
    timers();
    epolls();
    watches();
    deleted_files();
    leave_scratch();
    return 0;
}
