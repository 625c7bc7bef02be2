/*
 * Route netlink of an isolated network namespace: the answers are made here. There is a loopback
 * interface, and whatever addresses were given to it (what bubblewrap and Chromium's sandbox do
 * first).
 */
#include "runtime/sentry/net/netlink.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

enum { LO_INDEX = 1, LO_MTU = 65536 };

struct answer {
    _Alignas(struct nlmsghdr) char data[2048];
    size_t size;
    const struct nlmsghdr *request;
    uint32_t pid;
};

static struct nlmsghdr *answer_begin(struct answer *a, uint16_t type, const void *body, size_t size)
{
    struct nlmsghdr *h = (void *)(a->data + a->size);

    *h = (struct nlmsghdr){
        .nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
        .nlmsg_type = type,
        .nlmsg_flags = a->request->nlmsg_flags & NLM_F_DUMP ? NLM_F_MULTI : 0,
        .nlmsg_seq = a->request->nlmsg_seq,
        .nlmsg_pid = a->pid,
    };
    memcpy(NLMSG_DATA(h), body, size);
    a->size += NLMSG_SPACE(size);
    return h;
}

static void answer_attr(struct answer *a, struct nlmsghdr *h, uint16_t type, const void *value,
                        size_t size)
{
    struct rtattr *r = (void *)(a->data + a->size);

    r->rta_type = type;
    r->rta_len = (uint16_t)RTA_LENGTH(size);
    memcpy(RTA_DATA(r), value, size);
    a->size += RTA_SPACE(size);
    h->nlmsg_len = (uint32_t)(a->size - (size_t)((char *)h - a->data));
}

static void answer_lo(struct answer *a, const struct netns *net)
{
    bool up = net->lo_up;
    struct ifinfomsg info = {
        .ifi_type = ARPHRD_LOOPBACK,
        .ifi_index = LO_INDEX,
        .ifi_flags = IFF_LOOPBACK | (up ? IFF_UP | IFF_RUNNING | IFF_LOWER_UP : 0),
    };
    static const uint8_t zero[6];
    uint32_t mtu = LO_MTU, queue = 1000, group = 0;
    uint8_t state = up ? 0 /* unknown */ : 2 /* down */, zero_mode = 0, carrier = 1;
    struct nlmsghdr *h = answer_begin(a, RTM_NEWLINK, &info, sizeof(info));

    answer_attr(a, h, IFLA_IFNAME, "lo", 3);
    answer_attr(a, h, IFLA_TXQLEN, &queue, sizeof(queue));
    answer_attr(a, h, IFLA_OPERSTATE, &state, sizeof(state));
    answer_attr(a, h, IFLA_MTU, &mtu, sizeof(mtu));
    answer_attr(a, h, IFLA_LINKMODE, &zero_mode, sizeof(zero_mode));
    answer_attr(a, h, IFLA_GROUP, &group, sizeof(group));
    answer_attr(a, h, IFLA_CARRIER, &carrier, sizeof(carrier));
    answer_attr(a, h, IFLA_QDISC, up ? "noqueue" : "noop", up ? 8 : 5);
    answer_attr(a, h, IFLA_ADDRESS, zero, sizeof(zero));
    answer_attr(a, h, IFLA_BROADCAST, zero, sizeof(zero));
}

static void answer_addr(struct answer *a, int family)
{
    struct ifaddrmsg info = {
        .ifa_family = (uint8_t)family,
        .ifa_prefixlen = family == AF_INET ? 8 : 128,
        .ifa_flags = IFA_F_PERMANENT,
        .ifa_scope = RT_SCOPE_HOST,
        .ifa_index = LO_INDEX,
    };
    uint32_t v4 = htonl(INADDR_LOOPBACK);
    struct nlmsghdr *h = answer_begin(a, RTM_NEWADDR, &info, sizeof(info));

    if (family == AF_INET) {
        answer_attr(a, h, IFA_ADDRESS, &v4, sizeof(v4));
        answer_attr(a, h, IFA_LOCAL, &v4, sizeof(v4));
        answer_attr(a, h, IFA_LABEL, "lo", 3);
    } else {
        answer_attr(a, h, IFA_ADDRESS, &in6addr_loopback, sizeof(in6addr_loopback));
    }
}

/* ---- routes and rules --------------------------------------------------------------------------
 */
