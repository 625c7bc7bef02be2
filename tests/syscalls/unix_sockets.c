/* Unix sockets: all types, names, descriptors and credentials in messages, limits. */
#include "t.h"
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static int a, b;

static void pair(int type)
{
    int v[2];

    MUST(socketpair(AF_UNIX, type, 0, v));
    a = v[0];
    b = v[1];
}

static void drop(void)
{
    (void)close(a);
    (void)close(b);
}

static short events(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};

    return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static struct sockaddr_un name_of(const char *text, socklen_t *size)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (text[0] == '@') {
        memcpy(un.sun_path + 1, text + 1, strlen(text) - 1);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text));
    } else {
        (void)strcpy(un.sun_path, text);
        *size = sizeof(un);
    }
    return un;
}

static int to(int (*fn)(int, const struct sockaddr *, socklen_t), int fd, const char *text)
{
    socklen_t size;
    struct sockaddr_un un = name_of(text, &size);

    return fn(fd, (struct sockaddr *)&un, size);
}

static void show_name(int fd, bool peer)
{
    struct sockaddr_un un = {0};
    socklen_t size = sizeof(un);
    int r = peer ? getpeername(fd, (struct sockaddr *)&un, &size)
                 : getsockname(fd, (struct sockaddr *)&un, &size);

    if (r < 0)
        printf("name: %s\n", strerrorname_np(errno));
    else
        printf("name: size %u family %d '%s%s'\n", size, un.sun_family, un.sun_path,
               size > 2 && !un.sun_path[0] ? un.sun_path + 1 : "");
}

