#include "tests/bypass/unpack.h"

#include "common/cleanup.h"
#include "tests/bpf/lab.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROTO_IPIP = 4, PROTO_6IN4 = 41, PROTO_GRE = 47, ETHERNET = 0 };

/* Frames of an ether type, or packets of a protocol; the inner packet begins after so many bytes of
 * the label, or of the tunnel's header. */
static const struct {
    const char *name;
    int ether, protocol;
    ssize_t skip;
} kinds[UNPACK_KINDS] = {
    [UNPACK_VLAN] = {"unpack vlan", ETH_P_IP, ETHERNET, 0}, /* the kernel has taken the tag off */
    [UNPACK_MPLS] = {"unpack mpls", ETH_P_MPLS_UC, ETHERNET, 4},
    [UNPACK_PPPOE] = {"unpack pppoe", ETH_P_PPP_SES, ETHERNET, 8},
    [UNPACK_IPIP] = {"unpack ipip", 0, PROTO_IPIP, 0},
    [UNPACK_GRE] = {"unpack gre", 0, PROTO_GRE, 4},
    [UNPACK_6IN4] = {"unpack 6in4", 0, PROTO_6IN4, 0},
};

enum unpack_kind unpack_named(const char *text)
{
    for (size_t i = 1; text && i < ARRAY_SIZE(kinds); i++) {
        if (!strcmp(text, kinds[i].name))
            return (enum unpack_kind)i;
    }
    return UNPACK_NOTHING;
}

static int open_tun(void)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "bt-unpack");
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0)
        close_fd(&fd);
    if (fd >= 0)
        lab_run("ip link set bt-unpack up && sysctl -qw net.ipv4.conf.bt-unpack.rp_filter=0");
    return fd;
}

/* Bound to one protocol, it gets frames only after the device's programs; bound to all, before. */
static int open_frames(int ifindex, int ether)
{
    const uint16_t type = htons((uint16_t)ether);
    const struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = type, .sll_ifindex = ifindex};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, type);

    if (fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        close_fd(&fd);
    return fd;
}

bool unpack_open(struct unpack *u, enum unpack_kind kind, int ifindex)
{
    *u = (struct unpack){.kind = kind, .socket = -1, .tun = -1};
    if (kind == UNPACK_NOTHING)
        return true;
    u->tun = open_tun();
    u->socket = kinds[kind].ether ? open_frames(ifindex, kinds[kind].ether)
                                  : socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, kinds[kind].protocol);
    if (u->tun >= 0 && u->socket >= 0)
        return true;
    unpack_close(u);
    return false;
}

/* The kernel has taken the tag off; what it has no device for it marks as somebody else's. */
unsigned unpack_drain(const struct unpack *u)
{
    uint8_t data[2048];
    unsigned n = 0;

    while (u->kind != UNPACK_NOTHING) {
        struct sockaddr_ll from = {0};
        socklen_t length = sizeof(from);
        ssize_t at = ETH_HLEN, size = recvfrom(u->socket, data, sizeof(data), MSG_DONTWAIT,
                                               (struct sockaddr *)&from, &length);

        if (size < 0)
            break;
        if (!kinds[u->kind].ether)
            at = (data[0] & 15) * 4;
        else if (u->kind == UNPACK_VLAN && from.sll_pkttype != PACKET_OTHERHOST)
            continue;
        at += kinds[u->kind].skip;
        if (size > at && write(u->tun, data + at, (size_t)(size - at)) == size - at)
            n++;
    }
    return n;
}

void unpack_close(struct unpack *u)
{
    close_fd(&u->socket);
    close_fd(&u->tun);
}