struct route {
    int family, type;
    uint8_t dst[16], size; /* bits */
};

static const struct route routes[] = {
    {AF_INET, RTN_LOCAL, {127}, 8},
    {AF_INET, RTN_LOCAL, {127, 0, 0, 1}, 32},
    {AF_INET, RTN_BROADCAST, {127, 255, 255, 255}, 32},
    {AF_INET6, RTN_LOCAL, {[15] = 1}, 128},
};

static void answer_route(struct answer *a, const struct route *r, const void *dst)
{
    bool v4 = r->family == AF_INET;
    struct rtmsg m = {
        .rtm_family = (uint8_t)r->family,
        .rtm_dst_len = r->size,
        .rtm_table = RT_TABLE_LOCAL,
        .rtm_protocol = RTPROT_KERNEL,
        .rtm_scope = !v4                    ? RT_SCOPE_UNIVERSE
                     : r->type == RTN_LOCAL ? RT_SCOPE_HOST
                                            : RT_SCOPE_LINK,
        .rtm_type = (uint8_t)r->type,
    };
    uint32_t table = RT_TABLE_LOCAL, oif = LO_INDEX, source = htonl(INADDR_LOOPBACK), priority = 0;
    struct nlmsghdr *h = answer_begin(a, RTM_NEWROUTE, &m, sizeof(m));

    answer_attr(a, h, RTA_TABLE, &table, sizeof(table));
    answer_attr(a, h, RTA_DST, dst, v4 ? 4 : 16);
    answer_attr(a, h, RTA_OIF, &oif, sizeof(oif));
    if (v4)
        answer_attr(a, h, RTA_PREFSRC, &source, sizeof(source));
    else
        answer_attr(a, h, RTA_PRIORITY, &priority, sizeof(priority));
}

static void answer_routes(struct answer *a, const struct netns *net, int family)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
        if ((routes[i].family == AF_INET ? net->lo_addr4 : net->lo_addr6) &&
            (family == AF_UNSPEC || family == routes[i].family))
            answer_route(a, &routes[i], routes[i].dst);
}

/* The value of an attribute of the request, at least min bytes, or NULL. */
static const void *request_attr(const struct nlmsghdr *h, size_t header, uint16_t type, size_t min,
                                size_t *ret_size)
{
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(header);

    while (at + sizeof(struct rtattr) <= h->nlmsg_len) {
        const struct rtattr *r = (const void *)((const char *)h + at);

        if (r->rta_len < sizeof(*r) || r->rta_len > h->nlmsg_len - at)
            break;
        *ret_size = r->rta_len - RTA_LENGTH(0);
        if (r->rta_type == type && *ret_size >= min)
            return RTA_DATA(r);
        at += RTA_ALIGN(r->rta_len);
    }
    return NULL;
}

/* Which way to one address: to itself, if it is loopback's. */
static int answer_way(struct answer *a, const struct netns *net, const struct nlmsghdr *h,
                      int family)
{
    size_t size;
    const uint8_t *dst =
        request_attr(h, sizeof(struct rtmsg), RTA_DST, family == AF_INET ? 4 : 16, &size);
    struct route way = {.family = family, .type = RTN_LOCAL, .size = family == AF_INET ? 32 : 128};

    if (family == AF_INET && dst && dst[0] == 127 && net->lo_addr4)
        answer_route(a, &way, dst);
    else if (family == AF_INET6 && dst && net->lo_addr6 &&
             memcmp(dst, &in6addr_loopback, sizeof(in6addr_loopback)) == 0)
        answer_route(a, &way, dst);
    else
        return -ENETUNREACH;
    return 0;
}