static void creating(void)
{
    int v[2];

    SECTION("creating");
    R(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    R(socket(AF_UNIX, SOCK_RAW, 0) >= 0);
    R(socket(AF_UNIX, SOCK_RDM, 0));
    R(socket(AF_UNIX, SOCK_STREAM, 5));
    R(socket(AF_UNIX, 99, 0));
    R(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
    R(socket(77, SOCK_STREAM, 0));
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, bad_address));
    R(socketpair(AF_INET, SOCK_STREAM, 0, v));
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, v));
    R(fcntl(v[0], F_GETFD));
    R((fcntl(v[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK));
    struct stat st;
    MUST(fstat(v[0], &st));
    R(S_ISSOCK(st.st_mode));
    R(lseek(v[0], 0, SEEK_SET));
    R(pread(v[0], &st, 1, 0));
    R(bind(0, NULL, 0));
    R(listen(999, 1));
    R(accept(MUST(open("/dev/null", O_RDONLY)), NULL, NULL));
}

static void streams(void)
{
    char buf[300000], c;
    long n, total = 0;
    int v;

    SECTION("stream");
    pair(SOCK_STREAM);
    show_name(a, false);
    show_name(a, true);
    printf("%x\n", events(a));
    R(send(a, "hello", 5, 0));
    R(write(a, " world", 6));
    printf("%x\n", events(b));
    R(ioctl(b, FIONREAD, &v));
    R(v);
    R(recv(b, buf, 3, MSG_PEEK));
    R(recv(b, buf, 100, MSG_PEEK));
    R(recv(b, buf, 3, 0));
    R(recv(b, buf, 100, 0));
    R(recv(b, buf, 100, MSG_DONTWAIT));
    R(send(a, "", 0, 0));
    R(recv(b, buf, 100, MSG_DONTWAIT));
    R(recv(b, buf, 0, MSG_DONTWAIT));
    R(send(a, bad_address, 5, 0));
    R(send(a, "x", 1, MSG_OOB) >= -1);
    (void)recv(b, buf, 10, MSG_DONTWAIT);
    while ((n = send(a, buf, 1000, MSG_DONTWAIT)) > 0)
        total += n;
    R(errno == EAGAIN);
    TRUTH("holds about SO_SNDBUF", total > 50000 && total < 500000);
    R(events(a) & POLLOUT);
    while ((n = recv(b, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
        total -= n;
    R(total);
    R(events(a));
    pid_t pid = fork();
    if (!pid) {
        (void)close(b);
        _exit(send(a, buf, sizeof(buf), 0) == sizeof(buf) ? 0 : 1);
    }
    R(recv(b, buf, sizeof(buf), MSG_WAITALL));
    int st;
    MUST(waitpid(pid, &st, 0));
    wait_status("sender", st);
    R(shutdown(a, SHUT_WR));
    R(recv(b, &c, 1, 0));
    R(events(b));
    R(send(a, "x", 1, MSG_NOSIGNAL));
    R(send(b, "x", 1, 0));
    R(recv(a, &c, 1, 0));
    R(shutdown(a, 5));
    CHILD("SIGPIPE", (void)!write(a, "x", 1));
    R(close(a));
    R(events(b));
    R(send(b, "x", 1, MSG_NOSIGNAL));
    (void)close(b);
    pair(SOCK_STREAM);
    MUST(send(b, "unread", 6, 0));
    (void)close(a);
    R(recv(b, &c, 1, 0));
    R(recv(b, &c, 1, 0));
    (void)close(b);
    pair(SOCK_STREAM);
    struct timeval tv = {0, 50000};
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    int64_t t = now_ms();
    R(recv(a, &c, 1, 0));
    t = now_ms() - t;
    TRUTH("timeout", t >= 45 && t < 1000);
    int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(recv(fd, &c, 1, 0));
    R(send(fd, &c, 1, MSG_NOSIGNAL));
    R(events(fd));
    R(shutdown(fd, SHUT_RDWR));
    drop();
}

static void datagrams(void)
{
    char buf[128];
    struct sockaddr_un un;
    socklen_t size = sizeof(un);
    int n = 0;

    SECTION("datagram");
    pair(SOCK_DGRAM);
    R(send(a, "one", 3, 0));
    R(send(a, "", 0, 0));
    R(send(a, "three", 5, 0));
    R(recv(b, buf, 2, 0));
    R(recv(b, buf, 100, 0));
    R(recv(b, buf, 2, MSG_TRUNC | MSG_PEEK));
    R(recv(b, buf, 2, MSG_TRUNC));
    while (send(a, buf, 1, MSG_DONTWAIT) == 1)
        n++;
    R(errno == EAGAIN);
    TRUTH("many", n > 100 && n < 1000);
    (void)close(b);
    R(send(a, "x", 1, 0));
    R(send(a, "x", 1, 0));
    (void)close(a);
    int s = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), c = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    R(to(bind, s, "dgram"));
    R(to(bind, s, "again"));
    R(to(bind, c, "dgram"));
    R(to(connect, c, "none"));
    R(to(connect, c, "dgram"));
    R(send(c, "hi", 2, 0));
    R(recvfrom(s, buf, 100, 0, (struct sockaddr *)&un, &size));
    R(size);
    R(to(bind, c, "@client"));
    R(send(c, "hi", 2, 0));
    size = sizeof(un);
    R(recvfrom(s, buf, 100, 0, (struct sockaddr *)&un, &size));
    printf("%u %.6s\n", size, un.sun_path + 1);
    R(sendto(s, "re", 2, 0, (struct sockaddr *)&un, size));
    R(recv(c, buf, 100, 0));
    R(to(connect, s, "@client"));
    int third = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    struct sockaddr_un server = name_of("dgram", &size);
    R(sendto(third, "x", 1, 0, (struct sockaddr *)&server, size));
    R(to(connect, third, "dgram"));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    R(connect(s, &none, sizeof(none)));
    R(sendto(third, "x", 1, 0, (struct sockaddr *)&server, size));
    R(sendto(third, "x", 1, 0, (struct sockaddr *)&server, 1));
    R(listen(s, 1));
    R(accept(s, NULL, NULL));
    R(close(s));
    R(send(c, "hi", 2, 0));
    int st = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(connect, st, "dgram"));
    char big[300000] = "";
    pair(SOCK_DGRAM);
    R(send(a, big, sizeof(big), 0));
    drop();
}

static void records(void)
{
    char buf[64];
    struct msghdr h = {0};
    struct iovec io = {buf, 3};

    SECTION("seqpacket");
    pair(SOCK_SEQPACKET);
    R(send(a, "first", 5, 0));
    R(send(a, "second", 6, 0));
    h.msg_iov = &io;
    h.msg_iovlen = 1;
    R(recvmsg(b, &h, 0));
    R(h.msg_flags & (MSG_TRUNC | MSG_EOR));
    R(recv(b, buf, 64, 0));
    R(close(a));
    R(recv(b, buf, 64, 0));
    R(send(b, "x", 1, MSG_NOSIGNAL));
    R(events(b));
    (void)close(b);
    int s = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0)), c = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    R(recv(c, buf, 1, 0));
    R(send(c, buf, 1, MSG_NOSIGNAL));
    R(to(bind, s, "@seq"));
    R(listen(s, 1));
    R(to(connect, c, "@seq"));
    int n = MUST(accept(s, NULL, NULL));
    R(send(c, "abc", 3, 0));
    R(recv(n, buf, 64, 0));
}

