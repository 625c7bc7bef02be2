#pragma once
/*
 * Intrusive chained hash map. The node is embedded in the element; the map owns only its buckets.
 * Growth doubles at load 1 and keeps working with long chains if memory is short. No locking.
 */
#include "common/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hashmap {
    struct hash_node **buckets;
    size_t n_buckets; /* power of two, 0 before the first insert */
    size_t count;
};

#define HASHMAP_INIT                                                                               \
    {                                                                                              \
        0                                                                                          \
    }

/* FNV-1a with a final mix; not keyed: use hash_seeded for keys that an adversary chooses. */
uint64_t hash_bytes(const void *data, size_t size);
/* As above, mixed with a per-process random seed. */
uint64_t hash_seeded(const void *data, size_t size);
uint64_t hash_string(const char *s); /* seeded */
uint64_t hash_u64(uint64_t v);       /* seeded */

/* Frees the buckets, not the elements. */
void hashmap_fini(struct hashmap *m);
/* Adds n under hash; duplicates are the caller's business. 0 or -ENOMEM. */
int hashmap_add(struct hashmap *m, struct hash_node *n, uint64_t hash);
/* Takes n out; true if it was in. */
bool hashmap_remove(struct hashmap *m, struct hash_node *n);
/* First node with this hash, or NULL; next one with hashmap_next_same. */
struct hash_node *hashmap_first(const struct hashmap *m, uint64_t hash);
struct hash_node *hashmap_next_same(const struct hash_node *n);
/* Iteration over all: start with NULL; removing the returned node before the next call is fine
 * only if its successor was fetched first. */
struct hash_node *hashmap_next(const struct hashmap *m, const struct hash_node *n);

#define hash_entry(p, t, m) container_of(p, t, m)
