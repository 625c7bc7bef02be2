#include "agent/standalone/netlink.h"

#include "agent/standalone/netns.h"
#include "common/cleanup.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>

enum { REQUEST_SIZE = 1024, ANSWER_SIZE = 16384 };

int netlink_open(struct netlink *nl, int ns_fd, struct error *err)
{
    struct netns_scope scope = {-1};
    int r = 0;

    *nl = (struct netlink){0};
    if (ns_fd >= 0)
        r = netns_enter(&scope, ns_fd, err);
    if (r < 0)
        return r;
    nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
        r = error_errno(err, -errno, "open netlink socket");
    netns_leave(&scope);
    if (r < 0)
        netlink_close(nl);
    return r;
}

void netlink_close(struct netlink *nl)
{
    if (nl->sock)
        (void)mnl_socket_close(nl->sock);
    nl->sock = NULL;
}

static struct nlmsghdr *request(char *buf, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return h;
}

/* Sends h and feeds answers to cb until acknowledged. 0 or -errno. */
static int transact(struct netlink *nl, struct nlmsghdr *h, mnl_cb_t cb, void *ctx)
{
    unsigned port = mnl_socket_get_portid(nl->sock);
    char answer[ANSWER_SIZE];
    ssize_t n;
    int r;

    h->nlmsg_seq = ++nl->seq;
    if (mnl_socket_sendto(nl->sock, h, h->nlmsg_len) < 0)
        return -errno;
    do {
        n = mnl_socket_recvfrom(nl->sock, answer, sizeof(answer));
        if (n < 0)
            return -errno;
        r = mnl_cb_run(answer, (size_t)n, h->nlmsg_seq, port, cb, ctx);
    } while (r > MNL_CB_STOP);
    return r < 0 ? -errno : 0;
}

static int take_index(const struct nlmsghdr *h, void *ctx)
{
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);

    *(int *)ctx = ifi->ifi_index;
    return MNL_CB_OK;
}

int link_index(struct netlink *nl, const char *name, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_GETLINK, NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    int index = -ENODEV, r;

    ifi->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    r = transact(nl, h, take_index, &index);
    if (r < 0 || index < 0)
        return error_errno(err, r < 0 ? r : index, "device '%s'", name);
    return index;
}

int link_add_bridge(struct netlink *nl, const char *name, const uint8_t mac[6], uint32_t mtu,
                    struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    struct nlattr *info, *data;
    int r;

    ifi->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
    mnl_attr_put_u32(h, IFLA_MTU, mtu);
    info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    /* Else its queries knock at every pod's device, and are denied there for their IP option. */
    mnl_attr_put_u8(h, IFLA_BR_MCAST_SNOOPING, 0);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    r = transact(nl, h, NULL, NULL);
    if (r < 0 && r != -EEXIST)
        return error_errno(err, r, "create bridge '%s'", name);
    return 0;
}

static void put_end(struct nlmsghdr *h, const struct veth_end *e, uint32_t mtu)
{
    mnl_attr_put_strz(h, IFLA_IFNAME, e->name);
    mnl_attr_put(h, IFLA_ADDRESS, 6, e->mac);
    mnl_attr_put_u32(h, IFLA_MTU, mtu);
    if (e->ns_fd >= 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)e->ns_fd);
}

int link_add_veth(struct netlink *nl, const struct veth_end *a, const struct veth_end *b,
                  uint32_t mtu, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi)), *peer;
    struct nlattr *info, *data, *nest;
    int r;

    ifi->ifi_family = AF_UNSPEC;
    put_end(h, a, mtu);
    info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    nest = mnl_attr_nest_start(h, VETH_INFO_PEER);
    peer = mnl_nlmsg_put_extra_header(h, sizeof(*peer));
    memset(peer, 0, sizeof(*peer));
    put_end(h, b, mtu);
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    r = transact(nl, h, NULL, NULL);
    return r < 0 ? error_errno(err, r, "create veth '%s'", a->name) : 0;
}

int link_delete(struct netlink *nl, const char *name, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_DELLINK, NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    int r;

    ifi->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    r = transact(nl, h, NULL, NULL);
    if (r < 0 && r != -ENODEV)
        return error_errno(err, r, "delete device '%s'", name);
    return 0;
}

