#pragma once
/*
 * The content of a directory at one moment, shared by those who read it. Readers keep the list they
 * began with until they rewind, so that positions stay meaningful whatever happens meanwhile.
 */
#include "runtime/sentry/ref.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dir_list_entry {
    uint64_t ino;
    uint32_t name; /* offset in names */
    uint8_t len, type;
};

struct dir_list {
    struct ref ref;
    unsigned n, capacity;
    struct dir_list_entry *entries;
    char *names; /* NUL-terminated each */
    size_t names_size, names_capacity;
};

enum { DIR_LIST_MAX = 4000000 }; /* entries; more is -EOVERFLOW */

struct dir_list *dir_list_new(void); /* NULL: out of memory */
struct dir_list *dir_list_get(struct dir_list *l);
void dir_list_put(struct dir_list *l); /* accepts NULL */
/* type: DT_*. 0, -ENOMEM, -EOVERFLOW. */
int dir_list_add(struct dir_list *l, const char *name, size_t len, uint64_t ino, unsigned type);
static inline const char *dir_list_name(const struct dir_list *l, unsigned i)
{
    return l->names + l->entries[i].name;
}
