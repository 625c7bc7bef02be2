/*
 * Netlink reading by libmnl. Entering a pod's namespace is only for the time of one socket(2): a
 * netlink socket stays in the namespace where it was made.
 */
#include "agent/enforce/netdev.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REPLY_SIZE = 32768, DUMP_TRIES = 20 };

int netdev_socket(int netns_fd, struct error *err)
{
    CLEANUP(close_fd) int home = -1;
    int fd, r;

    if (netns_fd >= 0) {
        home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (home < 0)
            return error_errno(err, -errno, "open own network namespace");
        if (setns(netns_fd, CLONE_NEWNET) < 0)
            return error_errno(err, -errno, "enter network namespace");
    }
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    r = -errno;
    if (netns_fd >= 0 && setns(home, CLONE_NEWNET) < 0)
        abort(); /* going on in a tenant's namespace would be worse than anything else */
    if (fd < 0)
        return error_errno(err, r, "netlink socket");
    return fd;
}

/* -EINTR: what is listed changed meanwhile (NLM_F_DUMP_INTR), so it may be incomplete. Ask again,
 * on a fresh socket: what is left of the answer is still queued on this one. */
static int dump(int fd, struct nlmsghdr *request, mnl_cb_t callback, void *data)
{
    CLEANUP(free_ptr) char *buffer = malloc(REPLY_SIZE);
    static unsigned sequence;

    if (!buffer)
        return -ENOMEM;
    request->nlmsg_seq = ++sequence;
    if (send(fd, request, request->nlmsg_len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t n = recv(fd, buffer, REPLY_SIZE, 0);
        int r;

        if (n < 0)
            return -errno;
        r = mnl_cb_run(buffer, (size_t)n, request->nlmsg_seq, 0, callback, data);
        if (r < 0)
            return -errno;
        if (r == MNL_CB_STOP || !(request->nlmsg_flags & NLM_F_DUMP))
            return 0;
    }
}

static void parse_kind(const struct nlattr *info, struct netdev *dev)
{
    const struct nlattr *a;

    mnl_attr_for_each_nested(a, info)
    {
        if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
            (void)snprintf(dev->kind, sizeof(dev->kind), "%.*s", (int)mnl_attr_get_payload_len(a),
                           mnl_attr_get_str(a));
    }
}

static void parse_xdp(const struct nlattr *xdp, struct netdev *dev)
{
    const struct nlattr *a;

    mnl_attr_for_each_nested(a, xdp)
    {
        switch (mnl_attr_get_type(a)) {
        case IFLA_XDP_DRV_PROG_ID:
            dev->xdp[NETDEV_XDP_DRIVER] = mnl_attr_get_u32(a);
            break;
        case IFLA_XDP_SKB_PROG_ID:
            dev->xdp[NETDEV_XDP_GENERIC] = mnl_attr_get_u32(a);
            break;
        case IFLA_XDP_HW_PROG_ID:
            dev->xdp[NETDEV_XDP_HARDWARE] = mnl_attr_get_u32(a);
            break;
        default:
            break;
        }
    }
}

static void parse_link(const struct nlmsghdr *nlh, struct netdev *dev)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *a;

    memset(dev, 0, sizeof(*dev));
    dev->ifindex = info->ifi_index;
    dev->loopback = info->ifi_type == ARPHRD_LOOPBACK;
    dev->nsid = -1;
    mnl_attr_for_each(a, nlh, sizeof(*info))
    {
        switch (mnl_attr_get_type(a)) {
        case IFLA_LINK:
            dev->peer = (int)mnl_attr_get_u32(a);
            break;
        case IFLA_MASTER:
            dev->master = (int)mnl_attr_get_u32(a);
            break;
        case IFLA_LINK_NETNSID:
            dev->nsid = (int)mnl_attr_get_u32(a);
            dev->has_nsid = true;
            break;
        case IFLA_ADDRESS:
            if (mnl_attr_get_payload_len(a) == 6)
                memcpy(dev->mac, mnl_attr_get_payload(a), 6);
            break;
        case IFLA_IFNAME:
            (void)snprintf(dev->name, sizeof(dev->name), "%s", mnl_attr_get_str(a));
            break;
        case IFLA_XDP:
            parse_xdp(a, dev);
            break;
        case IFLA_LINKINFO:
            parse_kind(a, dev);
            break;
        default:
            break;
        }
    }
}

static void set_address(const struct nlattr *a, struct berm_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (mnl_attr_get_payload_len(a) == 4) {
        ret->b[10] = ret->b[11] = 0xff;
        memcpy(ret->b + 12, mnl_attr_get_payload(a), 4);
    } else if (mnl_attr_get_payload_len(a) == sizeof(*ret)) {
        memcpy(ret->b, mnl_attr_get_payload(a), sizeof(*ret));
    }
}

