#include "tests/bypass/detours.h"

#include "common/cleanup.h"
#include "tests/bypass/craft.h"

#include <errno.h>
#include <linux/in6.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a tunnel carries comes from nobody: no plane knows a pod by this address. */
#define NOBODY "10.9.9.9"
enum { SEGMENTS_SIZE = 40 };

int detour_source_route(const struct bypass *b, const char *how)
{
    uint8_t options[8] = {1, 131, 7, 4}, to[16];
    struct frame f;

    (void)how;
    lab_address(b->target, to);
    memcpy(options + 4, to + 12, 4);
    craft_begin(b, &f, NULL, "10.77.1.1");
    frame_options(&f, options, sizeof(options));
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

/* A segment routing header after its first byte: this list, where `left` is the next. */
static void segments(uint8_t *at, const char *last, const char *first)
{
    uint8_t to[16];

    at[1] = SEGMENTS_SIZE / 8 - 1;
    at[2] = 4;
    at[3] = 1; /* one segment left */
    at[4] = 1;
    lab_address(last, to);
    memcpy(at + 8, to, 16);
    lab_address(first, to);
    memcpy(at + 24, to, 16);
}

int detour_routing_header(const struct bypass *b, const char *how)
{
    struct frame f;

    (void)how;
    craft_begin(b, &f, NULL, "fd77:1::1");
    frame_extension(&f, 43, SEGMENTS_SIZE, 4);
    segments(f.data + f.size - SEGMENTS_SIZE, b->target6, "fd77:1::1");
    f.data[f.next] = 17;
    frame_l4(&f, 17, 1000, 80, 0, 100);
    return craft_put(&f);
}

/* The address that the program names is the last segment; the packet goes to the first. */
int detour_segments(const struct bypass *b, const char *harmless)
{
    CLEANUP(close_fd) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t header[SEGMENTS_SIZE] = {0};
    struct sockaddr_storage to;
    socklen_t size;

    segments(header, harmless, b->target6);
    lab_sockaddr(harmless, 80, &to, &size);
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, header, sizeof(header)) < 0)
        return -EOPNOTSUPP;
    return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size) < 0 ? -errno : 0;
}

static size_t vxlan(const struct bypass *b, uint8_t *ret)
{
    static const uint8_t header[8] = {8, 0, 0, 0, 0, 0, 5, 0}, mac[6] = {2, 0, 0, 0, 0, 5};
    struct frame inner;

    craft_udp(b, &inner, NOBODY, b->target);
    memcpy(inner.data, mac, 6);
    memcpy(ret, header, sizeof(header));
    memcpy(ret + sizeof(header), inner.data, inner.size);
    return sizeof(header) + inner.size;
}

static const char *port_and_address(const char *text, int *ret_port)
{
    *ret_port = atoi(text);
    return strchr(text, ' ') + 1;
}

static int tunnel_vxlan(const struct bypass *b, const char *where)
{
    uint8_t data[FRAME_MAX];
    size_t size = vxlan(b, data);
    int port;
    const char *address = port_and_address(where, &port);
    struct frame f;

    craft_begin(b, &f, NULL, address);
    frame_l4(&f, 17, 1000, (uint16_t)port, 0, 100);
    f.data[f.size - 3] = (uint8_t)(8 + size);
    frame_bytes(&f, data, size);
    return craft_put(&f);
}

int detour_tunnel(const struct bypass *b, const char *kind)
{
    static const uint8_t gre[4] = {0, 0, 8, 0};
    bool six = !strcmp(kind, "6in4");
    struct frame inner, f;

    if (!strncmp(kind, "vxlan ", 6))
        return tunnel_vxlan(b, kind + 6);
    craft_udp(b, &inner, NULL, six ? b->target6 : b->target);
    craft_begin(b, &f, NULL, "10.77.1.1");
    f.data[f.next] = six ? 41 : !strcmp(kind, "gre") ? 47 : 4;
    if (!strcmp(kind, "gre"))
        frame_bytes(&f, gre, sizeof(gre));
    frame_bytes(&f, inner.data + inner.ip, inner.size - inner.ip);
    return craft_put(&f);
}

int detour_vxlan_socket(const struct bypass *b, const char *where)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t data[FRAME_MAX];
    size_t size = vxlan(b, data);
    struct sockaddr_storage to;
    socklen_t length;
    int port, on = 1;
    const char *address = port_and_address(where, &port);

    lab_sockaddr(address, port, &to, &length);
    (void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
    return sendto(fd, data, size, 0, (struct sockaddr *)&to, length) < 0 ? -errno : 0;
}

int detour_label(const struct bypass *b, const char *kind)
{
    static const struct {
        const char *name;
        uint8_t type[2], size, label[8];
    } kinds[] = {
        {"vlan", {0x81, 0x00}, 4, {0, 5, 0x08, 0x00}},
        {"qinq", {0x88, 0xa8}, 4, {0, 5, 0x08, 0x00}},
        {"mpls", {0x88, 0x47}, 4, {0, 1, 1, 64}},                       /* label 16, the last */
        {"pppoe", {0x88, 0x64}, 8, {0x11, 0, 0, 1, 0, 30, 0x00, 0x21}}, /* session 1, IPv4 */
    };
    struct frame inner, f;

    craft_udp(b, &inner, NULL, b->target);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kind, kinds[i].name) != 0)
            continue;
        f = inner;
        memcpy(f.data + 12, kinds[i].type, 2);
        memcpy(f.data + 14, kinds[i].label, kinds[i].size);
        memcpy(f.data + 14 + kinds[i].size, inner.data + 14, inner.size - 14);
        f.size = inner.size + kinds[i].size;
        f.ip = 0;
        return craft_put(&f);
    }
    return -EINVAL;
}

static uint32_t sum16(const uint8_t *at, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < size; i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/*
 * A packet socket may leave the checksum to whoever sends the packet out at last, and says where it
 * is summed and written. IPv6 has no checksum of its own header, so here that is the end of the
 * destination, after everybody looked at it; what is summed comes out as the target's.
 */
int detour_checksum(const struct bypass *b, const char *how)
{
    enum { ADDRESSES = 14 + 8, WRITTEN = 14 + 38 };
    struct virtio_net_hdr work = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                  .csum_start = ADDRESSES,
                                  .csum_offset = WRITTEN - ADDRESSES};
    uint8_t to[16], fill[2] = {0, 0};
    uint32_t sum, wanted;
    struct frame f;

    (void)how;
    craft_begin(b, &f, NULL, b->decoy6);
    frame_l4(&f, 17, 1000, 80, 0, 100);
    f.data[f.size - 3] = 8 + 2;
    frame_bytes(&f, fill, sizeof(fill));
    lab_address(b->target6, to);
    wanted = 0xffff & ~(uint32_t)(to[14] << 8 | to[15]);
    sum = sum16(f.data + ADDRESSES, f.size - ADDRESSES);
    wanted = (wanted + (0xffff & ~sum)) % 0xffff;
    f.data[f.size - 2] = (uint8_t)(wanted >> 8);
    f.data[f.size - 1] = (uint8_t)wanted;
    return craft_put_offload(&f, &work);
}