static void answer_rules(struct answer *a, int family)
{
    static const struct {
        uint32_t priority;
        uint8_t table;
        bool only_v4;
    } rules[] = {
        {0, RT_TABLE_LOCAL, false}, {32766, RT_TABLE_MAIN, false}, {32767, RT_TABLE_DEFAULT, true}};

    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        struct fib_rule_hdr m = {.family = (uint8_t)(family == AF_INET6 ? AF_INET6 : AF_INET),
                                 .table = rules[i].table,
                                 .action = FR_ACT_TO_TBL};
        uint32_t table = rules[i].table;
        struct nlmsghdr *h;

        if (rules[i].only_v4 && family == AF_INET6)
            continue;
        h = answer_begin(a, RTM_NEWRULE, &m, sizeof(m));
        answer_attr(a, h, FRA_TABLE, &table, sizeof(table));
        if (rules[i].priority)
            answer_attr(a, h, FRA_PRIORITY, &rules[i].priority, sizeof(rules[i].priority));
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */
/* Is the one interface there is meant? */
static bool means_lo(const struct nlmsghdr *h)
{
    const struct ifinfomsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
    size_t size = 0;
    const char *name;

    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
        return true;
    name = request_attr(h, sizeof(*m), IFLA_IFNAME, 1, &size);
    if (!name)
        name = request_attr(h, sizeof(*m), IFLA_ALT_IFNAME, 1, &size);
    if (m->ifi_index > 0)
        return m->ifi_index == LO_INDEX;
    return !name || strncmp(name, "lo", MIN(size, (size_t)3)) == 0;
}

/* What is asked for goes to a; 0 or -errno. */
static int gather(struct answer *a, const struct netns *net, const struct nlmsghdr *h)
{
    uint8_t family = h->nlmsg_len > NLMSG_HDRLEN ? *((const uint8_t *)h + NLMSG_HDRLEN) : 0;
    bool dump = h->nlmsg_flags & NLM_F_DUMP;

    switch (h->nlmsg_type) {
    case RTM_GETLINK:
        if (!dump && !means_lo(h))
            return -ENODEV;
        answer_lo(a, net);
        return 0;
    case RTM_GETADDR:
        if (net->lo_addr4 && family != AF_INET6)
            answer_addr(a, AF_INET);
        if (net->lo_addr6 && family != AF_INET)
            answer_addr(a, AF_INET6);
        return 0;
    case RTM_GETROUTE:
        if (!dump)
            return answer_way(a, net, h, family);
        answer_routes(a, net, family);
        return 0;
    case RTM_GETRULE:
        answer_rules(a, family);
        return 0;
    default:
        return 0;
    }
}

int netlink_isolated_answer(struct netlink_sock *ns, const struct nlmsghdr *h)
{
    struct answer a = {.request = h};
    struct sockaddr_nl nl = {0};
    socklen_t size = sizeof(nl);
    int zero = 0, r;

    (void)getsockname(ns->s.host_fd, (struct sockaddr *)&nl, &size);
    a.pid = nl.nl_pid;
    r = gather(&a, ns->s.netns, h);
    if (r < 0)
        return r;
    if (!(h->nlmsg_flags & NLM_F_DUMP))
        return a.size ? netlink_reply(ns, a.data, a.size) : -EOPNOTSUPP;
    r = a.size ? netlink_reply(ns, a.data, a.size) : 0;
    a.size = 0;
    (void)answer_begin(&a, NLMSG_DONE, &zero, sizeof(zero));
    if (!r)
        r = netlink_reply(ns, a.data, a.size);
    return r < 0 ? r : 1;
}

/* Bringing up loopback is all that can be changed, and only in one's own namespace. */
int netlink_isolated_change(struct task *t, struct netns *net, const struct nlmsghdr *h)
{
    const void *body = (const char *)h + NLMSG_HDRLEN;
    size_t size = h->nlmsg_len - NLMSG_HDRLEN;
    const struct ifinfomsg *link = body;
    const struct ifaddrmsg *addr = body;

    if (!cred_capable_in(t->cred, net->userns, CAP_NET_ADMIN))
        return -EPERM;
    if (h->nlmsg_type == RTM_NEWLINK && size >= sizeof(*link) && link->ifi_index == LO_INDEX) {
        mutex_lock(&net->lock);
        if ((link->ifi_change & IFF_UP) || (link->ifi_flags & IFF_UP))
            net->lo_up = link->ifi_flags & IFF_UP;
        net->lo_addr4 |= net->lo_up; /* as Linux gives them by itself */
        net->lo_addr6 |= net->lo_up;
        mutex_unlock(&net->lock);
        return 0;
    }
    if (h->nlmsg_type == RTM_NEWADDR && size >= sizeof(*addr) && addr->ifa_index == LO_INDEX) {
        mutex_lock(&net->lock);
        net->lo_addr4 |= addr->ifa_family == AF_INET;
        net->lo_addr6 |= addr->ifa_family == AF_INET6;
        mutex_unlock(&net->lock);
        return 0;
    }
    return -EPERM;
}
