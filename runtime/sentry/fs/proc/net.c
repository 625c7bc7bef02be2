/* /proc/net: tables that net/ fills; without it, their headers. */
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/net/netns.h"

#include <errno.h>
#include <string.h>

static const struct proc_net_source *g_sources; /* written once while starting */

void proc_net_register(const struct proc_net_source *sources)
{
    g_sources = sources;
}

static struct netns *netns_of(struct task *t, struct pseudo_node *n)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct netns *ns = NULL;

    if (proc_target(t, n, false, &w) < 0)
        return NULL;
    mutex_lock(&g_tasks_lock);
    if (w.task->ns && w.task->ns->net)
        ns = netns_get(w.task->ns->net);
    mutex_unlock(&g_tasks_lock);
    return ns;
}

#define SOCKET_HEADER(remote)                                                                      \
    "  sl  local_address                         " remote                                          \
    "                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
static const struct {
    const char *name, *header;
} headers[] = {
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
     "drop fifo colls carrier compressed\n"},
    {"packet", "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"},
    {"route",
     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"},
    {"tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
            "timeout inode\n"},
    {"udp", "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
            "timeout inode ref pointer drops\n"},
    {"tcp6", SOCKET_HEADER("remote_address")},
    {"udp6", SOCKET_HEADER("remote_address")},
    {"unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"},
    {"netlink",
     "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    "
     "Inode\n"},
    {"sockstat", "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\n"},
};

/* The row's name selects the source. */
static SHOW(show_net)
{
    const struct proc_net_source *s = g_sources;
    struct netns *ns;
    int r;

    for (; s && s->name && strcmp(s->name, n->row->name) != 0; s++)
        ;
    if (!s || !s->name || !s->show) {
        for (unsigned i = 0; i < ARRAY_SIZE(headers); i++)
            if (strcmp(headers[i].name, n->row->name) == 0)
                return buf_puts(out, headers[i].header);
        return 0;
    }
    ns = netns_of(t, n);
    if (!ns)
        return -EINVAL;
    r = s->show(ns, out);
    netns_put(ns);
    return r;
}

#define N(name_)                                                                                   \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .show = show_net                                    \
    }
const struct pseudo_entry proc_net_rows[] = {
    N("arp"),      N("dev"),    N("dev_mcast"), N("icmp"),       N("icmp6"),
    N("if_inet6"), N("igmp"),   N("igmp6"),     N("ipv6_route"), N("netlink"),
    N("netstat"),  N("packet"), N("protocols"), N("psched"),     N("raw"),
    N("raw6"),     N("route"),  N("snmp"),      N("snmp6"),      N("sockstat"),
    N("tcp"),      N("tcp6"),   N("udp"),       N("udp6"),       N("unix"),
    N("wireless"), {0}};
