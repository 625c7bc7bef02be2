/*
 * Route netlink requests. Questions are rows of a table: for each its fixed header and the
 * attributes that are let through; the request that goes to the host is put together from those
 * alone. In an isolated namespace the answers are the sentry's own (netlink_isolated.c).
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

enum { QUESTION_MAX = 512 };

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

/* ---- any request ------------------------------------------------------------------------------
 */
int netlink_route_request(struct task *t, struct netlink_sock *ns, const struct nlmsghdr *h)
{
    const struct question *q = question_find(h->nlmsg_type);
    bool isolated = ns->s.netns->isolated;

    if (q)
        return isolated ? netlink_isolated_answer(ns, h) : ask_host(ns, q, h);
    if (h->nlmsg_type > RTM_MAX)
        return -EOPNOTSUPP;
    /* Types come in fours: NEW, DEL, GET, SET. A question that isn't a row isn't answered. */
    if ((h->nlmsg_type & 3) == (RTM_GETLINK & 3))
        return -EOPNOTSUPP;
    return isolated ? netlink_isolated_change(t, ns->s.netns, h) : -EPERM;
}
