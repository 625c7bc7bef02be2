/*
 * Small maps as a whole against what was written: a sum over all entries, in place of a comparison
 * each. The kernel makes it (bpf/tally.bpf.c); one that can't is asked for all entries of a map at
 * once. Entries that others added count, too.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "tally.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, ENTRY_MAX = 256 };

void tally_add(struct berm_tally *t, const void *key, size_t key_size, const void *value,
               size_t value_size)
{
    t->sum += berm_digest(berm_digest(0, key, (uint32_t)key_size), value, (uint32_t)value_size);
    t->n++;
}

/* -- in the kernel, where it can be --------------------------------------------------------- */

void tally_open(struct enforce *e)
{
    struct error err = ERROR_INIT;

    e->tally = tally_bpf__open();
    if (!e->tally)
        return;
    if (load_share_maps(e, e->tally->obj, &err) < 0 || tally_bpf__load(e->tally) < 0)
        tally_close(e);
}

void tally_close(struct enforce *e)
{
    tally_bpf__destroy(e->tally);
    e->tally = NULL;
    e->tallied = false;
}

/* false: there is no room for all. An address that two pods have is there once. */
static bool name_pod(const struct pod *pod, struct berm_tally_keys *keys)
{
    const struct device *device;

    list_for_each_entry (device, &pod->devices, siblings) {
        if (keys->n_ifaces == BERM_IFACES_MAX)
            return false;
        keys->ifaces[keys->n_ifaces++] = (uint32_t)device->ifindex;
    }
    if (keys->n_sources + pod->n_sources > BERM_SOURCES_MAX || keys->n_spaces == BERM_NETNS_MAX)
        return false;
    memcpy(&keys->sources[keys->n_sources], pod->sources, pod->n_sources * sizeof(pod->sources[0]));
    keys->n_sources += pod->n_sources;
    if (pod->record.cookie && !pod->record.host_network)
        keys->spaces[keys->n_spaces++] = pod->record.cookie;
    return true;
}

static bool name_keys(struct enforce *e)
{
    struct berm_tally_keys *keys = &e->tally->bss->keys;

    keys->n_ifaces = keys->n_sources = 0;
    keys->n_spaces = 2;
    keys->spaces[0] = 0;
    keys->spaces[1] = e->cookie;
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i] && !name_pod(e->slots[i], keys))
            return false;
    }
    return true;
}

void tally_look(struct enforce *e)
{
    e->tallied = e->tally && name_keys(e) &&
                 sys_run(bpf_program__fd(e->tally->progs.tally_guard)) == 0 &&
                 sys_run(bpf_program__fd(e->tally->progs.tally_policy)) == 0;
}

static const struct berm_tally *known(const struct enforce *e, enum enforce_map map)
{
    const struct berm_tallies *guard, *policy;

    if (!e->tallied)
        return NULL;
    guard = &e->tally->bss->tallies[BERM_ENGINE_GUARD];
    policy = &e->tally->bss->tallies[BERM_ENGINE_POLICY];
    switch (map) {
    case MAP_G_IFACES:
        return &guard->ifaces;
    case MAP_P_IFACES:
        return &policy->ifaces;
    case MAP_G_SOURCES:
        return &guard->sources;
    case MAP_P_SOURCES:
        return &policy->sources;
    case MAP_G_NETNS:
        return &guard->spaces;
    case MAP_G_EXCEPTIONS:
        return &guard->exceptions;
    case MAP_G_ROWS:
        return &guard->rows;
    default:
        return NULL;
    }
}

/* -- by reading all -------------------------------------------------------------------------- */

static int read_all(int map, size_t key_size, size_t value_size, char *keys, char *values,
                    struct berm_tally *ret)
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
                   size_t value_size, const struct berm_tally *want)
{
    const struct berm_tally *counted = known(e, map);
    CLEANUP(free_ptr) char *buffer = NULL;
    struct berm_tally now = {0};

    if (counted)
        return counted->n == want->n && counted->sum == want->sum;
    buffer = malloc((size_t)CHUNK * ENTRY_MAX);
    if (!buffer || key_size + value_size > ENTRY_MAX)
        return false;
    return read_all(e->maps[map], key_size, value_size, buffer, buffer + CHUNK * key_size, &now) ==
               0 &&
           now.n == want->n && now.sum == want->sum;
}

bool tally_has(const struct enforce *e, enum enforce_map map, uint64_t n)
{
    const struct berm_tally *counted = known(e, map);

    return counted && counted->n == n;
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
