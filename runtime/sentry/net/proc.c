/*
 * /proc/net by a table of {name, heading, show}. Internet sockets are this sandbox's own (the host
 * has no table of them that is ours alone); their states and queues are asked of each host socket.
 * Files about which the sentry knows nothing have their heading only.
 */
#include "runtime/sentry/net/proc.h"

#include "common/buf.h"
#include "runtime/sentry/net/describe.h"
#include "runtime/sentry/net/dump.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/net/unix.h"
#include "runtime/sentry/task/task.h"

#include <linux/if_addr.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* ---- interfaces and routes --------------------------------------------------------------------
 */
static int show_dev(struct netns *ns, struct buf *out)
{
    CLEANUP(free_ptr) struct net_interface *rows = NULL;
    size_t n = 0;
    int r = net_interfaces(ns, &rows, &n);

    for (size_t i = 0; !r && i < n; i++) {
        const uint64_t *s = rows[i].stats; /* rtnl_link_stats64 */

        r = buf_printf(out,
                       "%6s: %7lu %7lu %4lu %4lu %4lu %5lu %10lu %9lu "
                       "%8lu %7lu %4lu %4lu %4lu %5lu %7lu %10lu\n",
                       rows[i].name, s[2], s[0], s[4], s[6], s[13], s[10] + s[11] + s[12] + s[14],
                       s[21], s[8], s[3], s[1], s[5], s[7], s[17], s[9],
                       s[15] + s[16] + s[18] + s[19], s[22]);
    }
    return r;
}

static uint32_t attr_u32(const struct rtattr *a)
{
    uint32_t v = 0;

    if (a)
        memcpy(&v, RTA_DATA(a), MIN(RTA_PAYLOAD(a), sizeof(v)));
    return v;
}

struct route_out {
    struct buf *out;
    struct net_interface *links;
    size_t n_links;
};

static const char *link_name(const struct route_out *o, int index)
{
    for (size_t i = 0; i < o->n_links; i++)
        if (o->links[i].index == index)
            return o->links[i].name;
    return "*";
}

static int route_row(void *arg, const void *header, struct rtattr **attrs)
{
    const struct rtmsg *rt = header;
    struct route_out *o = arg;
    uint32_t mask = rt->rtm_dst_len ? htonl(~0u << (32 - rt->rtm_dst_len)) : 0;
    unsigned flags = 1 /* RTF_UP */;

    if (rt->rtm_table != RT_TABLE_MAIN || rt->rtm_type != RTN_UNICAST || rt->rtm_dst_len > 32)
        return 0;
    if (attrs[RTA_GATEWAY])
        flags |= 2;
    if (rt->rtm_dst_len == 32)
        flags |= 4;
    return buf_printf(o->out, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0\n",
                      link_name(o, (int)attr_u32(attrs[RTA_OIF])), attr_u32(attrs[RTA_DST]),
                      attr_u32(attrs[RTA_GATEWAY]), flags, attr_u32(attrs[RTA_PRIORITY]), mask);
}

