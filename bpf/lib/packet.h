#pragma once
/*
 * From a frame to one form for both families. What cannot be understood in full is refused with
 * the reason: nothing is judged by a guess about where its ports or its destination are.
 *
 * Refused: VLAN tags, IPv4 options, IPv6 routing and unknown extension headers (at most
 * EXTENSIONS_MAX of the others), first fragments that don't hold the whole L4 header, later ones
 * that could overlap it, IPv4-mapped addresses in IPv6 headers, lengths that don't add up.
 * Later fragments show no ports: `portless`.
 */
#include "bpf/lib/bpf.h"

enum packet_kind { PACKET_IP4, PACKET_IP6, PACKET_ARP };
enum {
    ETHER_SIZE = 14,
    EXTENSIONS_MAX = 6,
    DIRECT_MAX = 511,  /* headers further in are read by the helper */
    FRAGMENT_MIN = 40, /* no later fragment starts before this: it would overlap L4 headers */
    TCP_SYN = 0x02,
    TCP_ACK = 0x10,
    ICMP_ECHOREPLY = 0,
    ICMP_ECHO = 8,
    ICMPV6_ECHO = 128,
    ICMPV6_ECHOREPLY = 129,
};

struct packet {
    struct berm_addr src, dst;
    __u32 l4;       /* offset of the L4 header (ARP: of its body) */
    __u32 l4_size;  /* bytes from there to the end of the IP packet */
    __u32 fragment; /* identification, if fragmented */
    __u16 sport, dport;
    __u8 kind, protocol;
    __u8 portless;     /* no ports to be seen */
    __u8 first, later; /* fragment with more to come; with offset > 0 */
    __u8 icmp_type;
    __u8 tcp_flags;
    __u8 hops;
    __u8 link_control; /* ARP, ND, MLD: set by the forgery check, not subject to policy */
    __u8 mac[6];       /* source */
};

struct ether {
    __u8 dst[6], src[6];
    __u16 type;
} __attribute__((packed));
struct ip4 {
    __u8 version_ihl, tos;
    __u16 size, id, fragment;
    __u8 ttl, protocol;
    __u16 check;
    __u32 src, dst;
};
struct ip6 {
    __u32 flow;
    __u16 size;
    __u8 next, hops;
    struct {
        __u32 w[4];
    } src, dst;
};
struct arp {
    __u16 hardware, protocol;
    __u8 hardware_size, protocol_size;
    __u16 op;
    __u8 sender_mac[6];
    __u8 sender[4];
    __u8 target_mac[6];
    __u8 target[4];
} __attribute__((packed));

typedef __u32 __attribute__((may_alias)) any32;
typedef __u16 __attribute__((may_alias)) any16;

/*
 * `size` bytes (even, known when compiled) at that offset; `to` is aligned for words. What lies in
 * the packet's first piece, as headers nearly always do, is read where it is: a call of the helper
 * costs as much as everything else that is done with these bytes.
 */
INLINE int packet_load(struct __sk_buff *skb, __u32 offset, void *to, const __u32 size)
{
    const void *end = (const void *)(long)skb->data_end, *from;
    __u32 i = 0;

    barrier_var(offset); /* the one that is checked is the one that is used */
    if (offset > DIRECT_MAX)
        return (int)bpf_skb_load_bytes(skb, offset, to, size);
    from = (const void *)(long)skb->data + offset;
    if (from + size > end)
        return (int)bpf_skb_load_bytes(skb, offset, to, size);
#pragma unroll
    for (; i + 4 <= size; i += 4)
        *(any32 *)(to + i) = *(const any32 *)(from + i);
    if (i < size)
        *(any16 *)(to + i) = *(const any16 *)(from + i);
    return 0;
}

INLINE int packet_has_ports(__u8 protocol)
{
    return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP;
}

