#pragma once
/* Shared by the two halves of the compiler: peers -> classes, classes -> ports. */
#include "policy/backends/bpf/tables.h"

#include <stdbool.h>

#define BITS_PER_WORD 64u

/* Sets of rules, one bit a rule, deduplicated: index = class id. Class 0 is the empty set. */
struct classes {
    uint64_t *bits; /* n x words */
    size_t n, capacity, words;
    uint32_t *buckets; /* open addressing; class id + 1, 0 = free */
    size_t n_buckets;
};

static inline bool bit_get(const uint64_t *bits, size_t i)
{
    return bits[i / BITS_PER_WORD] >> (i % BITS_PER_WORD) & 1;
}
static inline void bit_set(uint64_t *bits, size_t i)
{
    bits[i / BITS_PER_WORD] |= UINT64_C(1) << (i % BITS_PER_WORD);
}

int classes_init(struct classes *c, size_t n_rules);
void classes_fini(struct classes *c);
/* Id of the set, new or known; or -ENOMEM, -E2BIG. */
int64_t classes_id(struct classes *c, const uint64_t *bits);

/* Appends the direction's peers to t and fills classes. */
int bpf_peers_build(const struct policy_rules *rules, enum policy_direction direction,
                    struct classes *classes, struct bpf_tables *t, struct error *err);
/* Appends the entries of every class. */
int bpf_ports_build(const struct policy_rules *rules, enum policy_direction direction,
                    const struct classes *classes, struct bpf_tables *t, struct error *err);
/* Decides how the blocks of each direction are found. */
void bpf_lengths_choose(struct bpf_tables *t);
int bpf_tables_add_peer(struct bpf_tables *t, const struct bpf_peer *peer);
int bpf_tables_add_port(struct bpf_tables *t, const struct bpf_port *port);
