#pragma once
/* The guard at the hooks of a cgroup, for a pod's own and for the parent of all: the callers know
 * whose socket it is. Loopback stays inside the pod. */
#include "bpf/lib/forgery.h"
#include "bpf/lib/guard.h"

enum { CGROUP_DENY, CGROUP_ALLOW, SOCKET_RAW = 3 };

INLINE int is_off(const struct berm_cgroup *pod)
{
    __u32 zero = 0;
    struct berm_config *config = bpf_map_lookup_elem(&g_config, &zero);

    return config && (config->mode == BERM_MODE_NONE ||
                      (config->mode == BERM_MODE_SANDBOXED && pod->known && !pod->sandboxed));
}

INLINE int deny(const struct berm_cgroup *pod, const struct packet *p, int direction, int reason,
                __u32 row)
{
    struct denial denial = {.name = row,
                            .engine = BERM_ENGINE_GUARD,
                            .direction = (__u8)direction,
                            .reason = (__u8)reason};
    __u32 slot = pod->known ? pod->slot : ~0U;

    if (pod->known == BERM_CGROUP_SILENT)
        return CGROUP_DENY;
    account_deny(&g_events, 0, p, slot, bpf_map_lookup_elem(&g_stats, &slot), &denial);
    return CGROUP_DENY;
}

/* Where a packet goes: the table, and what a node would unpack and send on. */
INLINE int destination(const struct packet *p, const struct berm_cgroup *pod, __u32 *ret_row)
{
    int r = guarded(p, &p->dst, p->dport, pod->exceptions, ret_row);

    if (!r && packet_is_tunnel(p) && packet_is_for_node(p, &g_nodes))
        r = BERM_REASON_TUNNEL;
    return r;
}

INLINE int packet_verdict(struct __sk_buff *skb, int direction, const struct berm_cgroup *pod)
{
    struct packet p;
    __u32 row = ~0U;
    int r;

    if (is_off(pod))
        return CGROUP_ALLOW;
    r = packet_parse_ip(skb, &p);
    /* The far side's alone: a raw socket may write any source. */
    if (!r && addr_is_loopback(direction == BERM_EGRESS ? &p.dst : &p.src))
        return CGROUP_ALLOW;
    if (!r && !pod->known)
        r = BERM_REASON_UNKNOWN_POD;
    if (!r)
        r = direction == BERM_EGRESS ? destination(&p, pod, &row)
                                     : guarded(&p, &p.src, p.sport, pod->exceptions, &row);
    return r ? deny(pod, &p, direction, r, row) : CGROUP_ALLOW;
}

/* A destination that a program names; p->dst and dport are set. */
INLINE int address_verdict(struct packet *p, const struct berm_cgroup *pod)
{
    __u32 row = ~0U;
    int r;

    if (is_off(pod) || addr_is_loopback(&p->dst))
        return CGROUP_ALLOW;
    r = pod->known ? destination(p, pod, &row) : BERM_REASON_UNKNOWN_POD;
    return r ? deny(pod, p, BERM_EGRESS, r, row) : CGROUP_ALLOW;
}

INLINE int address4(const struct bpf_sock_addr *ctx, const struct berm_cgroup *pod)
{
    struct packet p;

    __builtin_memset(&p, 0, sizeof(p));
    p.kind = PACKET_IP4;
    p.protocol = (__u8)ctx->protocol;
    p.dport = bpf_ntohs((__u16)ctx->user_port);
    addr_from_v4(&p.dst, ctx->user_ip4);
    return address_verdict(&p, pod);
}

/* IPv4-mapped addresses are IPv4 here as everywhere. */
INLINE int address6(const struct bpf_sock_addr *ctx, const struct berm_cgroup *pod)
{
    struct packet p;

    __builtin_memset(&p, 0, sizeof(p));
    p.kind = PACKET_IP6;
    p.protocol = (__u8)ctx->protocol;
    p.dport = bpf_ntohs((__u16)ctx->user_port);
    p.dst.w[0] = ctx->user_ip6[0];
    p.dst.w[1] = ctx->user_ip6[1];
    p.dst.w[2] = ctx->user_ip6[2];
    p.dst.w[3] = ctx->user_ip6[3];
    return address_verdict(&p, pod);
}
