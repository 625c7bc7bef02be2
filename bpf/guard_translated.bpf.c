/*
 * The metadata guard behind the node's address translation, beside the table of nftables: what a
 * pod sends is looked at by where it goes now, at postrouting and local-in. It outlives a flushed
 * ruleset, and the guard's programs on device and cgroup. Which pod it is from is told by the
 * source address.
 */
#include "bpf/lib/guard.h"
#include "bpf/lib/netfilter.h"

char LICENSE[] SEC("license") = "GPL";

SEC("netfilter")
int guard_translated(struct bpf_nf_ctx *ctx)
{
    struct denial denial = {.engine = BERM_ENGINE_GUARD, .direction = BERM_EGRESS};
    struct berm_guard_source *pod;
    struct berm_config *config;
    struct destination to;
    struct packet p = {};
    __u32 zero = 0, row = ~0U;
    int r;

    if (!netfilter_look(ctx, &p, &to))
        return NETFILTER_ACCEPT;
    if (addr_is_v4(&p.dst) && row_unlikely(&p.dst) && !packet_is_tunnel(&p)) /* nearly all */
        return NETFILTER_ACCEPT;
    pod = bpf_map_lookup_elem(&g_sources, &p.src);
    if (!pod)
        return NETFILTER_ACCEPT;
    config = bpf_map_lookup_elem(&g_config, &zero);
    if (config && (config->mode == BERM_MODE_NONE ||
                   (config->mode == BERM_MODE_SANDBOXED && !pod->sandboxed)))
        return NETFILTER_ACCEPT;
    r = guarded(&p, &p.dst, p.dport, pod->exceptions, &row);
    if (r == BERM_REASON_NONE && netfilter_is_tunnel(ctx, &p, &g_nodes))
        r = BERM_REASON_TUNNEL;
    if (r == BERM_REASON_NONE)
        return NETFILTER_ACCEPT;
    denial.name = row;
    denial.reason = (__u8)r;
    account_deny(&g_events, 0, &p, pod->slot, bpf_map_lookup_elem(&g_stats, &pod->slot), &denial);
    return NETFILTER_DROP;
}