/* Ports, or what stands for them. The smallest header that is let through is the protocol's own. */
INLINE int packet_l4(struct __sk_buff *skb, struct packet *p)
{
    __u8 head[14] __attribute__((aligned(4)));
    __u32 need;

    switch (p->protocol) {
    case PROTO_TCP:
        need = 20;
        break;
    case PROTO_UDP:
    case PROTO_ICMP:
        need = 8;
        break;
    case PROTO_SCTP:
        need = 12;
        break;
    case PROTO_ICMPV6:
        need = 4;
        break;
    default:
        p->portless = 1;
        return BERM_REASON_NONE;
    }
    if (p->later) {
        p->portless = 1;
        return BERM_REASON_NONE;
    }
    if (p->l4_size < need)
        return p->first ? BERM_REASON_TINY_FRAGMENT : BERM_REASON_MALFORMED;
    if (p->protocol == PROTO_TCP) {
        if (packet_load(skb, p->l4, head, 14))
            return BERM_REASON_MALFORMED;
        p->tcp_flags = head[13];
    } else if (p->protocol == PROTO_ICMPV6 && p->l4_size < 8) {
        if (packet_load(skb, p->l4, head, 4))
            return BERM_REASON_MALFORMED;
        head[4] = head[5] = 0;
    } else if (packet_load(skb, p->l4, head, 8)) {
        return BERM_REASON_MALFORMED;
    }
    if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6) {
        p->portless = 1;
        p->icmp_type = head[0];
        p->sport = p->dport = (__u16)(head[4] << 8 | head[5]); /* identifier of an echo */
        return BERM_REASON_NONE;
    }
    p->sport = (__u16)(head[0] << 8 | head[1]);
    p->dport = (__u16)(head[2] << 8 | head[3]);
    return BERM_REASON_NONE;
}

INLINE int packet_ip4(struct __sk_buff *skb, struct packet *p, __u32 base)
{
    struct ip4 ip;
    __u32 size, offset;

    if (packet_load(skb, base, &ip, sizeof(ip)))
        return BERM_REASON_MALFORMED;
    if (ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5)
        return BERM_REASON_MALFORMED;
    if ((ip.version_ihl & 15) > 5)
        return BERM_REASON_IP_OPTIONS;
    size = bpf_ntohs(ip.size);
    if (size == 0 && skb->gso_size) /* more than 64 KiB between here and segmentation */
        size = skb->len - base;
    if (size < sizeof(ip) || size > skb->len - base)
        return BERM_REASON_MALFORMED;
    p->kind = PACKET_IP4;
    p->protocol = ip.protocol;
    p->hops = ip.ttl;
    p->l4 = base + sizeof(ip);
    p->l4_size = size - sizeof(ip);
    addr_from_v4(&p->src, ip.src);
    addr_from_v4(&p->dst, ip.dst);
    offset = (bpf_ntohs(ip.fragment) & 0x1fff) * 8;
    if (offset || (bpf_ntohs(ip.fragment) & 0x2000)) {
        p->fragment = ip.id;
        p->later = offset != 0;
        p->first = offset == 0;
        if (offset && offset < FRAGMENT_MIN)
            return BERM_REASON_TINY_FRAGMENT;
    }
    return packet_l4(skb, p);
}

/* Steps over one extension header. <0: p->protocol is the L4 protocol; 0: go on; else a reason. */
INLINE int packet_extension(struct __sk_buff *skb, struct packet *p, int n)
{
    __u8 head[8];
    __u32 size;

    switch (p->protocol) {
    case PROTO_HOPOPTS:
        if (n > 0)
            return BERM_REASON_EXTENSION_HEADER;
        break;
    case PROTO_DSTOPTS:
    case PROTO_FRAGMENT:
        break;
    case PROTO_ROUTING:
        return BERM_REASON_ROUTING_HEADER;
    case PROTO_MOBILITY:
    case PROTO_HIP:
    case PROTO_SHIM6:
    case PROTO_TEST1:
    case PROTO_TEST2:
        return BERM_REASON_EXTENSION_HEADER;
    default:
        return -1;
    }
    if (p->later) /* what a later fragment continues must not be a header that we'd have to read */
        return BERM_REASON_EXTENSION_HEADER;
    if (p->l4_size < 8 || bpf_skb_load_bytes(skb, p->l4, head, 8))
        return p->first ? BERM_REASON_TINY_FRAGMENT : BERM_REASON_MALFORMED;
    size = 8;
    if (p->protocol == PROTO_FRAGMENT) {
        __u32 offset = (__u32)(head[2] << 8 | head[3]) & 0xfff8;

        if (p->first)
            return BERM_REASON_EXTENSION_HEADER; /* a fragment of a fragment */
        p->fragment = (__u32)head[4] << 24 | (__u32)head[5] << 16 | (__u32)head[6] << 8 | head[7];
        p->later = offset != 0;
        p->first = offset == 0;
        if (offset && offset < FRAGMENT_MIN)
            return BERM_REASON_TINY_FRAGMENT;
    } else {
        size = ((__u32)head[1] + 1) * 8;
    }
    if (size > p->l4_size)
        return p->first ? BERM_REASON_TINY_FRAGMENT : BERM_REASON_MALFORMED;
    p->protocol = head[0];
    p->l4 += size;
    p->l4_size -= size;
    return BERM_REASON_NONE;
}

