/* Interfaces of a network namespace, for /proc/net/dev and /sys/class/net. */
#include "runtime/sentry/net/dump.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/net/proc.h"
#include "runtime/sentry/task/task.h"

#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

enum { OPER_DOWN = 2, LO_MTU = 65536, INTERFACES_MAX = 4096 };

struct list_out {
    struct net_interface *rows;
    size_t n, capacity;
};

static struct net_interface *add_row(struct list_out *o)
{
    if (o->n == o->capacity) {
        size_t capacity = o->capacity ? o->capacity * 2 : 4;
        struct net_interface *rows =
            o->n < INTERFACES_MAX ? realloc(o->rows, capacity * sizeof(*rows)) : NULL;

        if (!rows)
            return NULL;
        o->rows = rows;
        o->capacity = capacity;
    }
    memset(&o->rows[o->n], 0, sizeof(o->rows[0]));
    return &o->rows[o->n++];
}

static uint32_t attr_u32(const struct rtattr *a)
{
    uint32_t v = 0;

    if (a)
        memcpy(&v, RTA_DATA(a), MIN(RTA_PAYLOAD(a), sizeof(v)));
    return v;
}

static size_t attr_bytes(const struct rtattr *a, void *out, size_t room)
{
    size_t n = a ? MIN((size_t)RTA_PAYLOAD(a), room) : 0;

    if (n)
        memcpy(out, RTA_DATA(a), n);
    return n;
}

static int add_link(void *arg, const void *header, struct rtattr **attrs)
{
    const struct ifinfomsg *info = header;
    struct net_interface *i = add_row(arg);

    if (!i)
        return -ENOMEM;
    (void)attr_bytes(attrs[IFLA_IFNAME], i->name, sizeof(i->name) - 1);
    i->index = info->ifi_index;
    i->type = info->ifi_type;
    i->flags = info->ifi_flags;
    i->mtu = (int)attr_u32(attrs[IFLA_MTU]);
    i->tx_queue_len = attr_u32(attrs[IFLA_TXQLEN]);
    i->operstate = (uint8_t)attr_u32(attrs[IFLA_OPERSTATE]);
    i->carrier = attr_u32(attrs[IFLA_CARRIER]);
    i->address_size = (uint8_t)attr_bytes(attrs[IFLA_ADDRESS], i->address, sizeof(i->address));
    (void)attr_bytes(attrs[IFLA_BROADCAST], i->broadcast, sizeof(i->broadcast));
    i->n_stats = (unsigned)(attr_bytes(attrs[IFLA_STATS64], i->stats, sizeof(i->stats)) /
                            sizeof(i->stats[0]));
    return 0;
}

static int add_lo(struct list_out *o, const struct netns *ns)
{
    struct net_interface *i = add_row(o);

    if (!i)
        return -ENOMEM;
    (void)strcpy(i->name, "lo");
    i->index = 1;
    i->type = ARPHRD_LOOPBACK;
    i->mtu = LO_MTU;
    i->flags = (unsigned)(IFF_LOOPBACK | (ns->lo_up ? IFF_UP | IFF_RUNNING : 0));
    i->operstate = ns->lo_up ? 0 : OPER_DOWN;
    i->carrier = ns->lo_up;
    i->tx_queue_len = 1000;
    i->address_size = 6;
    return 0;
}

int net_interfaces(struct netns *ns, struct net_interface **ret, size_t *ret_n)
{
    struct list_out o = {0};
    int r;

    if (ns && ns->isolated)
        r = add_lo(&o, ns);
    else
        r = net_dump(RTM_GETLINK, RTM_NEWLINK, AF_UNSPEC, sizeof(struct ifinfomsg), add_link, &o);
    if (r < 0) {
        free(o.rows);
        return r;
    }
    *ret = o.rows;
    *ret_n = o.n;
    return 0;
}

struct netns *net_current_ns(void)
{
    struct task *t = current_task();

    return t && t->ns ? t->ns->net : NULL;
}
