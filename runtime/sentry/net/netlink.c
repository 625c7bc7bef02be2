/*
 * AF_NETLINK: routes, and socket diagnosis (sock_diag.c). Each guest socket has a host socket of
 * its own in the pod's namespace, which gives port numbers, dumps and multicast events as the
 * kernel makes them. What a guest sends is taken apart and only questions are put together anew and
 * sent on (netlink_route.c); everything that would change something is answered -EPERM here. Other
 * families (generic, audit, uevents, netfilter, xfrm) are -EPROTONOSUPPORT.
 */
#include "runtime/sentry/net/netlink.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <asm-generic/socket.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    REQUEST_MAX = 65536,
    QUEUED_MAX = SOCKET_BUF_DEFAULT,
    DIAG_QUEUED_MAX = 16 << 20,
    REPLY_BUFFER = 65536
};

static const struct socket_ops netlink_ops;

int netlink_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret)
{
    struct netlink_sock *ns;
    int r, fd;

    (void)family;
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    if (protocol != NETLINK_ROUTE && protocol != NETLINK_SOCK_DIAG)
        return -EPROTONOSUPPORT;
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return errno == EMFILE ? -ENFILE : -errno;
    ns = calloc(1, sizeof(*ns));
    r = ns ? socket_init(&ns->s, &netlink_ops, t->ns->net, AF_NETLINK, type, protocol) : -ENOMEM;
    if (r < 0) {
        free(ns);
        (void)close(fd);
        return r;
    }
    ns->s.host_fd = fd;
    list_init(&ns->replies);
    waitq_init(&ns->wait);
    *ret = &ns->s;
    return 0;
}

static void netlink_release(struct socket *s)
{
    struct netlink_sock *ns = netlink_of(s);
    struct netlink_reply *r;

    while ((r = list_first(&ns->replies, struct netlink_reply, link))) {
        list_remove(&r->link);
        free(r);
    }
    socket_fini(s);
    (void)close(s->host_fd);
    free(ns);
}

/* ---- names ------------------------------------------------------------------------------------
 */
static int check_name(const struct sockname *name, struct sockaddr_nl *ret)
{
    if (name->size < sizeof(*ret) || name->sa.sa_family != AF_NETLINK)
        return -EINVAL;
    memcpy(ret, name->bytes, sizeof(*ret));
    return 0;
}

static int netlink_bind(struct task *t, struct socket *s, const struct sockname *name)
{
    struct sockaddr_nl nl;
    int r = check_name(name, &nl);

    (void)t;
    if (r < 0)
        return r;
    if (s->netns->isolated)
        nl.nl_groups = 0; /* the pod's events are not this namespace's */
    return bind(s->host_fd, (struct sockaddr *)&nl, sizeof(nl)) < 0 ? -errno : 0;
}

/* Only the kernel can be talked to. */
static int netlink_connect(struct task *t, struct socket *s, const struct sockname *name,
                           bool nonblock)
{
    struct sockaddr_nl nl;
    int r = check_name(name, &nl);

    (void)t, (void)nonblock;
    if (name->size >= sizeof(sa_family_t) && name->sa.sa_family == AF_UNSPEC)
        r = 0;
    else if (!r && (nl.nl_pid || nl.nl_groups))
        r = -EPERM;
    if (r < 0)
        return r;
    return connect(s->host_fd, &name->sa, name->size) < 0 ? -errno : 0;
}

static int netlink_getname(struct task *t, struct socket *s, bool peer, struct sockname *ret)
{
    socklen_t size = sizeof(ret->storage);

    (void)t;
    if ((peer ? getpeername(s->host_fd, &ret->sa, &size)
              : getsockname(s->host_fd, &ret->sa, &size)) < 0)
        return -errno;
    ret->size = MIN(size, (socklen_t)sizeof(ret->storage));
    return 0;
}

/* ---- requests ---------------------------------------------------------------------------------
 */
