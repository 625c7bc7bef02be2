#include "agent/kube/known.h"

#include <errno.h>
#include <string.h>

struct known {
    struct hash_node node;
    uint64_t version; /* 0: no number */
    uint32_t generation;
    uint32_t name; /* offset in text */
    char text[];   /* namespace, NUL, name, NUL: 150,000 pods are held */
};

static uint64_t key_hash(const char *ns, const char *name)
{
    return hash_string(ns) * 31 + hash_string(name);
}

static uint64_t version_number(const char *version)
{
    char *end;
    unsigned long long n;

    if (*version < '0' || *version > '9')
        return 0;
    errno = 0;
    n = strtoull(version, &end, 10);
    return *end || errno ? 0 : n;
}

static struct known *find(const struct hashmap *m, const char *ns, const char *name)
{
    struct hash_node *n = hashmap_first(m, key_hash(ns, name));

    for (; n; n = hashmap_next_same(n)) {
        struct known *k = hash_entry(n, struct known, node);

        if (strcmp(k->text, ns) == 0 && strcmp(k->text + k->name, name) == 0)
            return k;
    }
    return NULL;
}

int known_put(struct hashmap *m, const char *ns, const char *name, const char *version,
              uint32_t generation)
{
    size_t ns_size = strlen(ns) + 1, name_size = strlen(name) + 1;
    struct known *k = find(m, ns, name);

    if (!k) {
        k = malloc(sizeof(*k) + ns_size + name_size);
        if (!k)
            return -ENOMEM;
        k->name = (uint32_t)ns_size;
        memcpy(k->text, ns, ns_size);
        memcpy(k->text + ns_size, name, name_size);
        if (hashmap_add(m, &k->node, key_hash(ns, name)) < 0) {
            free(k);
            return -ENOMEM;
        }
    }
    k->version = version_number(version);
    k->generation = generation;
    return 0;
}

bool known_drop(struct hashmap *m, const char *ns, const char *name)
{
    struct known *k = find(m, ns, name);

    if (!k)
        return false;
    (void)hashmap_remove(m, &k->node);
    free(k);
    return true;
}

bool known_is_newer(const struct hashmap *m, const char *ns, const char *name, const char *version)
{
    const struct known *k = find(m, ns, name);
    uint64_t v = version_number(version);

    return k && v && k->version > v;
}

void known_sweep(struct hashmap *m, uint32_t generation,
                 void (*fn)(void *ctx, const char *ns, const char *name), void *ctx)
{
    struct hash_node *n = hashmap_next(m, NULL);

    while (n) {
        struct hash_node *next = hashmap_next(m, n);
        struct known *k = hash_entry(n, struct known, node);

        if (k->generation != generation) {
            fn(ctx, k->text, k->text + k->name);
            (void)hashmap_remove(m, n);
            free(k);
        }
        n = next;
    }
}

void known_free(struct hashmap *m)
{
    struct hash_node *n;

    while ((n = hashmap_next(m, NULL))) {
        (void)hashmap_remove(m, n);
        free(hash_entry(n, struct known, node));
    }
    hashmap_fini(m);
}