static void listening(void)
{
    int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c[8], n;
    struct sockaddr_un un;
    socklen_t size;

    SECTION("listening");
    R(listen(s, 2));
    R(to(bind, s, "sock"));
    show_name(s, false);
    struct stat st;
    MUST(stat("sock", &st));
    R(S_ISSOCK(st.st_mode));
    c[0] = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(connect, c[0], "sock"));
    R(listen(s, 2));
    R(accept4(s, NULL, NULL, 0x100));
    R(events(s));
    R(to(connect, c[0], "sock"));
    R(to(connect, c[0], "sock"));
    R(events(s));
    R(events(c[0]));
    R(send(c[0], "early", 5, 0));
    size = sizeof(un);
    n = (int)MUST(accept4(s, (struct sockaddr *)&un, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    R(size);
    R(fcntl(n, F_GETFD));
    show_name(n, false);
    show_name(n, true);
    show_name(c[0], true);
    char buf[16];
    R(recv(n, buf, 16, 0));
    R(recv(n, buf, 16, 0));
    MUST(fcntl(s, F_SETFL, O_NONBLOCK));
    R(accept(s, NULL, NULL));
    for (int i = 1; i < 8; i++) {
        c[i] = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        printf("%d: ", i);
        R(to(connect, c[i], "sock"));
    }
    int v = -1;
    size = sizeof(v);
    R(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &v, &size));
    R(v);
    R(close(s));
    R(recv(c[1], buf, 16, 0));
    R(to(connect, c[4], "sock"));
    R(unlink("sock"));
    R(to(connect, c[4], "sock"));
    put("plain", "");
    R(to(connect, c[4], "plain"));
    R(to(bind, c[4], "plain"));
    R(to(bind, c[4], "none/x"));
    s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(bind, s, "@abstract"));
    int other = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(bind, other, "@abstract"));
    R(listen(s, 5));
    R(to(connect, other, "@abstrac"));
    R(to(connect, other, "@abstract"));
    (void)close(s);
    s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(bind, s, "@abstract"));
    int autob = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    un = (struct sockaddr_un){.sun_family = AF_UNIX};
    R(bind(autob, (struct sockaddr *)&un, sizeof(sa_family_t)));
    size = sizeof(un);
    R(getsockname(autob, (struct sockaddr *)&un, &size));
    R(size);
    R(bind(autob, (struct sockaddr *)&un, 200));
    un.sun_family = AF_INET;
    R(bind(other, (struct sockaddr *)&un, sizeof(un)));
    R(connect(other, (struct sockaddr *)&un, -1));
    R(bind(other, bad_address, 10));
    MUST(symlink("target", "slink"));
    int t = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(bind, t, "slink"));
    R(to(bind, t, "target"));
    R(listen(t, 1));
    int viacon = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(to(connect, viacon, "slink"));
    MUST(chmod("target", 0600));
    CHILD("no permission", {
        MUST(setresuid(2000, 2000, 2000));
        int x = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
        R(to(connect, x, "target"));
    });
}

