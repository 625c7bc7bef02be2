#pragma once
/* Internal to net/: route netlink sockets. */
#include "runtime/sentry/net/socket.h"

#include <linux/netlink.h>

struct netlink_reply {
    struct list link;
    size_t size;
    char data[];
};

struct netlink_sock {
    struct socket s; /* s.host_fd: own host NETLINK_ROUTE socket */
    struct mutex lock;
    struct list replies; /* struct netlink_reply: answers of our own; guarded by lock */
    size_t queued;       /* bytes in them; guarded by lock */
    struct waitq wait;
};

static inline struct netlink_sock *netlink_of(struct socket *s)
{
    return container_of(s, struct netlink_sock, s);
}

/* Is f a netlink socket? And a datagram for who reads from it (mq_notify(3)). */
bool netlink_is(const struct file *f);
int netlink_send_to(struct file *f, const void *data, size_t size);
/* Queues a datagram. -ENOBUFS if the guest lets too many pile up. */
int netlink_reply(struct netlink_sock *ns, const void *data, size_t size);
/* One request, whole, with its header (netlink_route.c). 0, or the error that the guest's
 * acknowledgement will carry. */
int netlink_route_request(struct task *t, struct netlink_sock *ns, const struct nlmsghdr *h);
/* The same in an isolated namespace (netlink_isolated.c): questions, and everything else. */
int netlink_isolated_answer(struct netlink_sock *ns, const struct nlmsghdr *h);
/* A question about sockets (sock_diag.c): 1, or -errno. */
int sock_diag_request(struct netlink_sock *ns, const struct nlmsghdr *h);
/* The number that the host gave to the socket. */
uint32_t netlink_port(const struct netlink_sock *ns);
int netlink_isolated_change(struct task *t, struct netns *net, const struct nlmsghdr *h);
