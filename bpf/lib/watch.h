#pragma once
/*
 * Where a link of the agent's stands, and what its cgroup's storage holds: one number, for the walk
 * over all links (watch.bpf.c) and for the quick look at those that it found (watch_saved.bpf.c).
 *
 * The includer says how the kernel's memory is read: READ(pointer, field), and CAST(pointer, type)
 * before that. Pointers may be stale or anything: reads must not fault.
 */
#include "bpf/include/audit.h"
#include "bpf/lib/bpf.h"

#include <bpf/bpf_core_read.h>

/* The kernel's own, as far as they are read; found by name (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct seq_file;
struct list_head {
    struct list_head *next;
};
struct bpf_map {
    __u32 id;
};
struct bpf_storage_buffer {
    char data[0];
};
struct bpf_cgroup_storage {
    struct bpf_storage_buffer *buf;
    struct bpf_cgroup_storage_map *map;
    struct list_head list_cg;
};
struct bpf_cgroup_storage_map {
    struct bpf_map map;
};
struct cgroup_subsys_state {
    unsigned int flags;
};
struct cgroup_bpf {
    struct list_head storages;
};
struct cgroup {
    struct cgroup_subsys_state self;
    struct cgroup_bpf bpf;
};
struct bpf_prog_aux {
    __u32 id;
};
struct bpf_prog {
    struct bpf_prog_aux *aux;
};
struct bpf_link {
    __u32 id;
    enum bpf_link_type type;
    struct bpf_prog *prog;
};
struct bpf_mprog_cp {
    struct bpf_link *link;
};
struct bpf_mprog_bundle {
    struct bpf_mprog_cp cp_items[64];
};
struct bpf_mprog_entry {
    struct bpf_mprog_bundle *parent;
};
struct bpf_xdp_entity {
    struct bpf_prog *prog;
    struct bpf_link *link;
};
struct net_device {
    struct bpf_mprog_entry *tcx_ingress, *tcx_egress;
    struct bpf_xdp_entity xdp_state[3];
};
struct tcx_link {
    struct bpf_link link;
    struct net_device *dev;
};
struct bpf_cgroup_link {
    struct bpf_link link;
    struct cgroup *cgroup;
};
#pragma clang attribute pop

enum { LINK_CGROUP = 3, LINK_TCX = 11, CSS_ONLINE = 1 << 1, STORAGES_MAX = 8, NOWHERE = ~0U };

/* Where the agent's links lie, as the last walk found them; it holds them, so that they stay. */
struct saved {
    const struct bpf_link *link;
    const struct bpf_prog *prog;
    __u32 link_id, program_id;
    __u32 type;
    __u32 storage; /* its cgroup's storage counts, too */
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BERM_WATCH_LINKS);
    __type(key, __u32);
    __type(value, struct saved);
} w_links SEC(".maps");

/* Ids of the maps of pods' cgroups' storage; 0: not loaded. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BERM_ENGINE_MAX);
    __type(key, __u32);
    __type(value, __u32);
} w_storages SEC(".maps");

/* 1 or 2 in one of the chain's first two places, 0 behind them. */
INLINE __u32 place_in(struct bpf_mprog_entry *entry, const struct bpf_link *link)
{
    struct bpf_mprog_bundle *bundle = entry ? READ(entry, parent) : 0;

    if (!bundle)
        return 0;
    if (READ(bundle, cp_items[0].link) == link)
        return 1;
    return READ(bundle, cp_items[1].link) == link ? 2 : 0;
}

/* Such programs run before any in the chain. */
INLINE int has_xdp(struct net_device *dev)
{
    return READ(dev, xdp_state[0].prog) || READ(dev, xdp_state[0].link) ||
           READ(dev, xdp_state[1].prog) || READ(dev, xdp_state[1].link) ||
           READ(dev, xdp_state[2].prog) || READ(dev, xdp_state[2].link);
}

INLINE __u32 place_on_device(const struct bpf_link *link)
{
    struct tcx_link *tcx = CAST(link, struct tcx_link);
    struct net_device *dev = READ(tcx, dev);
    __u32 place;

    if (!dev)
        return NOWHERE;
    place = place_in(READ(dev, tcx_ingress), link);
    if (place)
        return place == 1 && has_xdp(dev) ? 0 : place;
    return place_in(READ(dev, tcx_egress), link);
}

INLINE __u32 storage_engine(__u32 id)
{
    __u32 guard = BERM_ENGINE_GUARD, policy = BERM_ENGINE_POLICY;
    __u32 *a = bpf_map_lookup_elem(&w_storages, &guard);
    __u32 *b = bpf_map_lookup_elem(&w_storages, &policy);

    return a && *a == id ? guard : b && *b == id ? policy : BERM_ENGINE_MAX;
}

INLINE __u64 storage_sum(struct bpf_cgroup_storage *storage)
{
    struct bpf_cgroup_storage_map *map = READ(storage, map);
    struct bpf_storage_buffer *buffer = READ(storage, buf);
    struct berm_cgroup_rules policy;
    struct berm_cgroup guard;

    if (!map || !buffer)
        return 0;
    buffer = (void *)buffer + bpf_core_field_offset(struct bpf_storage_buffer, data);
    switch (storage_engine(READ(map, map.id))) {
    case BERM_ENGINE_GUARD:
        if (bpf_probe_read_kernel(&guard, sizeof(guard), buffer))
            return 0;
        return berm_digest(BERM_ENGINE_GUARD, &guard, sizeof(guard));
    case BERM_ENGINE_POLICY:
        if (bpf_probe_read_kernel(&policy, sizeof(policy), buffer))
            return 0;
        return berm_digest(BERM_ENGINE_POLICY, &policy, sizeof(policy));
    default:
        return 0;
    }
}

/* Of all storages of ours that hang on the cgroup. */
INLINE __u64 storages_sum(const struct cgroup *cgroup)
{
    unsigned long head = (unsigned long)cgroup + bpf_core_field_offset(struct cgroup, bpf) +
                         bpf_core_field_offset(struct cgroup_bpf, storages);
    struct list_head *at = CAST(head, struct list_head);
    __u64 sum = 0;

    for (int i = 0; i < STORAGES_MAX; i++) {
        unsigned long next = (unsigned long)READ(at, next);
        unsigned long begin = next - bpf_core_field_offset(struct bpf_cgroup_storage, list_cg);

        if (!next || next == head)
            break;
        sum += storage_sum(CAST(begin, struct bpf_cgroup_storage));
        at = CAST(next, struct list_head);
    }
    return sum;
}

/* Adds the link to the sum, unless it is on nothing any more. A removed cgroup keeps its links for
 * as long as sockets from before are open. */
INLINE int watch_count(struct berm_watch *sum, const struct saved *saved)
{
    __u32 place;

    if (saved->type == LINK_CGROUP) {
        struct bpf_cgroup_link *link = CAST(saved->link, struct bpf_cgroup_link);
        struct cgroup *cgroup = READ(link, cgroup);

        if (!cgroup || !(READ(cgroup, self.flags) & CSS_ONLINE))
            return 0;
        place = 0;
        if (saved->storage)
            sum->sum += storages_sum(cgroup);
    } else {
        if (!bpf_core_type_exists(struct tcx_link))
            return 0;
        place = place_on_device(saved->link);
        if (place == NOWHERE)
            return 0;
    }
    sum->links++;
    sum->sum += berm_watch_mix(saved->link_id, saved->program_id, place);
    return 1;
}
