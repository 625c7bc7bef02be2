#pragma once
/*
 * Frames by which a pod would lie about who or where it is: foreign source addresses, ARP and
 * neighbour discovery for others, router advertisements, DHCP answers, tunnels that a node would
 * unpack. Both engines check this, each from its own maps, so that either alone is enough.
 */
#include "bpf/lib/skbuff.h"
#include "bpf/lib/tunnel.h"

enum {
    ND_ROUTER_SOLICIT = 133,
    ND_ROUTER_ADVERT = 134,
    ND_SOLICIT = 135,
    ND_ADVERT = 136,
    ND_REDIRECT = 137,
    MLD_QUERY = 130,
    MLD_REPORT = 131,
    MLD_DONE = 132,
    MLD2_REPORT = 143,
    ND_OPTION_SOURCE = 1,
    ND_OPTION_TARGET = 2,
    ND_OPTION_NONCE = 14,
    ND_OPTIONS_MAX = 3,
};

/* Global, not static: the verifier then looks at it once and not at each call. */
__attribute__((noinline)) int iface_owns(const struct berm_iface *iface, const struct berm_addr *a)
{
    if (!iface || !a)
        return 0;
#pragma unroll
    for (__u32 i = 0; i < BERM_ADDRS_MAX; i++) {
        if (i >= iface->n_addrs)
            break;
        if (addr_equal(&iface->addrs[i], a))
            return 1;
    }
    return 0;
}

INLINE int mac_equal(const __u8 *a, const __u8 *b)
{
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
            (a[5] ^ b[5])) == 0;
}

/* 127.0.0.0/8 or ::1: with route_localnet or a sloppy stack they reach the node's own services. */
INLINE int addr_is_loopback(const struct berm_addr *a)
{
    if (addr_is_v4(a))
        return a->b[12] == 127;
    return a->d[0] == 0 && a->w[2] == 0 && a->w[3] == bpf_htonl(1);
}

INLINE int addr_is_link_scope(const struct berm_addr *a)
{
    return (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) || (a->b[0] == 0xff && a->b[1] == 2);
}

INLINE int forged_arp(struct __sk_buff *skb, const struct packet *p, const struct berm_iface *iface)
{
    struct arp arp;

    if (bpf_skb_load_bytes(skb, p->l4, &arp, sizeof(arp)))
        return BERM_REASON_MALFORMED;
    if (arp.op != bpf_htons(1) && arp.op != bpf_htons(2))
        return BERM_REASON_SPOOFED_ARP;
    if (!mac_equal(arp.sender_mac, iface->mac))
        return BERM_REASON_SPOOFED_ARP;
    if (iface_owns(iface, &p->src))
        return BERM_REASON_NONE;
    /* 0.0.0.0 asks whether an address is free, and claims nothing */
    if (p->src.w[3] == 0 && arp.op == bpf_htons(1))
        return BERM_REASON_NONE;
    return BERM_REASON_SPOOFED_ARP;
}

/* Options of a neighbour discovery message at p->l4 + at: link-layer addresses must be ours. */
INLINE int forged_nd_options(struct __sk_buff *skb, const struct packet *p, __u32 at,
                             const struct berm_iface *iface)
{
    __u8 option[8];

#pragma unroll
    for (int i = 0; i <= ND_OPTIONS_MAX; i++) {
        if (at == p->l4_size)
            return BERM_REASON_NONE;
        if (at + 8 > p->l4_size || bpf_skb_load_bytes(skb, p->l4 + at, option, 8))
            return BERM_REASON_SPOOFED_ND;
        if (option[1] != 1)
            return BERM_REASON_SPOOFED_ND;
        if (option[0] == ND_OPTION_SOURCE || option[0] == ND_OPTION_TARGET) {
            if (!mac_equal(option + 2, iface->mac))
                return BERM_REASON_SPOOFED_ND;
        } else if (option[0] != ND_OPTION_NONCE || p->icmp_type == ND_ADVERT) {
            return BERM_REASON_SPOOFED_ND;
        }
        at += 8;
    }
    return BERM_REASON_SPOOFED_ND;
}

