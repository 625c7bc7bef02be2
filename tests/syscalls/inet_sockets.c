/* TCP and UDP over loopback, netlink as libc uses it. */
#include "t.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct sockaddr_in in4(uint32_t addr, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(addr)}};
}

static int port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t size = sizeof(in);

    MUST(getsockname(fd, (struct sockaddr *)&in, &size));
    return ntohs(in.sin_port);
}

static short events(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};

    return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static bool ready(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};

    return poll(&p, 1, 3000) == 1;
}

static int server(int family)
{
    int fd = MUST(socket(family, SOCK_STREAM, 0)), on = 1;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in in = in4(INADDR_LOOPBACK, 0);

    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    if (family == AF_INET)
        MUST(bind(fd, (struct sockaddr *)&in, sizeof(in)));
    else
        MUST(bind(fd, (struct sockaddr *)&in6, sizeof(in6)));
    MUST(listen(fd, 5));
    return fd;
}

static int dial(int port, int flags)
{
    int fd = MUST(socket(AF_INET, SOCK_STREAM | flags, 0));
    struct sockaddr_in in = in4(INADDR_LOOPBACK, port);
    int r = connect(fd, (struct sockaddr *)&in, sizeof(in));

    if (r < 0)
        printf("connect: %s\n", strerrorname_np(errno));
    return fd;
}

static void creating(void)
{
    SECTION("creating");
    R(socket(AF_INET, SOCK_STREAM, 0) >= 0);
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) >= 0);
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    R(socket(AF_INET6, SOCK_DGRAM, 0) >= 0);
    R(socket(AF_INET, SOCK_SEQPACKET, 0));
    R(socket(AF_INET, 99, 0));
    R(socket(AF_INET, SOCK_STREAM, 9999));
    R(socket(AF_INET, SOCK_STREAM, -1));
    R(socket(AF_INET, SOCK_RAW, 300));
    R(socket(AF_APPLETALK, SOCK_DGRAM, 0) == -1);
    R(socket(-1, SOCK_DGRAM, 0));
    CHILD("raw without rights", {
        MUST(setresuid(2000, 2000, 2000));
        R(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    });
}

