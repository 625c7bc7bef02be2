/*
 * AF_INET and AF_INET6: host sockets in the pod's network namespace, one for each guest socket.
 *
 * The host descriptor is always non-blocking; blocking, time-outs and restarts are done here. The
 * sentry has no capabilities, so the host refuses what needs any; what the host would allow but a
 * guest must not have is refused by tables: types and protocols here, options in inet_options.c,
 * control messages in host_msg.c. Low ports are open to the sentry (ip_unprivileged_port_start is
 * 0 in the pod's namespace), so NET_BIND_SERVICE is checked here.
 *
 * In an isolated network namespace (a guest unshared it) the host socket is never bound nor
 * connected: nothing is reachable, and nothing may be reached through the pod's addresses.
 *
 * Raw sockets come from the broker (raw.c), and low ports of the host's own network, where they are
 * not open to the sentry. Refused: MPTCP, DCCP (EPROTONOSUPPORT).
 */
#include "runtime/sentry/net/inet.h"

#include "runtime/broker/client.h"
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/hostio.h"

#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

enum { PORT_RESERVED = 1024 };

/* What may be opened. protocol 0 on the first row of a type is its default. */
static const struct inet_type {
    int type, protocol;
    int family; /* 0: both */
    int error;
} inet_types[] = {
    {SOCK_STREAM, IPPROTO_TCP, 0, 0},       {SOCK_STREAM, IPPROTO_SCTP, 0, 0},
    {SOCK_DGRAM, IPPROTO_UDP, 0, 0},        {SOCK_DGRAM, IPPROTO_UDPLITE, 0, 0},
    {SOCK_DGRAM, IPPROTO_ICMP, AF_INET, 0}, {SOCK_DGRAM, IPPROTO_ICMPV6, AF_INET6, 0},
};

static int check_type(int family, int type, int *protocol)
{
    bool known = false;

    if (type == SOCK_RAW)
        return *protocol < 0 || *protocol >= IPPROTO_MAX ? -EINVAL
               : *protocol                               ? 0
                                                         : -EPROTONOSUPPORT;
    if (*protocol < 0 || *protocol >= IPPROTO_MAX)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(inet_types); i++) {
        const struct inet_type *row = &inet_types[i];

        if (row->type != type)
            continue;
        known = true;
        if (!*protocol)
            *protocol = row->protocol;
        if (row->protocol == *protocol && (!row->family || row->family == family))
            return 0;
    }
    return known ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
}

static const struct socket_ops inet_ops;

int inet_wrap(struct netns *ns, int fd, int family, int type, int protocol, struct socket **ret)
{
    struct inet_sock *is = calloc(1, sizeof(*is));
    int r = is ? socket_init(&is->s, &inet_ops, ns, family, type, protocol) : -ENOMEM;

    if (r < 0) {
        free(is);
        (void)close(fd);
        return r;
    }
    is->s.host_fd = fd;
    *ret = &is->s;
    return 0;
}

int inet_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret)
{
    int r = check_type(family, type, &protocol), fd;

    if (r < 0)
        return r;
    if (type == SOCK_RAW) {
        fd = raw_open(t, family, type, protocol);
        return fd < 0 ? fd : inet_wrap(t->ns->net, fd, family, type, protocol, ret);
    }
    fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? -ENFILE : -errno;
    fd = hostio_admit(fd);
    return fd < 0 ? fd : inet_wrap(t->ns->net, fd, family, type, protocol, ret);
}

/* ---- names ------------------------------------------------------------------------------------
 */
static int name_port(const struct sockname *name)
{
    const struct sockaddr_in *in4 = (const void *)name->bytes;
    const struct sockaddr_in6 *in6 = (const void *)name->bytes;

    if (name->size >= sizeof(*in4) && name->sa.sa_family == AF_INET)
        return ntohs(in4->sin_port);
    if (name->size >= offsetof(struct sockaddr_in6, sin6_scope_id) &&
        name->sa.sa_family == AF_INET6)
        return ntohs(in6->sin6_port);
    /* bind() of an AF_INET socket takes AF_UNSPEC with the wildcard as AF_INET */
    return name->size >= sizeof(*in4) ? ntohs(in4->sin_port) : 0;
}