/* Neighbour discovery that a pod sends. Sets link_control where policy has no say. */
INLINE int forged_nd(struct __sk_buff *skb, struct packet *p, const struct berm_iface *iface)
{
    struct berm_addr target;

    if (p->icmp_type == ND_ROUTER_ADVERT || p->icmp_type == ND_REDIRECT)
        return BERM_REASON_ROUTER_ADVERT;
    if (p->first || p->hops != 255)
        return BERM_REASON_SPOOFED_ND;
    if (p->icmp_type == ND_ROUTER_SOLICIT) {
        p->link_control = addr_is_link_scope(&p->dst);
        return forged_nd_options(skb, p, 8, iface);
    }
    if (p->l4_size < 24 || bpf_skb_load_bytes(skb, p->l4 + 8, &target, 16))
        return BERM_REASON_SPOOFED_ND;
    if (p->icmp_type == ND_ADVERT) {
        if (!iface_owns(iface, &target))
            return BERM_REASON_SPOOFED_ND;
        p->link_control = 1; /* answers go to whoever asked */
    } else {
        /* A unicast probe could carry data anywhere: policy judges it; the kernel falls back to
         * multicast where it is dropped. */
        p->link_control = addr_is_link_scope(&p->dst);
    }
    return forged_nd_options(skb, p, 24, iface);
}

INLINE int packet_is_nd(const struct packet *p)
{
    return p->protocol == PROTO_ICMPV6 && p->kind == PACKET_IP6 && !p->later &&
           p->icmp_type >= ND_ROUTER_SOLICIT && p->icmp_type <= ND_REDIRECT;
}

INLINE int packet_is_mld(const struct packet *p)
{
    return p->protocol == PROTO_ICMPV6 && p->kind == PACKET_IP6 && !p->later &&
           ((p->icmp_type >= MLD_QUERY && p->icmp_type <= MLD_DONE) || p->icmp_type == MLD2_REPORT);
}

INLINE int forged_source(const struct packet *p, const struct berm_iface *iface)
{
    if (iface_owns(iface, &p->src))
        return BERM_REASON_NONE;
    /* Before an address is configured: duplicate detection, solicitation, MLD, DHCP. */
    if (p->kind == PACKET_IP6 && p->src.d[0] == 0 && p->src.d[1] == 0 &&
        (p->icmp_type == ND_SOLICIT || p->icmp_type == ND_ROUTER_SOLICIT || packet_is_mld(p)) &&
        p->protocol == PROTO_ICMPV6 && addr_is_link_scope(&p->dst))
        return BERM_REASON_NONE;
    if (p->kind == PACKET_IP4 && p->src.w[3] == 0 && p->protocol == PROTO_UDP && !p->portless &&
        p->sport == 68 && p->dport == 67)
        return BERM_REASON_NONE;
    return BERM_REASON_SPOOFED_ADDRESS;
}

/* The only places where a sender may leave a checksum to be written: that of the header that was
 * looked at, or behind it. Anywhere else the packet becomes another one after it was judged. */
INLINE int forged_checksum(struct __sk_buff *skb, const struct packet *p)
{
    __u32 start, at, size = 0, own = 0;

    if (!skb_owes_checksum(skb, &start, &at))
        return BERM_REASON_NONE;
    if (p->later) {
        own = 0;
    } else if (p->protocol == PROTO_TCP) {
        own = 16, size = 20;
    } else if (p->protocol == PROTO_UDP) {
        own = 6, size = 8;
    } else if (p->protocol == PROTO_SCTP) {
        own = 8, size = 12;
    } else if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6) {
        own = 2, size = 8;
    }
    if (own && start == p->l4 && at == p->l4 + own)
        return BERM_REASON_NONE;
    return at >= p->l4 + size && at < skb->len ? BERM_REASON_NONE : BERM_REASON_MALFORMED;
}

/* Would this node take the packet in, whatever its own addresses are? So it seems, too, where it
 * has no route: then it goes nowhere. */
