#include "policy/model/strings.h"

#include <string.h>

struct string *string_find(const struct strings *s, const char *text)
{
    struct hash_node *n = hashmap_first(&s->map, hash_string(text));

    for (; n; n = hashmap_next_same(n)) {
        struct string *v = hash_entry(n, struct string, node);

        if (strcmp(v->text, text) == 0)
            return v;
    }
    return NULL;
}

struct string *string_ref(struct string *v)
{
    v->refs++;
    return v;
}

struct string *string_get(struct strings *s, const char *text)
{
    struct string *v = string_find(s, text);
    size_t size = strlen(text);

    if (v)
        return string_ref(v);
    if (size > UINT32_MAX - 64 || !(v = malloc(sizeof(*v) + size + 1)))
        return NULL;
    v->refs = 1;
    v->size = (uint32_t)size;
    memcpy(v->text, text, size + 1);
    if (hashmap_add(&s->map, &v->node, hash_string(text)) < 0) {
        free(v);
        return NULL;
    }
    return v;
}

void string_put(struct strings *s, struct string *v)
{
    if (!v || --v->refs)
        return;
    hashmap_remove(&s->map, &v->node);
    free(v);
}

void strings_fini(struct strings *s)
{
    struct hash_node *n = hashmap_next(&s->map, NULL), *next;

    for (; n; n = next) {
        next = hashmap_next(&s->map, n);
        free(hash_entry(n, struct string, node));
    }
    hashmap_fini(&s->map);
}
