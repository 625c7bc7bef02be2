/* Raw and packet sockets on a loopback of one's own (run.sh), filters and rings; socket diagnosis.
 */
#include "t.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static uint16_t checksum(const void *data, size_t size)
{
    const uint16_t *w = data;
    uint32_t sum = 0;

    for (; size > 1; size -= 2)
        sum += *w++;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void opening(void)
{
    SECTION("opening");
    CHILD("without NET_RAW", {
        MUST(setresuid(1000, 1000, 1000));
        R(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
        R(socket(AF_PACKET, SOCK_RAW, 0));
        R(socket(AF_PACKET, SOCK_STREAM, 0));
    });
    OK(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
    OK(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) >= 0);
    OK(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW) >= 0);
    R(socket(AF_INET, SOCK_RAW, 0));
    R(socket(AF_INET, SOCK_RAW, 1000));
    R(socket(AF_PACKET, SOCK_STREAM, 0));
    OK(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)) >= 0);
}

static void echo(void)
{
    struct icmphdr h = {.type = ICMP_ECHO, .un.echo = {htons(77), htons(1)}}, got;
    int fd = MUST(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)), filter = ~(1 << ICMP_ECHOREPLY);
    struct sockaddr_in to = loopback(0);
    char packet[256];
    ssize_t n;

    SECTION("echo");
    R(setsockopt(fd, SOL_RAW, 1 /* ICMP_FILTER */, &filter, sizeof(filter)));
    h.checksum = checksum(&h, sizeof(h));
    R(sendto(fd, &h, sizeof(h), 0, (struct sockaddr *)&to, sizeof(to)));
    OK(readable(fd, 3000));
    R(n = recv(fd, packet, sizeof(packet), 0));
    memcpy(&got, packet + sizeof(struct iphdr), sizeof(got));
    R(got.type);
    R(ntohs(got.un.echo.id));
    MUST(close(fd));
}

/* An address that nobody has as the source: the header is ours. */
static void own_header(void)
{
    struct {
        struct iphdr ip;
        char data[8];
    } p = {.ip = {.version = 4, .ihl = 5, .ttl = 3, .protocol = 253}, .data = "header"}, got;
    int out = MUST(socket(AF_INET, SOCK_RAW, IPPROTO_RAW)),
        in = MUST(socket(AF_INET, SOCK_RAW, 253));
    struct sockaddr_in to = loopback(0), from;
    socklen_t size = sizeof(from);
    int v = -1;

    SECTION("own header");
    p.ip.saddr = htonl(0x7f010203);
    p.ip.daddr = to.sin_addr.s_addr;
    R(getsockopt(out, IPPROTO_IP, IP_HDRINCL, &v, &(socklen_t){sizeof(v)}));
    R(v);
    R(sendto(out, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)));
    OK(readable(in, 3000));
    R(recvfrom(in, &got, sizeof(got), 0, (struct sockaddr *)&from, &size));
    OK(from.sin_addr.s_addr == p.ip.saddr && got.ip.ttl == 3 && memcmp(got.data, "header", 7) == 0);
    MUST(close(out));
    MUST(close(in));
}

static int packet_socket(int type, int protocol)
{
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol)};
    int fd = MUST(socket(AF_PACKET, type, 0));

    ll.sll_ifindex = (int)if_nametoindex("lo");
    MUST(bind(fd, (struct sockaddr *)&ll, sizeof(ll)));
    return fd;
}

static void send_udp(int port, const char *text)
{
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in to = loopback(port);

    (void)!sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to));
    MUST(close(fd));
}

static void packets(void)
{
    /* UDP to port 7001, anything else is cut to nothing: ldh [22]; jeq; ret */
    struct sock_filter code[] = {
        {0x28, 0, 0, 22}, {0x15, 0, 1, 7001}, {6, 0, 0, 65535}, {6, 0, 0, 0}};
    struct sock_fprog prog = {4, code};
    struct sockaddr_ll from;
    socklen_t size = sizeof(from);
    int fd = packet_socket(SOCK_DGRAM, ETH_P_IP), on = 1;
    char data[256];
    ssize_t n;

    SECTION("packets");
    R(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
    R(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, 3));
    prog.len = 0;
    R(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
    prog.len = 4, prog.filter = bad_address;
    R(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
    R(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)));
    send_udp(7000, "no");
    send_udp(7001, "yes");
    OK(readable(fd, 3000));
    R(n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size));
    OK(n > 3 && memcmp(data + n - 3, "yes", 3) == 0);
    OK(from.sll_family == AF_PACKET && from.sll_protocol == htons(ETH_P_IP));
    R(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on)));
    R(recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0);
    R(bind(fd, (struct sockaddr *)&from, 4));
    MUST(close(fd));
}

static void ring(void)
{
    struct tpacket_req req = {
        .tp_block_size = 4096, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 8};
    int fd = packet_socket(SOCK_RAW, ETH_P_IP), version = TPACKET_V2;
    struct tpacket2_hdr *h;
    char *m;

    SECTION("ring");
    R(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)));
    R(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)));
    m = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    OK(m != MAP_FAILED);
    R((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    send_udp(7002, "through the ring");
    OK(readable(fd, 3000));
    h = (void *)m;
    OK(h->tp_status & TP_STATUS_USER);
    OK(h->tp_snaplen == 14 + 20 + 8 + 16);
    OK(memcmp(m + h->tp_mac + 42, "through the ring", 16) == 0);
    R(munmap(m, 16384));
    MUST(close(fd));
    R((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, MUST(socket(AF_INET, SOCK_DGRAM, 0)), 0));
}

/* The port of every listener that a dump tells of. */
static void diagnosis(void)
{
    struct {
        struct nlmsghdr h;
        struct inet_diag_req_v2 r;
    } ask = {
        .h = {.nlmsg_len = sizeof(ask),
              .nlmsg_type = SOCK_DIAG_BY_FAMILY,
              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
              .nlmsg_seq = 5},
        .r = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1 << 10}};
    int nl = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)),
        fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in at = loopback(7003);
    _Alignas(8) char data[8192];
    bool done = false;

    SECTION("diagnosis");
    MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)));
    MUST(listen(fd, 9));
    R(send(nl, &ask, sizeof(ask), 0));
    while (!done && readable(nl, 3000)) {
        ssize_t n = MUST(recv(nl, data, sizeof(data), 0));

        for (struct nlmsghdr *h = (void *)data; NLMSG_OK(h, n) && !done; h = NLMSG_NEXT(h, n)) {
            struct inet_diag_msg *m = NLMSG_DATA(h);

            done = h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR;
            if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && h->nlmsg_seq == 5)
                printf("listens on %u, backlog %u\n", ntohs(m->id.idiag_sport), m->idiag_wqueue);
        }
    }
    OK(done);
    MUST(close(fd));
    MUST(close(nl));
}

int main(void)
{
    opening();
    echo();
    own_header();
    packets();
    ring();
    diagnosis();
    return 0;
}