static void streams(void)
{
    char buf[100000], c;
    int s = server(AF_INET), port = port_of(s), v, one = 1;
    struct sockaddr_in in;
    socklen_t size = sizeof(in);

    SECTION("TCP");
    R(events(s));
    int a = dial(port, 0);
    R(ready(s, POLLIN));
    int b = MUST(accept(s, (struct sockaddr *)&in, &size));
    printf("%u %d %d\n", size, in.sin_family, ntohl(in.sin_addr.s_addr) == INADDR_LOOPBACK);
    R(ntohs(in.sin_port) == port_of(a));
    R(getpeername(a, (struct sockaddr *)&in, &size));
    R(ntohs(in.sin_port) == port);
    R(send(a, "hello", 5, 0));
    R(ready(b, POLLIN));
    R(ioctl(b, FIONREAD, &v));
    R(v);
    R(recv(b, buf, 2, MSG_PEEK));
    R(recv(b, buf, 100, 0));
    R(recv(b, buf, 100, MSG_DONTWAIT));
    R(events(a));
    pid_t pid = fork();
    if (!pid) {
        (void)close(a);
        memset(buf, 'p', sizeof(buf));
        for (int i = 0; i < 5; i++)
            if (send(b, buf, sizeof(buf), 0) != sizeof(buf))
                _exit(1);
        _exit(0);
    }
    long total = 0, n;
    for (int i = 0; i < 5; i++)
        total += recv(a, buf, sizeof(buf), MSG_WAITALL);
    R(total);
    MUST(waitpid(pid, &v, 0));
    wait_status("sender", v);
    R(setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
    size = sizeof(v);
    R(getsockopt(a, IPPROTO_TCP, TCP_NODELAY, &v, &size));
    R(v);
    struct tcp_info info;
    size = sizeof(info);
    R(getsockopt(a, IPPROTO_TCP, TCP_INFO, &info, &size));
    R(info.tcpi_state);
    R(send(a, "!", 1, MSG_OOB));
    R(ready(b, POLLPRI));
    R(recv(b, &c, 1, MSG_OOB));
    R(c);
    struct timeval tv = {0, 50000};
    R(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    R(recv(a, &c, 1, 0));
    R(shutdown(a, SHUT_WR));
    R(ready(b, POLLIN));
    R(recv(b, &c, 1, 0));
    R(send(b, "last", 4, 0));
    R(recv(a, buf, 100, 0));
    R(close(b));
    R(recv(a, buf, 100, 0));
    R(send(a, "x", 1, MSG_NOSIGNAL));
    CHILD("SIGPIPE", (void)!write(a, "x", 1));
    R(close(a));
    R(accept4(s, NULL, NULL, 0x100));
    MUST(fcntl(s, F_SETFL, O_NONBLOCK));
    R(accept(s, NULL, NULL));
    in = in4(INADDR_LOOPBACK, port);
    int second = MUST(socket(AF_INET, SOCK_STREAM, 0));
    R(bind(second, (struct sockaddr *)&in, sizeof(in)));
    R(close(s));
    a = dial(port, 0); /* refused */
    R(send(a, "x", 1, MSG_NOSIGNAL));
    R(recv(a, &c, 1, 0));
    R(getpeername(a, (struct sockaddr *)&in, &size));
    R(shutdown(a, SHUT_RD));
    R(connect(a, (struct sockaddr *)&in, 3));
    in.sin_family = 99;
    R(connect(a, (struct sockaddr *)&in, sizeof(in)));
    R(bind(a, (struct sockaddr *)&in, sizeof(in)));
    in = in4(0x08080808, 0);
    R(bind(second, (struct sockaddr *)&in, sizeof(in)));
    R(listen(MUST(socket(AF_INET, SOCK_DGRAM, 0)), 1));
    R(recv(s, bad_address, 1, 0));
    n = 0;
    (void)n;
}

static void asynchronous(void)
{
    int s = server(AF_INET), port = port_of(s), err = -1;
    socklen_t size = sizeof(err);
    struct sockaddr_in in = in4(INADDR_LOOPBACK, port);

    SECTION("asynchronous connect");
    int a = dial(port, SOCK_NONBLOCK);
    R(ready(a, POLLOUT));
    R(getsockopt(a, SOL_SOCKET, SO_ERROR, &err, &size));
    R(err);
    R(connect(a, (struct sockaddr *)&in, sizeof(in)) == 0 || errno == EISCONN);
    R(connect(a, (struct sockaddr *)&in, sizeof(in)));
    (void)close(s);
    int b = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    R(connect(b, (struct sockaddr *)&in, sizeof(in)) == -1 &&
      (errno == EINPROGRESS || errno == ECONNREFUSED));
    R(ready(b, POLLOUT));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET}, out;
    int ep = MUST(epoll_create1(0));
    s = server(AF_INET);
    int c = dial(port_of(s), 0), d = MUST(accept(s, NULL, NULL));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, d, &e));
    R(epoll_wait(ep, &out, 1, 1000));
    R(out.events);
    R(epoll_wait(ep, &out, 1, 0));
    MUST(send(c, "x", 1, 0));
    R(epoll_wait(ep, &out, 1, 1000));
    R(out.events);
    (void)close(c);
    R(epoll_wait(ep, &out, 1, 1000));
    R(out.events & EPOLLIN);
}