int netlink_reply(struct netlink_sock *ns, const void *data, size_t size)
{
    struct netlink_reply *r = malloc(sizeof(*r) + size);
    bool full;

    if (!r)
        return -ENOBUFS;
    list_init(&r->link);
    r->size = size;
    memcpy(r->data, data, size);
    mutex_lock(&ns->lock);
    full = ns->queued + size > (ns->s.protocol == NETLINK_ROUTE ? QUEUED_MAX : DIAG_QUEUED_MAX);
    if (!full) {
        list_append(&ns->replies, &r->link);
        ns->queued += size;
    }
    mutex_unlock(&ns->lock);
    if (full) {
        free(r);
        return -ENOBUFS;
    }
    waitq_wake(&ns->wait, POLLIN);
    return 0;
}

uint32_t netlink_port(const struct netlink_sock *ns)
{
    struct sockaddr_nl nl = {0};
    socklen_t size = sizeof(nl);

    (void)getsockname(ns->s.host_fd, (struct sockaddr *)&nl, &size);
    return nl.nl_pid;
}

static int acknowledge(struct netlink_sock *ns, const struct nlmsghdr *h, int error)
{
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
    } ack = {.h = {.nlmsg_len = sizeof(ack), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = h->nlmsg_seq},
             .e = {.error = error, .msg = *h}};

    ack.h.nlmsg_pid = netlink_port(ns);
    return netlink_reply(ns, &ack, sizeof(ack));
}

/* Works through one datagram of requests, as the kernel does: malformed rest is dropped. */
static int handle(struct task *t, struct netlink_sock *ns, const char *data, size_t size)
{
    while (size >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *h = (const void *)data;
        size_t step;
        int r;

        if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > size)
            return 0;
        if ((h->nlmsg_flags & NLM_F_REQUEST) && h->nlmsg_type >= NLMSG_MIN_TYPE) {
            r = ns->s.protocol == NETLINK_ROUTE ? netlink_route_request(t, ns, h)
                                                : sock_diag_request(ns, h);
            if (r <= 0 && (r < 0 || (h->nlmsg_flags & NLM_F_ACK)))
                r = acknowledge(ns, h, r);
            if (r < 0)
                return r;
        }
        step = NLMSG_ALIGN(h->nlmsg_len);
        if (step >= size)
            break;
        data += step;
        size -= step;
    }
    return 0;
}

static ssize_t netlink_send(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    struct netlink_sock *ns = netlink_of(s);
    CLEANUP(free_ptr) char *data = NULL;
    size_t size = m->uio->left;
    struct sockaddr_nl nl;
    int r;

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (m->name.size) {
        r = check_name(&m->name, &nl);
        if (r < 0)
            return r;
        if (nl.nl_pid || nl.nl_groups)
            return nl.nl_groups ? -EPERM : -ECONNREFUSED;
    }
    if (size > REQUEST_MAX)
        return -EMSGSIZE;
    data = malloc(size + 1); /* malloc aligns as the headers need */
    if (!data)
        return -ENOBUFS;
    if (size && uio_copy_from(m->uio, data, size) != (ssize_t)size)
        return -EFAULT;
    r = handle(t, ns, data, size);
    return r < 0 ? r : (ssize_t)size;
}

/* ---- receiving --------------------------------------------------------------------------------
 */
static ssize_t deliver(struct sockmsg *m, const char *data, size_t size, int flags)
{
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
    size_t n = MIN(size, m->uio->left);

    if (n && uio_copy_to(m->uio, data, n) != (ssize_t)n)
        return -EFAULT;
    if (n < size)
        m->flags |= MSG_TRUNC;
    memcpy(m->name.bytes, &nl, sizeof(nl));
    m->name.size = sizeof(nl);
    return (ssize_t)(flags & MSG_TRUNC ? size : n);
}

/* An answer of our own, if there is one. */
static struct netlink_reply *take(struct netlink_sock *ns, bool peek)
{
    struct netlink_reply *r, *copy = NULL;

    mutex_lock(&ns->lock);
    r = list_first(&ns->replies, struct netlink_reply, link);
    if (r && peek) {
        copy = malloc(sizeof(*copy) + r->size);
        if (copy)
            memcpy(copy, r, sizeof(*r) + r->size);
        r = copy;
    } else if (r) {
        list_remove(&r->link);
        ns->queued -= r->size;
    }
    mutex_unlock(&ns->lock);
    return r;
}