INLINE int packet_ip6(struct __sk_buff *skb, struct packet *p, __u32 base)
{
    struct ip6 ip;
    __u32 size;
    int r = 0;

    if (packet_load(skb, base, &ip, sizeof(ip)))
        return BERM_REASON_MALFORMED;
    if (bpf_ntohl(ip.flow) >> 28 != 6)
        return BERM_REASON_MALFORMED;
    size = bpf_ntohs(ip.size);
    if (size == 0 && skb->gso_size)
        size = skb->len - base - sizeof(ip);
    if (size > skb->len - base - sizeof(ip))
        return BERM_REASON_MALFORMED;
    p->kind = PACKET_IP6;
    p->protocol = ip.next;
    p->hops = ip.hops;
    p->l4 = base + sizeof(ip);
    p->l4_size = size;
    __builtin_memcpy(&p->src, &ip.src, 16);
    __builtin_memcpy(&p->dst, &ip.dst, 16);
    if (addr_is_v4(&p->src) || addr_is_v4(&p->dst))
        return BERM_REASON_MALFORMED;
#pragma unroll
    for (int n = 0; n <= EXTENSIONS_MAX; n++) {
        r = packet_extension(skb, p, n);
        if (r)
            break;
    }
    if (r == 0)
        return BERM_REASON_EXTENSION_HEADER;
    return r < 0 ? packet_l4(skb, p) : r;
}

INLINE int packet_arp(struct __sk_buff *skb, struct packet *p)
{
    struct arp arp;
    __u32 v4;

    if (bpf_skb_load_bytes(skb, ETHER_SIZE, &arp, sizeof(arp)))
        return BERM_REASON_MALFORMED;
    if (arp.hardware != bpf_htons(1) || arp.protocol != bpf_htons(0x0800) ||
        arp.hardware_size != 6 || arp.protocol_size != 4)
        return BERM_REASON_MALFORMED;
    p->kind = PACKET_ARP;
    p->l4 = ETHER_SIZE;
    __builtin_memcpy(&v4, arp.sender, 4);
    addr_from_v4(&p->src, v4);
    __builtin_memcpy(&v4, arp.target, 4);
    addr_from_v4(&p->dst, v4);
    p->portless = 1;
    return BERM_REASON_NONE;
}

/* The same for a packet without a link layer, as the cgroup hooks have it. */
__attribute__((noinline)) int packet_parse_ip(struct __sk_buff *skb, struct packet *p)
{
    if (!p)
        return BERM_REASON_INTERNAL;
    __builtin_memset(p, 0, sizeof(*p));
    switch (bpf_ntohs((__u16)skb->protocol)) {
    case 0x0800:
        return packet_ip4(skb, p, 0);
    case 0x86dd:
        return packet_ip6(skb, p, 0);
    default:
        return BERM_REASON_ETHERTYPE;
    }
}

/* Fills p. BERM_REASON_NONE, or why the frame must be dropped (p is then filled as far as it got).
 */
__attribute__((noinline)) int packet_parse(struct __sk_buff *skb, struct packet *p)
{
    struct ether eth __attribute__((aligned(4)));

    if (!p) /* the verifier looks at a global function on its own, once: keeps loading fast */
        return BERM_REASON_INTERNAL;
    __builtin_memset(p, 0, sizeof(*p));
    if (skb->vlan_present)
        return BERM_REASON_VLAN;
    if (skb->len < ETHER_SIZE || packet_load(skb, 0, &eth, sizeof(eth)))
        return BERM_REASON_MALFORMED;
    __builtin_memcpy(p->mac, eth.src, 6);
    switch (bpf_ntohs(eth.type)) {
    case 0x0800:
        return packet_ip4(skb, p, ETHER_SIZE);
    case 0x86dd:
        return packet_ip6(skb, p, ETHER_SIZE);
    case 0x0806:
        return packet_arp(skb, p);
    case 0x8100:
    case 0x88a8:
    case 0x9100:
        return BERM_REASON_VLAN;
    default:
        return BERM_REASON_ETHERTYPE;
    }
}
