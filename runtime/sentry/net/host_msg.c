/*
 * Messages of sockets that are host sockets: between guest memory and the host socket by a bounce
 * buffer of at most CHUNK bytes. Control messages are rows of a table in the sending direction
 * (source routes and other headers are refused: they lead around policy); what the host reports is
 * passed on. MSG_FASTOPEN is refused: data in a SYN would leave before the connection was judged.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/socket.h"

#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>

enum {
    CHUNK = 65536,
    SMALL = 2048,         /* on the stack up to here */
    DATAGRAM_MAX = 65536, /* more than any IP datagram holds: the host says EMSGSIZE */
    HOST_CONTROL_MAX = 1024,
    SEND_FLAGS = MSG_OOB | MSG_DONTROUTE | MSG_EOR | MSG_CONFIRM | MSG_MORE,
    RECV_FLAGS = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE,
    /* what recvmsg reports in msg_flags */
    REPORT_FLAGS = MSG_OOB | MSG_EOR | MSG_TRUNC | MSG_CTRUNC | MSG_ERRQUEUE,
};

/* ---- control messages on the way out ----------------------------------------------------------
 */
enum { PASS, DROP }; /* or -errno */
static const struct control_row {
    int level, type;
    unsigned min, max;
    int verdict;
} control_rows[] = {
    {IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo), sizeof(struct in_pktinfo), 0},
    {IPPROTO_IP, IP_TTL, sizeof(int), sizeof(int), 0},
    {IPPROTO_IP, IP_TOS, 1, sizeof(int), 0},
    {IPPROTO_IP, IP_RETOPTS, 0, UINT32_MAX, -EPERM},
    {IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo), sizeof(struct in6_pktinfo), 0},
    {IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int), sizeof(int), 0},
    {IPPROTO_IPV6, IPV6_TCLASS, sizeof(int), sizeof(int), 0},
    {IPPROTO_IPV6, IPV6_DONTFRAG, sizeof(int), sizeof(int), 0},
    {IPPROTO_IPV6, IPV6_RTHDR, 0, UINT32_MAX, -EPERM},
    {IPPROTO_IPV6, IPV6_HOPOPTS, 0, UINT32_MAX, -EPERM},
    {IPPROTO_IPV6, IPV6_DSTOPTS, 0, UINT32_MAX, -EPERM},
    {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, 0, UINT32_MAX, -EPERM},
    {SOL_SOCKET, SO_MARK, 0, UINT32_MAX, -EPERM},
    /* Of unix sockets; all others take no notice. The numbers are the guest's: not for the host. */
    {SOL_SOCKET, SCM_RIGHTS, 0, UINT32_MAX, DROP},
    {SOL_SOCKET, SCM_CREDENTIALS, 0, UINT32_MAX, DROP},
    {IPPROTO_UDP, UDP_SEGMENT, sizeof(uint16_t), sizeof(uint16_t), 0},
};

static int check_control_row(const struct control *c)
{
    for (size_t i = 0; i < ARRAY_SIZE(control_rows); i++) {
        const struct control_row *row = &control_rows[i];

        if (row->level != c->level || row->type != c->type)
            continue;
        return c->size < row->min || c->size > row->max ? -EINVAL : row->verdict;
    }
    return -EINVAL;
}

/* Takes out what is between two places of m's control messages. */
static void drop_control(struct sockmsg *m, size_t from, size_t to)
{
    to = MIN(to, m->control_size);
    memmove(m->control + from, m->control + to, m->control_size - to);
    m->control_size -= to - from;
}

static int check_control(struct sockmsg *m)
{
    struct control c;
    size_t at = 0, from = 0;
    int r;

    if (m->control_size > HOST_CONTROL_MAX)
        return -EINVAL;
    while (control_next(m, &at, &c, &r)) {
        r = check_control_row(&c);
        if (r < 0)
            return r;
        if (r == DROP)
            drop_control(m, from, at), at = from;
        from = at;
    }
    return r;
}

/* ---- sending ----------------------------------------------------------------------------------
 */
/* One host message, waiting for room as the guest wants. */
static ssize_t send_host(struct socket *s, const struct msghdr *h, int flags, nsec_t timeout,
                         nsec_t deadline)
{
    struct pollfd p = {.fd = s->host_fd, .events = POLLOUT};
    ssize_t r;
    int w;

    for (;;) {
        r = sendmsg(p.fd, h, (flags & SEND_FLAGS) | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r >= 0)
            return r;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || (flags & MSG_DONTWAIT))
            return -errno;
        w = wait_host_fds(&p, 1, deadline);
        if (w < 0)
            return socket_wait_error(w, timeout);
    }
}

static ssize_t send_datagram(struct socket *s, struct sockmsg *m, struct msghdr *h, char *data,
                             int flags)
{
    size_t size = m->uio->left;

    if (size && uio_copy_from(m->uio, data, size) != (ssize_t)size)
        return -EFAULT;
    *h->msg_iov = (struct iovec){data, size};
    return send_host(s, h, flags, s->send_timeout, socket_deadline(s->send_timeout));
}

