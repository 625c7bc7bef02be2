#pragma once
/* Denied packets as people ask for them: the last ones, the same ones counted together. */
#include "agent/enforce/enforce.h"
#include "common/hashmap.h"
#include "common/list.h"

#include <jansson.h>

enum { DROPS_MAX = 1024 };

struct drop {
    struct hash_node node;
    struct list link; /* most recent first */
    char uid[BERM_UID_MAX];
    char what[128];
    uint8_t engine, direction, reason, protocol;
    bool audit; /* nothing was denied */
    uint8_t remote[16];
    uint16_t port; /* of the destination */
    uint64_t count;
    int64_t first, last; /* seconds of the wall clock */
};

struct drops {
    struct hashmap map;
    struct list recent;
};

void drops_init(struct drops *d);
void drops_fini(struct drops *d);
/* Adds one; returns its entry, valid until the next call. NULL if memory is short. */
const struct drop *drops_add(struct drops *d, const struct enforce_deny *deny);
