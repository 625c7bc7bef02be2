/*
 * One walk over all links of this kernel, in place of a question for each: what the agent's own
 * links come to, as a sum that it compares with what it expects. A link counts if it holds one of
 * the agent's programs and is on something still; its place in a device's chain counts, too.
 */
#include "bpf/lib/bpf.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

/* The kernel's own, as far as they are read; found by name (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct seq_file;
struct cgroup_subsys_state {
    unsigned int flags;
};
struct cgroup {
    struct cgroup_subsys_state self;
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
struct net_device {
    struct bpf_mprog_entry *tcx_ingress, *tcx_egress;
};
struct tcx_link {
    struct bpf_link link;
    struct net_device *dev;
};
struct bpf_cgroup_link {
    struct bpf_link link;
    struct cgroup *cgroup;
};
struct bpf_iter_meta {
    struct seq_file *seq;
    __u64 session_id, seq_num;
};
struct bpf_iter__bpf_link {
    struct bpf_iter_meta *meta;
    struct bpf_link *link;
};
#pragma clang attribute pop

enum { LINK_CGROUP = 3, LINK_TCX = 11, CSS_ONLINE = 1 << 1 };

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BERM_WATCH_PROGRAMS);
    __type(key, __u32); /* the program's id */
    __type(value, __u32);
} w_programs SEC(".maps");

/* Where the agent's links lie, as the last walk found them; it holds them, so that they stay. */
struct saved {
    const struct bpf_link *link;
    const struct bpf_prog *prog;
    __u32 link_id, program_id;
    __u32 type;
    __u32 pad;
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BERM_WATCH_LINKS);
    __type(key, __u32);
    __type(value, struct saved);
} w_links SEC(".maps");

static struct berm_watch total;

/* 1 or 2 in one of the chain's first two places, 0 behind them. */
static __u32 place_in(struct bpf_mprog_entry *entry, const struct bpf_link *link)
{
    struct bpf_mprog_bundle *bundle = entry ? BPF_CORE_READ(entry, parent) : 0;

    if (!bundle)
        return 0;
    if (BPF_CORE_READ(bundle, cp_items[0].link) == link)
        return 1;
    return BPF_CORE_READ(bundle, cp_items[1].link) == link ? 2 : 0;
}

/* A removed cgroup keeps its links for as long as sockets from before are open. */
static __u32 on_cgroup(const struct cgroup *cgroup)
{
    return cgroup && (BPF_CORE_READ(cgroup, self.flags) & CSS_ONLINE) ? 0 : ~0U;
}

/* ~0: on nothing any more. */
static __u32 place_of(const struct bpf_link *link, __u32 type)
{
    struct net_device *dev;
    __u32 place;

    if (type == LINK_CGROUP)
        return on_cgroup(BPF_CORE_READ((const struct bpf_cgroup_link *)link, cgroup));
    if (type != LINK_TCX || !bpf_core_type_exists(struct tcx_link))
        return ~0U;
    dev = BPF_CORE_READ((const struct tcx_link *)link, dev);
    if (!dev)
        return ~0U;
    place = place_in(BPF_CORE_READ(dev, tcx_ingress), link);
    return place ? place : place_in(BPF_CORE_READ(dev, tcx_egress), link);
}

static void count(struct berm_watch *sum, __u32 link_id, __u32 program_id, __u32 place)
{
    sum->links++;
    sum->sum += berm_watch_mix(link_id, program_id, place);
}

static void save(const struct bpf_link *link, const struct bpf_prog *prog, __u32 program_id)
{
    __u32 at = (__u32)total.links;
    struct saved *saved = bpf_map_lookup_elem(&w_links, &at);

    if (!saved)
        return;
    saved->link = link;
    saved->prog = prog;
    saved->link_id = link->id;
    saved->program_id = program_id;
    saved->type = link->type;
}

SEC("iter/bpf_link")
int watch_links(struct bpf_iter__bpf_link *ctx)
{
    const struct bpf_link *link = ctx->link;
    __u32 program, place;

    if (ctx->meta->seq_num == 0)
        total.links = total.sum = 0;
    if (!link) {
        bpf_seq_write(ctx->meta->seq, &total, sizeof(total));
        return 0;
    }
    if (link->type != LINK_CGROUP && link->type != LINK_TCX)
        return 0;
    program = link->prog->aux->id; /* read as it is: the verifier knows these types */
    if (!bpf_map_lookup_elem(&w_programs, &program))
        return 0;
    place = place_of(link, link->type);
    if (place == ~0U)
        return 0;
    save(link, link->prog, program);
    count(&total, link->id, program, place);
    return 0;
}

/* Pointers mean what they meant: the agent holds these links and its programs, and once it holds
 * others it expects another sum. */
static long look_at_saved(__u64 i, void *ctx)
{
    __u32 at = (__u32)i, place;
    struct saved *saved = bpf_map_lookup_elem(&w_links, &at);
    const struct bpf_link *link = saved ? saved->link : 0;

    if (!link || BPF_CORE_READ(link, prog) != saved->prog)
        return 0;
    place = place_of(link, saved->type);
    if (place != ~0U)
        count(ctx, saved->link_id, saved->program_id, place);
    return 0;
}

/* The same sum over the links that the last walk found, for a tenth of its cost. */
SEC("syscall")
int watch_saved(struct berm_watch *ret)
{
    struct berm_watch sum = {};

    bpf_loop((__u32)total.links, look_at_saved, &sum, 0);
    *ret = sum;
    return 0;
}
