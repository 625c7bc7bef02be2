/*
 * What was tried. Sockets of every kind, frames written by hand, addresses in disguise, detours by
 * the node. To add one: a function and a line in the table at the end.
 */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "tests/bypass/bypass.h"
#include "tests/bypass/craft.h"
#include "tests/bypass/detours.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static const char payload[] = "attempt";

static socklen_t address_of(const char *text, int port, struct sockaddr_storage *ret)
{
    socklen_t size;

    lab_sockaddr(text, port, ret, &size);
    return size;
}

/* "4", "6" or "mapped" -> the target as that. */
static const char *target(const struct bypass *b, const char *how, char *space, size_t size)
{
    if (!strcmp(how, "6"))
        return b->target6;
    if (strcmp(how, "mapped") != 0)
        return b->target;
    snprintf(space, size, "::ffff:%s", b->target);
    return space;
}

static int finish(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    (void)poll(&p, 1, 20);
    return 0;
}

static int connect_with(const struct bypass *b, const char *how, int protocol)
{
    struct sockaddr_storage to;
    char space[80];
    socklen_t size = address_of(target(b, how, space, sizeof(space)), 80, &to);
    CLEANUP(close_fd)
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

    if (fd < 0 || (connect(fd, (struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS))
        return -errno;
    return finish(fd);
}

static int tcp(const struct bypass *b, const char *how)
{
    return connect_with(b, how, 0);
}

static int mptcp(const struct bypass *b, const char *how)
{
    return connect_with(b, how, IPPROTO_MPTCP);
}

static int fast_open(const struct bypass *b, const char *how)
{
    struct sockaddr_storage to;
    char space[80];
    socklen_t size = address_of(target(b, how, space, sizeof(space)), 80, &to);
    CLEANUP(close_fd) int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 ||
        (sendto(fd, payload, sizeof(payload), MSG_FASTOPEN, (struct sockaddr *)&to, size) < 0 &&
         errno != EINPROGRESS))
        return -errno;
    return finish(fd);
}

/* The kernel's own worker connects; the program only queues the wish. */
static int uring(const struct bypass *b, const char *how)
{
    struct io_uring_params p = {0};
    struct sockaddr_storage to;
    char space[80];
    socklen_t size = address_of(target(b, how, space, sizeof(space)), 80, &to);
    CLEANUP(close_fd) int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CLEANUP(close_fd) int ring = (int)syscall(SYS_io_uring_setup, 4, &p);
    struct io_uring_sqe *sqe;
    char *sq, *cq;
    int r;

    if (ring < 0)
        return -EOPNOTSUPP;
    sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
              IORING_OFF_SQ_RING);
    cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
              PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
               IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED)
        return -EOPNOTSUPP;
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_CONNECT;
    sqe->fd = fd;
    sqe->addr = (uintptr_t)&to;
    sqe->off = size;
    ((uint32_t *)(void *)(sq + p.sq_off.array))[0] = 0;
    __atomic_store_n((uint32_t *)(void *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) < 0)
        return -EOPNOTSUPP;
    (void)finish(fd);
    r = __atomic_load_n((uint32_t *)(void *)(cq + p.cq_off.tail), __ATOMIC_ACQUIRE)
            ? ((struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes))->res
            : 0;
    return r == -EINPROGRESS ? 0 : r;
}

static int send_to(int fd, const char *text, int port, const void *data, size_t size)
{
    struct sockaddr_storage to;
    socklen_t length = address_of(text, port, &to);

    return sendto(fd, data, size, 0, (struct sockaddr *)&to, length) < 0 ? -errno : 0;
}

static int connect_and_send(int fd, const char *text, int port, const void *data, size_t size)
{
    struct sockaddr_storage to;
    socklen_t length = address_of(text, port, &to);

    if (connect(fd, (struct sockaddr *)&to, length) < 0)
        return -errno;
    return send(fd, data, size, 0) < 0 ? -errno : 0;
}

