#pragma once
/*
 * The policy engine's judgement of one packet, for every plane: what stands as a connection, then
 * the rules. Planes differ in how they find the pod and in what they check before.
 */
#include "bpf/lib/account.h"
#include "bpf/lib/engine_maps.h"
#include "bpf/lib/flow.h"
#include "bpf/lib/rules.h"

/* What one packet's judgement carries around. */
struct context {
    struct packet p;
    struct berm_flow_key key;
    struct flow_peer peer;
    struct denial denial;
    void *table;
    __u32 slot, epoch, now;
    __u8 by_default; /* begins a connection that no policy speaks of */
    __u8 answers;    /* within a connection that the other side opened */
};

static const struct berm_verdict *ask(const struct context *c, int direction,
                                      const struct flow_peer *peer, __u8 protocol, int portless)
{
    struct question q = {
        .peer = peer->addr,
        .scope = c->slot << 1 | (__u32)direction,
        .epoch = c->epoch,
        .port = peer->port,
        .protocol = protocol,
        .portless = (__u8)portless,
    };

    return rules_ask(&q);
}

/* The key, and the peer as the packet has it. */
INLINE void context_key(struct context *c, int direction)
{
    flow_key(&c->key, &c->p, direction);
    c->peer.addr = c->key.remote;
    c->peer.port = direction == BERM_EGRESS ? c->key.remote_port : c->key.local_port;
}

INLINE int has_frontend(const struct berm_addr *addr, __u8 protocol, __u16 port)
{
    struct berm_frontend key = {.addr = *addr, .port = port, .protocol = protocol};

    return bpf_map_lookup_elem(&p_frontends, &key) != 0;
}

/* Is that a destination that the node translates? */
static __attribute__((noinline)) int is_frontend(const struct berm_addr *addr, __u8 protocol,
                                                 __u16 port)
{
    struct berm_addr any = {};
    __u32 *node;

    if (!addr)
        return 0;
    if (has_frontend(addr, protocol, port))
        return 1;
    node = bpf_map_lookup_elem(&p_nodes, addr);
    return node && *node == 1 && has_frontend(&any, protocol, port);
}

/* Is the entry's connection still allowed by the rules in force? Renews it if so. */
INLINE int flow_holds(const struct context *c, const struct berm_flow_key *key,
                      const struct flow_view *view)
{
    const struct berm_verdict *v;
    struct flow_peer peer;

    if (view->epoch == c->epoch)
        return 1;
    if (!flow_peer(view, &peer))
        return 0;
    v = ask(c, view->direction & 1, &peer, key->protocol, !packet_has_ports(key->protocol));
    if (!v || !v->allow)
        return 0;
    /* Not the epoch alone: another CPU may just have given the place to another connection. */
    flow_put(c->table, key, view->direction & 1, c->epoch, c->now, &peer);
    return 1;
}

/* Could this packet be an answer within a connection that the other side opened? */
INLINE int is_reply(const struct packet *p)
{
    if (p->protocol == PROTO_TCP)
        return (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
    if (p->protocol == PROTO_ICMP)
        return p->icmp_type == ICMP_ECHOREPLY;
    if (p->protocol == PROTO_ICMPV6)
        return p->icmp_type == ICMPV6_ECHOREPLY;
    return 1;
}

/* Packets by which a connection may begin, and whose key names it. */
INLINE int is_opener(const struct packet *p)
{
    if (p->later)
        return 0;
    if (p->protocol == PROTO_ICMP)
        return p->icmp_type == ICMP_ECHO;
    if (p->protocol == PROTO_ICMPV6)
        return p->icmp_type == ICMPV6_ECHO;
    return 1;
}

/* 1 if a connection that stands lets this packet through. */
INLINE int flow_allows(struct context *c, int direction)
{
    struct flow_view view;

    if (c->p.later || !flow_find(c->table, &c->key, c->now, &view))
        return 0;
    if (view.direction != direction ? !is_reply(&c->p) : !is_opener(&c->p))
        return 0;
    if (!flow_holds(c, &c->key, &view))
        return 0;
    flow_touch(&view, direction, c->now);
    c->answers = view.direction != direction;
    return 1;
}

INLINE int fragment_allows(const struct context *c, int direction)
{
    struct berm_flow_key key;
    struct flow_view view;

    if (!c->p.later)
        return 0;
    flow_fragment_key(&key, &c->p, direction);
    return flow_find(c->table, &key, c->now, &view) && view.epoch == c->epoch;
}

INLINE int is_icmp_error(const struct packet *p)
{
    if (p->later)
        return 0;
    if (p->protocol == PROTO_ICMP)
        return p->icmp_type == 3 || p->icmp_type == 11 || p->icmp_type == 12;
    return p->protocol == PROTO_ICMPV6 && p->icmp_type >= 1 && p->icmp_type <= 4;
}

/*
 * An ICMP error about a packet of a connection that stands: path MTU discovery and "unreachable"
 * belong to the connection. The quoted packet was sent by the receiver of the error.
 */
INLINE int error_allows(struct __sk_buff *skb, const struct context *c, int direction)
{
    struct berm_flow_key key;
    struct flow_view view;
    struct berm_addr src, dst;
    __u32 at = c->p.l4 + 8, ports = 0;
    __u8 protocol;
    __u8 l4[4];

    if (!is_icmp_error(&c->p))
        return 0;
    if (c->p.kind == PACKET_IP4) {
        struct ip4 ip;

        if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version_ihl != 0x45 ||
            (ip.fragment & bpf_htons(0x1fff)))
            return 0;
        addr_from_v4(&src, ip.src);
        addr_from_v4(&dst, ip.dst);
        protocol = ip.protocol;
        at += sizeof(ip);
    } else {
        struct ip6 ip;

        if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
            return 0;
        __builtin_memcpy(&src, &ip.src, 16);
        __builtin_memcpy(&dst, &ip.dst, 16);
        protocol = ip.next;
        at += sizeof(ip);
    }
    __builtin_memset(&key, 0, sizeof(key));
    key.protocol = protocol;
    if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6)
        at += 4;
    if (bpf_skb_load_bytes(skb, at, l4, 4))
        return 0;
    /* Towards the pod the quoted packet is the pod's own, from it the peer's. */
    key.local = direction == BERM_INGRESS ? src : dst;
    key.remote = direction == BERM_INGRESS ? dst : src;
    if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6) {
        key.local_port = (__u16)(l4[0] << 8 | l4[1]);
    } else if (packet_has_ports(protocol)) {
        ports = (__u32)(l4[0] << 8 | l4[1]);
        key.local_port = (__u16)(direction == BERM_INGRESS ? ports : l4[2] << 8 | l4[3]);
        key.remote_port = (__u16)(direction == BERM_INGRESS ? l4[2] << 8 | l4[3] : ports);
    }
    /* It goes to the sender of what it quotes: a quoted header is no pass to anybody else. */
    if (!addr_equal(&c->p.dst, direction == BERM_INGRESS ? &key.local : &key.remote))
        return 0;
    return flow_find(c->table, &key, c->now, &view) && flow_holds(c, &key, &view);
}