static void datagrams(void)
{
    int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = MUST(socket(AF_INET, SOCK_DGRAM, 0)), v;
    struct sockaddr_in in = in4(INADDR_LOOPBACK, 0), from;
    socklen_t size = sizeof(from);
    char buf[70000] = "";

    SECTION("UDP");
    R(bind(a, (struct sockaddr *)&in, sizeof(in)));
    in = in4(INADDR_LOOPBACK, port_of(a));
    R(send(b, "x", 1, 0));
    R(sendto(b, "hello", 5, 0, (struct sockaddr *)&in, sizeof(in)));
    R(ready(a, POLLIN));
    R(ioctl(a, FIONREAD, &v));
    R(v);
    R(recvfrom(a, buf, 2, MSG_PEEK, (struct sockaddr *)&from, &size));
    R(recvfrom(a, buf, 2, MSG_TRUNC, (struct sockaddr *)&from, &size));
    R(ntohs(from.sin_port) == port_of(b));
    R(connect(b, (struct sockaddr *)&in, sizeof(in)));
    R(send(b, "", 0, 0));
    R(ready(a, POLLIN));
    R(recv(a, buf, 10, 0));
    R(send(b, buf, 65507, 0));
    R(recv(a, buf, sizeof(buf), 0));
    R(send(b, buf, 65508, 0));
    R(send(b, buf, sizeof(buf), 0));
    R(recv(a, buf, 10, MSG_DONTWAIT));
    int on = 1;
    R(setsockopt(a, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
    R(setsockopt(a, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)));
    R(send(b, "info", 4, 0));
    char control[256];
    struct iovec io = {buf, 2};
    struct msghdr h = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    R(recvmsg(a, &h, 0));
    printf("%x %u\n", h.msg_flags, h.msg_namelen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
        printf("control %d %d %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
    struct mmsghdr many[3] = {0};
    for (int i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = &io, .msg_iovlen = 1};
    R(sendmmsg(b, many, 3, 0));
    R(many[2].msg_len);
    R(recvmmsg(a, many, 3, MSG_WAITFORONE, NULL));
    struct timespec ts = {0, -1};
    R(recvmmsg(a, many, 3, 0, &ts));
    int c = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(c, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, sizeof(in)));
    in = in4(INADDR_LOOPBACK, port_of(c));
    (void)close(c);
    MUST(connect(b, (struct sockaddr *)&in, sizeof(in)));
    R(send(b, "x", 1, 0)); /* nobody there */
    sleep_ms(20);
    R(send(b, "x", 1, 0));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    R(connect(b, &none, sizeof(none)));
    R(send(b, "x", 1, 0));
    R(shutdown(b, SHUT_WR));
    v = 0;
    size = sizeof(v);
    R(getsockopt(a, SOL_SOCKET, SO_TYPE, &v, &size));
    R(v);
    R(setsockopt(a, SOL_SOCKET, 12345, &v, sizeof(v)));
    R(setsockopt(a, IPPROTO_IP, IP_TTL, &on, sizeof(on)));
    R(setsockopt(a, IPPROTO_IP, IP_TTL, &(int){300}, sizeof(int)));
    R(setsockopt(a, IPPROTO_IP, IP_TOS, &(int){16}, sizeof(int)));
    R(getsockopt(a, IPPROTO_IP, IP_TOS, &v, &size));
    R(v);
}

static void partly_checked(void)
{
    char buf[100];
    int on = 20, v = 0;
    struct sockaddr_in in = in4(INADDR_LOOPBACK, 0);
    socklen_t size = sizeof(in), vsize = sizeof(v);

    SECTION("UDP-Lite");
    int a = R(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE) < 0 ? -1 : 0);
    if (a < 0)
        return; /* not every kernel has it */
    a = MUST(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE));
    int b = MUST(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE));
    R(bind(a, (struct sockaddr *)&in, sizeof(in)));
    R(getsockname(a, (struct sockaddr *)&in, &size));
    R(setsockopt(b, IPPROTO_UDPLITE, 10 /* UDPLITE_SEND_CSCOV */, &on, sizeof(on)));
    R(getsockopt(b, IPPROTO_UDPLITE, 10, &v, &vsize));
    R(v);
    R(setsockopt(a, IPPROTO_UDPLITE, 11 /* UDPLITE_RECV_CSCOV */, &on, sizeof(on)));
    R(sendto(b, "partly checked", 14, 0, (struct sockaddr *)&in, sizeof(in)));
    R(recv(a, buf, sizeof(buf), 0));
    R(getsockopt(a, SOL_SOCKET, SO_PROTOCOL, &v, &vsize));
    R(v);
    R(socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE) >= 0);
}

/* Whatever is asked for: an error or success, never the end of the sandbox. */
static void every_option(void)
{
    static const int levels[] = {SOL_IP, SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP, SOL_IPV6,
                                 132,    136,        SOL_RAW,     SOL_NETLINK, 300};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    const char value[40] = {1};

    SECTION("every option");
    for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET)
        for (size_t k = 0; k < 2; k++)
            for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++)
                for (int name = 0; name < 130; name++) {
                    int s = MUST(socket(family, kinds[k], 0));

                    /* not the firewall's tables */
                    if (levels[l] == SOL_SOCKET || name < 64 || name > 95)
                        (void)setsockopt(s, levels[l], name, value, name % 3 == 2 ? 8 : 4);
                    (void)getsockopt(s, levels[l], name, (char[40]){0}, &(socklen_t){40});
                    (void)close(s);
                }
    printf("asked for all\n");
}

static void six(void)
{
    int s, c, on = 0;
    struct sockaddr_in6 in6;
    socklen_t size = sizeof(in6);

    SECTION("IPv6");
    c = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (bind(c, (struct sockaddr *)&in6, sizeof(in6)) < 0) {
        puts("not here");
        return;
    }
    s = server(AF_INET6);
    MUST(getsockname(s, (struct sockaddr *)&in6, &size));
    R(size);
    R(connect(c, (struct sockaddr *)&in6, sizeof(in6)));
    R(accept(s, NULL, NULL) >= 0);
    s = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    R(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
    in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    MUST(bind(s, (struct sockaddr *)&in6, sizeof(in6)));
    MUST(listen(s, 1));
    MUST(getsockname(s, (struct sockaddr *)&in6, &size));
    (void)dial(ntohs(in6.sin6_port), 0);
    size = sizeof(in6);
    R(accept(s, (struct sockaddr *)&in6, &size) >= 0);
    R(IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr));
}

