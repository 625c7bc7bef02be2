#pragma once
/* Interned, counted strings: equal text is the same pointer within one table. */
#include "common/hashmap.h"

struct string {
    struct hash_node node;
    uint32_t refs;
    uint32_t size; /* without the NUL */
    char text[];
};

struct strings {
    struct hashmap map;
};

void strings_fini(struct strings *s); /* every reference must be gone, or dies with it */
/* A reference to the string; NULL if memory is short. */
struct string *string_get(struct strings *s, const char *text);
struct string *string_ref(struct string *v);
void string_put(struct strings *s, struct string *v); /* accepts NULL */
/* The string if it is known, without a reference. */
struct string *string_find(const struct strings *s, const char *text);
