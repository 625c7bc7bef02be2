/*
 * How many entries the rules' maps have: a question that has no system call. Whoever adds one that
 * the agent did not write, or takes one away, changes it.
 */
#include "bpf/lib/rules.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_map {
    __u32 id;
};
struct lpm_trie {
    __u64 n_entries;
};
#pragma clang attribute pop

extern __s64 bpf_map_sum_elem_count(const struct bpf_map *map) __ksym __weak;
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __ksym __weak;

INLINE __u64 trie_entries(const void *map)
{
    const struct lpm_trie *trie = bpf_rdonly_cast(map, bpf_core_type_id_kernel(struct lpm_trie));

    return trie->n_entries;
}

struct berm_counts counts;

/* Run by BPF_PROG_TEST_RUN alone; a program for system calls may not use such maps. */
SEC("tc")
int count_rules(struct __sk_buff *skb)
{
    (void)skb;
    counts.hosts = (__u64)bpf_map_sum_elem_count((const struct bpf_map *)&p_hosts);
    counts.cidrs = trie_entries(&p_cidrs);
    counts.ports = trie_entries(&p_ports);
    return 0;
}