int link_set_up(struct netlink *nl, int index, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWLINK, NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    int r;

    ifi->ifi_family = AF_UNSPEC;
    ifi->ifi_index = index;
    ifi->ifi_change = ifi->ifi_flags = IFF_UP;
    r = transact(nl, h, NULL, NULL);
    return r < 0 ? error_errno(err, r, "set device %d up", index) : 0;
}

int link_set_master(struct netlink *nl, int index, int master, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWLINK, NLM_F_ACK);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    int r;

    ifi->ifi_family = AF_UNSPEC;
    ifi->ifi_index = index;
    mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)master);
    r = transact(nl, h, NULL, NULL);
    return r < 0 ? error_errno(err, r, "put device %d on the bridge", index) : 0;
}

static size_t address_size(const struct ip_address *a)
{
    return a->family == AF_INET ? 4 : 16;
}

int address_add(struct netlink *nl, int index, const struct ip_address *a, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(h, sizeof(*ifa));
    int r;

    ifa->ifa_family = (uint8_t)a->family;
    ifa->ifa_prefixlen = a->prefix;
    /* Addresses are ours to give: no second of waiting for duplicate detection. */
    ifa->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
    ifa->ifa_scope = RT_SCOPE_UNIVERSE;
    ifa->ifa_index = (unsigned)index;
    mnl_attr_put(h, IFA_LOCAL, address_size(a), a->addr);
    mnl_attr_put(h, IFA_ADDRESS, address_size(a), a->addr);
    r = transact(nl, h, NULL, NULL);
    return r < 0 && r != -EEXIST ? error_errno(err, r, "add address to device %d", index) : 0;
}

int route_add(struct netlink *nl, const struct ip_address *dst, const struct ip_address *via,
              int index, struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
    struct rtmsg *rt = mnl_nlmsg_put_extra_header(h, sizeof(*rt));
    int r;

    rt->rtm_family = (uint8_t)(dst ? dst->family : via->family);
    rt->rtm_dst_len = dst ? dst->prefix : 0;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_protocol = RTPROT_STATIC;
    rt->rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    rt->rtm_type = RTN_UNICAST;
    if (dst)
        mnl_attr_put(h, RTA_DST, address_size(dst), dst->addr);
    if (via)
        mnl_attr_put(h, RTA_GATEWAY, address_size(via), via->addr);
    mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
    r = transact(nl, h, NULL, NULL);
    return r < 0 ? error_errno(err, r, "add route to device %d", index) : 0;
}

int neighbour_add(struct netlink *nl, int index, const struct ip_address *a, const uint8_t mac[6],
                  struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
    struct ndmsg *nd = mnl_nlmsg_put_extra_header(h, sizeof(*nd));
    int r;

    nd->ndm_family = (uint8_t)a->family;
    nd->ndm_ifindex = index;
    nd->ndm_state = NUD_PERMANENT;
    mnl_attr_put(h, NDA_DST, address_size(a), a->addr);
    mnl_attr_put(h, NDA_LLADDR, 6, mac);
    r = transact(nl, h, NULL, NULL);
    return r < 0 ? error_errno(err, r, "add neighbour to device %d", index) : 0;
}

struct each {
    void (*fn)(void *ctx, int index, const char *name);
    void *ctx;
};

static int each_link(const struct nlmsghdr *h, void *ctx)
{
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
    const struct each *e = ctx;
    const struct nlattr *a;

    mnl_attr_for_each(a, h, sizeof(*ifi)) if (mnl_attr_get_type(a) == IFLA_IFNAME)
        e->fn(e->ctx, ifi->ifi_index, mnl_attr_get_str(a));
    return MNL_CB_OK;
}

int link_each(struct netlink *nl, void (*fn)(void *ctx, int index, const char *name), void *ctx,
              struct error *err)
{
    char buf[REQUEST_SIZE];
    struct nlmsghdr *h = request(buf, RTM_GETLINK, NLM_F_DUMP);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    struct each e = {fn, ctx};
    int r;

    ifi->ifi_family = AF_UNSPEC;
    r = transact(nl, h, each_link, &e);
    return r < 0 ? error_errno(err, r, "list devices") : 0;
}