/* Sleeps until the host socket or our own queue has something. */
static int wait_either(struct task *t, struct netlink_sock *ns, nsec_t deadline)
{
    struct pollfd p = {.fd = ns->s.host_fd, .events = POLLIN};
    struct task_waiter w;
    int r = 0;

    task_waiter_init(&w, t);
    waitq_add(&ns->wait, &w.w);
    task_sleep_begin(t);
    mutex_lock(&ns->lock);
    bool empty = list_empty(&ns->replies);
    mutex_unlock(&ns->lock);
    if (empty)
        r = task_sleep(t, &p, 1, deadline);
    waitq_remove(&w.w);
    return r;
}

static ssize_t netlink_recv(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    struct netlink_sock *ns = netlink_of(s);
    nsec_t timeout = s->recv_timeout, deadline = socket_deadline(timeout);
    CLEANUP(free_ptr) char *data = NULL;
    size_t room = MAX(MIN(m->uio->left, (uint64_t)REPLY_BUFFER), (uint64_t)1);
    ssize_t n;
    int r;

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    for (;;) {
        CLEANUP(free_ptr) struct netlink_reply *own = take(ns, flags & MSG_PEEK);

        if (own)
            return deliver(m, own->data, own->size, flags);
        if (!data && !(data = malloc(room)))
            return -ENOBUFS;
        n = recv(s->host_fd, data, room, MSG_DONTWAIT | MSG_TRUNC | (flags & MSG_PEEK));
        if (n >= 0)
            return deliver(m, data, (size_t)n, flags);
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (flags & MSG_DONTWAIT)
            return -EAGAIN;
        r = wait_either(t, ns, deadline);
        if (r < 0)
            return socket_wait_error(r, timeout);
    }
}

static uint32_t netlink_poll(struct socket *s, struct poll_table *pt)
{
    struct netlink_sock *ns = netlink_of(s);
    struct pollfd p = {.fd = s->host_fd, .events = POLLIN | POLLRDNORM};
    uint32_t ready = POLLOUT | POLLWRNORM | POLLWRBAND;

    poll_wait(pt, &ns->wait);
    poll_host(pt, p.fd, POLLIN);
    if (poll(&p, 1, 0) > 0)
        ready |= (uint32_t)p.revents;
    mutex_lock(&ns->lock);
    if (!list_empty(&ns->replies))
        ready |= POLLIN | POLLRDNORM;
    mutex_unlock(&ns->lock);
    return ready;
}

/* ---- options ----------------------------------------------------------------------------------
 */
static int netlink_set_option(struct task *t, struct socket *s, int level, int name,
                              const void *value, unsigned size)
{
    (void)t;
    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    switch (name) {
    case NETLINK_ADD_MEMBERSHIP:
    case NETLINK_DROP_MEMBERSHIP:
        if (s->netns->isolated)
            return 0; /* nothing ever happens there */
        break;
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK:
        break;
    default: /* NETLINK_LISTEN_ALL_NSID: other namespaces' events */
        return -ENOPROTOOPT;
    }
    if (size < sizeof(int))
        return -EINVAL;
    return setsockopt(s->host_fd, level, name, value, sizeof(int)) < 0 ? -errno : 0;
}

static int netlink_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                              unsigned *size)
{
    socklen_t room = *size;

    (void)t;
    if (level != SOL_NETLINK || name < NETLINK_ADD_MEMBERSHIP || name > NETLINK_GET_STRICT_CHK)
        return -ENOPROTOOPT;
    if (getsockopt(s->host_fd, level, name, value, &room) < 0)
        return -errno;
    *size = MIN(room, *size);
    return 0;
}

static const struct socket_ops netlink_ops = {
    .bind = netlink_bind,
    .connect = netlink_connect,
    .getname = netlink_getname,
    .send = netlink_send,
    .recv = netlink_recv,
    .set_option = netlink_set_option,
    .get_option = netlink_get_option,
    .poll = netlink_poll,
    .release = netlink_release,
};

bool netlink_is(const struct file *f)
{
    const struct socket *s = socket_of(f);

    return s && s->ops == &netlink_ops;
}

int netlink_send_to(struct file *f, const void *data, size_t size)
{
    return netlink_reply(netlink_of(socket_of(f)), data, size);
}
