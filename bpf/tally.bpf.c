/*
 * What the agent's small maps come to, as sums that it compares with what it wrote: one question in
 * place of one for each entry. The agent names the keys; how many entries there are shows those
 * that it does not name. (A walk over a map would go through all of its buckets.) A program for
 * each engine, of that engine's maps alone.
 */
#include "bpf/lib/entries.h"

char LICENSE[] SEC("license") = "GPL";

#define MAP(name, kind, entries, flags, key_type, value_type)                                      \
    struct {                                                                                       \
        __uint(type, BPF_MAP_TYPE_##kind);                                                         \
        __uint(map_flags, flags);                                                                  \
        __uint(max_entries, entries);                                                              \
        __type(key, key_type);                                                                     \
        __type(value, value_type);                                                                 \
    } name SEC(".maps")

MAP(g_ifaces, HASH, BERM_IFACES_MAX, 0, __u32, struct berm_iface);
MAP(p_ifaces, HASH, BERM_IFACES_MAX, 0, __u32, struct berm_iface);
MAP(g_sources, HASH, BERM_SOURCES_MAX, BPF_F_NO_PREALLOC, struct berm_addr,
    struct berm_guard_source);
MAP(p_sources, HASH, BERM_SOURCES_MAX, BPF_F_NO_PREALLOC, struct berm_addr, struct berm_source);
MAP(g_netns, HASH, BERM_NETNS_MAX, BPF_F_NO_PREALLOC, __u64, struct berm_netns);
MAP(g_exceptions, ARRAY, BERM_EXCEPTIONS_MAX, 0, __u32, struct berm_exception);
MAP(g_rows, LPM_TRIE, BERM_GUARD_MAX, BPF_F_NO_PREALLOC, struct berm_lpm_key,
    struct berm_guard_row);

struct berm_tally_keys keys;
struct berm_tallies tallies[BERM_ENGINE_MAX];

/* One entry, by its key's number. */
#define ADDER(name, map, list, limit, key_type, value_type)                                        \
    static long name(__u32 i, void *ctx)                                                           \
    {                                                                                              \
        struct berm_tally *t = ctx;                                                                \
        key_type *key = &keys.list[i & ((limit)-1)];                                               \
        const value_type *value = bpf_map_lookup_elem(&(map), key);                                \
                                                                                                   \
        if (value)                                                                                 \
            t->sum += berm_digest(berm_digest(0, key, sizeof(*key)), value, sizeof(*value));       \
        return 0;                                                                                  \
    }
ADDER(add_guard_iface, g_ifaces, ifaces, BERM_IFACES_MAX, __u32, struct berm_iface)
ADDER(add_iface, p_ifaces, ifaces, BERM_IFACES_MAX, __u32, struct berm_iface)
ADDER(add_guard_source, g_sources, sources, BERM_SOURCES_MAX, struct berm_addr,
      struct berm_guard_source)
ADDER(add_source, p_sources, sources, BERM_SOURCES_MAX, struct berm_addr, struct berm_source)
ADDER(add_netns, g_netns, spaces, BERM_NETNS_MAX, __u64, struct berm_netns)

#define SUM(map, n_keys, adder, field)                                                             \
    do {                                                                                           \
        struct berm_tally t = {};                                                                  \
                                                                                                   \
        bpf_loop(n_keys, adder, &t, 0);                                                            \
        t.n = (__u64)bpf_map_sum_elem_count((const struct bpf_map *)&(map));                       \
        (field) = t;                                                                               \
    } while (0)

static long add_exception(__u32 i, void *ctx)
{
    struct berm_tally *t = ctx;
    const struct berm_exception *x = bpf_map_lookup_elem(&g_exceptions, &i);

    if (x) {
        t->n++;
        t->sum += berm_digest(berm_digest(0, &i, sizeof(i)), x, sizeof(*x));
    }
    return 0;
}

/* Run by BPF_PROG_TEST_RUN alone; a program for system calls may not use such maps. */
SEC("tc")
int tally_guard(struct __sk_buff *skb)
{
    struct berm_tallies *all = &tallies[BERM_ENGINE_GUARD];
    struct berm_tally exceptions = {};

    (void)skb;
    SUM(g_ifaces, keys.n_ifaces, add_guard_iface, all->ifaces);
    SUM(g_sources, keys.n_sources, add_guard_source, all->sources);
    SUM(g_netns, keys.n_spaces, add_netns, all->spaces);
    bpf_loop(BERM_EXCEPTIONS_MAX, add_exception, &exceptions, 0);
    all->exceptions = exceptions;
    all->rows.n = trie_entries(&g_rows);
    return 0;
}

SEC("tc")
int tally_policy(struct __sk_buff *skb)
{
    struct berm_tallies *all = &tallies[BERM_ENGINE_POLICY];

    (void)skb;
    SUM(p_ifaces, keys.n_ifaces, add_iface, all->ifaces);
    SUM(p_sources, keys.n_sources, add_source, all->sources);
    return 0;
}
