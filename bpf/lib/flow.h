#pragma once
/*
 * Connections of one pod: a table of its own (no tenant evicts another's), 4-way sets, the oldest
 * of a set gives way. An entry is made only by a packet that the rules allowed in its own
 * direction; what comes back is let through by it. Entries carry the epoch of the rules that
 * allowed them: after a change the first packet is judged again, for the direction of the opener.
 *
 * Entries are guarded by a sequence word (odd while written); a writer that meets another gives up:
 * the next packet tries again, and nothing mixed is ever believed.
 */
#include "bpf/lib/forgery.h"

enum {
    FLOW_TCP_NEW = 300,       /* seconds without a packet after which a flow is forgotten: */
    FLOW_TCP_REPLIED = 86400, /* answered */
    FLOW_NEW = 60,            /* UDP and all others */
    FLOW_REPLIED = 300,
    FLOW_FRAGMENT = 10,
};
/* pad[0] of a key: what kind of thing the entry is */
enum { FLOW_CONNECTION, FLOW_FRAGMENTS };

INLINE __u32 flow_now(void)
{
    return (__u32)(bpf_ktime_get_coarse_ns() / 1000000000ULL) + 1;
}

INLINE void flow_key(struct berm_flow_key *key, const struct packet *p, int direction)
{
    __builtin_memset(key, 0, sizeof(*key));
    key->protocol = p->protocol;
    if (direction == BERM_EGRESS) {
        key->local = p->src;
        key->remote = p->dst;
    } else {
        key->local = p->dst;
        key->remote = p->src;
    }
    if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6) {
        key->local_port = p->sport; /* identifier of an echo */
    } else if (direction == BERM_EGRESS) {
        key->local_port = p->sport;
        key->remote_port = p->dport;
    } else {
        key->local_port = p->dport;
        key->remote_port = p->sport;
    }
}

/* The later fragments of a first fragment that was let through. */
INLINE void flow_fragment_key(struct berm_flow_key *key, const struct packet *p, int direction)
{
    flow_key(key, p, direction);
    key->local_port = (__u16)p->fragment;
    key->remote_port = (__u16)(p->fragment >> 16);
    key->pad[0] = FLOW_FRAGMENTS;
    key->pad[1] = (__u8)direction;
}

INLINE __u32 flow_hash(const struct berm_flow_key *key)
{
    const __u64 *k = (const __u64 *)key;
    __u64 h = 0x9e3779b97f4a7c15ULL;

#pragma unroll
    for (int i = 0; i < 5; i++) {
        h ^= k[i];
        h *= 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
    }
    return (__u32)h;
}

INLINE int flow_key_equal(const struct berm_flow_key *a, const struct berm_flow_key *b)
{
    const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

    return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

INLINE __u32 flow_lifetime(const struct berm_flow *f)
{
    if (f->key.pad[0] == FLOW_FRAGMENTS)
        return FLOW_FRAGMENT;
    if (f->key.protocol == PROTO_TCP || f->key.protocol == PROTO_SCTP)
        return f->replied ? FLOW_TCP_REPLIED : FLOW_TCP_NEW;
    return f->replied ? FLOW_REPLIED : FLOW_NEW;
}

/* Whom the rules are asked about, and the port of the side that was called. */
struct flow_peer {
    struct berm_addr addr;
    __u16 port;
};

/* What a reader takes out of an entry in one consistent view. */
struct flow_view {
    struct berm_flow *flow;
    __u32 seq, epoch;
    __u8 direction;
};

INLINE struct berm_flow_set *flow_set(void *table, const struct berm_flow_key *key)
{
    __u32 index = flow_hash(key) & (BERM_FLOW_SETS - 1);

    return bpf_map_lookup_elem(table, &index);
}

/* 1 and the view if there is a live entry. */
INLINE int flow_find(void *table, const struct berm_flow_key *key, __u32 now, struct flow_view *ret)
{
    struct berm_flow_set *set = flow_set(table, key);

    if (!set)
        return 0;
#pragma unroll
    for (int i = 0; i < BERM_FLOW_WAYS; i++) {
        struct berm_flow *f = &set->way[i];
        __u32 seq = *(volatile __u32 *)&f->seq;

        if ((seq & 1) || !f->seen || !flow_key_equal(&f->key, key))
            continue;
        ret->flow = f;
        ret->seq = seq;
        ret->epoch = *(volatile __u32 *)&f->epoch;
        ret->direction = *(volatile __u8 *)&f->direction;
        barrier();
        if (*(volatile __u32 *)&f->seq != seq)
            continue;
        return now - f->seen <= flow_lifetime(f) || now < f->seen;
    }
    return 0;
}

/* Whom the entry's rules were asked about; 0 if it is another entry by now. */
INLINE int flow_peer(const struct flow_view *view, struct flow_peer *ret)
{
    ret->addr = view->flow->peer;
    ret->port = *(volatile __u16 *)&view->flow->peer_port;
    barrier();
    return *(volatile __u32 *)&view->flow->seq == view->seq;
}

/* Marks the entry used; single words, so that no lock is needed. */
INLINE void flow_touch(const struct flow_view *view, int direction, __u32 now)
{
    struct berm_flow *f = view->flow;

    if (f->seen != now)
        f->seen = now;
    if (direction != view->direction && !f->replied)
        f->replied = 1;
}

/* Puts or replaces an entry. May not happen if another CPU writes the same place. */
INLINE void flow_put(void *table, const struct berm_flow_key *key, int direction, __u32 epoch,
                     __u32 now, const struct flow_peer *peer)
{
    struct berm_flow_set *set = flow_set(table, key);
    struct berm_flow *best = 0;
    __u32 best_age = 0, seq;
    int found = 0;

    if (!set)
        return;
#pragma unroll
    for (int i = 0; i < BERM_FLOW_WAYS; i++) {
        struct berm_flow *f = &set->way[i];
        __u32 age = f->seen ? now - f->seen : ~0U;

        if (f->seen && flow_key_equal(&f->key, key)) {
            best = f;
            found = 1;
        }
        if (!found && (!best || age > best_age)) {
            best = f;
            best_age = age;
        }
    }
    if (!best)
        return;
    seq = *(volatile __u32 *)&best->seq;
    if ((seq & 1) || __sync_val_compare_and_swap(&best->seq, seq, seq + 1) != seq)
        return;
    best->key = *key;
    best->epoch = epoch;
    best->direction = (__u8)direction;
    best->replied = 0;
    best->seen = now;
    best->peer = peer->addr;
    best->peer_port = peer->port;
    barrier();
    __sync_fetch_and_add(&best->seq, 1);
}