static int datagram(const struct bypass *b, const char *how, int protocol, bool connected)
{
    char space[80];
    const char *to = target(b, how, space, sizeof(space));
    CLEANUP(close_fd)
    int fd = socket(strchr(to, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, protocol);

    if (fd < 0)
        return -errno;
    return connected ? connect_and_send(fd, to, 80, payload, sizeof(payload))
                     : send_to(fd, to, 80, payload, sizeof(payload));
}

static int udp(const struct bypass *b, const char *how)
{
    return datagram(b, how, 0, false);
}

static int udp_connected(const struct bypass *b, const char *how)
{
    return datagram(b, how, 0, true);
}

static int udp_lite(const struct bypass *b, const char *how)
{
    return datagram(b, how, IPPROTO_UDPLITE, false);
}

static int udp_lite_connected(const struct bypass *b, const char *how)
{
    return datagram(b, how, IPPROTO_UDPLITE, true);
}

static int udp_elsewhere(const struct bypass *b, const char *how)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage other;
    socklen_t size = address_of("10.77.3.2", 9, &other);

    (void)how;
    if (connect(fd, (struct sockaddr *)&other, size) < 0)
        return -errno;
    return send_to(fd, b->target, 80, payload, sizeof(payload));
}

static int udp_large(const struct bypass *b, const char *how)
{
    static char large[4000];
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)how;
    return send_to(fd, b->target, 80, large, sizeof(large));
}

/* AF_UNSPEC is IPv4 to sendto. */
static int udp_no_family(const struct bypass *b, const char *how)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage to;
    socklen_t size = address_of(b->target, 80, &to);

    (void)how;
    to.ss_family = AF_UNSPEC;
    return sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&to, size) < 0 ? -errno : 0;
}

static int udp_segments(const struct bypass *b, const char *how)
{
    static const char three[3 * 100];
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int size = 100;

    (void)how;
    if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
        return -EOPNOTSUPP;
    return send_to(fd, b->target, 80, three, sizeof(three));
}

static int ping(const struct bypass *b, const char *how, int type, bool connected)
{
    bool six = !strcmp(how, "6");
    uint8_t echo[16] = {six ? 128 : 8};
    CLEANUP(close_fd)
    int fd =
        socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    const char *to = six ? b->target6 : b->target;

    if (fd < 0)
        return -errno;
    if (type == SOCK_RAW && !six)
        echo[2] = 0xf7, echo[3] = 0xff;
    return connected ? connect_and_send(fd, to, 0, echo, sizeof(echo))
                     : send_to(fd, to, 0, echo, sizeof(echo));
}

static int ping_socket(const struct bypass *b, const char *how)
{
    return ping(b, how, SOCK_DGRAM, false);
}

static int ping_connected(const struct bypass *b, const char *how)
{
    return ping(b, how, SOCK_DGRAM, true);
}

static int raw_icmp(const struct bypass *b, const char *how)
{
    return ping(b, how, SOCK_RAW, false);
}

static int raw_icmp_connected(const struct bypass *b, const char *how)
{
    return ping(b, how, SOCK_RAW, true);
}

/* A packet socket is what stock gVisor's own network stack sends through. */
static int packet_socket(const struct bypass *b, const char *how)
{
    struct frame f;
    int protocol = !strcmp(how, "sctp") ? 132 : !strcmp(how, "tcp") ? 6 : 17;

    craft_begin(b, &f, NULL, !strcmp(how, "6") ? b->target6 : b->target);
    frame_l4(&f, (uint8_t)protocol, 1000, 80, 2, 100);
    frame_bytes(&f, payload, sizeof(payload));
    return craft_put(&f);
}

