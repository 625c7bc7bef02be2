/*
 * Route netlink requests. Questions are rows of a table: for each its fixed header and the
 * attributes that are let through; the request that goes to the host is put together from those
 * alone. In an isolated namespace the answers are made here: a loopback interface, and whatever
 * addresses were given to it (what bubblewrap and Chromium's sandbox do first).
 */
#include "runtime/sentry/net/netlink.h"

#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

enum { LO_INDEX = 1, LO_MTU = 65536, QUESTION_MAX = 512 };

/* ---- questions to the host --------------------------------------------------------------------
 */
struct attr_row {
    uint16_t type;
    uint16_t min, max; /* payload bytes */
};

static const struct question {
    uint16_t type;
    uint16_t header; /* bytes of the fixed part */
    struct attr_row attrs[10];
} questions[] = {
    {RTM_GETLINK,
     sizeof(struct ifinfomsg),
     {{IFLA_IFNAME, 1, IFNAMSIZ},
      {IFLA_EXT_MASK, 4, 4},
      {IFLA_MASTER, 4, 4},
      {IFLA_ALT_IFNAME, 1, 128}}},
    {RTM_GETADDR, sizeof(struct ifaddrmsg), {{IFA_ADDRESS, 4, 16}, {IFA_LOCAL, 4, 16}}},
    {RTM_GETROUTE,
     sizeof(struct rtmsg),
     {{RTA_DST, 4, 16},
      {RTA_SRC, 4, 16},
      {RTA_IIF, 4, 4},
      {RTA_OIF, 4, 4},
      {RTA_TABLE, 4, 4},
      {RTA_UID, 4, 4},
      {RTA_IP_PROTO, 1, 1},
      {RTA_SPORT, 2, 2},
      {RTA_DPORT, 2, 2}}},
    {RTM_GETNEIGH,
     sizeof(struct ndmsg),
     {{NDA_DST, 4, 16}, {NDA_IFINDEX, 4, 4}, {NDA_MASTER, 4, 4}}},
    {RTM_GETRULE, sizeof(struct fib_rule_hdr), {{0}}},
};

static const struct question *question_find(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
        if (questions[i].type == type)
            return &questions[i];
    return NULL;
}

static bool attr_allowed(const struct question *q, const struct rtattr *a)
{
    size_t size = a->rta_len - sizeof(*a);

    for (size_t i = 0; i < ARRAY_SIZE(q->attrs) && q->attrs[i].type; i++)
        if (q->attrs[i].type == a->rta_type)
            return size >= q->attrs[i].min && size <= q->attrs[i].max;
    return false;
}

/* Puts q's request together: its size, or -errno. Attributes that are not rows are left out, as
 * kernels that don't know them do. */
static int build(const struct question *q, const struct nlmsghdr *h, char out[QUESTION_MAX])
{
    struct nlmsghdr *n = (void *)out;
    const char *body = (const char *)h + NLMSG_HDRLEN;
    size_t left = h->nlmsg_len - NLMSG_HDRLEN, at = NLMSG_HDRLEN, header = q->header, step;

    /* Old programs (and glibc) ask with a struct rtgenmsg: the family alone. */
    memset(out, 0, QUESTION_MAX);
    if (left < header) {
        if (!left)
            return -EINVAL;
        out[at] = body[0];
        left = 0;
    } else {
        memcpy(out + at, body, header);
        step = MIN(NLMSG_ALIGN(header), left);
        body += step;
        left -= step;
    }
    at += NLMSG_ALIGN(header);
    while (left >= sizeof(struct rtattr)) {
        struct rtattr a;

        memcpy(&a, body, sizeof(a));
        if (a.rta_len < sizeof(a) || a.rta_len > left)
            break;
        step = RTA_ALIGN(a.rta_len);
        if (attr_allowed(q, &a) && at + step <= QUESTION_MAX) {
            memcpy(out + at, body, a.rta_len);
            at += step;
        }
        step = MIN(step, left);
        body += step;
        left -= step;
    }
    *n = (struct nlmsghdr){
        .nlmsg_len = (uint32_t)at,
        .nlmsg_type = h->nlmsg_type,
        .nlmsg_flags = h->nlmsg_flags & (NLM_F_REQUEST | NLM_F_DUMP | NLM_F_ACK),
        .nlmsg_seq = h->nlmsg_seq,
    };
    return (int)at;
}