static void interfaces(void)
{
    struct ifaddrs *list;
    bool lo = false, lo4 = false;
    struct ifreq r = {.ifr_name = "lo"};
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));

    SECTION("interfaces");
    R(getifaddrs(&list));
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (strcmp(i->ifa_name, "lo") != 0 || !i->ifa_addr)
            continue;
        lo |= i->ifa_addr->sa_family == AF_PACKET;
        lo4 |=
            i->ifa_addr->sa_family == AF_INET &&
            ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    }
    printf("%d %d\n", lo, lo4);
    R(if_nametoindex("lo"));
    char name[IF_NAMESIZE];
    puts(if_indextoname(1, name) ? name : "?");
    R(ioctl(fd, SIOCGIFFLAGS, &r));
    R((r.ifr_flags & (IFF_UP | IFF_LOOPBACK)) == (IFF_UP | IFF_LOOPBACK));
    R(ioctl(fd, SIOCGIFADDR, &r));
    R(ioctl(fd, SIOCGIFMTU, &r));
    R(r.ifr_mtu);
    (void)strcpy(r.ifr_name, "none0");
    R(ioctl(fd, SIOCGIFFLAGS, &r));
    CHILD("changes without rights", {
        MUST(setresuid(2000, 2000, 2000));
        (void)strcpy(r.ifr_name, "lo");
        R(ioctl(fd, SIOCSIFFLAGS, &r));
    });
    R(ioctl(fd, 0x1234, &r));
    CHILD("low port without rights", {
        struct sockaddr_in in = in4(INADDR_LOOPBACK, 81);
        int start = 0;
        FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
        if (f && fscanf(f, "%d", &start) == 1 && start < 82)
            return;
        MUST(setresuid(2000, 2000, 2000));
        R(bind(fd, (struct sockaddr *)&in, sizeof(in)));
    });
}

static void interrupted(int sig)
{
    (void)sig;
}

static void interruptions(void)
{
    int s = server(AF_INET), a = dial(port_of(s), 0);
    struct sigaction sa = {.sa_handler = interrupted};
    struct itimerval it = {{0, 0}, {0, 30000}};
    struct timeval tv = {5, 0};
    char c;

    SECTION("interruptions");
    MUST(sigaction(SIGALRM, &sa, NULL));
    MUST(setitimer(ITIMER_REAL, &it, NULL));
    R(recv(a, &c, 1, 0));
    MUST(accept(s, NULL, NULL));
    MUST(setitimer(ITIMER_REAL, &it, NULL));
    R(accept(s, NULL, NULL));
    sa.sa_flags = SA_RESTART;
    MUST(sigaction(SIGALRM, &sa, NULL));
    MUST(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    MUST(setitimer(ITIMER_REAL, &it, NULL));
    R(recv(a, &c, 1, 0)); /* a time-out forbids restarting */
}

/* Descriptors are for unix sockets: others let them be. */
static void descriptors_along(void)
{
    struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    int u = socket(AF_INET, SOCK_DGRAM, 0), l = socket(AF_INET, SOCK_STREAM, 0), c, s, fd = 0;
    char control[CMSG_SPACE(sizeof(int)) * 2] = {0}, got[8];
    struct iovec iov = {"ab", 2};
    struct msghdr h = {&a, sizeof(a), &iov, 1, control, sizeof(control)};
    socklen_t size = sizeof(a);
    struct cmsghdr *m = CMSG_FIRSTHDR(&h);

    SECTION("descriptors along");
    m->cmsg_level = SOL_SOCKET;
    m->cmsg_type = SCM_RIGHTS;
    m->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(m), &fd, sizeof(fd));
    m = CMSG_NXTHDR(&h, m);
    m->cmsg_level = IPPROTO_IP;
    m->cmsg_type = IP_TTL;
    m->cmsg_len = CMSG_LEN(sizeof(fd));
    fd = 7;
    memcpy(CMSG_DATA(m), &fd, sizeof(fd));
    (void)bind(u, (struct sockaddr *)&a, sizeof(a));
    (void)getsockname(u, (struct sockaddr *)&a, &size);
    R(sendmsg(u, &h, 0));
    R(recv(u, got, sizeof(got), 0));
    (void)bind(l, (struct sockaddr *)&(struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}},
               size);
    (void)listen(l, 1);
    (void)getsockname(l, (struct sockaddr *)&a, &size);
    c = socket(AF_INET, SOCK_STREAM, 0);
    (void)connect(c, (struct sockaddr *)&a, size);
    s = accept(l, NULL, NULL);
    h.msg_name = NULL;
    h.msg_namelen = 0;
    h.msg_controllen = CMSG_SPACE(sizeof(int));
    R(sendmsg(c, &h, 0));
    R(recv(s, got, sizeof(got), 0));
    (void)close(u);
    (void)close(l);
    (void)close(c);
    (void)close(s);
}

int main(void)
{
    creating();
    streams();
    asynchronous();
    datagrams();
    partly_checked();
    every_option();
    six();
    interfaces();
    interruptions();
    descriptors_along();
    return 0;
}
