#include "policy/model/labels.h"

#include <string.h>

static uint64_t pair_hash(const struct string *key, const struct string *value)
{
    const struct string *pair[2] = {key, value};

    return hash_seeded(pair, sizeof(pair));
}

static struct label *find_label(const struct label_table *t, const struct string *key,
                                const struct string *value)
{
    struct hash_node *n = hashmap_first(&t->labels, pair_hash(key, value));

    for (; n; n = hashmap_next_same(n)) {
        struct label *l = hash_entry(n, struct label, node);

        if (l->key == key && l->value == value)
            return l;
    }
    return NULL;
}

static void label_free(struct label_table *t, struct label *l)
{
    string_put(t->strings, l->key);
    string_put(t->strings, l->value);
    free(l->sets);
    free(l);
}

struct label *label_get(struct label_table *t, const char *key, const char *value)
{
    struct label *l = calloc(1, sizeof(*l)), *known;

    if (!l)
        return NULL;
    l->refs = 1;
    list_init(&l->watchers);
    l->key = string_get(t->strings, key);
    l->value = string_get(t->strings, value);
    if (l->key && l->value && (known = find_label(t, l->key, l->value))) {
        label_free(t, l);
        known->refs++;
        return known;
    }
    if (!l->key || !l->value ||
        hashmap_add(&t->labels, &l->node, pair_hash(l->key, l->value)) < 0) {
        label_free(t, l);
        return NULL;
    }
    return l;
}

void label_put(struct label_table *t, struct label *l)
{
    if (!l || --l->refs)
        return;
    hashmap_remove(&t->labels, &l->node);
    label_free(t, l);
}

/* -- sets ------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (struct label *const *)a,
              y = (uintptr_t) * (struct label *const *)b;

    return x < y ? -1 : x > y;
}

static uint64_t set_hash(struct label *const *all, size_t n)
{
    return n ? hash_seeded(all, n * sizeof(*all)) : 1;
}

static struct labels *find_set(const struct label_table *t, struct label **all, size_t n)
{
    struct hash_node *node = hashmap_first(&t->sets, set_hash(all, n));

    for (; node; node = hashmap_next_same(node)) {
        struct labels *s = hash_entry(node, struct labels, node);
        size_t i = 0;

        while (s->n == n && i < n && s->at[i].label == all[i])
            i++;
        if (s->n == n && i == n)
            return s;
    }
    return NULL;
}

static bool index_add(struct labels *s, struct label_slot *slot)
{
    struct label *l = slot->label;

    if (l->n_sets == l->capacity) {
        uint32_t capacity = l->capacity ? l->capacity * 2 : 1;
        struct labels **sets = reallocarray(l->sets, capacity, sizeof(*sets));

        if (!sets)
            return false;
        l->sets = sets;
        l->capacity = capacity;
    }
    slot->position = l->n_sets;
    l->sets[l->n_sets++] = s;
    return true;
}

/* The last set takes the freed place; its slot must learn that. */
static void index_remove(const struct label_slot *slot)
{
    struct label *l = slot->label;
    struct labels *moved = l->sets[--l->n_sets];

    l->sets[slot->position] = moved;
    for (uint32_t i = 0; i < moved->n; i++)
        if (moved->at[i].label == l)
            moved->at[i].position = slot->position;
}

static void put_all(struct label_table *t, struct label **all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        label_put(t, all[i]);
}

struct labels *labels_get(struct label_table *t, struct label **all, size_t n)
{
    struct labels *s;
    uint32_t i;

    if (n > 1)
        qsort(all, n, sizeof(*all), by_address);
    if ((s = find_set(t, all, n))) {
        put_all(t, all, n);
        s->refs++;
        return s;
    }
    s = calloc(1, sizeof(*s) + n * sizeof(s->at[0]));
    if (!s || hashmap_add(&t->sets, &s->node, set_hash(all, n)) < 0) {
        put_all(t, all, n);
        free(s);
        return NULL;
    }
    s->refs = 1;
    s->n = (uint32_t)n;
    list_init(&s->pods);
    for (i = 0; i < n; i++)
        s->at[i].label = all[i];
    for (i = 0; i < n && index_add(s, &s->at[i]); i++)
        ;
    if (i == n)
        return s;
    while (i-- > 0)
        index_remove(&s->at[i]);
    hashmap_remove(&t->sets, &s->node);
    put_all(t, all, n);
    free(s);
    return NULL;
}

void labels_put(struct label_table *t, struct labels *l)
{
    if (!l || --l->refs)
        return;
    hashmap_remove(&t->sets, &l->node);
    for (uint32_t i = 0; i < l->n; i++) {
        index_remove(&l->at[i]);
        label_put(t, l->at[i].label);
    }
    free(l);
}

struct string *labels_value(const struct labels *l, const struct string *key)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->at[i].label->key == key)
            return l->at[i].label->value;
    return NULL;
}

void label_table_fini(struct label_table *t)
{
    struct hash_node *n, *next;

    for (n = hashmap_next(&t->sets, NULL); n; n = next) {
        next = hashmap_next(&t->sets, n);
        free(hash_entry(n, struct labels, node));
    }
    for (n = hashmap_next(&t->labels, NULL); n; n = next) {
        next = hashmap_next(&t->labels, n);
        label_free(t, hash_entry(n, struct label, node));
    }
    hashmap_fini(&t->sets);
    hashmap_fini(&t->labels);
}
