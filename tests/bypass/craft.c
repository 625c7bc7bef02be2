#include "tests/bypass/craft.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void craft_begin(const struct bypass *b, struct frame *f, const char *source, const char *to)
{
    const struct lab_host *h = &b->judge->lab.hosts[LAB_POD];
    bool six = strchr(to, ':') != NULL;
    uint8_t src[16], dst[16];

    lab_address(source ? source : six ? h->v6 : h->v4, src);
    lab_address(to, dst);
    frame_ether(f, h->gateway_mac, h->mac, six ? ETH_P_IPV6 : ETH_P_IP);
    frame_ip(f, six ? 6 : 4, src, dst, 64);
}

void craft_udp(const struct bypass *b, struct frame *f, const char *source, const char *to)
{
    craft_begin(b, f, source, to);
    frame_l4(f, 17, 1000, 80, 0, 100);
    frame_end(f);
    frame_checksum(f);
}

int craft_put_offload(struct frame *f, const struct virtio_net_hdr *work)
{
    CLEANUP(close_fd) int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0"), .sll_halen = 6};
    struct virtio_net_hdr header = work ? *work : (struct virtio_net_hdr){0};
    struct iovec parts[2] = {{&header, sizeof(header)}, {f->data, 0}};
    struct msghdr m = {.msg_name = &at, .msg_namelen = sizeof(at), .msg_iov = parts};
    int on = 1;

    if (fd < 0 || (work && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0))
        return -errno;
    frame_end(f);
    frame_checksum(f);
    memcpy(at.sll_addr, f->data, 6);
    parts[1].iov_len = f->size;
    m.msg_iov = work ? parts : parts + 1;
    m.msg_iovlen = work ? 2 : 1;
    return sendmsg(fd, &m, 0) < 0 ? -errno : 0;
}

int craft_put(struct frame *f)
{
    return craft_put_offload(f, NULL);
}
