/* Deduplicated sets of rules: one set is one class of peer addresses. */
#include "common/hashmap.h"
#include "policy/backends/bpf/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES_MAX = 1 << 20 };

int classes_init(struct classes *c, size_t n_rules)
{
    uint64_t *empty;
    int64_t id;

    memset(c, 0, sizeof(*c));
    c->words = (n_rules + BITS_PER_WORD - 1) / BITS_PER_WORD;
    if (!c->words)
        c->words = 1;
    empty = calloc(c->words, sizeof(*empty));
    if (!empty)
        return -ENOMEM;
    id = classes_id(c, empty);
    free(empty);
    return id < 0 ? (int)id : 0;
}

void classes_fini(struct classes *c)
{
    free(c->bits);
    free(c->buckets);
    memset(c, 0, sizeof(*c));
}

static uint64_t bits_hash(const struct classes *c, const uint64_t *bits)
{
    return hash_seeded(bits, c->words * sizeof(*bits));
}

static int buckets_grow(struct classes *c)
{
    size_t n = c->n_buckets ? c->n_buckets * 2 : 64;
    uint32_t *fresh = calloc(n, sizeof(*fresh));

    if (!fresh)
        return -ENOMEM;
    for (size_t i = 0; i < c->n; i++) {
        size_t at = bits_hash(c, c->bits + i * c->words) & (n - 1);

        while (fresh[at])
            at = (at + 1) & (n - 1);
        fresh[at] = (uint32_t)i + 1;
    }
    free(c->buckets);
    c->buckets = fresh;
    c->n_buckets = n;
    return 0;
}

int64_t classes_id(struct classes *c, const uint64_t *bits)
{
    size_t at;

    if (c->n * 2 >= c->n_buckets && buckets_grow(c) < 0)
        return -ENOMEM;
    for (at = bits_hash(c, bits) & (c->n_buckets - 1); c->buckets[at];
         at = (at + 1) & (c->n_buckets - 1)) {
        const uint64_t *known = c->bits + (c->buckets[at] - 1) * c->words;

        if (!memcmp(known, bits, c->words * sizeof(*bits)))
            return c->buckets[at] - 1;
    }
    if (c->n >= CLASSES_MAX)
        return -E2BIG;
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 16;
        uint64_t *grown = realloc(c->bits, capacity * c->words * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        c->bits = grown;
        c->capacity = capacity;
    }
    memcpy(c->bits + c->n * c->words, bits, c->words * sizeof(*bits));
    c->buckets[at] = (uint32_t)c->n + 1;
    return (int64_t)c->n++;
}
