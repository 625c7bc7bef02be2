#pragma once
/*
 * Interned label sets, and the index from a label to the sets that have it. Pods made from one
 * template share one set, so a cluster has far fewer sets than pods. The structures of selection
 * (which pods have a set, which peer sets hang on a label) link themselves in here.
 */
#include "common/list.h"
#include "policy/model/strings.h"

struct labels;

/* One key=value somewhere in the cluster or in a selector. */
struct label {
    struct hash_node node;
    struct string *key, *value;
    uint32_t refs;
    uint32_t n_sets, capacity;
    struct labels **sets; /* label sets that contain it, in no order */
    struct list watchers; /* peer sets that need it */
};

struct labels {
    struct hash_node node;
    uint32_t refs, n;
    struct list pods; /* pods with exactly these labels */
    struct label_slot {
        struct label *label; /* sorted by address of the label */
        uint32_t position;   /* of this set in label->sets */
    } at[];
};

struct label_table {
    struct strings *strings;
    struct hashmap labels, sets;
};

void label_table_fini(struct label_table *t);

struct label *label_get(struct label_table *t, const char *key, const char *value);
void label_put(struct label_table *t, struct label *l); /* accepts NULL */

/* The set of n labels; takes over one reference on each (also on failure). Keys must differ.
 * A reference, or NULL if memory is short. */
struct labels *labels_get(struct label_table *t, struct label **all, size_t n);
void labels_put(struct label_table *t, struct labels *l); /* accepts NULL */
/* Value under an interned key, or NULL. */
struct string *labels_value(const struct labels *l, const struct string *key);