__attribute__((noinline)) int ends_here(struct __sk_buff *skb, const struct packet *p)
{
    struct bpf_fib_lookup fib;
    long r;

    if (!p)
        return 1;
    __builtin_memset(&fib, 0, sizeof(fib));
    fib.ifindex = skb->ifindex;
    if (p->kind == PACKET_IP4) {
        fib.family = FAMILY_INET;
        fib.ipv4_src = p->src.w[3];
        fib.ipv4_dst = p->dst.w[3];
    } else {
        fib.family = FAMILY_INET6;
        __builtin_memcpy(fib.ipv6_src, &p->src, 16);
        __builtin_memcpy(fib.ipv6_dst, &p->dst, 16);
    }
    r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
    return r < 0 || r == BPF_FIB_LKUP_RET_NOT_FWDED || r == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Has this node a socket there that unpacks what comes: a tunnel on a port of its own? */
__attribute__((noinline)) int is_unpacked(struct __sk_buff *skb, const struct packet *p)
{
    struct bpf_sock_tuple tuple;
    struct bpf_sock *sock;
    __u32 size;
    __u8 kind;

    if (!p || !SKB_IN_PLACE)
        return 0;
    __builtin_memset(&tuple, 0, sizeof(tuple));
    if (p->kind == PACKET_IP4) {
        size = sizeof(tuple.ipv4);
        tuple.ipv4.saddr = p->src.w[3];
        tuple.ipv4.daddr = p->dst.w[3];
        tuple.ipv4.sport = bpf_htons(p->sport);
        tuple.ipv4.dport = bpf_htons(p->dport);
    } else {
        size = sizeof(tuple.ipv6);
        __builtin_memcpy(tuple.ipv6.saddr, &p->src, 16);
        __builtin_memcpy(tuple.ipv6.daddr, &p->dst, 16);
        tuple.ipv6.sport = bpf_htons(p->sport);
        tuple.ipv6.dport = bpf_htons(p->dport);
    }
    sock = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
    if (!sock)
        return 0;
    kind =
        ((const struct udp_sock *)bpf_rdonly_cast(sock, bpf_core_type_id_kernel(struct udp_sock)))
            ->encap_type;
    bpf_sk_release(sock);
    return kind != 0;
}

/* `nodes` is the caller's set of node addresses. */
INLINE int forged_tunnel(struct __sk_buff *skb, const struct packet *p, void *nodes)
{
    if (packet_is_tunnel(p)) /* what a later fragment belongs to is told by the first one */
        return packet_is_for_node(p, nodes) || (!p->later && ends_here(skb, p));
    return p->protocol == PROTO_UDP && p->kind != PACKET_ARP && packet_is_for_node(p, nodes) &&
           is_unpacked(skb, p);
}

/* A frame from the pod. */
INLINE int forged_from_pod(struct __sk_buff *skb, struct packet *p, const struct berm_iface *iface,
                           void *nodes)
{
    int r;

    if (!mac_equal(p->mac, iface->mac))
        return BERM_REASON_SPOOFED_MAC;
    if (p->kind == PACKET_ARP) {
        p->link_control = 1;
        return forged_arp(skb, p, iface);
    }
    r = forged_source(p, iface);
    if (!r)
        r = forged_checksum(skb, p);
    if (r)
        return r;
    if (addr_is_loopback(&p->dst))
        return BERM_REASON_LOOPBACK;
    if (packet_is_nd(p))
        return forged_nd(skb, p, iface);
    if (packet_is_mld(p)) {
        p->link_control = addr_is_link_scope(&p->dst) && p->hops == 1;
        return BERM_REASON_NONE;
    }
    if (p->protocol == PROTO_UDP && !p->portless &&
        ((p->kind == PACKET_IP4 && p->sport == 67) || (p->kind == PACKET_IP6 && p->sport == 547)))
        return BERM_REASON_DHCP_SERVER;
    return forged_tunnel(skb, p, nodes) ? BERM_REASON_TUNNEL : BERM_REASON_NONE;
}

/* A frame to the pod: what its node or neighbours say on the link. */
INLINE int forged_to_pod(struct packet *p)
{
    if (p->kind == PACKET_ARP) {
        p->link_control = 1;
        return BERM_REASON_NONE;
    }
    if (addr_is_loopback(&p->src))
        return BERM_REASON_LOOPBACK;
    if (packet_is_nd(p)) {
        if (p->icmp_type == ND_REDIRECT)
            return BERM_REASON_ROUTER_ADVERT;
        p->link_control = p->hops == 255;
    } else if (packet_is_mld(p)) {
        p->link_control = addr_is_link_scope(&p->dst) && p->hops == 1;
    }
    return BERM_REASON_NONE;
}