static int packet_address(const struct bypass *b, const char *address)
{
    struct frame f;

    craft_begin(b, &f, NULL, address);
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

static int spoofed_source(const struct bypass *b, const char *source)
{
    struct frame f;

    craft_begin(b, &f, source, b->target);
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

static int spoofed_mac(const struct bypass *b, const char *how)
{
    struct frame f;

    (void)how;
    craft_begin(b, &f, NULL, b->target);
    f.data[11] ^= 1;
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

static int fragments(const struct bypass *b, const char *how)
{
    const char *to = !strcmp(how, "6") ? b->target6 : b->target;

    for (unsigned i = 0; i < 2; i++) {
        struct frame f;
        uint8_t data[64] = {0};
        int r;

        craft_begin(b, &f, NULL, to);
        frame_fragment(&f, i * 64, i == 0, 77);
        if (i == 0)
            frame_l4(&f, 17, 1000, 80, 0, 100);
        else
            f.data[f.next] = 17;
        frame_bytes(&f, data, i == 0 ? 56 : 64);
        r = craft_put(&f);
        if (r < 0)
            return r;
    }
    return 0;
}

static int tiny_fragment(const struct bypass *b, const char *how)
{
    struct frame f;

    (void)how;
    craft_begin(b, &f, NULL, b->target);
    frame_fragment(&f, 0, 1, 78);
    frame_l4(&f, 6, 1000, 80, 2, 8);
    return craft_put(&f);
}

static int destination_options(const struct bypass *b, const char *how)
{
    struct frame f;

    (void)how;
    craft_begin(b, &f, NULL, b->target6);
    frame_extension(&f, 60, 8, 1);
    f.data[f.size - 5] = 4; /* PadN over the rest */
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

/* The header says one thing to the kernel's route, another on the wire. */
static int header_included(const struct bypass *b, const char *lie)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    struct frame f;

    if (fd < 0)
        return -errno;
    craft_begin(b, &f, NULL, b->target);
    frame_l4(&f, 17, 1000, 80, 0, 100);
    frame_end(&f);
    return send_to(fd, *lie ? lie : b->target, 0, f.data + f.ip, f.size - f.ip);
}

static int source_route(const struct bypass *b, const char *how)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t options[8] = {1, 131, 7, 4, 10, 77, 1, 1};

    (void)how;
    if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, sizeof(options)) < 0)
        return -errno;
    return send_to(fd, b->target, 80, payload, sizeof(payload));
}

static int to_address(const struct bypass *b, const char *address)
{
    CLEANUP(close_fd)
    int fd = socket(strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)b;
    return send_to(fd, address, 80, payload, sizeof(payload));
}

/* One socket, on the other side of a move. */
static int moved(const struct bypass *b, const char *in)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (b->in_group)
        bypass_enter(b, *in);
    return send_to(fd, b->target, 80, payload, sizeof(payload));
}

/* A socket that somebody outside the cgroup made and handed over. */
static int handed_over(const struct bypass *b, const char *how)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int pair[2], got = -1;
    char byte;

    (void)how;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        fd_send(pair[0], "x", 1, &fd, 1) < 0)
        return -EIO;
    if (b->in_group)
        bypass_enter(b, true);
    if (fd_recv(pair[1], &byte, 1, &got, 1) != 1)
        return -EIO;
    return send_to(got, b->target, 80, payload, sizeof(payload));
}

#define NAT_TABLE                                                                                  \
    "nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }; "
#define VXLAN(port)                                                                                \
    "ip link add bt-vxlan address 02:00:00:00:00:05 type vxlan id 5 local 10.77.1.1 dstport " port \
    " dev bt-pod && ip link set bt-vxlan up && sysctl -qw net.ipv4.conf.bt-vxlan.rp_filter=0"
#define NO_VXLAN "ip link del bt-vxlan"
#define NO_NAT   "nft delete table ip t"
#define ROUTE(a) "ip route replace " a " via 169.254.169.254 dev bt-meta onlink"
#define ROUTED(on)                                                                                 \
    "sysctl -qw net.ipv4.conf.all.accept_source_route=" on                                         \
    " net.ipv4.conf.bt-pod.accept_source_route=" on