static int addr6_row(void *arg, const void *header, struct rtattr **attrs)
{
    const struct ifaddrmsg *a = header;
    struct route_out *o = arg;
    char text[33] = "";
    const uint8_t *b;

    if (!attrs[IFA_ADDRESS] || RTA_PAYLOAD(attrs[IFA_ADDRESS]) < sizeof(struct in6_addr))
        return 0;
    b = RTA_DATA(attrs[IFA_ADDRESS]);
    for (int i = 0; i < 16; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", b[i]);
    return buf_printf(o->out, "%s %02x %02x %02x %02x %8s\n", text, a->ifa_index, a->ifa_prefixlen,
                      a->ifa_scope == RT_SCOPE_HOST   ? 0x10
                      : a->ifa_scope == RT_SCOPE_LINK ? 0x20
                                                      : 0,
                      a->ifa_flags, link_name(o, (int)a->ifa_index));
}

static int neighbour_row(void *arg, const void *header, struct rtattr **attrs)
{
    const struct ndmsg *nd = header;
    struct route_out *o = arg;
    uint8_t ip[4] = {0}, mac[6] = {0};

    if (nd->ndm_family != AF_INET || !attrs[NDA_DST] || (nd->ndm_state & (NUD_NOARP | NUD_NONE)))
        return 0;
    memcpy(ip, RTA_DATA(attrs[NDA_DST]), MIN(RTA_PAYLOAD(attrs[NDA_DST]), sizeof(ip)));
    if (attrs[NDA_LLADDR])
        memcpy(mac, RTA_DATA(attrs[NDA_LLADDR]), MIN(RTA_PAYLOAD(attrs[NDA_LLADDR]), sizeof(mac)));
    return buf_printf(
        o->out,
        "%u.%u.%u.%u%*s 0x1         0x%x         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
        ip[0], ip[1], ip[2], ip[3], 1, "", attrs[NDA_LLADDR] ? 2 : 0, mac[0], mac[1], mac[2],
        mac[3], mac[4], mac[5], link_name(o, nd->ndm_ifindex));
}

static int show_dump(struct netns *ns, struct buf *out, int question, int answer, int family,
                     size_t header, net_dump_fn *fn)
{
    CLEANUP(free_ptr) struct net_interface *links = NULL;
    struct route_out o = {.out = out};
    int r;

    if (ns && ns->isolated)
        return 0;
    r = net_interfaces(ns, &links, &o.n_links);
    if (r < 0)
        return r;
    o.links = links;
    return net_dump(question, answer, family, header, fn, &o);
}

static int show_route(struct netns *ns, struct buf *out)
{
    return show_dump(ns, out, RTM_GETROUTE, RTM_NEWROUTE, AF_INET, sizeof(struct rtmsg), route_row);
}

static int show_addr6(struct netns *ns, struct buf *out)
{
    return show_dump(ns, out, RTM_GETADDR, RTM_NEWADDR, AF_INET6, sizeof(struct ifaddrmsg),
                     addr6_row);
}

static int show_arp(struct netns *ns, struct buf *out)
{
    return show_dump(ns, out, RTM_GETNEIGH, RTM_NEWNEIGH, AF_INET, sizeof(struct ndmsg),
                     neighbour_row);
}

/* ---- sockets: ns->lock is held, which keeps them from going ------------------------------------
 */
static void hex_address(const struct sockname *n, char out[48])
{
    const struct sockaddr_in *in4 = (const void *)n->bytes;
    const struct sockaddr_in6 *in6 = (const void *)n->bytes;
    const uint32_t *w = in6->sin6_addr.s6_addr32;

    if (n->sa.sa_family == AF_INET6)
        (void)snprintf(out, 48, "%08X%08X%08X%08X:%04X", w[0], w[1], w[2], w[3],
                       ntohs(in6->sin6_port));
    else
        (void)snprintf(out, 48, "%08X:%04X", in4->sin_addr.s_addr, ntohs(in4->sin_port));
}

enum { TCP_WIDTH = 149, UDP_WIDTH = 127 };

/* Lines of IPv4 are filled up to a width, which readers count on. */
static int inet_width(int family, int protocol)
{
    return family != AF_INET         ? 0
           : protocol == IPPROTO_TCP ? TCP_WIDTH
           : protocol == IPPROTO_UDP ? UDP_WIDTH
                                     : 0;
}

static int inet_row(struct socket *s, unsigned number, int family, int protocol, struct buf *out)
{
    bool tcp = protocol == IPPROTO_TCP;
    char l[48], p[48], line[256];
    struct inet_facts f;

    if (!inet_describe(s, &f))
        return 0;
    hex_address(&f.local, l);
    hex_address(&f.peer, p);
    (void)snprintf(line, sizeof(line),
                   "%*u: %s %s %02X %08X:%08X 00:00000000 00000000 %5u        0 %lu %d "
                   "0000000000000000 %s",
                   tcp ? 4 : 5, number, l, p, (unsigned)f.state, (unsigned)f.unsent,
                   (unsigned)f.queued, s->uid, (unsigned long)s->ino, tcp ? 1 : 2,
                   tcp ? "100 0 0 10 0" : "0");
    return buf_printf(out, "%-*s\n", inet_width(family, protocol), line);
}

static int show_inet(struct netns *ns, struct buf *out, int family, int protocol, int type)
{
    struct socket *s;
    unsigned n = 0;
    int r = 0;

    if (!ns || ns->isolated)
        return 0;
    mutex_lock(&ns->lock);
    list_for_each_entry (s, &ns->sockets, link) {
        if (n >= DESCRIBE_MAX || !inet_described(s, family, protocol, type))
            continue;
        r = inet_row(s, n++, family, protocol, out);
        if (r < 0)
            break;
    }
    mutex_unlock(&ns->lock);
    return r;
}

static int show_tcp(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET, IPPROTO_TCP, SOCK_STREAM);
}

