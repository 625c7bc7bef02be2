/*
 * The policy engine behind the node's address translation: egress of pods to Services, judged by
 * the backend that was chosen, at postrouting (before the source is rewritten, which conntrack's
 * tuple would show as well) and, for a backend on this node itself, at local-in. Programs on the
 * pod's device and cgroup leave exactly these destinations to this one (map p_frontends).
 *
 * Judged are packets of the opener only; replies are let in by the entry that is made here, in the
 * table of the pod's connections, under the Service's address. A packet that was left to us and
 * then was not translated is judged by the address that it has. Which pod it is from is told by
 * its source address, which the device's programs do not let anybody forge.
 *
 * A netfilter program can only accept or drop: a denied backend shows as loss.
 */
#include "bpf/lib/conntrack.h"
#include "bpf/lib/engine.h"

char LICENSE[] SEC("license") = "GPL";

enum { NETFILTER_DROP, NETFILTER_ACCEPT, PROTOCOL_IP4 = 2, UNTRACKED_HEADER = 40 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct nf_hook_state {
    __u8 hook, pf;
};
struct bpf_nf_ctx {
    const struct nf_hook_state *state;
    struct sk_buff *skb;
};
#pragma clang attribute pop

/* What there is to judge: where the packet was sent, and in c->p where it goes. */
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
    p->portless = p->later || !has_ports(p->protocol);
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
    p->portless = !has_ports(ct->protocol);
    to->target = ct->target;
    to->port = ct->target_port;
}

/* 1: to be judged; p and `to` are filled. */
INLINE int look(const struct bpf_nf_ctx *ctx, struct packet *p, struct destination *to)
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

/* The entry is under the destination that the pod knows. */
INLINE void service_key(struct context *c, const struct destination *to)
{
    flow_key(&c->key, &c->p, BERM_EGRESS);
    c->key.remote = to->target;
    c->key.remote_port = to->port;
    c->peer.addr = c->p.dst;
    c->peer.port = c->p.dport;
}

/* A connection that stands, to this very backend. */
INLINE int backend_stands(const struct context *c)
{
    struct flow_view view;
    struct flow_peer peer;

    if (!flow_find(c->table, &c->key, c->now, &view) || view.direction != BERM_EGRESS ||
        view.epoch != c->epoch || !flow_peer(&view, &peer))
        return 0;
    if (peer.port != c->peer.port || !addr_equal(&peer.addr, &c->peer.addr))
        return 0;
    flow_touch(&view, BERM_EGRESS, c->now);
    return 1;
}

/* No more replies from where the pod may not go. */
INLINE void forget(const struct context *c)
{
    struct flow_view view;

    if (flow_find(c->table, &c->key, c->now, &view) && view.direction == BERM_EGRESS)
        view.flow->seen = 0;
}

INLINE int judge(struct context *c, const struct destination *to)
{
    int r = judge_state(c);

    if (r)
        return r;
    c->table = bpf_map_lookup_elem(&p_flows, &c->slot);
    if (!c->table)
        return BERM_REASON_INTERNAL;
    c->now = (__u32)(bpf_ktime_get_ns() / 1000000000ULL) + 1; /* the coarse clock is not for us */
    service_key(c, to);
    if (backend_stands(c))
        return BERM_REASON_NONE;
    r = by_rules(c, BERM_EGRESS);
    if (r)
        forget(c);
    else
        flow_put(c->table, &c->key, BERM_EGRESS, c->epoch, c->now, &c->peer);
    return r;
}

INLINE int drop(struct context *c, const struct berm_source *pod, int reason)
{
    struct berm_stats *stats = bpf_map_lookup_elem(&p_stats, &c->slot);

    if (pod->audit) {
        if (stats)
            stats->audited[BERM_EGRESS]++;
        return NETFILTER_ACCEPT;
    }
    c->denial.direction = BERM_EGRESS;
    c->denial.reason = (__u8)reason;
    account_deny(&p_events, 0, &c->p, c->slot, stats, &c->denial);
    return NETFILTER_DROP;
}

SEC("netfilter")
int policy_translated(struct bpf_nf_ctx *ctx)
{
    struct context c = {.denial = {.name = ~0U, .engine = BERM_ENGINE_POLICY}};
    struct berm_config *config;
    struct berm_source *pod;
    struct destination to;
    __u32 zero = 0;
    int r;

    if (!look(ctx, &c.p, &to))
        return NETFILTER_ACCEPT;
    pod = bpf_map_lookup_elem(&p_sources, &c.p.src);
    if (!pod || !is_frontend(&to.target, c.p.protocol, to.port))
        return NETFILTER_ACCEPT;
    config = bpf_map_lookup_elem(&p_config, &zero);
    c.slot = pod->slot;
    r = judge(&c, &to);
    if (!r || (config && (config->mode == BERM_MODE_NONE ||
                          (config->mode == BERM_MODE_SANDBOXED && !pod->sandboxed))))
        return NETFILTER_ACCEPT;
    return drop(&c, pod, r);
}
