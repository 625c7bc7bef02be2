/*
 * Small maps as a whole against what was written: one question for all entries of a map, and a sum
 * over them in place of a comparison each. Entries that others added count, too.
 */
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, ENTRY_MAX = 256 };

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
    const uint8_t *p = data;

    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;

        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (; size; p++, size--)
        h = (h ^ *p) * 0x100000001b3ULL;
    return h ^ h >> 32;
}

void tally_add(struct tally *t, const void *key, size_t key_size, const void *value,
               size_t value_size)
{
    t->sum += mix(mix(key_size, key, key_size), value, value_size);
    t->n++;
}

static int read_all(int map, size_t key_size, size_t value_size, char *keys, char *values,
                    struct tally *ret)
{
    struct bpf_map_batch_opts opts = {.sz = sizeof(opts)};
    uint32_t from, to;
    bool first = true;
    int r;

    do {
        uint32_t n = CHUNK;

        r = bpf_map_lookup_batch(map, first ? NULL : &from, &to, keys, values, &n, &opts);
        if (r < 0 && r != -ENOENT)
            return r;
        for (uint32_t i = 0; i < n; i++)
            tally_add(ret, keys + i * key_size, key_size, values + i * value_size, value_size);
        from = to;
        first = false;
    } while (r == 0);
    return 0;
}

bool tally_matches(const struct enforce *e, enum enforce_map map, size_t key_size,
                   size_t value_size, const struct tally *want)
{
    CLEANUP(free_ptr) char *buffer = malloc((size_t)CHUNK * ENTRY_MAX);
    struct tally now = {0};

    if (!buffer || key_size + value_size > ENTRY_MAX)
        return false;
    return read_all(e->maps[map], key_size, value_size, buffer, buffer + CHUNK * key_size, &now) ==
               0 &&
           now.n == want->n && now.sum == want->sum;
}

int tally_remove_foreign(struct enforce *e, enum enforce_map map, size_t key_size,
                         bool (*is_ours)(const struct enforce *e, const void *key))
{
    _Alignas(8) char key[ENTRY_MAX], next[ENTRY_MAX];
    bool have = false, drop = false, end = false;
    int removed = 0;

    while (!end) {
        end = bpf_map_get_next_key(e->maps[map], have ? key : NULL, next) < 0;
        if (drop && bpf_map_delete_elem(e->maps[map], key) == 0)
            removed++;
        memcpy(key, next, key_size);
        have = true;
        drop = !end && !is_ours(e, key);
    }
    if (removed)
        incident(e, ENFORCE_MAP_CHANGED, NULL, "removed %d foreign entries from map %s", removed,
                 load_map_name(map));
    return removed;
}
