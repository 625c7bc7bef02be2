/*
 * Options of internet sockets that are passed to the host socket: rows of one table, with the sizes
 * that are let through. What is not a row is -ENOPROTOOPT. Left out on purpose: socket filters and
 * BPF, upper layer protocols, TCP repair and MD5, XFRM policy, flow labels, changing the family;
 * refused with an error of their own: source routes and extension headers, transparent proxying,
 * TCP Fast Open (its SYN carries data past what judges connections).
 */
#include "runtime/sentry/net/inet.h"
#include "runtime/sentry/task/task.h"

#include <asm-generic/socket.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <string.h>

enum {
    SOL_TCP_LEVEL = 6,
    SOL_UDP_LEVEL = 17,
    SOL_IPV6_LEVEL = 41,
    SOL_SCTP_LEVEL = 132,
    SOL_UDPLITE_LEVEL = 136
};
enum { OPT_IPV6_ADDR_PREFERENCES = 72, OPT_SO_ORIGINAL_DST = 80, OPT_IP_LOCAL_PORT_RANGE = 51 };
enum { OPT_UDPLITE_SEND_CSCOV = 10, OPT_UDPLITE_RECV_CSCOV = 11 };
enum { SOL_RAW_LEVEL = 255, OPT_ICMP_FILTER = 1, OPT_IPV6_CHECKSUM = 7 };
enum { OPT_SCTP_NODELAY = 3, OPT_SCTP_INITMSG = 2 };

enum { GET = 1, SET = 2, BOTH = 3, EMPTY_ONLY = 4 };

