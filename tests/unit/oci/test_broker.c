/* What the broker does for a sentry that lies. Needs CAP_NET_RAW for the sockets. */
#include "capable.h"
#include "common/cleanup.h"
#include "runtime/broker/proto.h"
#include "runtime/broker/server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct broker_grants all = {true, true, true}, none = {false, false, false};

static int ask(const struct broker_grants *g, const struct broker_request *rq, const void *data,
               size_t size, int fd, int *ret_fd)
{
    char packet[sizeof(*rq) + 512];

    memcpy(packet, rq, sizeof(*rq));
    if (size)
        memcpy(packet + sizeof(*rq), data, size);
    return broker_handle(g, packet, sizeof(*rq) + size, fd, ret_fd);
}

static const struct {
    const char *name;
    struct broker_request rq;
    const struct broker_grants *grants;
    int expected;
} sockets[] = {
    {"a raw socket", {BROKER_SOCKET, AF_INET, SOCK_RAW, 1}, &all, 0},
    {"a packet socket", {BROKER_SOCKET, AF_PACKET, SOCK_DGRAM, 0x300}, &all, 0},
    {"a raw one, not granted", {BROKER_SOCKET, AF_INET, SOCK_RAW, 1}, &none, -EPERM},
    {"a packet one, not granted", {BROKER_SOCKET, AF_PACKET, SOCK_RAW, 0}, &none, -EPERM},
    {"SOCK_PACKET", {BROKER_SOCKET, AF_PACKET, SOCK_PACKET, 0}, &all, -EINVAL},
    {"TCP", {BROKER_SOCKET, AF_INET, SOCK_STREAM, 6}, &all, -EINVAL},
    {"a netlink socket", {BROKER_SOCKET, AF_NETLINK, SOCK_RAW, 0}, &all, -EINVAL},
    {"flags in the type", {BROKER_SOCKET, AF_INET, SOCK_RAW | 1 << 20, 1}, &all, -EINVAL},
    {"a protocol below", {BROKER_SOCKET, AF_INET, SOCK_RAW, -1}, &all, -EINVAL},
    {"an unknown request", {BROKER_OP_COUNT, 0, 0, 0}, &all, -EINVAL},
    {"an option of nothing", {BROKER_OPTION, SOL_PACKET, PACKET_VERSION, 0}, &all, -EINVAL},
    {"binding nothing", {BROKER_BIND, 0, 0, 0}, &all, -EINVAL},
    {"binding, not granted", {BROKER_BIND, 0, 0, 0}, &none, -EACCES},
};

Test(broker, sockets)
{
    for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
        CLEANUP(close_fd) int fd = -1;

        if (sockets[i].expected == 0 && !capable(CAP_NET_RAW))
            continue;
        cr_expect_eq(ask(sockets[i].grants, &sockets[i].rq, NULL, 0, -1, &fd), sockets[i].expected,
                     "%s", sockets[i].name);
        cr_expect_eq(fd >= 0, sockets[i].expected == 0, "%s: descriptor", sockets[i].name);
    }
}

Test(broker, options)
{
    struct broker_request ring = {BROKER_OPTION, SOL_PACKET, PACKET_RX_RING, 0}, other = ring,
                          filter = {BROKER_OPTION, SOL_SOCKET, SO_ATTACH_FILTER, 0};
    struct tpacket_req large = {1 << 20, 17, 2048, 17 << 9}, small = {4096, 1, 2048, 2};
    static const uint64_t nothing = 0x6; /* ret 0 */
    CLEANUP(close_fd) int udp = socket(AF_INET, SOCK_DGRAM, 0), packet = -1, none_made = -1;

    cr_expect_eq(ask(&all, &filter, &nothing, sizeof(nothing), udp, &none_made), -EINVAL,
                 "not a socket of its own kinds");
    if (!capable(CAP_NET_RAW))
        return;
    packet = socket(AF_PACKET, SOCK_RAW, 0);
    cr_assert(packet >= 0);
    other.type = PACKET_TX_RING;
    cr_expect_eq(ask(&all, &ring, &large, sizeof(large), packet, &none_made), -ENOMEM);
    cr_expect_eq(ask(&all, &ring, &large, 4, packet, &none_made), -ENOMEM);
    cr_expect_eq(ask(&all, &ring, &small, sizeof(small), packet, &none_made), 0);
    cr_expect_eq(ask(&all, &other, &small, sizeof(small), packet, &none_made), -ENOPROTOOPT);
    cr_expect_eq(ask(&all, &filter, &nothing, sizeof(nothing), packet, &none_made), 0);
    cr_expect_eq(ask(&all, &filter, &nothing, 7, packet, &none_made), -EINVAL);
    cr_expect_eq(broker_handle(&all, &ring, 3, packet, &none_made), -EINVAL, "half a head");
}