/* Remembers what was allowed by the rules themselves. */
INLINE void remember(struct context *c, int direction)
{
    if (is_opener(&c->p))
        flow_put(c->table, &c->key, direction, c->epoch, c->now, &c->peer);
}

INLINE void remember_fragments(struct context *c, int direction)
{
    struct berm_flow_key key;

    if (!c->p.first)
        return;
    flow_fragment_key(&key, &c->p, direction);
    flow_put(c->table, &key, direction, c->epoch, c->now, &c->peer);
}

INLINE int by_rules(struct context *c, int direction)
{
    const struct berm_verdict *v = ask(c, direction, &c->peer, c->p.protocol, c->p.portless);

    if (!v)
        return BERM_REASON_INTERNAL;
    if (v->allow) {
        c->by_default = v->origin == BERM_ORIGIN_DEFAULT;
        return BERM_REASON_NONE;
    }
    c->denial.name = v->name;
    return v->reason ? v->reason : BERM_REASON_POLICY;
}

INLINE int judge_state(struct context *c)
{
    struct berm_control *control = bpf_map_lookup_elem(&p_control, &c->slot);
    __u64 word;

    if (!control)
        return BERM_REASON_INTERNAL;
    word = *(volatile __u64 *)&control->word;
    c->epoch = BERM_CONTROL_EPOCH(word);
    c->denial.epoch = c->epoch;
    switch (BERM_CONTROL_STATE(word)) {
    case BERM_POD_RULES:
        return BERM_REASON_NONE;
    case BERM_POD_CLOSED:
        return BERM_REASON_POLICY_CLOSED;
    default:
        return BERM_REASON_UNKNOWN_POD;
    }
}

/* Left to the program behind the translation, which makes the entry that lets replies in. */
INLINE int is_deferred(const struct context *c, int direction)
{
    return direction == BERM_EGRESS && !c->p.portless && packet_has_ports(c->p.protocol) &&
           is_frontend(&c->p.dst, c->p.protocol, c->p.dport);
}

/* Asked first, and most often the answer: 1 if a connection that stands lets the packet through.
 * c->p, key and slot are set and the pod's state is "rules". */
INLINE int judge_flows(struct context *c, int direction)
{
    c->table = bpf_map_lookup_elem(&p_flows, &c->slot);
    if (!c->table)
        return 0;
    c->now = flow_now();
    if (!flow_allows(c, direction) && !fragment_allows(c, direction))
        return 0;
    remember_fragments(c, direction);
    return 1;
}

/* Then the rules (`trusted`: no need to ask them), about c->peer; what is let through is
 * remembered.
 */
INLINE int judge_rules(struct __sk_buff *skb, struct context *c, int direction, int trusted)
{
    int r = BERM_REASON_NONE;

    if (!c->table)
        return BERM_REASON_INTERNAL;
    if (!trusted && is_deferred(c, direction)) {
        remember_fragments(c, direction);
        return BERM_REASON_NONE;
    }
    if (!trusted)
        r = by_rules(c, direction);
    if (r == BERM_REASON_NONE) {
        remember(c, direction);
        remember_fragments(c, direction);
        return r;
    }
    return error_allows(skb, c, direction) ? BERM_REASON_NONE : r;
}
