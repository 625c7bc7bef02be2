/*
 * Raw and packet sockets: host sockets like the other ones, but opened by the broker, for it takes
 * NET_RAW; so do their filters and the options of packet sockets, which the sentry's own seccomp
 * filter does not let through. A guest that was not granted NET_RAW has no broker: EPERM.
 *
 * A packet socket's ring is memory of the host's kernel that no limit counts: RINGS_MAX bounds it.
 */
#include "runtime/broker/client.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/inet.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

#include <asm-generic/socket.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { RINGS_MAX = 64 << 20, OPT_IGNORE_OUTGOING = 23 };

static unsigned g_rings; /* atomic: bytes of all rings of this sandbox */

int raw_open(struct task *t, int family, int type, int protocol)
{
    struct netns *ns = t->ns->net;

    if (ns->isolated || !g_sentry.broker || !g_sentry.boot->net_raw ||
        !cred_capable_in(t->cred, ns->userns, CAP_NET_RAW))
        return -EPERM;
    return broker_socket(g_sentry.broker, family, type, protocol);
}

int packet_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret)
{
    int fd;

    if (!cred_capable_in(t->cred, t->ns->net->userns, CAP_NET_RAW))
        return -EPERM;
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT; /* SOCK_PACKET: obsolete since Linux 2.0 */
    fd = raw_open(t, family, type, protocol & UINT16_MAX);
    return fd < 0 ? fd : inet_wrap(t->ns->net, fd, family, type, protocol, ret);
}

bool raw_is(const struct socket *s)
{
    return s->family == AF_PACKET || s->type == SOCK_RAW;
}

/* ---- options ----------------------------------------------------------------------------------
 */
static int attach_filter(struct task *t, struct socket *s, const void *value, unsigned size)
{
    struct {
        uint16_t n, pad[3];
        uint64_t program;
    } guest;
    CLEANUP(free_ptr) struct sock_filter *program = NULL;
    size_t bytes;
    int r;

    if (size != sizeof(guest))
        return -EINVAL;
    memcpy(&guest, value, sizeof(guest));
    if (!guest.n || guest.n > BPF_MAXINSNS)
        return -EINVAL;
    bytes = guest.n * sizeof(*program);
    program = malloc(bytes);
    if (!program)
        return -ENOMEM;
    r = copy_in(t, program, guest.program, bytes);
    return r < 0 ? r
                 : broker_option(g_sentry.broker, s->host_fd, SOL_SOCKET, SO_ATTACH_FILTER, program,
                                 bytes);
}

static int set_ring(struct socket *s, const void *value, unsigned size)
{
    struct inet_sock *is = inet_of(s);
    struct tpacket_req req;
    uint64_t bytes;
    int r;

    if (size < sizeof(req))
        return -EINVAL;
    memcpy(&req, value, sizeof(req));
    bytes = (uint64_t)req.tp_block_size * req.tp_block_nr;
    if (bytes > RINGS_MAX ||
        __atomic_add_fetch(&g_rings, (unsigned)bytes, __ATOMIC_RELAXED) > RINGS_MAX) {
        if (bytes <= RINGS_MAX)
            (void)__atomic_sub_fetch(&g_rings, (unsigned)bytes, __ATOMIC_RELAXED);
        return -ENOMEM;
    }
    r = broker_option(g_sentry.broker, s->host_fd, SOL_PACKET, PACKET_RX_RING, value, size);
    /* The old ring, or the one that did not come to be, is gone. */
    if (r == 0)
        bytes = __atomic_exchange_n(&is->ring, (unsigned)bytes, __ATOMIC_RELAXED);
    (void)__atomic_sub_fetch(&g_rings, (unsigned)bytes, __ATOMIC_RELAXED);
    return r;
}

int raw_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                   unsigned size)
{
    if (level == SOL_SOCKET && name == SO_ATTACH_FILTER)
        return attach_filter(t, s, value, size);
    if (level == SOL_SOCKET && (name == SO_DETACH_FILTER || name == SO_LOCK_FILTER))
        return broker_option(g_sentry.broker, s->host_fd, level, name, value, size);
    if (s->family != AF_PACKET || level != SOL_PACKET)
        return 1;
    if (name == PACKET_RX_RING)
        return set_ring(s, value, size);
    return broker_option(g_sentry.broker, s->host_fd, level, name, value, size);
}

int raw_get_option(struct socket *s, int level, int name, void *value, unsigned *size)
{
    socklen_t room = *size;

    if (s->family != AF_PACKET || level != SOL_PACKET || name < PACKET_STATISTICS ||
        name > OPT_IGNORE_OUTGOING)
        return 1;
    if (getsockopt(s->host_fd, level, name, value, &room) < 0)
        return -errno;
    *size = MIN(room, *size);
    return 0;
}

int raw_mmap(struct socket *s, int flags, uint64_t offset, uint64_t size, struct mmap_backing *ret)
{
    if (s->family != AF_PACKET)
        return -ENODEV;
    if (offset || !(flags & MAP_SHARED) ||
        size != __atomic_load_n(&inet_of(s)->ring, __ATOMIC_RELAXED))
        return -EINVAL;
    *ret = (struct mmap_backing){.fd = s->host_fd, .max_prot = PROT_READ | PROT_WRITE};
    return 0;
}

void raw_release(struct socket *s)
{
    (void)__atomic_sub_fetch(&g_rings, inet_of(s)->ring, __ATOMIC_RELAXED);
}
