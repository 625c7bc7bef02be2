/*
 * The policy engine on a pod's cgroup: the same rules and connections as on its devices, where a
 * program learns at once (EPERM) what the device could only drop in silence. Beside the programs
 * on the devices, never in their place; nothing is let through here that they deny.
 *
 * At connect only protocols with connections are asked about: a datagram socket may be answering a
 * peer that opened the flow, which the packet itself shows; nor is anything said about what the
 * node translates, for only its own choice shows who the peer is. A pod whose rules are not known
 * yet is not refused at connect, for its rules may be there before its next attempt.
 *
 * What was let through is counted by the devices' programs; denials are counted where they happen.
 */
#include "bpf/lib/engine.h"

char LICENSE[] SEC("license") = "GPL";

enum { CGROUP_DENY, CGROUP_ALLOW, LOOPBACK_DEVICE = 1, PROTO_DCCP = 33 };

struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
    __type(key, __u64);
    __type(value, struct berm_cgroup_rules);
} p_cgroups SEC(".maps");

/* Not bound: mode, audit, or storage that the agent has not filled in (the device's denies all). */
INLINE int is_bound(const struct berm_cgroup_rules *pod)
{
    __u32 zero = 0;
    struct berm_config *config = bpf_map_lookup_elem(&p_config, &zero);

    if (!pod->known || pod->pod.audit)
        return 0;
    return !config || config->mode == BERM_MODE_ALL ||
           (config->mode == BERM_MODE_SANDBOXED && pod->pod.sandboxed);
}

INLINE int deny(struct context *c, int direction, int reason)
{
    c->denial.direction = (__u8)direction;
    c->denial.reason = (__u8)reason;
    account_deny(&p_events, 0, &c->p, c->slot, bpf_map_lookup_elem(&p_stats, &c->slot), &c->denial);
    return CGROUP_DENY;
}

INLINE int packet_verdict(struct __sk_buff *skb, int direction)
{
    const struct berm_cgroup_rules *pod = bpf_get_local_storage(&p_cgroups, 0);
    struct context c = {.denial = {.name = ~0U, .engine = BERM_ENGINE_POLICY},
                        .slot = pod->pod.slot};
    int r;

    if (!is_bound(pod) || skb->ifindex == LOOPBACK_DEVICE)
        return CGROUP_ALLOW;
    r = packet_parse_ip(skb, &c.p);
    if (!r && (addr_is_loopback(&c.p.src) || addr_is_loopback(&c.p.dst)))
        return CGROUP_ALLOW;
    if (!r)
        r = judge_state(&c);
    if (!r) {
        context_key(&c, direction);
        r = judge_flows(skb, &c, direction, iface_owns(&pod->pod, &c.key.remote));
    }
    return r ? deny(&c, direction, r) : CGROUP_ALLOW;
}

SEC("cgroup_skb/egress")
int cpolicy_egress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_EGRESS);
}

SEC("cgroup_skb/ingress")
int cpolicy_ingress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_INGRESS);
}

/* c->p.dst, dport and protocol are set. */
INLINE int address_verdict(struct context *c)
{
    const struct berm_cgroup_rules *pod = bpf_get_local_storage(&p_cgroups, 0);
    int r;

    if (!is_bound(pod) || addr_is_loopback(&c->p.dst) || iface_owns(&pod->pod, &c->p.dst))
        return CGROUP_ALLOW;
    if (c->p.protocol != PROTO_TCP && c->p.protocol != PROTO_SCTP && c->p.protocol != PROTO_DCCP)
        return CGROUP_ALLOW;
    c->slot = pod->pod.slot;
    r = judge_state(c);
    if (r == BERM_REASON_UNKNOWN_POD)
        return CGROUP_ALLOW;
    if (!r && !is_deferred(c, BERM_EGRESS)) {
        context_key(c, BERM_EGRESS);
        r = by_rules(c, BERM_EGRESS);
    }
    return r ? deny(c, BERM_EGRESS, r) : CGROUP_ALLOW;
}

/* MPTCP's number is 262: its low byte is TCP's, which is what it is on the wire. */
INLINE void address_context(struct context *c, const struct bpf_sock_addr *ctx)
{
    __builtin_memset(c, 0, sizeof(*c));
    c->denial.name = ~0U;
    c->denial.engine = BERM_ENGINE_POLICY;
    c->p.protocol = (__u8)ctx->protocol;
    c->p.dport = bpf_ntohs((__u16)ctx->user_port);
    c->p.portless = c->p.protocol == PROTO_DCCP;
}

SEC("cgroup/connect4")
int cpolicy_connect4(struct bpf_sock_addr *ctx)
{
    struct context c;

    address_context(&c, ctx);
    c.p.kind = PACKET_IP4;
    addr_from_v4(&c.p.dst, ctx->user_ip4);
    return address_verdict(&c);
}

SEC("cgroup/connect6")
int cpolicy_connect6(struct bpf_sock_addr *ctx)
{
    struct context c;

    address_context(&c, ctx);
    c.p.kind = PACKET_IP6;
    c.p.dst.w[0] = ctx->user_ip6[0];
    c.p.dst.w[1] = ctx->user_ip6[1];
    c.p.dst.w[2] = ctx->user_ip6[2];
    c.p.dst.w[3] = ctx->user_ip6[3];
    if (addr_is_v4(&c.p.dst))
        c.p.kind = PACKET_IP4;
    return address_verdict(&c);
}
