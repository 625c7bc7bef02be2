/*
 * Rules against the maps, from the side of what was written: some entries a sweep, in turn. The
 * kernel compares them where it can (bpf/counts.bpf.c); else each is read back.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "counts.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

enum { READ_BUDGET = 128 }; /* entries a sweep, if each is read back */

static const struct {
    enum enforce_map map;
    size_t size;
} checked[] = {
    [BERM_CHECK_HOSTS] = {MAP_P_HOSTS, sizeof(struct berm_class)},
    [BERM_CHECK_CIDRS] = {MAP_P_CIDRS, sizeof(struct berm_class)},
    [BERM_CHECK_PORTS] = {MAP_P_PORTS, sizeof(struct berm_verdict)},
};

/* The pod's i-th entry, as it must be. */
static void check_of(const struct pod *pod, size_t i, struct berm_check *ret)
{
    uint32_t epoch = BERM_CONTROL_EPOCH(pod->control);

    memset(ret, 0, sizeof(*ret));
    if (i >= pod->tables.n_peers) {
        const struct bpf_port *port = &pod->tables.ports[i - pod->tables.n_peers];

        ret->map = BERM_CHECK_PORTS;
        ret->port = port->key;
        ret->port.scope |= pod->slot << 1;
        ret->port.epoch = epoch;
        ret->verdict = port->verdict;
        return;
    }
    const struct bpf_peer *peer = &pod->tables.peers[i];
    uint32_t scope = pod->slot << 1 | peer->direction;

    ret->class.id = peer->class_id;
    ret->map = peer->prefix == 128 ? BERM_CHECK_HOSTS : BERM_CHECK_CIDRS;
    if (ret->map == BERM_CHECK_HOSTS)
        ret->host = (struct berm_host_key){scope, epoch, peer->addr};
    else
        ret->cidr = (struct berm_cidr_key){BERM_CIDR_BITS + (uint32_t)peer->prefix, scope, epoch, 0,
                                           peer->addr};
}

/* 1: it was put right. */
static int verify_one(struct enforce *e, const struct berm_check *c)
{
    int map = e->maps[checked[c->map].map];
    char now[16];

    if (bpf_map_lookup_elem(map, &c->host, now) == 0 &&
        !memcmp(now, &c->class, checked[c->map].size))
        return 0;
    if (bpf_map_update_elem(map, &c->host, &c->class, BPF_ANY) < 0)
        return -errno;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "an entry of map %s was not as written",
             load_map_name(checked[c->map].map));
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
                       ? pod->tables.n_peers + pod->tables.n_ports
                       : 0;

        if (e->audit_entry >= n) {
            e->audit_slot = (e->audit_slot + 1) % BERM_PODS_MAX;
            e->audit_entry = 0;
            ++*slots;
            continue;
        }
        check_of(pod, e->audit_entry++, &list->list[list->n++]);
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
