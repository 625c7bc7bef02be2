/*
 * Socket diagnosis by netlink (sock_diag(7)), which ss asks. Dumps of internet and unix sockets of
 * this sandbox, put together here: the host's own answer would tell of everybody in the network
 * namespace. Filters by program are ignored, as by kernels that don't know them: ss filters again.
 * Questions for one socket, and other families, are ENOENT; destroying sockets is EOPNOTSUPP.
 */
#include "common/buf.h"
#include "runtime/sentry/net/describe.h"
#include "runtime/sentry/net/netlink.h"
#include "runtime/sentry/net/unix.h"

#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <string.h>

enum { PART_MAX = 16384 }; /* bytes of one datagram of a dump */

struct dump {
    struct netlink_sock *to;
    const struct nlmsghdr *request;
    uint32_t pid;
    struct buf out; /* the datagram in the making */
    int error;
};

static void append(struct dump *d, const void *data, size_t size)
{
    static const char zero[NLMSG_ALIGNTO];
    int r = buf_append(&d->out, data, size);

    if (r == 0 && NLMSG_ALIGN(size) > size)
        r = buf_append(&d->out, zero, NLMSG_ALIGN(size) - size);
    if (r < 0)
        d->error = r;
}

/* Sends what was gathered on to the reader. */
static void flush(struct dump *d)
{
    int r = d->out.size && !d->error ? netlink_reply(d->to, d->out.data, d->out.size) : 0;

    if (r < 0)
        d->error = r;
    d->out.size = 0;
}

/* Begins a message; its head is at the offset that is returned. */
static size_t begin(struct dump *d, uint16_t type, const void *body, size_t size)
{
    struct nlmsghdr h = {.nlmsg_type = type,
                         .nlmsg_flags = NLM_F_MULTI,
                         .nlmsg_seq = d->request->nlmsg_seq,
                         .nlmsg_pid = d->pid};
    size_t at;

    if (d->out.size > PART_MAX)
        flush(d);
    at = d->out.size;
    append(d, &h, sizeof(h));
    append(d, body, size);
    return at;
}

static void attribute(struct dump *d, uint16_t type, const void *value, size_t size)
{
    struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = type};

    append(d, &a, sizeof(a));
    append(d, value, size);
}

static void finish(struct dump *d, size_t at)
{
    uint32_t size = (uint32_t)(d->out.size - at);

    if (!d->error)
        memcpy(d->out.data + at + offsetof(struct nlmsghdr, nlmsg_len), &size, sizeof(size));
}

/* ---- internet sockets -------------------------------------------------------------------------
 */
static void put_name(const struct sockname *n, __be16 *port, __be32 addr[4])
{
    const struct sockaddr_in *in4 = (const void *)n->bytes;
    const struct sockaddr_in6 *in6 = (const void *)n->bytes;

    *port = in4->sin_port;
    if (n->sa.sa_family == AF_INET6)
        memcpy(addr, &in6->sin6_addr, sizeof(in6->sin6_addr));
    else
        addr[0] = in4->sin_addr.s_addr;
}

static void inet_entry(struct dump *d, struct socket *s, const struct inet_diag_req_v2 *rq)
{
    struct inet_facts f;
    struct inet_diag_msg m = {.idiag_family = (uint8_t)s->family,
                              .idiag_uid = s->uid,
                              .idiag_inode = (uint32_t)s->ino,
                              .id = {.idiag_cookie = {(uint32_t)s->ino, 0}}};
    uint8_t shut = 0;
    size_t at;

    if (!inet_describe(s, &f) || !(rq->idiag_states & (1u << f.state)))
        return;
    m.idiag_state = (uint8_t)f.state;
    m.idiag_rqueue = (uint32_t)f.queued;
    m.idiag_wqueue = (uint32_t)(f.state == DESCRIBE_LISTENING ? f.backlog : f.unsent);
    put_name(&f.local, &m.id.idiag_sport, m.id.idiag_src);
    put_name(&f.peer, &m.id.idiag_dport, m.id.idiag_dst);
    at = begin(d, SOCK_DIAG_BY_FAMILY, &m, sizeof(m));
    attribute(d, INET_DIAG_SHUTDOWN, &shut, sizeof(shut));
    if ((rq->idiag_ext & (1 << (INET_DIAG_INFO - 1))) && s->protocol == IPPROTO_TCP)
        attribute(d, INET_DIAG_INFO, &f.info, sizeof(f.info));
    finish(d, at);
}