const struct attempt attempts[] = {
    {"TCP connect", tcp, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"TCP connect, IPv6", tcp, "6", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"TCP connect, IPv4-mapped address", tcp, "mapped", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"TCP Fast Open", fast_open, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"TCP Fast Open, IPv4-mapped", fast_open, "mapped", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"MPTCP connect", mptcp, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"MPTCP connect, IPv6", mptcp, "6", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"io_uring connect", uring, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"io_uring connect, IPv6", uring, "6", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP sendto", udp, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP sendto, IPv6", udp, "6", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP sendto, IPv4-mapped", udp, "mapped", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP connect and send", udp_connected, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP connect and send, IPv4-mapped", udp_connected, "mapped", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP connected elsewhere, sendto", udp_elsewhere, "", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP, 4,000 bytes (the kernel's fragments)", udp_large, "", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP sendto, the address's family left out", udp_no_family, "", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP, one call of three segments (GSO)", udp_segments, "", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP-Lite sendto", udp_lite, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"UDP-Lite connect and send", udp_lite_connected, "4", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"UDP-Lite connect and send, IPv6", udp_lite_connected, "6", BYPASS_BOTH, false, NULL, NULL,
     IN_GROUP},
    {"ping socket sendto", ping_socket, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"ping socket sendto, IPv6", ping_socket, "6", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"ping socket connect and send", ping_connected, "4", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"raw ICMP sendto", raw_icmp, "4", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"raw ICMPv6 sendto", raw_icmp, "6", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"raw ICMP connect and send", raw_icmp_connected, "4", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"raw IP with its own header", header_included, "", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"raw IP whose header is not the address given", header_included, "10.77.3.2", BYPASS_BOTH,
     true, NULL, NULL, IN_GROUP},
    {"packet socket, UDP (as gVisor's own network stack)", packet_socket, "4", BYPASS_BOTH, true,
     NULL, NULL, IN_GROUP},
    {"packet socket, UDP, IPv6", packet_socket, "6", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"packet socket, TCP", packet_socket, "tcp", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"packet socket, SCTP", packet_socket, "sctp", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"fragments by packet socket", fragments, "4", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"fragments by packet socket, IPv6", fragments, "6", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"first fragment without the whole TCP header", tiny_fragment, "", BYPASS_BOTH, true, NULL,
     NULL, IN_GROUP},
    {"IPv6 destination options before UDP", destination_options, "", BYPASS_BOTH, true, NULL, NULL,
     IN_GROUP},
    {"spoofed source: another pod's address", spoofed_source, "10.77.3.2", BYPASS_BOTH, true, NULL,
     NULL, IN_GROUP},
    {"spoofed source MAC", spoofed_mac, "", BYPASS_BOTH, true, NULL, NULL, IN_GROUP},
    {"VLAN tag, which the node takes off", detour_label, "vlan", BYPASS_BOTH, true, "unpack vlan",
     NULL, IN_GROUP},
    {"802.1ad tag, which the node takes off", detour_label, "qinq", BYPASS_BOTH, true,
     "unpack vlan", NULL, IN_GROUP},
    {"MPLS label, which the node takes off", detour_label, "mpls", BYPASS_BOTH, true, "unpack mpls",
     NULL, IN_GROUP},
    {"PPPoE to the node, which ends the session", detour_label, "pppoe", BYPASS_BOTH, true,
     "unpack pppoe", NULL, IN_GROUP},
    {"checksum to be written into the destination address", detour_checksum, "", BYPASS_BOTH, true,
     "ip -6 route replace fd00:ec2::d via fd00:ec2::254 dev bt-meta && "
     "ip -6 route replace fd77:2::d via fd77:2::2 dev bt-peer",
     NULL, IN_GROUP},
    {"source route (LSRR), the node as first hop", source_route, "", BYPASS_BOTH, false,
     ROUTED("1"), ROUTED("0"), IN_GROUP},
    {"frame to the node whose source route names the target", detour_source_route, "", BYPASS_BOTH,
     true, ROUTED("1"), ROUTED("0"), IN_GROUP},
    {"IPv6 routing header (SRv6) at the node", detour_routing_header, "", BYPASS_BOTH, true,
     "sysctl -qw net.ipv6.conf.all.seg6_enabled=1 net.ipv6.conf.bt-pod.seg6_enabled=1",
     "sysctl -qw net.ipv6.conf.all.seg6_enabled=0", IN_GROUP},
    {"IPv6 routing header (SRv6) of a UDP socket, the target as first segment", detour_segments,
     "fd77:3::2", BYPASS_BOTH, false, NULL, NULL, IN_GROUP},
    {"IPIP to the node, which unpacks it", detour_tunnel, "ipip", BYPASS_BOTH, true, "unpack ipip",
     NULL, IN_GROUP},
    {"GRE to the node, which unpacks it", detour_tunnel, "gre", BYPASS_BOTH, true, "unpack gre",
     NULL, IN_GROUP},
    {"6in4 to the node, which unpacks it", detour_tunnel, "6in4", BYPASS_BOTH, true, "unpack 6in4",
     NULL, IN_GROUP},
    {"VXLAN to the node, which unpacks it", detour_tunnel, "vxlan 4789 10.77.1.1", BYPASS_BOTH,
     true, VXLAN("4789"), NO_VXLAN, IN_GROUP},
    {"VXLAN to the node, on a port of its own", detour_tunnel, "vxlan 14789 10.77.1.1", BYPASS_BOTH,
     true, VXLAN("14789"), NO_VXLAN, IN_GROUP},
    {"VXLAN to a local route of the node that is no address", detour_tunnel,
     "vxlan 4789 198.18.0.1", BYPASS_BOTH, true,
     VXLAN("4789") " && ip route add local 198.18.0.0/24 dev lo",
     NO_VXLAN "; ip route del local 198.18.0.0/24 dev lo", IN_GROUP},
    {"VXLAN by a UDP socket to the node", detour_vxlan_socket, "4789 10.77.1.1", BYPASS_BOTH, false,
     VXLAN("4789"), NO_VXLAN, IN_GROUP},
    {"VXLAN by a UDP socket, broadcast on the link", detour_vxlan_socket, "4789 255.255.255.255",
     BYPASS_BOTH, false, VXLAN("4789"), NO_VXLAN, IN_GROUP},
    {"VXLAN by a UDP socket, the subnet's broadcast address", detour_vxlan_socket,
     "4789 10.77.1.255", BYPASS_BOTH, false, VXLAN("4789"), NO_VXLAN, IN_GROUP},
    {"VXLAN by a UDP socket to a Service that leads to the node", detour_vxlan_socket,
     "4789 10.96.0.10", BYPASS_BOTH, false,
     VXLAN("4789") " && " NAT_TABLE "add rule ip t pre ip daddr 10.96.0.10 dnat to 10.77.1.1'",
     NO_VXLAN "; " NO_NAT, IN_GROUP},
    {"socket made outside the cgroup, process moved in", moved, "1", BYPASS_BOTH, false, NULL, NULL,
     MOVES_IN},
    {"socket made inside, process moved out", moved, "", BYPASS_BOTH, false, NULL, NULL, MOVES_OUT},
    {"socket from outside by SCM_RIGHTS", handed_over, "", BYPASS_BOTH, false, NULL, NULL,
     MOVES_IN},
    {"NAT64 64:ff9b::/96", to_address, "64:ff9b::a9fe:a9fe", BYPASS_GUARD, false, NULL, NULL,
     IN_GROUP},
    {"NAT64, local prefix /96", to_address, "64:ff9b:1::a9fe:a9fe", BYPASS_GUARD, false, NULL, NULL,
     IN_GROUP},
    {"NAT64, local prefix /64", to_address, "64:ff9b:1:0:a9:fea9:fe00:0", BYPASS_GUARD, false, NULL,
     NULL, IN_GROUP},
    {"NAT64, local prefix /56", to_address, "64:ff9b:1:a9:fe:a9fe::", BYPASS_GUARD, false, NULL,
     NULL, IN_GROUP},
    {"NAT64, local prefix /48", to_address, "64:ff9b:1:a9fe:a9:fe00::", BYPASS_GUARD, false, NULL,
     NULL, IN_GROUP},
    {"6to4", to_address, "2002:a9fe:a9fe::1", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"Teredo", to_address, "2001:0:5601:5601::1", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"ISATAP", to_address, "fd55::5efe:a9fe:a9fe", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"IPv4-translated ::ffff:0:a.b.c.d", to_address, "::ffff:0:a9fe:a9fe", BYPASS_GUARD, false,
     NULL, NULL, IN_GROUP},
    {"IPv4-compatible ::a.b.c.d", packet_address, "::a9fe:a9fe", BYPASS_GUARD, true, NULL, NULL,
     IN_GROUP},
    {"NAT64, a prefix of the operator's own", to_address, "fd64:0:0:1::a9fe:a9fe", BYPASS_GUARD,
     false, NULL, NULL, IN_GROUP},
    {"AWS ECS task credentials", to_address, "169.254.170.2", BYPASS_GUARD, false,
     ROUTE("169.254.170.2"), NULL, IN_GROUP},
    {"AWS EKS Pod Identity", to_address, "169.254.170.23", BYPASS_GUARD, false,
     ROUTE("169.254.170.23"), NULL, IN_GROUP},
    {"GKE Workload Identity", to_address, "169.254.169.252", BYPASS_GUARD, false,
     ROUTE("169.254.169.252"), NULL, IN_GROUP},
    {"Azure WireServer", to_address, "168.63.129.16", BYPASS_GUARD, false, ROUTE("168.63.129.16"),
     NULL, IN_GROUP},
    {"Alibaba", to_address, "100.100.100.200", BYPASS_GUARD, false, ROUTE("100.100.100.200"), NULL,
     IN_GROUP},
    {"Scaleway", to_address, "169.254.42.42", BYPASS_GUARD, false, ROUTE("169.254.42.42"), NULL,
     IN_GROUP},
    {"Tencent", to_address, "169.254.0.23", BYPASS_GUARD, false, ROUTE("169.254.0.23"), NULL,
     IN_GROUP},
    {"Oracle Classic", to_address, "192.0.0.192", BYPASS_GUARD, false, ROUTE("192.0.0.192"), NULL,
     IN_GROUP},
    {"Equinix", to_address, "192.80.8.124", BYPASS_GUARD, false, ROUTE("192.80.8.124"), NULL,
     IN_GROUP},
    {"OCI over IPv6", to_address, "fd00:c1::a9fe:a9fe", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"Akamai over IPv6", to_address, "fd00:a9fe:a9fe::1", BYPASS_GUARD, false, NULL, NULL,
     IN_GROUP},
    {"Scaleway over IPv6", to_address, "fd00:42::42", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"AWS EKS Pod Identity over IPv6", to_address, "fd00:ec2::23", BYPASS_GUARD, false,
     "ip -6 route replace fd00:ec2::23 via fd00:ec2::254 dev bt-meta", NULL, IN_GROUP},
    {"GCE over IPv6", to_address, "fd20:ce::254", BYPASS_GUARD, false, NULL, NULL, IN_GROUP},
    {"Service address that the node translates to the target", to_address, "10.96.0.10",
     BYPASS_GUARD, false,
     NAT_TABLE "add rule ip t pre ip daddr 10.96.0.10 dnat to 169.254.169.254'", NO_NAT, IN_GROUP},
    {"node's own port that leads to the target", to_address, "10.77.1.1", BYPASS_GUARD, false,
     NAT_TABLE "add rule ip t pre ip daddr 10.77.1.1 udp dport 80 dnat to 169.254.169.254'", NO_NAT,
     IN_GROUP},
};
const size_t n_attempts = ARRAY_SIZE(attempts);
