/*
 * The same sum over the links that the last walk found (watch.bpf.c), for a small part of its cost.
 * Pointers mean what they meant: the agent holds these links and its programs, and once it holds
 * others it expects another sum.
 */
#define READ(pointer, field) ((pointer)->field)
#define CAST(pointer, type)                                                                        \
    ((type *)bpf_rdonly_cast((const void *)(pointer), bpf_core_type_id_kernel(type)))
extern void *bpf_rdonly_cast(const void *obj, unsigned int type)
    __attribute__((section(".ksyms"), weak));
#include "bpf/lib/watch.h"

char LICENSE[] SEC("license") = "GPL";

struct look {
    struct berm_watch sum;
};

static long look_at_saved(__u64 i, void *ctx)
{
    struct look *look = ctx;
    __u32 at = (__u32)i;
    struct saved *saved = bpf_map_lookup_elem(&w_links, &at);

    if (saved && saved->link && CAST(saved->link, struct bpf_link)->prog == saved->prog)
        (void)watch_count(&look->sum, saved);
    return 0;
}

/* In: how many there were. */
SEC("syscall")
int watch_saved(struct berm_watch *io)
{
    struct look look = {};

    bpf_loop((__u32)io->links, look_at_saved, &look, 0);
    *io = look.sum;
    return 0;
}