static ssize_t send_stream(struct socket *s, struct sockmsg *m, struct msghdr *h, char *data,
                           size_t room, int flags)
{
    nsec_t timeout = s->send_timeout, deadline = socket_deadline(timeout);
    ssize_t total = 0, r = 0, n;
    size_t at;

    do {
        size_t size = MIN(m->uio->left, (uint64_t)room);

        n = size ? uio_copy_from(m->uio, data, size) : 0;
        if (n < 0)
            return total ? total : n;
        for (at = 0; at < (size_t)n || !n; at += (size_t)r, total += r) {
            *h->msg_iov = (struct iovec){data + at, (size_t)n - at};
            /* more of the same call follows: let the host fill its segments */
            r = send_host(s, h, flags | (m->uio->left ? MSG_MORE : 0), timeout, deadline);
            if (r < 0)
                return total ? total : r;
            if (!n)
                return 0;
        }
    } while (m->uio->left);
    return total;
}

ssize_t host_send(struct socket *s, struct sockmsg *m, int flags)
{
    char small[SMALL];
    CLEANUP(free_ptr) char *large = NULL;
    char *data = small;
    bool stream = s->type == SOCK_STREAM;
    size_t room = MIN(m->uio->left, (uint64_t)CHUNK);
    struct iovec iov;
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    int r;

    if (flags & MSG_FASTOPEN)
        return -EOPNOTSUPP;
    if (!stream && m->uio->left > DATAGRAM_MAX)
        return -EMSGSIZE;
    r = check_control(m);
    if (r < 0)
        return r;
    if (room > SMALL && !(data = large = malloc(room)))
        return -ENOBUFS;
    h.msg_name = m->name.size ? m->name.bytes : NULL;
    h.msg_namelen = m->name.size;
    h.msg_control = m->control_size ? m->control : NULL;
    h.msg_controllen = m->control_size;
    return stream ? send_stream(s, m, &h, data, MAX(room, (size_t)1), flags)
                  : send_datagram(s, m, &h, data, flags);
}

/* ---- receiving --------------------------------------------------------------------------------
 */
struct receive {
    struct socket *s;
    struct sockmsg *m;
    int flags;
    nsec_t timeout, deadline;
    char control[HOST_CONTROL_MAX];
    struct msghdr h;
    struct iovec iov;
};

static ssize_t recv_host(struct receive *rc, char *data, size_t size, bool wait)
{
    struct pollfd p = {.fd = rc->s->host_fd, .events = rc->flags & MSG_OOB ? POLLPRI : POLLIN};
    ssize_t r;
    int w;

    for (;;) {
        rc->iov = (struct iovec){data, size};
        rc->h = (struct msghdr){.msg_name = rc->m->name.bytes,
                                .msg_namelen = sizeof(rc->m->name.storage),
                                .msg_iov = &rc->iov,
                                .msg_iovlen = 1,
                                .msg_control = rc->control,
                                .msg_controllen = sizeof(rc->control)};
        r = recvmsg(p.fd, &rc->h, (rc->flags & RECV_FLAGS) | MSG_DONTWAIT);
        if (r >= 0)
            return r;
        if (errno == EINTR)
            continue;
        /* The error queue never waits (recv(2)); nor does urgent data that isn't there. */
        if (errno != EAGAIN || !wait || (rc->flags & (MSG_DONTWAIT | MSG_ERRQUEUE)))
            return -errno;
        w = wait_host_fds(&p, 1, rc->deadline);
        if (w < 0)
            return socket_wait_error(w, rc->timeout);
    }
}

/* Name, control messages and flags of the message just received. */
static void report(struct receive *rc)
{
    struct sockmsg *m = rc->m;

    m->name.size = MIN(rc->h.msg_namelen, (socklen_t)sizeof(m->name.storage));
    m->flags |= rc->h.msg_flags & REPORT_FLAGS;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&rc->h); c; c = CMSG_NXTHDR(&rc->h, c))
        control_put(m, c->cmsg_level, c->cmsg_type, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

static ssize_t recv_datagram(struct receive *rc, char *data, size_t room)
{
    ssize_t n = recv_host(rc, data, room, true), copied;
    size_t here;

    if (n < 0)
        return n;
    report(rc);
    here = MIN((size_t)n, room); /* MSG_TRUNC: n is the real length */
    copied = here ? uio_copy_to(rc->m->uio, data, here) : 0;
    return copied < (ssize_t)here ? -EFAULT : n;
}

static ssize_t recv_stream(struct receive *rc, char *data, size_t room)
{
    struct uio *u = rc->m->uio;
    bool all = rc->flags & MSG_WAITALL, once = rc->flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE);
    ssize_t total = 0, n, copied;

    do {
        size_t want = MIN(u->left, (uint64_t)room);

        n = recv_host(rc, data, want, !total || all);
        if (n < 0)
            return total ? total : n;
        if (!total)
            report(rc);
        if (rc->flags & MSG_TRUNC) /* tcp(7): discarded, not copied */
            uio_skip(u, (size_t)n);
        else if (n) {
            copied = uio_copy_to(u, data, (size_t)n);
            if (copied < n)
                return copied > 0 ? total + copied : (total ? total : -EFAULT);
        }
        total += n;
        if (!n || once || (!all && (size_t)n < want))
            break;
    } while (u->left);
    return total;
}

ssize_t host_recv(struct socket *s, struct sockmsg *m, int flags)
{
    char small[SMALL];
    CLEANUP(free_ptr) char *large = NULL;
    char *data = small;
    size_t room = MIN(m->uio->left, (uint64_t)CHUNK);
    struct receive rc = {.s = s, .m = m, .flags = flags, .timeout = s->recv_timeout};

    if (room > SMALL && !(data = large = malloc(room)))
        return -ENOBUFS;
    rc.deadline = socket_deadline(rc.timeout);
    return s->type == SOCK_STREAM ? recv_stream(&rc, data, room) : recv_datagram(&rc, data, room);
}
