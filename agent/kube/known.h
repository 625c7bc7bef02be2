#pragma once
/* What a collection holds: names, versions, and in which list each was last seen. */
#include "common/hashmap.h"

/* Adds, or notes the version and generation. 0 or -ENOMEM. */
int known_put(struct hashmap *m, const char *ns, const char *name, const char *version,
              uint32_t generation);
bool known_drop(struct hashmap *m, const char *ns, const char *name); /* true if it was there */
/* Whether a newer version than this one is held. Versions that are no numbers can't be told. */
bool known_is_newer(const struct hashmap *m, const char *ns, const char *name, const char *version);
/* Drops all of other generations, calling fn before each. fn must not change m. */
void known_sweep(struct hashmap *m, uint32_t generation,
                 void (*fn)(void *ctx, const char *ns, const char *name), void *ctx);
void known_free(struct hashmap *m);