/* ---- ancillary ---- */
static ssize_t send_fds(int sock, const int *fds, int n)
{
    char control[CMSG_SPACE(sizeof(int) * 300)] = "", byte = 'd';
    struct iovec io = {&byte, 1};
    struct msghdr h = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
    return sendmsg(sock, &h, MSG_DONTWAIT);
}

static int last_flags;
static ssize_t recv_fds(int sock, int *fds, int room, int *ret_n, int flags)
{
    char control[CMSG_SPACE(sizeof(int) * 300)], byte[64];
    struct iovec io = {byte, sizeof(byte)};
    struct msghdr h = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = room ? control : NULL,
                       .msg_controllen = room ? CMSG_LEN(sizeof(int) * (size_t)room) : 0};
    ssize_t r = recvmsg(sock, &h, flags);

    *ret_n = 0;
    last_flags = h.msg_flags;
    if (r < 0)
        return r;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
        if (c->cmsg_type == SCM_RIGHTS) {
            *ret_n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
        }
    return r;
}

static void descriptors(void)
{
    int p[2], got[300], n, many[300];
    char c;

    SECTION("SCM_RIGHTS");
    pair(SOCK_STREAM);
    MUST(pipe(p));
    R(send_fds(a, &p[0], 1));
    (void)close(p[0]);
    MUST(write(p[1], "z", 1));
    R(recv_fds(b, got, 10, &n, 0));
    R(n);
    R(read(got[0], &c, 1));
    R(fcntl(got[0], F_GETFD));
    (void)close(got[0]);
    R(send_fds(a, (int[]){p[1], 999}, 2));
    R(send_fds(a, p + 1, 1));
    R(recv_fds(b, got, 10, &n, MSG_CMSG_CLOEXEC));
    R(fcntl(got[0], F_GETFD));
    for (int i = 0; i < 300; i++)
        many[i] = p[1];
    R(send_fds(a, many, 253));
    R(recv_fds(b, got, 300, &n, 0));
    R(n);
    for (int i = 0; i < n; i++)
        (void)close(got[i]);
    R(send_fds(a, many, 254));
    R(send_fds(a, many, 3));
    R(recv_fds(b, got, 1, &n, 0));
    printf("%d %x\n", n, last_flags);
    R(send_fds(a, many, 1));
    R(recv_fds(b, got, 0, &n, 0));
    printf("%d %x\n", n, last_flags);
    R(send_fds(a, many, 1));
    R(read(b, &c, 1));
    R(send(a, "aa", 2, 0));
    R(send_fds(a, many, 1));
    R(send(a, "bb", 2, 0));
    R(recv_fds(b, got, 1, &n, 0)); /* up to and with the one that carries it */
    R(n);
    R(recv_fds(b, got, 1, &n, 0));
    R(n);
    R(send_fds(a, many, 1));
    R(recv_fds(b, got, 1, &n, MSG_PEEK));
    R(n);
    R(recv_fds(b, got, 1, &n, 0));
    R(n);
    drop();
    (void)close(p[1]);
    /* in flight after both ends are closed; a socket sent through itself */
    for (int i = 0; i < 100; i++) {
        pair(SOCK_STREAM);
        (void)send_fds(a, &a, 1);
        (void)send_fds(a, &b, 1);
        (void)send_fds(b, &a, 1);
        drop();
    }
    MUST(pipe(p));
    pair(SOCK_DGRAM);
    R(send_fds(a, &p[1], 1));
    (void)close(p[1]);
    drop(); /* the queue goes, and with it the last writer */
    R(read(p[0], &c, 1));
    CHILD("received above the limit", {
        pair(SOCK_STREAM);
        R(send_fds(a, many, 0) >= -1);
        int fds[3] = {0, 0, 0};
        R(send_fds(a, fds, 3));
        while (dup(0) >= 0)
            ;
        R(recv_fds(b, got, 10, &n, 0));
        printf("%d %x\n", n, last_flags);
    });
}

