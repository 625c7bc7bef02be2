#pragma once
/*
 * What a peer on this node would say: a pod whose own rules let no packet of ours in drops it in
 * silence, on its device. The sender's cgroup asks the same rules first, so that the connection
 * fails at once. Nothing is let through by this.
 */
#include "bpf/lib/engine.h"

/* Would the peer's engine deny what begins with this packet? c->p is set; c is about the peer's
 * ingress from then on. */
INLINE int peer_refuses(struct context *c, const struct berm_config *config)
{
    struct berm_source *peer = bpf_map_lookup_elem(&p_sources, &c->p.dst);
    struct flow_view view;
    int r;

    if (!peer || peer->audit || (config && config->mode == BERM_MODE_SANDBOXED && !peer->sandboxed))
        return BERM_REASON_NONE;
    c->slot = peer->slot;
    c->denial.name = ~0U;
    r = judge_state(c);
    if (r == BERM_REASON_UNKNOWN_POD) /* its rules may be there before the next attempt */
        return BERM_REASON_NONE;
    if (r)
        return r;
    context_key(c, BERM_INGRESS);
    c->table = bpf_map_lookup_elem(&p_flows, &c->slot);
    if (!c->table || flow_find(c->table, &c->key, flow_now(), &view))
        return BERM_REASON_NONE;
    return by_rules(c, BERM_INGRESS);
}
