#pragma once
/*
 * Counting and telling: per pod and CPU counters, and a sample of denied packets to a ring buffer.
 * The bucket is per pod *and CPU*, so that it needs no lock; what finds it empty is counted.
 */
#include "bpf/lib/packet.h"

struct denial {
    __u32 name, epoch;
    __u8 engine, direction, reason;
};

/* One token per 1/BERM_EVENT_RATE seconds, BERM_EVENT_BURST at most. */
INLINE int bucket_take(struct berm_stats *stats, __u64 now)
{
    const __u64 step = 1000000000ULL / BERM_EVENT_RATE;
    __u64 fresh = (now - stats->bucket_time) / step;

    if (fresh) {
        stats->bucket_tokens += fresh;
        stats->bucket_time += fresh * step;
        if (stats->bucket_tokens > BERM_EVENT_BURST) {
            stats->bucket_tokens = BERM_EVENT_BURST;
            stats->bucket_time = now;
        }
    }
    if (!stats->bucket_tokens)
        return 0;
    stats->bucket_tokens--;
    return 1;
}

INLINE void account_event(void *ring, __u32 ifindex, const struct packet *p, __u32 slot,
                          struct berm_stats *stats, const struct denial *d)
{
    __u64 now = bpf_ktime_get_ns();
    struct berm_event *event;

    if (!bucket_take(stats, now)) {
        stats->events_limited++;
        return;
    }
    event = bpf_ringbuf_reserve(ring, sizeof(*event), 0);
    if (!event) {
        stats->events_full++;
        return;
    }
    event->time = now;
    event->slot = slot;
    event->ifindex = ifindex;
    event->epoch = d->epoch;
    event->name = d->name;
    event->engine = d->engine;
    event->direction = d->direction;
    event->reason = d->reason;
    event->protocol = p->protocol;
    if (d->direction == BERM_EGRESS) {
        event->local = p->src;
        event->remote = p->dst;
        event->local_port = p->sport;
        event->remote_port = p->dport;
    } else {
        event->local = p->dst;
        event->remote = p->src;
        event->local_port = p->dport;
        event->remote_port = p->sport;
    }
    bpf_ringbuf_submit(event, 0);
}

INLINE void account_pass(struct __sk_buff *skb, struct berm_stats *stats, int direction)
{
    if (!stats)
        return;
    stats->packets[direction & 1]++;
    stats->bytes[direction & 1] += skb->len;
}

/* Of a pod that is only watched: what would be denied, or passes by no rule. */
INLINE void account_audit(void *ring, __u32 ifindex, const struct packet *p, __u32 slot,
                          struct berm_stats *stats, const struct denial *d)
{
    struct denial watched = *d;

    if (!stats)
        return;
    if (d->reason != BERM_REASON_NONE)
        stats->audited[d->direction & 1]++;
    watched.engine |= BERM_EVENT_AUDIT;
    account_event(ring, ifindex, p, slot, stats, &watched);
}

INLINE void account_deny(void *ring, __u32 ifindex, const struct packet *p, __u32 slot,
                         struct berm_stats *stats, const struct denial *d)
{
    __u32 reason = d->reason;

    if (!stats)
        return;
    barrier_var(
        reason); /* or clang checks a copy that the verifier doesn't connect with this one */
    if (reason < BERM_REASON_MAX)
        stats->denied[d->direction & 1][reason]++;
    account_event(ring, ifindex, p, slot, stats, d);
}