static int show_tcp6(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET6, IPPROTO_TCP, SOCK_STREAM);
}

static int show_udp(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET, IPPROTO_UDP, SOCK_DGRAM);
}

static int show_udp6(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET6, IPPROTO_UDP, SOCK_DGRAM);
}

static int show_udplite(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET, IPPROTO_UDPLITE, SOCK_DGRAM);
}

static int show_udplite6(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET6, IPPROTO_UDPLITE, SOCK_DGRAM);
}

static int show_icmp(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET, IPPROTO_ICMP, SOCK_DGRAM);
}

static int show_icmp6(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET6, IPPROTO_ICMPV6, SOCK_DGRAM);
}

static int show_raw(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET, 0, SOCK_RAW);
}

static int show_raw6(struct netns *ns, struct buf *out)
{
    return show_inet(ns, out, AF_INET6, 0, SOCK_RAW);
}

static int show_packet(struct netns *ns, struct buf *out)
{
    struct socket *s;
    int r = 0;

    if (!ns)
        return 0;
    mutex_lock(&ns->lock);
    list_for_each_entry (s, &ns->sockets, link) {
        struct sockaddr_ll ll = {0};
        socklen_t size = sizeof(ll);

        if (s->family != AF_PACKET || !s->ino)
            continue;
        (void)getsockname(s->host_fd, (struct sockaddr *)&ll, &size);
        r = buf_printf(out, "0000000000000000 %-6d %-4d %04x   %-5d 1 %-6u %-6u %-6lu\n", 1,
                       s->type, ntohs(ll.sll_protocol), ll.sll_ifindex, 0u, s->uid,
                       (unsigned long)s->ino);
        if (r < 0)
            break;
    }
    mutex_unlock(&ns->lock);
    return r;
}

static int unix_row(struct socket *s, struct buf *out)
{
    struct unix_sock *u = container_of(s, struct unix_sock, s);
    bool listening = u->state == UNIX_LISTENING, connected = u->state == UNIX_CONNECTED;
    /* Set once and kept until the socket, which ns->lock keeps here, is freed. */
    const struct unix_addr *a = __atomic_load_n(&u->addr, __ATOMIC_ACQUIRE);
    size_t head = offsetof(struct sockaddr_un, sun_path);
    int r = buf_printf(out, "0000000000000000: %08X 00000000 %08X %04X %02X %5lu", u->ref.n,
                       listening ? 0x10000u : 0u, (unsigned)s->type,
                       listening   ? 1u
                       : connected ? 3u
                                   : 1u,
                       (unsigned long)s->ino);

    if (!r && a) {
        char name[sizeof(struct sockaddr_un)];
        size_t n = a->name.size - head;

        memcpy(name, a->name.bytes + head, n);
        if (name[0])
            n = strnlen(name, n);
        for (size_t i = 0; i < n; i++)
            if (!name[i])
                name[i] = '@';
        r = buf_printf(out, " %.*s", (int)n, name);
    }
    return r ? r : buf_puts(out, "\n");
}

static int show_unix(struct netns *ns, struct buf *out)
{
    struct socket *s;
    unsigned n = 0;
    int r = 0;

    if (!ns)
        return 0;
    mutex_lock(&ns->lock);
    list_for_each_entry (s, &ns->sockets, link) {
        if (s->family != AF_UNIX || !s->ino)
            continue;
        r = unix_row(s, out);
        if (r < 0 || ++n >= DESCRIBE_MAX)
            break;
    }
    mutex_unlock(&ns->lock);
    return r;
}