static void credentials(void)
{
    char control[256], byte[8] = "";
    struct iovec io = {byte, 1};
    struct ucred uc;
    socklen_t size = sizeof(uc);
    int on = 1;

    SECTION("credentials");
    pair(SOCK_STREAM);
    R(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &uc, &size));
    printf("%d %d %d\n", uc.pid == getpid(), (int)uc.uid, (int)uc.gid);
    R(setsockopt(b, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
    pid_t pid = fork();
    if (!pid) {
        MUST(setresgid(3000, 3000, 3000));
        MUST(setresuid(2000, 2000, 2000));
        _exit(send(a, "x", 1, 0) == 1 ? 0 : 1);
    }
    MUST(waitpid(pid, NULL, 0));
    struct msghdr h = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    R(recvmsg(b, &h, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    if (c) {
        memcpy(&uc, CMSG_DATA(c), sizeof(uc));
        printf("%d %d %d %d %d\n", c->cmsg_type == SCM_CREDENTIALS, (int)h.msg_controllen,
               uc.pid == pid, (int)uc.uid, (int)uc.gid);
    }
    CHILD("forged", {
        MUST(setresuid(2000, 2000, 2000));
        h = (struct msghdr){.msg_iov = &io,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = CMSG_SPACE(sizeof(uc))};
        c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_CREDENTIALS;
        c->cmsg_len = CMSG_LEN(sizeof(uc));
        uc = (struct ucred){getpid(), 0, 0};
        memcpy(CMSG_DATA(c), &uc, sizeof(uc));
        R(sendmsg(a, &h, 0));
        uc = (struct ucred){1, 2000, getgid()};
        memcpy(CMSG_DATA(c), &uc, sizeof(uc));
        R(sendmsg(a, &h, 0));
        uc = (struct ucred){getpid(), 2000, getgid()};
        memcpy(CMSG_DATA(c), &uc, sizeof(uc));
        R(sendmsg(a, &h, 0));
        c->cmsg_len = 5;
        R(sendmsg(a, &h, 0));
        c->cmsg_len = 5000;
        R(sendmsg(a, &h, 0));
        c->cmsg_len = CMSG_LEN(sizeof(uc));
        c->cmsg_type = 99;
        R(sendmsg(a, &h, 0));
        h.msg_controllen = 1UL << 40;
        R(sendmsg(a, &h, 0));
        h.msg_controllen = 0;
        h.msg_iovlen = 2000;
        R(sendmsg(a, &h, 0));
    });
    drop();
}

static void options(void)
{
    int v = 0;
    socklen_t size = sizeof(v);

    SECTION("options");
    pair(SOCK_STREAM);
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &v, &size));
    R(v);
    R(getsockopt(a, SOL_SOCKET, SO_DOMAIN, &v, &size));
    R(v);
    R(getsockopt(a, SOL_SOCKET, SO_ERROR, &v, &size));
    R(v);
    R(getsockopt(a, SOL_SOCKET, SO_SNDBUF, &v, &size));
    R(v);
    v = 10000;
    R(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
    R(getsockopt(a, SOL_SOCKET, SO_SNDBUF, &v, &size));
    R(v);
    v = 1;
    R(setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &v, sizeof(v)));
    R(setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &v, 1));
    R(setsockopt(a, SOL_SOCKET, SO_REUSEADDR, bad_address, 4));
    R(setsockopt(a, SOL_SOCKET, 9999, &v, sizeof(v)));
    R(setsockopt(a, SOL_SOCKET, SO_TYPE, &v, sizeof(v)));
    R(setsockopt(a, 6, 1, &v, sizeof(v)));
    R(getsockopt(a, 6, 1, &v, &size));
    size = 1;
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &v, &size));
    R(size);
    size = (socklen_t)-1;
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &v, &size));
    struct timeval tv = {0, 2000000};
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    tv = (struct timeval){3, 0};
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    size = sizeof(tv);
    R(getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, &size));
    printf("%ld %ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, 4));
    drop();
}

int main(void)
{
    enter_scratch();
    (void)signal(SIGPIPE, SIG_DFL);
    creating();
    streams();
    datagrams();
    records();
    listening();
    descriptors();
    credentials();
    options();
    leave_scratch();
    return 0;
}