static int dump_inet(struct dump *d, const void *body, size_t size)
{
    struct netns *ns = d->to->s.netns;
    struct inet_diag_req_v2 rq;
    struct socket *s;
    int type;

    if (size < sizeof(rq))
        return -EINVAL;
    memcpy(&rq, body, sizeof(rq));
    type = rq.sdiag_protocol == IPPROTO_TCP || rq.sdiag_protocol == IPPROTO_SCTP ? SOCK_STREAM
           : rq.sdiag_protocol == IPPROTO_RAW                                    ? SOCK_RAW
                                                                                 : SOCK_DGRAM;
    mutex_lock(&ns->lock);
    list_for_each_entry (s, &ns->sockets, link)
        if (!ns->isolated && inet_described(s, rq.sdiag_family, rq.sdiag_protocol, type))
            inet_entry(d, s, &rq);
    mutex_unlock(&ns->lock);
    return 0;
}

/* ---- unix sockets -----------------------------------------------------------------------------
 */
enum { STATE_ESTABLISHED = 1, STATE_CLOSED = 7, STATE_LISTENING = 10 };

static void unix_entry(struct dump *d, struct socket *s, const struct unix_diag_req *rq)
{
    struct unix_sock *u = container_of(s, struct unix_sock, s);
    const struct unix_addr *a = __atomic_load_n(&u->addr, __ATOMIC_ACQUIRE);
    enum unix_state state = __atomic_load_n(&u->state, __ATOMIC_RELAXED);
    size_t head = offsetof(struct sockaddr_un, sun_path), at;
    struct unix_diag_msg m = {
        .udiag_family = AF_UNIX,
        .udiag_type = (uint8_t)s->type,
        .udiag_state = state == UNIX_LISTENING   ? STATE_LISTENING
                       : state == UNIX_CONNECTED ? STATE_ESTABLISHED
                                                 : STATE_CLOSED,
        .udiag_ino = (uint32_t)s->ino,
        .udiag_cookie = {(uint32_t)s->ino, 0},
    };
    struct unix_diag_rqlen queues = {(uint32_t)u->queued, 0};

    if (!(rq->udiag_states & (1u << m.udiag_state)))
        return;
    at = begin(d, SOCK_DIAG_BY_FAMILY, &m, sizeof(m));
    if ((rq->udiag_show & UDIAG_SHOW_NAME) && a && a->name.size > head)
        attribute(d, UNIX_DIAG_NAME, a->name.bytes + head, a->name.size - head);
    if (rq->udiag_show & UDIAG_SHOW_RQLEN)
        attribute(d, UNIX_DIAG_RQLEN, &queues, sizeof(queues));
    finish(d, at);
}

static int dump_unix(struct dump *d, const void *body, size_t size)
{
    struct netns *ns = d->to->s.netns;
    struct unix_diag_req rq;
    struct socket *s;

    if (size < sizeof(rq))
        return -EINVAL;
    memcpy(&rq, body, sizeof(rq));
    mutex_lock(&ns->lock);
    list_for_each_entry (s, &ns->sockets, link)
        if (s->family == AF_UNIX && s->ino)
            unix_entry(d, s, &rq);
    mutex_unlock(&ns->lock);
    return 0;
}

/* ---- any request ------------------------------------------------------------------------------
 */
int sock_diag_request(struct netlink_sock *ns, const struct nlmsghdr *h)
{
    const uint8_t *body = (const uint8_t *)h + NLMSG_HDRLEN;
    size_t size = h->nlmsg_len - NLMSG_HDRLEN, at;
    struct dump d = {.to = ns, .request = h, .pid = netlink_port(ns)};
    int zero = 0, r = -ENOENT;

    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -EOPNOTSUPP;
    if (!size || (h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
        return size ? -ENOENT : -EINVAL;
    if (body[0] == AF_INET || body[0] == AF_INET6)
        r = dump_inet(&d, body, size);
    else if (body[0] == AF_UNIX)
        r = dump_unix(&d, body, size);
    if (r == 0) {
        flush(&d);
        at = begin(&d, NLMSG_DONE, &zero, sizeof(zero));
        finish(&d, at);
        flush(&d);
        r = d.error ? d.error : 1;
    }
    buf_fini(&d.out);
    return r;
}
