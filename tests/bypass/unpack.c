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

enum { PROTO_IPIP = 4, PROTO_GRE = 47, GRE_SIZE = 4 };

enum unpack_kind unpack_named(const char *text)
{
    static const char *const names[] = {
        [UNPACK_VLAN] = "unpack vlan", [UNPACK_IPIP] = "unpack ipip", [UNPACK_GRE] = "unpack gre"};

    for (size_t i = 1; text && i < ARRAY_SIZE(names); i++) {
        if (!strcmp(text, names[i]))
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
static int open_tagged(int ifindex)
{
    const struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = ifindex};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));

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
    u->socket = kind == UNPACK_VLAN ? open_tagged(ifindex)
                                    : socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC,
                                             kind == UNPACK_IPIP ? PROTO_IPIP : PROTO_GRE);
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
        if (u->kind != UNPACK_VLAN)
            at = (data[0] & 15) * 4 + (u->kind == UNPACK_GRE ? GRE_SIZE : 0);
        else if (from.sll_pkttype != PACKET_OTHERHOST)
            continue;
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
