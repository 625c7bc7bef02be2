#pragma once
/* How many entries a map has: a question that has no system call (Linux 6.6). */
#include "bpf/include/audit.h"
#include "bpf/lib/bpf.h"

#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_map {
    __u32 id;
};
struct lpm_trie {
    __u64 n_entries;
};
#pragma clang attribute pop

extern __s64 bpf_map_sum_elem_count(const struct bpf_map *map) __ksym __weak; /* hash maps */
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __ksym __weak;

INLINE __u64 trie_entries(const void *map)
{
    const struct lpm_trie *trie = bpf_rdonly_cast(map, bpf_core_type_id_kernel(struct lpm_trie));

    return trie->n_entries;
}