static int show_sockstat(struct netns *ns, struct buf *out)
{
    unsigned tcp = 0, udp = 0, all = 0;
    struct socket *s;

    if (ns) {
        mutex_lock(&ns->lock);
        list_for_each_entry (s, &ns->sockets, link) {
            all++;
            tcp += s->family == AF_INET && s->protocol == IPPROTO_TCP;
            udp += s->family == AF_INET && s->protocol == IPPROTO_UDP;
        }
        mutex_unlock(&ns->lock);
    }
    return buf_printf(
        out,
        "sockets: used %u\nTCP: inuse %u orphan 0 tw 0 alloc %u mem 0\n"
        "UDP: inuse %u mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        all, tcp, tcp, udp);
}

/* ---- the table --------------------------------------------------------------------------------
 */
#define INET_COLUMNS                                                                               \
    "sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "    \
    "inode"
#define INET6_COLUMNS                                                                              \
    "sl  local_address                         remote_address                        st tx_queue " \
    "rx_queue tr tm->when retrnsmt   uid  timeout inode"
#define DATAGRAM_COLUMNS " ref pointer drops"
#define TCP_HEADING      "  " INET_COLUMNS "                                                     \n"
#define TCP6_HEADING     "  " INET6_COLUMNS "\n"
#define UDP_HEADING      "   " INET_COLUMNS DATAGRAM_COLUMNS "             \n"
#define RAW_HEADING      "  " INET_COLUMNS DATAGRAM_COLUMNS "\n"
#define UDP6_HEADING     "  " INET6_COLUMNS DATAGRAM_COLUMNS "\n"

static const struct proc_file {
    const char *name, *heading;
    int (*show)(struct netns *ns, struct buf *out); /* NULL: the heading is all */
} files[] = {
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n",
     show_arp},
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
     "fifo colls carrier compressed\n",
     show_dev},
    {"icmp", RAW_HEADING, show_icmp},
    {"icmp6", UDP6_HEADING, show_icmp6},
    {"if_inet6", "", show_addr6},
    {"ipv6_route", "", NULL},
    {"netlink",
     "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
     NULL},
    {"netstat", "TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InNoRoutes\nIpExt: 0\n", NULL},
    {"packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n", show_packet},
    {"protocols", "protocol  size sockets  memory press maxhdr  slab module\n", NULL},
    {"psched", "000003e8 00000040 000f4240 3b9aca00\n", NULL},
    {"raw", RAW_HEADING, show_raw},
    {"raw6", UDP6_HEADING, show_raw6},
    {"route",
     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
     show_route},
    {"snmp",
     "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm RtoMin RtoMax MaxConn\n"
     "Tcp: 1 200 120000 -1\nUdp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 0 0 0 0\n",
     NULL},
    {"sockstat", "", show_sockstat},
    {"tcp", TCP_HEADING, show_tcp},
    {"tcp6", TCP6_HEADING, show_tcp6},
    {"udp", UDP_HEADING, show_udp},
    {"udp6", UDP6_HEADING, show_udp6},
    {"udplite", UDP_HEADING, show_udplite},
    {"udplite6", UDP6_HEADING, show_udplite6},
    {"unix", "Num       RefCount Protocol Flags    Type St Inode Path\n", show_unix},
};

const char *const net_proc_names[] = {
    "arp",    "dev",       "icmp",   "icmp6", "if_inet6", "ipv6_route", "netlink", "netstat",
    "packet", "protocols", "psched", "raw",   "raw6",     "route",      "snmp",    "sockstat",
    "tcp",    "tcp6",      "udp",    "udp6",  "udplite",  "udplite6",   "unix",    NULL};
_Static_assert(ARRAY_SIZE(net_proc_names) == ARRAY_SIZE(files) + 1, "every file has its name");

int net_proc_show_ns(struct netns *ns, const char *name, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        int r;

        if (strcmp(files[i].name, name) != 0)
            continue;
        r = buf_puts(out, files[i].heading);
        return r || !files[i].show ? r : files[i].show(ns, out);
    }
    return -ENOENT;
}