/* 1: the host answers, acknowledgement included. */
static int ask_host(struct netlink_sock *ns, const struct question *q, const struct nlmsghdr *h)
{
    _Alignas(struct nlmsghdr) char out[QUESTION_MAX];
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int size = build(q, h, out);

    if (size < 0)
        return size;
    if (sendto(ns->s.host_fd, out, (size_t)size, MSG_DONTWAIT, (struct sockaddr *)&kernel,
               sizeof(kernel)) < 0)
        return -errno;
    return 1;
}

/* ---- an isolated namespace: loopback only ------------------------------------------------------
 */
struct answer {
    _Alignas(struct nlmsghdr) char data[1024];
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
    uint32_t mtu = LO_MTU, queue = 1000;
    uint8_t state = up ? 0 /* unknown */ : 2 /* down */;
    struct nlmsghdr *h = answer_begin(a, RTM_NEWLINK, &info, sizeof(info));

    answer_attr(a, h, IFLA_IFNAME, "lo", 3);
    answer_attr(a, h, IFLA_TXQLEN, &queue, sizeof(queue));
    answer_attr(a, h, IFLA_OPERSTATE, &state, sizeof(state));
    answer_attr(a, h, IFLA_MTU, &mtu, sizeof(mtu));
    answer_attr(a, h, IFLA_QDISC, "noop", 5);
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

static int answer_isolated(struct netlink_sock *ns, const struct nlmsghdr *h)
{
    struct answer a = {.request = h};
    const struct netns *net = ns->s.netns;
    struct sockaddr_nl nl = {0};
    socklen_t size = sizeof(nl);
    uint8_t family = h->nlmsg_len > NLMSG_HDRLEN ? *((const uint8_t *)h + NLMSG_HDRLEN) : 0;
    int zero = 0, r;

    (void)getsockname(ns->s.host_fd, (struct sockaddr *)&nl, &size);
    a.pid = nl.nl_pid;
    if (h->nlmsg_type == RTM_GETLINK)
        answer_lo(&a, net);
    if (h->nlmsg_type == RTM_GETADDR && net->lo_addr4 && family != AF_INET6)
        answer_addr(&a, AF_INET);
    if (h->nlmsg_type == RTM_GETADDR && net->lo_addr6 && family != AF_INET)
        answer_addr(&a, AF_INET6);
    if (!(h->nlmsg_flags & NLM_F_DUMP)) {
        if (!a.size)
            return h->nlmsg_type == RTM_GETROUTE ? -ENETUNREACH : -EOPNOTSUPP;
        r = netlink_reply(ns, a.data, a.size);
        return r;
    }
    r = a.size ? netlink_reply(ns, a.data, a.size) : 0;
    a.size = 0;
    (void)answer_begin(&a, NLMSG_DONE, &zero, sizeof(zero));
    if (!r)
        r = netlink_reply(ns, a.data, a.size);
    return r < 0 ? r : 1;
}

/* Bringing up loopback is all that can be changed, and only in one's own namespace. */
static int change_isolated(struct task *t, struct netns *net, const struct nlmsghdr *h)
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

/* ---- any request ------------------------------------------------------------------------------
 */
int netlink_route_request(struct task *t, struct netlink_sock *ns, const struct nlmsghdr *h)
{
    const struct question *q = question_find(h->nlmsg_type);
    bool isolated = ns->s.netns->isolated;

    if (q)
        return isolated ? answer_isolated(ns, h) : ask_host(ns, q, h);
    if (h->nlmsg_type > RTM_MAX)
        return -EOPNOTSUPP;
    /* Types come in fours: NEW, DEL, GET, SET. A question that isn't a row isn't answered. */
    if ((h->nlmsg_type & 3) == (RTM_GETLINK & 3))
        return -EOPNOTSUPP;
    return isolated ? change_isolated(t, ns->s.netns, h) : -EPERM;
}
