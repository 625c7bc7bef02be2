#include "common/hashmap.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

uint64_t hash_bytes(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return mix(h);
}

static uint64_t seed(void)
{
    static uint64_t value;
    uint64_t v = __atomic_load_n(&value, __ATOMIC_RELAXED);

    if (v)
        return v;
    if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != (ssize_t)sizeof(v))
        v = (uint64_t)(uintptr_t)&value;
    v |= 1;
    __atomic_store_n(&value, v, __ATOMIC_RELAXED);
    return v;
}

uint64_t hash_seeded(const void *data, size_t size)
{
    return mix(hash_bytes(data, size) ^ seed());
}

uint64_t hash_string(const char *s)
{
    return hash_seeded(s, strlen(s));
}

uint64_t hash_u64(uint64_t v)
{
    return mix(v ^ seed());
}

void hashmap_fini(struct hashmap *m)
{
    free(m->buckets);
    memset(m, 0, sizeof(*m));
}

static int grow(struct hashmap *m)
{
    size_t n = m->n_buckets ? m->n_buckets * 2 : 8;
    struct hash_node **buckets = calloc(n, sizeof(*buckets));

    if (!buckets)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_buckets; i++) {
        struct hash_node *node = m->buckets[i];

        while (node) {
            struct hash_node *next = node->next;

            node->next = buckets[node->hash & (n - 1)];
            buckets[node->hash & (n - 1)] = node;
            node = next;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
    return 0;
}

int hashmap_add(struct hashmap *m, struct hash_node *n, uint64_t hash)
{
    struct hash_node **slot;

    if (m->count >= m->n_buckets && grow(m) < 0 && !m->n_buckets)
        return -ENOMEM;
    slot = &m->buckets[hash & (m->n_buckets - 1)];
    n->hash = hash;
    n->next = *slot;
    *slot = n;
    m->count++;
    return 0;
}

bool hashmap_remove(struct hashmap *m, struct hash_node *n)
{
    struct hash_node **slot;

    if (!m->n_buckets)
        return false;
    for (slot = &m->buckets[n->hash & (m->n_buckets - 1)]; *slot; slot = &(*slot)->next)
        if (*slot == n) {
            *slot = n->next;
            n->next = NULL;
            m->count--;
            return true;
        }
    return false;
}

struct hash_node *hashmap_first(const struct hashmap *m, uint64_t hash)
{
    struct hash_node *n = m->n_buckets ? m->buckets[hash & (m->n_buckets - 1)] : NULL;

    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct hash_node *hashmap_next_same(const struct hash_node *n)
{
    uint64_t hash = n->hash;

    do
        n = n->next;
    while (n && n->hash != hash);
    return (struct hash_node *)(uintptr_t)n;
}

struct hash_node *hashmap_next(const struct hashmap *m, const struct hash_node *n)
{
    size_t i = 0;

    if (n) {
        if (n->next)
            return n->next;
        i = (n->hash & (m->n_buckets - 1)) + 1;
    }
    for (; i < m->n_buckets; i++)
        if (m->buckets[i])
            return m->buckets[i];
    return NULL;
}
