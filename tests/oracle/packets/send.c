/* One packet from one host to another, and whether it came. */
#include "tests/bpf/frames.h"
#include "tests/oracle/packets/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#ifndef IP_TRANSPARENT
#define IP_TRANSPARENT 19
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

enum { SYN = 2, SYN_ACK = 0x12, POD_DEVICE = 2, MARKERS = 4 };

/* -- what a packet socket sees --------------------------------------------------------------- */

struct seen {
    uint8_t src[16], dst[16];
    int protocol, sport, dport, flags;
    bool outgoing;
};

static bool read_frame(const struct wire_host *h, struct seen *s, unsigned *ret_type)
{
    struct sockaddr_ll from;
    socklen_t size = sizeof(from);
    uint8_t f[2048];
    size_t l4;
    ssize_t n = recvfrom(h->tap, f, sizeof(f), MSG_DONTWAIT, (struct sockaddr *)&from, &size);

    if (n < 14)
        return false;
    memset(s, 0, sizeof(*s));
    *ret_type = (unsigned)f[12] << 8 | f[13];
    s->outgoing = from.sll_pkttype == PACKET_OUTGOING;
    if (*ret_type == ETH_P_IP && n >= 42) {
        s->src[10] = s->src[11] = s->dst[10] = s->dst[11] = 0xff;
        memcpy(s->src + 12, f + 26, 4);
        memcpy(s->dst + 12, f + 30, 4);
        s->protocol = f[23];
        l4 = 34;
    } else if (*ret_type == ETH_P_IPV6 && n >= 62) {
        memcpy(s->src, f + 22, 16);
        memcpy(s->dst, f + 38, 16);
        s->protocol = f[20];
        l4 = 54;
    } else {
        return true;
    }
    s->sport = f[l4] << 8 | f[l4 + 1];
    s->dport = f[l4 + 2] << 8 | f[l4 + 3];
    s->flags = s->protocol == IPPROTO_TCP && (size_t)n > l4 + 13 ? f[l4 + 13] : 0;
    return true;
}

static void drain(const struct wire_host *h)
{
    struct seen s;
    unsigned type;

    while (read_frame(h, &s, &type))
        ;
}

/* Did such a packet come in, or (answer) the answer to it go out? Reads all. */
static bool was_seen(const struct wire_host *h, const struct wire_probe *p, bool answer)
{
    uint8_t src[16], dst[16];
    struct seen s;
    unsigned type;
    bool found = false;

    lab_address(answer ? p->dst : p->src, src);
    lab_address(answer ? p->src : p->dst, dst);
    while (read_frame(h, &s, &type)) {
        found |= s.outgoing == answer && s.protocol == p->protocol &&
                 (answer ? s.sport : s.dport) == p->port && !memcmp(s.src, src, 16) &&
                 !memcmp(s.dst, dst, 16) && (!answer || s.flags == SYN_ACK);
    }
    return found;
}

static void put(const struct wire_host *h, const void *frame, size_t size)
{
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_ifindex = POD_DEVICE, .sll_halen = ETH_ALEN};

    memcpy(at.sll_addr, frame, ETH_ALEN);
    (void)sendto(h->tap, frame, size, 0, (struct sockaddr *)&at, sizeof(at));
}

/* Returns when everything sent before has arrived or was dropped: all goes through one CPU's queue,
 * in order, and a marker from node to world comes out of it only behind it; several, for a packet
 * that is forwarded goes through it twice. */
static void settle(const struct wire *w)
{
    const struct wire_host *h = &w->hosts[WIRE_WORLD];
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_ifindex = h->lab.ifindex, .sll_halen = ETH_ALEN};
    struct pollfd ready = {.fd = h->marks, .events = POLLIN};
    uint8_t frame[60] = {[12] = WIRE_MARKER >> 8, [13] = WIRE_MARKER & 0xff};

    memcpy(frame, h->lab.mac, ETH_ALEN);
    memcpy(at.sll_addr, h->lab.mac, ETH_ALEN);
    for (int i = 0; i < MARKERS; i++) {
        (void)sendto(w->marker_fd, frame, sizeof(frame), 0, (struct sockaddr *)&at, sizeof(at));
        if (poll(&ready, 1, 5000) == 1)
            (void)recv(h->marks, frame + 14, sizeof(frame) - 14, MSG_DONTWAIT);
    }
}

