/* Lists of directory entries, see dirlist.h. */
#include "runtime/sentry/vfs/dirlist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dir_list *dir_list_new(void)
{
    struct dir_list *l = calloc(1, sizeof(*l));

    if (l)
        ref_init(&l->ref);
    return l;
}

struct dir_list *dir_list_get(struct dir_list *l)
{
    ref_get(&l->ref);
    return l;
}

void dir_list_put(struct dir_list *l)
{
    if (!l || !ref_put(&l->ref))
        return;
    free(l->entries);
    free(l->names);
    free(l);
}

static int make_room(struct dir_list *l, size_t len)
{
    if (l->n == l->capacity) {
        unsigned n = l->capacity ? l->capacity * 2 : 16;
        void *p = realloc(l->entries, n * sizeof(*l->entries));

        if (!p)
            return -ENOMEM;
        l->entries = p;
        l->capacity = n;
    }
    if (l->names_size + len + 1 > l->names_capacity) {
        size_t n = (l->names_capacity ? l->names_capacity * 2 : 256) + len + 1;
        void *p = realloc(l->names, n);

        if (!p)
            return -ENOMEM;
        l->names = p;
        l->names_capacity = n;
    }
    return 0;
}

int dir_list_add(struct dir_list *l, const char *name, size_t len, uint64_t ino, unsigned type)
{
    int r;

    if (l->n >= DIR_LIST_MAX || l->names_size > UINT32_MAX - 512 || len > 255)
        return -EOVERFLOW;
    r = make_room(l, len);
    if (r < 0)
        return r;
    l->entries[l->n++] = (struct dir_list_entry){
        .ino = ino, .name = (uint32_t)l->names_size, .len = (uint8_t)len, .type = (uint8_t)type};
    memcpy(l->names + l->names_size, name, len);
    l->names[l->names_size + len] = '\0';
    l->names_size += len + 1;
    return 0;
}
