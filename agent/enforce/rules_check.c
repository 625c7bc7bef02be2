/*
 * Rules against the maps, from the side of what was written: some entries a sweep, in turn. The
 * kernel compares them where it can (bpf/counts.bpf.c); else each is read back.
 */
#include "agent/enforce/entries.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "counts.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

enum { READ_BUDGET = 128 }; /* entries a sweep, if each is read back */

/* 1: it was put right. */
static int verify_one(struct enforce *e, const struct berm_check *c)
{
    const struct entry_map *place = &entry_maps[c->map];
    int map = e->maps[place->map];
    char now[16];

    if (bpf_map_lookup_elem(map, &c->host, now) == 0 && !memcmp(now, &c->class, place->value_size))
        return 0;
    if (bpf_map_update_elem(map, &c->host, &c->class, BPF_ANY) < 0)
        return -errno;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "an entry of map %s was not as written",
             load_map_name(place->map));
    return 1;
}

/* Those that differ are read back all the same: the rules may have changed meanwhile. */
static int verify_list(struct enforce *e, struct berm_checks *list, bool ask)
{
    bool told = ask && sys_run(bpf_program__fd(e->counts->progs.check_rules)) == 0;
    int repaired = 0;

    if (told && !list->differing)
        return 0;
    for (uint32_t i = 0; i < list->n; i++) {
        int r = told && !list->list[i].differs ? 0 : verify_one(e, &list->list[i]);

        if (r < 0)
            return r;
        repaired += r;
    }
    return repaired;
}

/* The next ones in turn, at most `max`; once around is enough. */
static void gather(struct enforce *e, struct berm_checks *list, size_t max, size_t *slots)
{
    list->n = 0;
    while (list->n < max && *slots <= BERM_PODS_MAX) {
        const struct pod *pod = e->slots[e->audit_slot];
        size_t n = pod && BERM_CONTROL_STATE(pod->control) == BERM_POD_RULES
                       ? entries_count(&pod->tables)
                       : 0;

        if (e->audit_entry >= n) {
            e->audit_slot = (e->audit_slot + 1) % BERM_PODS_MAX;
            e->audit_entry = 0;
            ++*slots;
            continue;
        }
        entries_get(&pod->tables, e->audit_entry++, pod->slot, BERM_CONTROL_EPOCH(pod->control),
                    &list->list[list->n++]);
    }
}

int rules_verify(struct enforce *e, bool all)
{
    static struct berm_checks own;
    struct berm_checks *list = e->counts ? &e->counts->bss->checks : &own;
    size_t slots = 0, max = e->counts || all ? BERM_CHECKS_MAX : READ_BUDGET;
    int repaired = 0;

    do {
        int r;

        gather(e, list, max, &slots);
        r = verify_list(e, list, e->counts != NULL);
        if (r < 0)
            return r;
        repaired += r;
    } while (all && list->n);
    return repaired;
}