static bool parse_address(const struct nlmsghdr *nlh, struct netdev_addr *ret)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *a, *found = NULL;
    unsigned size = info->ifa_family == AF_INET ? 4 : 16;

    memset(ret, 0, sizeof(*ret));

    mnl_attr_for_each(a, nlh, sizeof(*info))
    {
        /* IFA_LOCAL is the own address; IFA_ADDRESS is the peer's on point-to-point devices */
        if (mnl_attr_get_type(a) == IFA_LOCAL || (mnl_attr_get_type(a) == IFA_ADDRESS && !found))
            found = a;
        else if (mnl_attr_get_type(a) == IFA_BROADCAST)
            set_address(a, &ret->broadcast);
    }
    if (!found || mnl_attr_get_payload_len(found) != size ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
        return false;
    ret->ifindex = (int)info->ifa_index;
    ret->prefix = info->ifa_prefixlen;
    set_address(found, &ret->addr);
    return true;
}

static int on_view_link(const struct nlmsghdr *nlh, void *data)
{
    struct netdev_view *view = data;

    if (nlh->nlmsg_type != RTM_NEWLINK)
        return MNL_CB_OK;
    if (view->n_devs == NETDEV_MAX) {
        errno = E2BIG;
        return MNL_CB_ERROR;
    }
    parse_link(nlh, &view->devs[view->n_devs++]);
    return MNL_CB_OK;
}

static int on_view_address(const struct nlmsghdr *nlh, void *data)
{
    struct netdev_view *view = data;

    if (nlh->nlmsg_type != RTM_NEWADDR)
        return MNL_CB_OK;
    if (view->n_addrs == NETDEV_ADDRS_MAX) {
        errno = E2BIG;
        return MNL_CB_ERROR;
    }
    if (parse_address(nlh, &view->addrs[view->n_addrs]))
        view->n_addrs++;
    return MNL_CB_OK;
}

static int dump_links(int fd, mnl_cb_t callback, void *data)
{
    char request[64] __attribute__((aligned(8))) = {0};
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);

    nlh->nlmsg_type = RTM_GETLINK;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    (void)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
    return dump(fd, nlh, callback, data);
}

static int dump_addresses(int fd, mnl_cb_t callback, void *data)
{
    char request[64] __attribute__((aligned(8))) = {0};
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);

    nlh->nlmsg_type = RTM_GETADDR;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    (void)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg));
    return dump(fd, nlh, callback, data);
}

static int read_once(int netns_fd, struct netdev_view *ret, struct error *err)
{
    CLEANUP(close_fd) int fd = netdev_socket(netns_fd, err);
    int r;

    if (fd < 0)
        return fd;
    memset(ret, 0, sizeof(*ret));
    r = dump_links(fd, on_view_link, ret);
    if (r == 0)
        r = dump_addresses(fd, on_view_address, ret);
    return r < 0 ? error_errno(err, r, "list devices and addresses of the pod's namespace") : 0;
}

int netdev_read(int netns_fd, struct netdev_view *ret, struct error *err)
{
    int r = -EINTR;

    for (int i = 0; r == -EINTR && i < DUMP_TRIES; i++)
        r = read_once(netns_fd, ret, err);
    return r;
}

static int on_host_link(const struct nlmsghdr *nlh, void *data)
{
    if (nlh->nlmsg_type == RTM_NEWLINK)
        parse_link(nlh, data);
    return MNL_CB_STOP;
}

int netdev_host(int ifindex, struct netdev *ret, struct error *err)
{
    char request[64] __attribute__((aligned(8))) = {0};
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);
    struct ifinfomsg *info;
    CLEANUP(close_fd) int fd = netdev_socket(-1, err);
    int r;

    if (fd < 0)
        return fd;
    nlh->nlmsg_type = RTM_GETLINK;
    nlh->nlmsg_flags = NLM_F_REQUEST;
    info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
    info->ifi_index = ifindex;
    memset(ret, 0, sizeof(*ret));
    r = dump(fd, nlh, on_host_link, ret);
    return r < 0 ? error_errno(err, r, "look up device %d", ifindex) : 0;
}

static int on_nsid(const struct nlmsghdr *nlh, void *data)
{
    const struct nlattr *a;

    mnl_attr_for_each(a, nlh, sizeof(struct rtgenmsg))
    {
        if (mnl_attr_get_type(a) == NETNSA_NSID)
            *(int *)data = (int)mnl_attr_get_u32(a);
    }
    return MNL_CB_STOP;
}