static const struct inet_option {
    int level, name;
    uint8_t access;
    int error;         /* what the refused direction says; 0: -ENOPROTOOPT */
    unsigned min, max; /* bytes of the value when setting */
} options[] = {
    /* level, name, access, error, sizes */
    {SOL_SOCKET, SO_DEBUG, GET, -EACCES, 4, 4},
    {SOL_SOCKET, SO_REUSEADDR, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_REUSEPORT, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_ERROR, GET, 0, 4, 4},
    {SOL_SOCKET, SO_DONTROUTE, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_BROADCAST, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_SNDBUF, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_RCVBUF, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_KEEPALIVE, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_OOBINLINE, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_PRIORITY, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_LINGER, BOTH, 0, 8, 8},
    {SOL_SOCKET, SO_RCVLOWAT, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_SNDLOWAT, GET, 0, 4, 4},
    {SOL_SOCKET, SO_BINDTODEVICE, BOTH, 0, 1, 16},
    {SOL_SOCKET, SO_TIMESTAMP_OLD, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_TIMESTAMPNS_OLD, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_TIMESTAMPING_OLD, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_TIMESTAMP_NEW, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_TIMESTAMPNS_NEW, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_TIMESTAMPING_NEW, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_ACCEPTCONN, GET, 0, 4, 4},
    {SOL_SOCKET, SO_RXQ_OVFL, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_BUSY_POLL, GET, -EPERM, 4, 4},
    {SOL_SOCKET, SO_INCOMING_CPU, GET, 0, 4, 4},
    {SOL_SOCKET, SO_INCOMING_NAPI_ID, GET, 0, 4, 4},
    {SOL_SOCKET, SO_COOKIE, GET, 0, 8, 8},
    {SOL_SOCKET, SO_ZEROCOPY, GET, -EOPNOTSUPP, 4, 4},
    {SOL_SOCKET, SO_MAX_PACING_RATE, BOTH, 0, 4, 8},
    {SOL_SOCKET, SO_MEMINFO, GET, 0, 0, 0},
    {SOL_SOCKET, SO_PEEK_OFF, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_NO_CHECK, BOTH, 0, 4, 4},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_NODELAY, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_MAXSEG, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_CORK, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_KEEPIDLE, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_KEEPINTVL, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_KEEPCNT, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_SYNCNT, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_LINGER2, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_DEFER_ACCEPT, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_WINDOW_CLAMP, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_INFO, GET, 0, 0, 0},
    {SOL_TCP_LEVEL, TCP_QUICKACK, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_CONGESTION, BOTH, 0, 1, 16},
    {SOL_TCP_LEVEL, TCP_THIN_LINEAR_TIMEOUTS, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_USER_TIMEOUT, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_FASTOPEN, GET, -EOPNOTSUPP, 4, 4},
    {SOL_TCP_LEVEL, TCP_FASTOPEN_CONNECT, GET, -EOPNOTSUPP, 4, 4},
    {SOL_TCP_LEVEL, TCP_TIMESTAMP, GET, -EPERM, 4, 4},
    {SOL_TCP_LEVEL, TCP_NOTSENT_LOWAT, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_INQ, BOTH, 0, 4, 4},
    {SOL_TCP_LEVEL, TCP_REPAIR, 0, -EPERM, 0, 0},
    {SOL_UDP_LEVEL, UDP_CORK, BOTH, 0, 4, 4},
    {SOL_UDP_LEVEL, UDP_SEGMENT, BOTH, 0, 4, 4},
    {SOL_UDP_LEVEL, UDP_GRO, BOTH, 0, 4, 4},
    {SOL_UDP_LEVEL, UDP_NO_CHECK6_TX, BOTH, 0, 4, 4},
    {SOL_UDP_LEVEL, UDP_NO_CHECK6_RX, BOTH, 0, 4, 4},
    {SOL_UDPLITE_LEVEL, OPT_UDPLITE_SEND_CSCOV, BOTH, 0, 4, 4},
    {SOL_UDPLITE_LEVEL, OPT_UDPLITE_RECV_CSCOV, BOTH, 0, 4, 4},
    {SOL_SCTP_LEVEL, OPT_SCTP_NODELAY, BOTH, 0, 4, 4},
    {SOL_SCTP_LEVEL, OPT_SCTP_INITMSG, BOTH, 0, 8, 8},
    {IPPROTO_IP, IP_TOS, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_TTL, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_OPTIONS, GET | EMPTY_ONLY, -EPERM, 0, 0},
    {IPPROTO_IP, IP_RETOPTS, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_PKTINFO, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_MTU_DISCOVER, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_RECVERR, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_RECVTTL, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_RECVTOS, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_MTU, GET, 0, 4, 4},
    {IPPROTO_IP, IP_FREEBIND, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_TRANSPARENT, GET, -EPERM, 4, 4},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, BOTH, 0, 1, 4},
    {IPPROTO_IP, OPT_IP_LOCAL_PORT_RANGE, BOTH, 0, 4, 4},
    {IPPROTO_IP, IP_MINTTL, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_HDRINCL, BOTH, 0, 1, 4},
    {SOL_RAW_LEVEL, OPT_ICMP_FILTER, BOTH, 0, 4, 4},
    {SOL_RAW_LEVEL, OPT_IPV6_CHECKSUM, BOTH, 0, 4, 4},
    {IPPROTO_ICMPV6, OPT_ICMP_FILTER, BOTH, 0, 32, 32},
    {IPPROTO_IP, IP_MULTICAST_IF, BOTH, 0, 4, sizeof(struct ip_mreqn)},
    {IPPROTO_IP, IP_MULTICAST_TTL, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_MULTICAST_LOOP, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_MULTICAST_ALL, BOTH, 0, 1, 4},
    {IPPROTO_IP, IP_UNICAST_IF, BOTH, 0, 4, 4},
    {IPPROTO_IP, IP_ADD_MEMBERSHIP, SET, 0, sizeof(struct ip_mreq), sizeof(struct ip_mreqn)},
    {IPPROTO_IP, IP_DROP_MEMBERSHIP, SET, 0, sizeof(struct ip_mreq), sizeof(struct ip_mreqn)},
    {IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, SET, 0, 12, 12},
    {IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, SET, 0, 12, 12},
    {IPPROTO_IP, IP_BLOCK_SOURCE, SET, 0, 12, 12},
    {IPPROTO_IP, IP_UNBLOCK_SOURCE, SET, 0, 12, 12},
    {IPPROTO_IP, MCAST_JOIN_GROUP, SET, 0, sizeof(struct group_req), sizeof(struct group_req)},
    {IPPROTO_IP, MCAST_LEAVE_GROUP, SET, 0, sizeof(struct group_req), sizeof(struct group_req)},
    {IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, SET, 0, sizeof(struct group_source_req),
     sizeof(struct group_source_req)},
    {IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, SET, 0, sizeof(struct group_source_req),
     sizeof(struct group_source_req)},
    {IPPROTO_IP, OPT_SO_ORIGINAL_DST, GET, 0, 16, 16},
    {SOL_IPV6_LEVEL, IPV6_V6ONLY, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_UNICAST_HOPS, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MULTICAST_IF, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MULTICAST_HOPS, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MULTICAST_LOOP, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MULTICAST_ALL, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_ADD_MEMBERSHIP, SET, 0, 20, 20},
    {SOL_IPV6_LEVEL, IPV6_DROP_MEMBERSHIP, SET, 0, 20, 20},
    {SOL_IPV6_LEVEL, MCAST_JOIN_GROUP, SET, 0, sizeof(struct group_req), sizeof(struct group_req)},
    {SOL_IPV6_LEVEL, MCAST_LEAVE_GROUP, SET, 0, sizeof(struct group_req), sizeof(struct group_req)},
    {SOL_IPV6_LEVEL, MCAST_JOIN_SOURCE_GROUP, SET, 0, sizeof(struct group_source_req),
     sizeof(struct group_source_req)},
    {SOL_IPV6_LEVEL, MCAST_LEAVE_SOURCE_GROUP, SET, 0, sizeof(struct group_source_req),
     sizeof(struct group_source_req)},
    {SOL_IPV6_LEVEL, IPV6_MTU_DISCOVER, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MTU, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_RECVERR, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_RECVPKTINFO, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_2292PKTINFO, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_RECVHOPLIMIT, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_2292HOPLIMIT, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_RECVTCLASS, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_RECVORIGDSTADDR, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_TCLASS, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_DONTFRAG, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_AUTOFLOWLABEL, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_UNICAST_IF, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, OPT_IPV6_ADDR_PREFERENCES, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_MINHOPCOUNT, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_FREEBIND, BOTH, 0, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_TRANSPARENT, GET, -EPERM, 4, 4},
    {SOL_IPV6_LEVEL, IPV6_PKTINFO, BOTH, 0, 20, 20},
    {SOL_IPV6_LEVEL, IPV6_RTHDR, EMPTY_ONLY, -EPERM, 0, 0},
    {SOL_IPV6_LEVEL, IPV6_HOPOPTS, EMPTY_ONLY, -EPERM, 0, 0},
    {SOL_IPV6_LEVEL, IPV6_DSTOPTS, EMPTY_ONLY, -EPERM, 0, 0},
    {SOL_IPV6_LEVEL, IPV6_RTHDRDSTOPTS, EMPTY_ONLY, -EPERM, 0, 0},
};

