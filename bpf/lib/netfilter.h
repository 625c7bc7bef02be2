#pragma once
/*
 * A packet at a hook of netfilter, for both engines: where it came from before its source was
 * rewritten, where it was sent, and where it goes now. Only packets of the opener: what the other
 * side answers is judged on the pod's device.
 *
 * A netfilter program can only accept or drop.
 */
#include "bpf/lib/conntrack.h"
#include "bpf/lib/tunnel.h"

enum {
    NETFILTER_DROP,
    NETFILTER_ACCEPT,
    NETFILTER_LOCAL_IN = 1,
    PROTOCOL_IP4 = 2,
    UNTRACKED_HEADER = 40
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct nf_hook_state {
    __u8 hook, pf;
};
struct bpf_nf_ctx {
    const struct nf_hook_state *state;
    struct sk_buff *skb;
};
#pragma clang attribute pop

/* Where the packet was sent; where it goes is in struct packet. */
struct destination {
    struct berm_addr target;
    __u16 port;
};

/* The header of a packet without a connection, or of one that is not the connection's own. */
INLINE int read_header(const struct sk_buff *skb, int four, struct packet *p)
{
    const unsigned char *at = skb->head + skb->network_header;
    __u8 head[UNTRACKED_HEADER + 4];
    __u32 size = four ? sizeof(struct ip4) : sizeof(struct ip6);
    const __u8 *l4;

    if (bpf_probe_read_kernel(head, sizeof(head), at))
        return 0;
    p->kind = four ? PACKET_IP4 : PACKET_IP6;
    if (four) {
        const struct ip4 *ip = (const void *)head;

        p->protocol = ip->protocol;
        addr_from_v4(&p->src, ip->src);
        addr_from_v4(&p->dst, ip->dst);
        p->later = (ip->fragment & bpf_htons(0x1fff)) != 0;
    } else {
        const struct ip6 *ip = (const void *)head;

        p->protocol = ip->next;
        __builtin_memcpy(&p->src, &ip->src, 16);
        __builtin_memcpy(&p->dst, &ip->dst, 16);
    }
    p->portless = p->later || !packet_has_ports(p->protocol);
    l4 = head + size;
    if (!p->portless) {
        p->sport = (__u16)(l4[0] << 8 | l4[1]);
        p->dport = (__u16)(l4[2] << 8 | l4[3]);
    }
    return 1;
}

INLINE void from_connection(const struct connection *ct, int four, struct packet *p,
                            struct destination *to)
{
    p->kind = four ? PACKET_IP4 : PACKET_IP6;
    p->src = ct->source;
    p->sport = ct->source_port;
    p->dst = ct->end;
    p->dport = ct->end_port;
    p->protocol = ct->protocol;
    p->portless = !packet_has_ports(ct->protocol);
    to->target = ct->target;
    to->port = ct->target_port;
}

/* 1: to be judged; p (addresses, protocol, ports) and `to` are filled. */
INLINE int netfilter_look(const struct bpf_nf_ctx *ctx, struct packet *p, struct destination *to)
{
    const struct sk_buff *skb = ctx->skb;
    int four = ctx->state->pf == PROTOCOL_IP4;
    struct connection ct;

    if (!connection_of(skb, &ct)) {
        if (!read_header(skb, four, p))
            return 0;
        to->target = p->dst;
        to->port = p->dport;
        return 1;
    }
    if (ct.info >= CT_IS_REPLY)
        return 0;
    if (ct.info == CT_RELATED) { /* errors were judged by what they quote */
        if (!read_header(skb, four, p) || p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6)
            return 0;
    }
    from_connection(&ct, four, p, to);
    return 1;
}

/* What would be unpacked here, whatever address it has, or at another node. */
INLINE int netfilter_is_tunnel(const struct bpf_nf_ctx *ctx, const struct packet *p, void *nodes)
{
    return packet_is_tunnel(p) &&
           (ctx->state->hook == NETFILTER_LOCAL_IN || packet_is_for_node(p, nodes));
}
