/*
 * One walk over all links of this kernel, in place of a question for each: what the agent's own
 * links come to, as a sum that it compares with what it expects. A link counts if it holds one of
 * the agent's programs and is on something still; its place in a device's chain counts, too, and
 * that no XDP program runs before that, and what the storage of its cgroup holds.
 */
#define READ(pointer, field) BPF_CORE_READ(pointer, field)
#define CAST(pointer, type)  ((type *)(pointer))
#include "bpf/lib/watch.h"

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_iter_meta {
    struct seq_file *seq;
    __u64 session_id, seq_num;
};
struct bpf_iter__bpf_link {
    struct bpf_iter_meta *meta;
    struct bpf_link *link;
};
#pragma clang attribute pop

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BERM_WATCH_PROGRAMS);
    __type(key, __u32);   /* the program's id */
    __type(value, __u32); /* 1: the storage of its cgroup counts, too */
} w_programs SEC(".maps");

static struct berm_watch total;

SEC("iter/bpf_link")
int watch_links(struct bpf_iter__bpf_link *ctx)
{
    const struct bpf_link *link = ctx->link;
    struct saved now = {.link = link}, *saved;
    __u32 at, *storage;

    if (ctx->meta->seq_num == 0)
        total.links = total.sum = 0;
    if (!link) {
        bpf_seq_write(ctx->meta->seq, &total, sizeof(total));
        return 0;
    }
    if (link->type != LINK_CGROUP && link->type != LINK_TCX)
        return 0;
    now.prog = link->prog;
    now.program_id = link->prog->aux->id; /* read as it is: the verifier knows these types */
    now.link_id = link->id;
    now.type = link->type;
    storage = bpf_map_lookup_elem(&w_programs, &now.program_id);
    if (!storage)
        return 0;
    now.storage = *storage;
    at = (__u32)total.links;
    if (!watch_count(&total, &now))
        return 0;
    saved = bpf_map_lookup_elem(&w_links, &at);
    if (saved)
        *saved = now;
    return 0;
}
