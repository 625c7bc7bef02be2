/*
 * The metadata guard, on the host's end of a pod's device: no packet to or from a guarded address
 * passes, in any of its forms, whatever policies, connections or translations say. Stateless: every
 * packet is looked at. Reads nothing of the policy engine and shares no map with it.
 *
 * The table itself is in bpf/lib/guard.h.
 */
#include "bpf/lib/guard.h"
#include "bpf/lib/forgery.h"

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BERM_IFACES_MAX);
    __type(key, __u32);
    __type(value, struct berm_iface);
} g_ifaces SEC(".maps");

/* A solicitation asks for its target: that it is guarded must not even be asked. */
INLINE int guarded_target(struct __sk_buff *skb, const struct packet *p,
                          const struct berm_iface *iface, __u32 *ret_row)
{
    struct berm_addr target;

    if (p->kind != PACKET_IP6 || p->protocol != PROTO_ICMPV6 || p->icmp_type != ND_SOLICIT)
        return BERM_REASON_NONE;
    if (bpf_skb_load_bytes(skb, p->l4 + 8, &target, 16))
        return BERM_REASON_MALFORMED;
    if (iface_owns(iface, &target)) /* duplicate detection of its own */
        return BERM_REASON_NONE;
    return guarded(p, &target, 0, iface->exceptions, ret_row);
}

INLINE int judge(struct __sk_buff *skb, struct packet *p, const struct berm_iface *iface,
                 int direction, __u32 *ret_row)
{
    int r = packet_parse(skb, p);

    if (r)
        return r;
    if (direction == BERM_INGRESS) {
        r = forged_to_pod(p);
        return r ? r : guarded(p, &p->src, p->sport, iface->exceptions, ret_row);
    }
    /* The table first: a guarded address is the reason that people look for. */
    r = guarded(p, &p->dst, p->dport, iface->exceptions, ret_row);
    if (r)
        return r;
    r = forged_from_pod(skb, p, iface, &g_nodes);
    return r ? r : guarded_target(skb, p, iface, ret_row);
}

INLINE int guard(struct __sk_buff *skb, int direction)
{
    struct denial denial = {.name = ~0U, .engine = BERM_ENGINE_GUARD};
    __u32 zero = 0, ifindex = skb->ifindex, slot = ~0U;
    struct berm_config *config;
    struct berm_iface *iface;
    struct berm_stats *stats;
    struct packet p;
    int r;

    config = bpf_map_lookup_elem(&g_config, &zero);
    iface = bpf_map_lookup_elem(&g_ifaces, &ifindex);
    if (iface)
        slot = iface->slot;
    stats = bpf_map_lookup_elem(&g_stats, &slot);
    if (config && (config->mode == BERM_MODE_NONE ||
                   (config->mode == BERM_MODE_SANDBOXED && iface && !iface->sandboxed))) {
        account_pass(skb, stats, direction);
        return VERDICT_NEXT;
    }
    if (iface) {
        r = judge(skb, &p, iface, direction, &denial.name);
    } else {
        __builtin_memset(&p, 0, sizeof(p));
        r = BERM_REASON_UNKNOWN_DEVICE;
    }
    if (r == BERM_REASON_NONE) {
        account_pass(skb, stats, direction);
        return VERDICT_NEXT;
    }
    denial.direction = (__u8)direction;
    denial.reason = (__u8)r;
    account_deny(&g_events, ifindex, &p, slot, stats, &denial);
    return VERDICT_DROP;
}

SEC("tc")
int guard_from_pod(struct __sk_buff *skb)
{
    return guard(skb, BERM_EGRESS);
}

SEC("tc")
int guard_to_pod(struct __sk_buff *skb)
{
    return guard(skb, BERM_INGRESS);
}