static const struct inet_option *find(int level, int name)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (options[i].level == level && options[i].name == name)
            return &options[i];
    return NULL;
}

int inet_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                    unsigned size)
{
    const struct inet_option *o = find(level, name);
    int r = raw_is(s) ? raw_set_option(t, s, level, name, value, size) : 1;

    if (r <= 0)
        return r;
    if (!o)
        return -ENOPROTOOPT;
    if ((o->access & EMPTY_ONLY) && !size)
        return 0; /* nothing to take away */
    if (!(o->access & SET))
        return o->error ? o->error : -ENOPROTOOPT;
    if (size < o->min)
        return -EINVAL;
    size = MIN(size, o->max); /* Linux ignores what is beyond the value, too */
    return setsockopt(s->host_fd, level, name, value, size) < 0 ? -errno : 0;
}

int inet_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                    unsigned *size)
{
    const struct inet_option *o = find(level, name);
    socklen_t room = *size;
    int r = raw_is(s) ? raw_get_option(s, level, name, value, size) : 1;

    (void)t;
    if (r <= 0)
        return r;
    if (level == SOL_SOCKET && name == SO_PEERCRED) { /* as Linux: nobody */
        struct ucred nobody = {0, (uid_t)-1, (gid_t)-1};

        *size = MIN(*size, (unsigned)sizeof(nobody));
        memcpy(value, &nobody, *size);
        return 0;
    }
    if (!o || !(o->access & GET))
        return -ENOPROTOOPT;
    if (getsockopt(s->host_fd, level, name, value, &room) < 0)
        return -errno;
    *size = MIN(room, *size);
    return 0;
}
