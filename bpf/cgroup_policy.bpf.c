/*
 * The policy engine on a pod's cgroup: the same rules and connections as on its devices, where a
 * program learns at once (EPERM) what the device could only drop in silence. Beside the programs
 * on the devices, never in their place; nothing is let through here that they deny.
 *
 * At connect only protocols with connections are asked about: a datagram socket may be answering a
 * peer that opened the flow, which the packet itself shows. Of what the node translates only its
 * own choice shows who the peer is: refused is what may become none that is allowed. A pod whose
 * rules are not known yet is not refused at connect, for its rules may be there before its next
 * attempt.
 *
 * A pod on this node that would not let the packet in says so here, too (bpf/lib/peer.h): when a
 * connection is begun, and for datagrams that are no answers: whoever opened that connection by a
 * Service knows it under the Service's address. Towards others, and behind a Service, that shows as
 * loss.
 *
 * What was let through is counted by the devices' programs; denials are counted where they happen.
 */
#include "bpf/lib/peer.h"

char LICENSE[] SEC("license") = "GPL";

enum { CGROUP_DENY, CGROUP_ALLOW, LOOPBACK_DEVICE = 1, PROTO_DCCP = 33 };

struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
    __type(key, __u64);
    __type(value, struct berm_cgroup_rules);
} p_cgroups SEC(".maps");

INLINE const struct berm_config *policy_config(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&p_config, &zero);
}

/* Not bound: mode, audit, or storage that the agent has not filled in (the device's denies all). */
INLINE int is_bound(const struct berm_cgroup_rules *pod)
{
    const struct berm_config *config = policy_config();

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

/* A packet by which a connection may begin. */
INLINE int may_begin(const struct packet *p)
{
    return is_opener(p) &&
           (p->protocol != PROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN);
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
    /* The far side's alone: a raw socket may write any source. */
    if (!r && addr_is_loopback(direction == BERM_EGRESS ? &c.p.dst : &c.p.src))
        return CGROUP_ALLOW;
    if (!r)
        r = judge_state(&c);
    if (!r) {
        context_key(&c, direction);
        if (!judge_flows(&c, direction))
            r = judge_rules(skb, &c, direction, iface_owns(&pod->pod, &c.key.remote));
        if (!r && direction == BERM_EGRESS && may_begin(&c.p) && !c.answers &&
            !iface_owns(&pod->pod, &c.p.dst)) {
            r = peer_refuses(&c, policy_config());
            direction = r ? BERM_INGRESS : direction;
        }
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

INLINE int is_link_local(const struct berm_addr *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* The source is not chosen yet: refused is what the peer would deny to the pod's only address of
 * that family; a pod that has several learns from its packets. */
INLINE int connection_refused(struct context *c, const struct berm_iface *pod)
{
    int four = addr_is_v4(&c->p.dst), n = 0;

    if (is_link_local(&c->p.dst))
        return BERM_REASON_NONE;
#pragma unroll
    for (__u32 i = 0; i < BERM_ADDRS_MAX; i++) {
        const struct berm_addr *a = &pod->addrs[i];

        if (i >= pod->n_addrs || addr_is_v4(a) != four || is_link_local(a))
            continue;
        c->p.src = *a;
        n++;
    }
    return n == 1 ? peer_refuses(c, policy_config()) : BERM_REASON_NONE;
}

INLINE const struct berm_backends *backends_of(const struct berm_addr *addr, __u8 protocol,
                                               __u16 port)
{
    struct berm_frontend key = {.addr = *addr, .port = port, .protocol = protocol};
    const struct berm_backends *found = bpf_map_lookup_elem(&p_backends, &key);
    __u32 *node;

    if (found)
        return found;
    node = bpf_map_lookup_elem(&p_nodes, addr);
    if (!node || *node != 1)
        return 0;
    key.addr.d[0] = key.addr.d[1] = 0;
    return bpf_map_lookup_elem(&p_backends, &key);
}

/* One backend: its own rules, if it is a pod on this node, or ours refuse it. Ours first. */
INLINE int backend_refused(struct context *c, const struct berm_iface *pod,
                           const struct berm_backend *backend, __u8 *ret_direction)
{
    int r;

    c->p.dst = backend->addr;
    c->p.dport = backend->port;
    *ret_direction = BERM_EGRESS;
    context_key(c, BERM_EGRESS);
    r = by_rules(c, BERM_EGRESS);
    if (r || iface_owns(pod, &backend->addr)) /* by a Service to itself: nobody asks its ingress */
        return r;
    *ret_direction = BERM_INGRESS;
    return connection_refused(c, pod);
}

/*
 * Which backend a connection to a Service gets is the node's choice, later. But if the pod may
 * reach none of them, that need not be waited for. Denied is the last one that was looked at.
 */
INLINE int all_backends_refused(struct context *c, const struct berm_iface *pod,
                                __u8 *ret_direction)
{
    const struct berm_backends *all = backends_of(&c->p.dst, c->p.protocol, c->p.dport);
    __u32 slot = c->slot, epoch = c->epoch;
    int r = BERM_REASON_NONE;

    for (__u32 i = 0; all && i < BERM_BACKENDS_MAX; i++) {
        if (i >= all->n)
            break;
        c->slot = slot;
        c->epoch = c->denial.epoch = epoch;
        r = backend_refused(c, pod, &all->list[i], ret_direction);
        if (!r)
            break;
    }
    return r;
}

/* c->p.dst, dport and protocol are set. */
INLINE int address_verdict(struct context *c)
{
    const struct berm_cgroup_rules *pod = bpf_get_local_storage(&p_cgroups, 0);
    __u8 direction = BERM_EGRESS;
    int r;

    if (!is_bound(pod) || addr_is_loopback(&c->p.dst) || iface_owns(&pod->pod, &c->p.dst))
        return CGROUP_ALLOW;
    if (c->p.protocol != PROTO_TCP && c->p.protocol != PROTO_SCTP && c->p.protocol != PROTO_DCCP)
        return CGROUP_ALLOW;
    c->slot = pod->pod.slot;
    r = judge_state(c);
    if (r == BERM_REASON_UNKNOWN_POD)
        return CGROUP_ALLOW;
    if (!r && is_deferred(c, BERM_EGRESS)) {
        r = all_backends_refused(c, &pod->pod, &direction);
    } else if (!r) {
        struct berm_backend own = {.addr = c->p.dst, .port = c->p.dport};

        r = backend_refused(c, &pod->pod, &own, &direction);
    }
    return r ? deny(c, direction, r) : CGROUP_ALLOW;
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