/* An isolated namespace has no address but the wildcard (and loopback once it was configured). */
static int isolated_bind(const struct inet_sock *is, const struct sockname *name)
{
    const struct sockaddr_in *in4 = (const void *)name->bytes;
    const struct sockaddr_in6 *in6 = (const void *)name->bytes;

    if (is->s.family == AF_INET && name->size >= sizeof(*in4))
        return in4->sin_addr.s_addr == INADDR_ANY ? 0 : -EADDRNOTAVAIL;
    if (is->s.family == AF_INET6 && name->size >= sizeof(*in6))
        return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? 0 : -EADDRNOTAVAIL;
    return -EINVAL;
}

static int inet_bind(struct task *t, struct socket *s, const struct sockname *name)
{
    struct inet_sock *is = inet_of(s);
    int port = raw_is(s) ? 0 : name_port(name);
    int start = __atomic_load_n(&s->netns->unprivileged_port_start, __ATOMIC_RELAXED);

    if (s->family == AF_PACKET && name->size < sizeof(struct sockaddr_ll))
        return -EINVAL;
    if (port && port < start && s->protocol != IPPROTO_ICMP && s->protocol != IPPROTO_ICMPV6 &&
        !cred_capable_in(t->cred, s->netns->userns, CAP_NET_BIND_SERVICE))
        return -EACCES;
    if (s->netns->isolated)
        return isolated_bind(is, name);
    if (bind(s->host_fd, &name->sa, name->size) == 0)
        return 0;
    if (errno == EACCES && port && port < PORT_RESERVED && g_sentry.broker)
        return broker_bind(g_sentry.broker, s->host_fd, &name->sa, name->size);
    return -errno;
}

