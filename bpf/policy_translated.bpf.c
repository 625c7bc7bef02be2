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
 * A denied backend shows as loss.
 */
#include "bpf/lib/engine.h"
#include "bpf/lib/netfilter.h"

char LICENSE[] SEC("license") = "GPL";

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

    c->denial.direction = BERM_EGRESS;
    c->denial.reason = (__u8)reason;
    if (pod->audit) {
        account_audit(&p_events, 0, &c->p, c->slot, stats, &c->denial);
        return NETFILTER_ACCEPT;
    }
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

    if (!netfilter_look(ctx, &c.p, &to))
        return NETFILTER_ACCEPT;
    pod = bpf_map_lookup_elem(&p_sources, &c.p.src);
    if (!pod || !is_frontend(&to.target, c.p.protocol, to.port))
        return NETFILTER_ACCEPT;
    config = bpf_map_lookup_elem(&p_config, &zero);
    c.slot = pod->slot;
    r = netfilter_is_tunnel(ctx, &c.p, &p_nodes) ? BERM_REASON_TUNNEL : judge(&c, &to);
    if (!r || (config && (config->mode == BERM_MODE_NONE ||
                          (config->mode == BERM_MODE_SANDBOXED && !pod->sandboxed))))
        return NETFILTER_ACCEPT;
    return drop(&c, pod, r);
}