bool wire_frame_arrives(struct wire *w, const struct wire_probe *p)
{
    uint8_t src[16], dst[16];
    struct frame f;

    lab_address(p->src, src);
    lab_address(p->dst, dst);
    frame_ether(&f, p->from->lab.gateway_mac, p->from->lab.mac,
                p->family == 4 ? ETH_P_IP : ETH_P_IPV6);
    frame_ip(&f, p->family, src, dst, 64);
    frame_l4(&f, (uint8_t)p->protocol, ++w->port, (uint16_t)p->port, SYN, 100);
    frame_end(&f);
    frame_checksum(&f);
    drain(p->to);
    put(p->from, f.data, f.size);
    settle(w);
    return was_seen(p->to, p, false);
}

/* -- by sockets ------------------------------------------------------------------------------ */

static int kind_of(int protocol)
{
    return protocol == IPPROTO_TCP ? WIRE_TCP : protocol == IPPROTO_UDP ? WIRE_UDP : WIRE_SCTP;
}

/* The world speaks from any address. */
static int world_socket(const struct wire_host *h, const struct wire_probe *p)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW};
    int kind = kind_of(p->protocol), yes = 1, six = p->family == 6,
        fd = lab_socket(&h->lab, six ? AF_INET6 : AF_INET, types[kind] | SOCK_NONBLOCK,
                        kind == WIRE_SCTP ? p->protocol : 0);
    struct sockaddr_storage at;
    socklen_t size;

    lab_sockaddr(p->src, 0, &at, &size);
    (void)setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TRANSPARENT : IP_TRANSPARENT,
                     &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&at, size) < 0)
        tap_ok(false, "bind to %s: %s", p->src, strerror(errno));
    return fd;
}

/* Whether the sender was told that it went. */
static bool send_by(struct wire *w, int fd, const struct wire_probe *p)
{
    uint16_t sctp[6] = {htons(++w->port), htons((uint16_t)p->port)};
    struct sockaddr_storage to;
    socklen_t size;

    lab_sockaddr(p->dst, p->port, &to, &size);
    if (p->protocol == IPPROTO_TCP)
        return connect(fd, (struct sockaddr *)&to, size) == 0 || errno == EINPROGRESS;
    if (p->protocol == IPPROTO_UDP)
        return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size) == 1;
    if (p->family == 6)
        ((struct sockaddr_in6 *)&to)->sin6_port = 0; /* raw sockets know no ports */
    return sendto(fd, sctp, sizeof(sctp), 0, (struct sockaddr *)&to, size) == sizeof(sctp);
}

static int receiver(const struct wire_probe *p)
{
    for (int i = 0; i < WIRE_PORTS; i++) {
        if (wire_ports[i] == p->port)
            return p->protocol == IPPROTO_TCP   ? p->to->listeners[i]
                   : p->protocol == IPPROTO_UDP ? p->to->datagrams[i]
                                                : p->to->raw[p->family == 6];
    }
    return -1;
}

/* Takes what waits at the receiver's socket: was there anything? */
static bool received(const struct wire_probe *p)
{
    char data[256];
    bool any = false;
    int fd = receiver(p), one;

    if (p->protocol != IPPROTO_TCP) {
        while (recv(fd, data, sizeof(data), MSG_DONTWAIT) >= 0)
            any = true;
        return any;
    }
    while ((one = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        const struct linger now = {.l_onoff = 1};

        (void)setsockopt(one, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        (void)close(one);
        any = true;
    }
    return any;
}

static bool arrived(const struct wire *w, const struct wire_probe *p)
{
    if (p->to == &w->hosts[WIRE_WORLD])
        return was_seen(p->to, p, false);
    if (p->protocol == IPPROTO_TCP) /* the world does not go on with it */
        return was_seen(p->to, p, true);
    return received(p);
}

bool wire_socket_arrives(struct wire *w, const struct wire_probe *p)
{
    bool world = p->from == &w->hosts[WIRE_WORLD], went, came;
    int fd =
        world ? world_socket(p->from, p) : p->from->sockets[kind_of(p->protocol)][p->family == 6];
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    drain(p->to);
    if (p->to != &w->hosts[WIRE_WORLD])
        (void)received(p);
    went = send_by(w, fd, p);
    settle(w);
    came = arrived(w, p);
    if (came && !went)
        tap_ok(false, "%s to %s was refused, and came all the same", p->src, p->dst);
    if (world)
        (void)close(fd);
    else
        (void)connect(fd, &nobody, sizeof(nobody)); /* another port next time */
    if (p->to != &w->hosts[WIRE_WORLD])
        (void)received(p);
    return came;
}