static int inet_getname(struct task *t, struct socket *s, bool peer, struct sockname *ret)
{
    socklen_t size = sizeof(ret->storage);

    (void)t;
    if ((peer ? getpeername(s->host_fd, &ret->sa, &size)
              : getsockname(s->host_fd, &ret->sa, &size)) < 0)
        return -errno;
    ret->size = MIN(size, (socklen_t)sizeof(ret->storage));
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------
 */
/* Waits for the host's connection attempt. A second connect() tells its outcome exactly as the
 * first would have: 0, the error, or EALREADY while it goes on. */
static int connect_wait(struct socket *s, const struct sockname *name)
{
    struct pollfd p = {.fd = s->host_fd, .events = POLLOUT};
    nsec_t timeout = s->send_timeout, deadline = socket_deadline(timeout);
    int r;

    for (;;) {
        r = wait_host_fds(&p, 1, deadline);
        if (r == -ETIMEDOUT)
            return -EINPROGRESS;
        if (r < 0)
            return socket_wait_error(r, timeout);
        if (connect(p.fd, &name->sa, name->size) == 0 || errno == EISCONN)
            return 0;
        if (errno != EALREADY && errno != EINPROGRESS)
            return -errno;
    }
}

static int inet_connect(struct task *t, struct socket *s, const struct sockname *name,
                        bool nonblock)
{
    (void)t;
    if (name->size < sizeof(name->sa.sa_family))
        return -EINVAL;
    if (s->netns->isolated)
        return name->sa.sa_family == AF_UNSPEC ? 0 : -ENETUNREACH;
    if (connect(s->host_fd, &name->sa, name->size) == 0)
        return 0;
    if (nonblock || (errno != EINPROGRESS && errno != EALREADY))
        return -errno;
    return connect_wait(s, name);
}

static int inet_listen(struct task *t, struct socket *s, int backlog)
{
    (void)t;
    if (s->type != SOCK_STREAM)
        return -EOPNOTSUPP;
    if (s->netns->isolated) {
        __atomic_store_n(&inet_of(s)->listening, true, __ATOMIC_RELAXED);
        return 0;
    }
    return listen(s->host_fd, backlog) < 0 ? -errno : 0;
}

static int inet_accept(struct task *t, struct socket *s, bool nonblock, struct sockname *ret_name,
                       struct socket **ret)
{
    struct inet_sock *is = inet_of(s);
    struct pollfd p = {.fd = s->host_fd, .events = POLLIN};
    nsec_t timeout = s->recv_timeout, deadline = socket_deadline(timeout);
    socklen_t size;
    int fd, r;

    (void)t;
    if (s->netns->isolated && __atomic_load_n(&is->listening, __ATOMIC_RELAXED)) {
        r = nonblock ? -ETIMEDOUT : wait_host_fds(NULL, 0, deadline);
        return socket_wait_error(r < 0 ? r : -ETIMEDOUT, timeout);
    }
    for (;;) {
        size = sizeof(ret_name->storage);
        fd = accept4(s->host_fd, ret_name ? &ret_name->sa : NULL, ret_name ? &size : NULL,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            break;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return errno == EMFILE ? -ENFILE : -errno;
        if (nonblock)
            return -EAGAIN;
        r = wait_host_fds(&p, 1, deadline);
        if (r < 0)
            return socket_wait_error(r, timeout);
    }
    if (ret_name)
        ret_name->size = MIN(size, (socklen_t)sizeof(ret_name->storage));
    fd = hostio_admit(fd);
    return fd < 0 ? fd : inet_wrap(s->netns, fd, s->family, s->type, s->protocol, ret);
}

static ssize_t inet_send(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    (void)t;
    if (s->netns->isolated && !(flags & MSG_FASTOPEN))
        return s->type == SOCK_STREAM ? -EPIPE : m->name.size ? -ENETUNREACH : -EDESTADDRREQ;
    return host_send(s, m, flags);
}

static ssize_t inet_recv(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    (void)t;
    return host_recv(s, m, flags);
}

static int inet_shutdown(struct task *t, struct socket *s, int how)
{
    (void)t;
    return shutdown(s->host_fd, how) < 0 ? -errno : 0;
}

/* ---- readiness and the rest -------------------------------------------------------------------
 */
static uint32_t inet_poll(struct socket *s, struct poll_table *pt)
{
    enum {
        ALL = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLRDBAND |
              POLLWRBAND
    };
    struct pollfd p = {.fd = s->host_fd, .events = ALL};

    poll_host(pt, p.fd, pt ? (pt->events & ALL) : 0);
    if (pt && epoll_registers(pt))
        return 0; /* the host's epoll tells what is ready already */
    return poll(&p, 1, 0) > 0 ? (uint32_t)p.revents : 0;
}

static long inet_ioctl(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg)
{
    int v = 0;

    switch (cmd) {
    case SIOCINQ: /* = FIONREAD */
    case SIOCOUTQ:
    case SIOCATMARK:
    case SIOCOUTQNSD:
        if (ioctl(s->host_fd, cmd, &v) < 0)
            return -errno;
        return copy_out(t, arg, &v, sizeof(v));
    default:
        return -ENOTTY;
    }
}

static void inet_release(struct socket *s)
{
    struct inet_sock *is = inet_of(s);

    raw_release(s);
    socket_fini(s); /* first: /proc/net asks the host socket until then */
    /* With SO_LINGER the host blocks here, as close(2) of the guest would. */
    (void)close(s->host_fd);
    free(is);
}

static const struct socket_ops inet_ops = {
    .bind = inet_bind,
    .connect = inet_connect,
    .listen = inet_listen,
    .accept = inet_accept,
    .getname = inet_getname,
    .send = inet_send,
    .recv = inet_recv,
    .shutdown = inet_shutdown,
    .set_option = inet_set_option,
    .get_option = inet_get_option,
    .poll = inet_poll,
    .ioctl = inet_ioctl,
    .release = inet_release,
    .mmap = raw_mmap,
    .own_options = true,
};
