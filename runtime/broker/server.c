/*
 * The broker's requests. What may be opened and which options may be set are rows; whoever asks is
 * the sentry, which hostile guest code may have taken over: every field is checked.
 */
#include "runtime/broker/server.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/broker/proto.h"
#include "runtime/security/confine.h"
#include "runtime/security/filter.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const struct socket_row {
    int family, type, protocol_min, protocol_max;
} socket_rows[] = {
    {AF_INET, SOCK_RAW, 1, IPPROTO_MAX - 1},
    {AF_INET6, SOCK_RAW, 1, IPPROTO_MAX - 1},
    {AF_PACKET, SOCK_RAW, 0, UINT16_MAX},
    {AF_PACKET, SOCK_DGRAM, 0, UINT16_MAX},
};

static int op_socket(const struct broker_grants *g, const struct broker_request *rq, int *ret_fd)
{
    for (size_t i = 0; i < ARRAY_SIZE(socket_rows); i++) {
        const struct socket_row *row = &socket_rows[i];

        if (row->family != rq->family || row->type != rq->type ||
            rq->protocol < row->protocol_min || rq->protocol > row->protocol_max)
            continue;
        if (!(rq->family == AF_PACKET ? g->packet : g->raw))
            return -EPERM;
        *ret_fd = socket(rq->family, rq->type | SOCK_NONBLOCK | SOCK_CLOEXEC, rq->protocol);
        return *ret_fd < 0 ? -errno : 0;
    }
    return -EINVAL;
}

/* Left out: rings for sending, ways around queueing, and whatever else has no user but attackers.
 */
static const struct option_row {
    int level, name;
    uint32_t min, max;
} option_rows[] = {
    {SOL_SOCKET, SO_DETACH_FILTER, 0, 4},
    {SOL_SOCKET, SO_LOCK_FILTER, 4, 4},
    {SOL_PACKET, PACKET_ADD_MEMBERSHIP, sizeof(struct packet_mreq), 40},
    {SOL_PACKET, PACKET_DROP_MEMBERSHIP, sizeof(struct packet_mreq), 40},
    {SOL_PACKET, PACKET_AUXDATA, 4, 4},
    {SOL_PACKET, PACKET_VERSION, 4, 4},
    {SOL_PACKET, PACKET_RESERVE, 4, 4},
    {SOL_PACKET, PACKET_TIMESTAMP, 4, 4},
    {SOL_PACKET, PACKET_FANOUT, 4, 8},
    {SOL_PACKET, PACKET_IGNORE_OUTGOING, 4, 4},
};

/* Ring buffers are kernel memory that nobody's limit counts. */
static bool ring_small(const void *value, size_t size)
{
    struct tpacket_req req;

    if (size != sizeof(struct tpacket_req) && size != sizeof(struct tpacket_req3))
        return false;
    memcpy(&req, value, sizeof(req));
    return (uint64_t)req.tp_block_size * req.tp_block_nr <= BROKER_RING_MAX;
}

/* Only of the sockets that it opens. */
static bool is_ours(int fd)
{
    int family = 0, type = 0;
    socklen_t a = sizeof(family), b = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &a) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &b) == 0 &&
           (family == AF_PACKET || type == SOCK_RAW);
}

static int attach_filter(int fd, const void *value, size_t size)
{
    struct sock_filter program[BPF_MAXINSNS];
    struct sock_fprog prog = {.len = (unsigned short)(size / sizeof(*program)), .filter = program};

    if (!size || size % sizeof(*program) || size > sizeof(program))
        return -EINVAL;
    memcpy(program, value, size);
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

static int op_option(const struct broker_request *rq, const void *value, size_t size, int fd)
{
    int level = rq->family, name = rq->type;

    if (fd < 0 || !is_ours(fd))
        return -EINVAL;
    if (level == SOL_SOCKET && name == SO_ATTACH_FILTER)
        return attach_filter(fd, value, size);
    if (level == SOL_PACKET && name == PACKET_RX_RING) {
        if (!ring_small(value, size))
            return -ENOMEM;
        return setsockopt(fd, level, name, value, (socklen_t)size) < 0 ? -errno : 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
        const struct option_row *row = &option_rows[i];

        if (row->level != level || row->name != name)
            continue;
        if (size < row->min)
            return -EINVAL;
        return setsockopt(fd, level, name, value, (socklen_t)MIN(size, row->max)) < 0 ? -errno : 0;
    }
    return -ENOPROTOOPT;
}

static int op_bind(const struct broker_grants *g, const void *addr, size_t size, int fd)
{
    struct sockaddr_storage copy = {0};

    if (!g->low_ports)
        return -EACCES;
    if (fd < 0 || size < sizeof(struct sockaddr_in) || size > sizeof(copy))
        return -EINVAL;
    memcpy(&copy, addr, size);
    if (copy.ss_family != AF_INET && copy.ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    return bind(fd, (struct sockaddr *)&copy, (socklen_t)size) < 0 ? -errno : 0;
}

int broker_handle(const struct broker_grants *g, const void *packet, size_t size, int fd,
                  int *ret_fd)
{
    const char *data = (const char *)packet + sizeof(struct broker_request);
    struct broker_request rq;

    *ret_fd = -1;
    if (size < sizeof(rq))
        return -EINVAL;
    memcpy(&rq, packet, sizeof(rq));
    size -= sizeof(rq);
    switch (rq.op) {
    case BROKER_SOCKET:
        return op_socket(g, &rq, ret_fd);
    case BROKER_OPTION:
        return op_option(&rq, data, size, fd);
    case BROKER_BIND:
        return op_bind(g, data, size, fd);
    default:
        return -EINVAL;
    }
}

static int serve(const struct broker_grants *g, int sock)
{
    static char packet[sizeof(struct broker_request) + BROKER_DATA_MAX];

    for (;;) {
        CLEANUP(close_fd) int given = -1, made = -1;
        struct broker_reply reply;
        ssize_t n = fd_recv(sock, packet, sizeof(packet), &given, 1);
        int r;

        if (n == 0 || (n < 0 && n != -EMSGSIZE))
            return (int)n;
        reply.result = broker_handle(g, packet, n < 0 ? 0 : (size_t)n, given, &made);
        r = fd_send(sock, &reply, sizeof(reply), &made, made >= 0);
        if (r < 0)
            return r == -EPIPE ? 0 : r;
    }
}

int broker_run(const struct broker_grants *g, int sock, int ready_fd, struct error *err)
{
    int keep[] = {sock, ready_fd};
    uint64_t caps = (g->raw || g->packet ? 1ULL << CAP_NET_RAW : 0) |
                    (g->low_ports ? 1ULL << CAP_NET_BIND_SERVICE : 0);
    int r = confine_stdio(err);

    if (r == 0)
        r = confine_descriptors(keep, ARRAY_SIZE(keep), err);
    if (r == 0)
        r = confine_root_begin(0, err);
    if (r == 0)
        r = confine_root_finish(err);
    if (r == 0)
        r = confine_capabilities(caps, err);
    if (r == 0)
        r = confine_no_new_privs(err);
    if (r == 0)
        r = confine_undumpable(err);
    confine_no_core();
    if (r == 0)
        r = filter_install(FILTER_BROKER, err);
    if (r < 0)
        return error_wrap(err, "broker");
    (void)close(ready_fd);
    r = serve(g, sock);
    return r < 0 ? error_errno(err, r, "broker") : 0;
}
