/*
 * The policy engine, on the host's end of a pod's device: rules compiled per pod and direction,
 * replies to what they allowed, deny-all for a pod whose rules are not known. Knows nothing of the
 * metadata guard; a frame passes only if both say so.
 *
 * A pod that the engine does not bind (mode, audit) is judged all the same, so that its
 * connections are known at the moment when it is bound; only the drop is left out.
 *
 * What the node translates: egress to a Service is left to translated.bpf.c; ingress whose source
 * was rewritten is judged by the source that it had. A node's own address as source is let in only
 * for packets that this node made itself.
 */
#include "bpf/lib/conntrack.h"
#include "bpf/lib/engine.h"

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BERM_IFACES_MAX);
    __type(key, __u32);
    __type(value, struct berm_iface);
} p_ifaces SEC(".maps");

/* This node itself speaks to its pod: kubelet's probes. Forwarded packets came in by a device. */
INLINE int from_this_node(struct __sk_buff *skb, const struct packet *p, int direction)
{
    __u32 *node;

    if (direction != BERM_INGRESS || skb->ingress_ifindex)
        return 0;
    node = bpf_map_lookup_elem(&p_nodes, &p->src);
    return node && *node == 1;
}

/* A client that comes by the node's own address is still that client, not the node. */
INLINE void original_peer(struct __sk_buff *skb, struct context *c)
{
    struct connection ct;

    if (!connection_of((const struct sk_buff *)skb, &ct) || ct.info >= CT_IS_REPLY ||
        ct.protocol != c->p.protocol)
        return;
    c->peer.addr = ct.source;
}

INLINE int judge(struct __sk_buff *skb, struct context *c, const struct berm_iface *iface,
                 int direction)
{
    int trusted, r = packet_parse(skb, &c->p);

    if (!r)
        r = direction == BERM_EGRESS ? forged_from_pod(skb, &c->p, iface, &p_nodes)
                                     : forged_to_pod(&c->p);
    if (r || c->p.link_control)
        return r;
    r = judge_state(c);
    if (r)
        return r;
    context_key(c, direction);
    if (judge_flows(c, direction))
        return BERM_REASON_NONE;
    trusted = from_this_node(skb, &c->p, direction) || iface_owns(iface, &c->key.remote);
    if (direction == BERM_INGRESS && !trusted)
        original_peer(skb, c);
    return judge_rules(skb, c, direction, trusted);
}

INLINE int policy(struct __sk_buff *skb, int direction)
{
    struct context c = {.denial = {.name = ~0U, .engine = BERM_ENGINE_POLICY}, .slot = ~0U};
    __u32 zero = 0, ifindex = skb->ifindex;
    struct berm_config *config = bpf_map_lookup_elem(&p_config, &zero);
    struct berm_iface *iface = bpf_map_lookup_elem(&p_ifaces, &ifindex);
    struct berm_stats *stats;
    int r = BERM_REASON_UNKNOWN_DEVICE, bound;

    bound = !config || config->mode == BERM_MODE_ALL ||
            (config->mode == BERM_MODE_SANDBOXED && (!iface || iface->sandboxed));
    if (iface)
        c.slot = iface->slot;
    stats = bpf_map_lookup_elem(&p_stats, &c.slot);
    if (iface)
        r = judge(skb, &c, iface, direction);
    c.denial.direction = (__u8)direction;
    c.denial.reason = (__u8)r;
    if (r == BERM_REASON_NONE || !bound || (iface && iface->audit)) {
        if (r >= BERM_REASON_POLICY || (iface && iface->audit && (r || c.by_default)))
            account_audit(&p_events, ifindex, &c.p, c.slot, stats, &c.denial);
        account_pass(skb, stats, direction);
        return VERDICT_NEXT;
    }
    account_deny(&p_events, ifindex, &c.p, c.slot, stats, &c.denial);
    return VERDICT_DROP;
}

SEC("tc")
int policy_from_pod(struct __sk_buff *skb)
{
    return policy(skb, BERM_EGRESS);
}

SEC("tc")
int policy_to_pod(struct __sk_buff *skb)
{
    return policy(skb, BERM_INGRESS);
}