/* Asks for the id of the namespace that the attribute names. */
static int ask_nsid(uint16_t attribute, uint32_t value, int *ret_nsid, struct error *err)
{
    char request[64] __attribute__((aligned(8))) = {0};
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);
    struct rtgenmsg *generic;
    CLEANUP(close_fd) int fd = netdev_socket(-1, err);
    int r;

    if (fd < 0)
        return fd;
    nlh->nlmsg_type = RTM_GETNSID;
    nlh->nlmsg_flags = NLM_F_REQUEST;
    generic = mnl_nlmsg_put_extra_header(nlh, sizeof(*generic));
    generic->rtgen_family = AF_UNSPEC;
    mnl_attr_put_u32(nlh, attribute, value);
    *ret_nsid = -1;
    r = dump(fd, nlh, on_nsid, ret_nsid);
    return r < 0 ? error_errno(err, r, "look up the namespace's id") : 0;
}

int netdev_nsid(int netns_fd, int *ret_nsid, struct error *err)
{
    return ask_nsid(NETNSA_FD, (uint32_t)netns_fd, ret_nsid, err);
}

bool netdev_nsid_used(int nsid)
{
    int found;

    return ask_nsid(NETNSA_NSID, (uint32_t)nsid, &found, NULL) != -ENOENT;
}

int netdev_cookie(int netns_fd, uint64_t *ret)
{
    CLEANUP(close_fd) int fd = netdev_socket(netns_fd, NULL);
    socklen_t size = sizeof(*ret);

    return fd < 0 ? fd : getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &size) < 0 ? -errno : 0;
}

struct address_walk {
    int (*fn)(void *ctx, const struct netdev_addr *addr);
    void *ctx;
};

static int on_walk_address(const struct nlmsghdr *nlh, void *data)
{
    struct address_walk *walk = data;
    struct netdev_addr addr;

    if (nlh->nlmsg_type != RTM_NEWADDR || !parse_address(nlh, &addr))
        return MNL_CB_OK;
    if (walk->fn(walk->ctx, &addr)) {
        errno = ECANCELED;
        return MNL_CB_ERROR;
    }
    return MNL_CB_OK;
}

int netdev_addresses(int (*fn)(void *ctx, const struct netdev_addr *addr), void *ctx,
                     struct error *err)
{
    struct address_walk walk = {fn, ctx};
    int r = -EINTR;

    for (int i = 0; r == -EINTR && i < DUMP_TRIES; i++) {
        CLEANUP(close_fd) int fd = netdev_socket(-1, err);

        if (fd < 0)
            return fd;
        r = dump_addresses(fd, on_walk_address, &walk);
    }
    return r < 0 ? error_errno(err, r, "list this node's addresses") : 0;
}

int netdev_watch(struct error *err)
{
    struct sockaddr_nl local = {.nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    CLEANUP(close_fd) int fd = netdev_socket(-1, err);
    int size = 1 << 20;

    if (fd < 0)
        return fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return error_errno(err, -errno, "watch devices");
    return TAKE_FD(fd);
}

struct event_walk {
    void (*fn)(void *ctx, const struct netdev_event *event);
    void *ctx;
};

static int on_event(const struct nlmsghdr *nlh, void *data)
{
    struct event_walk *walk = data;
    struct netdev_event event = {.kind = NETDEV_ADDRESS};
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);

    if (nlh->nlmsg_type == RTM_DELLINK && info->ifi_family == AF_BRIDGE)
        return MNL_CB_OK; /* left its bridge, not gone */
    if (nlh->nlmsg_type == RTM_NEWLINK || nlh->nlmsg_type == RTM_DELLINK) {
        event.kind = nlh->nlmsg_type == RTM_NEWLINK ? NETDEV_NEW : NETDEV_GONE;
        parse_link(nlh, &event.dev);
    }
    walk->fn(walk->ctx, &event);
    return MNL_CB_OK;
}

int netdev_watch_read(int fd, void (*fn)(void *ctx, const struct netdev_event *event), void *ctx)
{
    CLEANUP(free_ptr) char *buffer = malloc(REPLY_SIZE);
    struct event_walk walk = {fn, ctx};

    if (!buffer)
        return -ENOMEM;
    for (;;) {
        ssize_t n = recv(fd, buffer, REPLY_SIZE, MSG_DONTWAIT);

        if (n < 0 && errno == ENOBUFS) {
            struct netdev_event event = {.kind = NETDEV_OVERRUN};

            fn(ctx, &event);
            continue;
        }
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        (void)mnl_cb_run(buffer, (size_t)n, 0, 0, on_event, &walk);
    }
}

void netdev_link_local(const uint8_t mac[6], struct berm_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->b[0] = 0xfe;
    ret->b[1] = 0x80;
    memcpy(ret->b + 8, mac, 3);
    ret->b[8] ^= 2;
    ret->b[11] = 0xff;
    ret->b[12] = 0xfe;
    memcpy(ret->b + 13, mac + 3, 3);
}
