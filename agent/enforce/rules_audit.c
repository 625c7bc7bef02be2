/*
 * Rules against the maps, from the maps' side: after a start, what is there is taken over or
 * removed; while running, entries of others are looked for. The other side is rules_check.c.
 */
#include "agent/enforce/entries.h"
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The pod whose rules in force an entry belongs to, or NULL: an orphan. */
static struct pod *owner(struct enforce *e, uint32_t scope, uint32_t epoch)
{
    struct pod *pod = scope >> 1 < BERM_PODS_MAX ? e->slots[scope >> 1] : NULL;

    return pod && BERM_CONTROL_STATE(pod->control) == BERM_POD_RULES &&
                   BERM_CONTROL_EPOCH(pod->control) == epoch
               ? pod
               : NULL;
}

/* Adds the entry to its pod's tables; 1 if it has none, so that it is removed. */
typedef int (*adopt_fn)(struct enforce *e, const void *key, const void *value);

static int add_peer(struct pod *pod, uint32_t scope, const struct berm_addr *addr, uint8_t prefix,
                    const struct berm_class *class)
{
    struct bpf_peer peer = {*addr, class->id, prefix, (uint8_t)(scope & 1)};

    if (pod->tables.n_peers == pod->tables.cap_peers) {
        size_t more = pod->tables.cap_peers ? pod->tables.cap_peers * 2 : 64;
        struct bpf_peer *grown = realloc(pod->tables.peers, more * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        pod->tables.peers = grown;
        pod->tables.cap_peers = more;
    }
    pod->tables.peers[pod->tables.n_peers++] = peer;
    return 0;
}

static int adopt_host(struct enforce *e, const void *k, const void *v)
{
    const struct berm_host_key *key = k;
    struct pod *pod = owner(e, key->scope & ENTRY_SCOPE_MASK, key->epoch);
    uint8_t prefix;

    if (!pod || (key->scope >> BERM_SCOPE_BITS > 128 &&
                 key->scope >> BERM_SCOPE_BITS != BERM_LENGTHS)) /* no such length */
        return 1;
    return entries_adopt_lengths(&pod->tables, key, v, &prefix)
               ? 0
               : add_peer(pod, key->scope, &key->addr, prefix, v);
}

static int adopt_cidr(struct enforce *e, const void *k, const void *v)
{
    const struct berm_cidr_key *key = k;
    struct pod *pod = owner(e, key->scope, key->epoch);

    if (!pod || key->prefix < BERM_CIDR_BITS)
        return 1;
    return add_peer(pod, key->scope, &key->addr, (uint8_t)(key->prefix - BERM_CIDR_BITS), v);
}

static int adopt_port(struct enforce *e, const void *k, const void *v)
{
    const struct berm_port_key *key = k;
    struct pod *pod = owner(e, key->scope, key->epoch);
    struct bpf_port port = {*key, *(const struct berm_verdict *)v};

    if (!pod)
        return 1;
    port.key.scope &= 1;
    port.key.epoch = 0;
    if (pod->tables.n_ports == pod->tables.cap_ports) {
        size_t more = pod->tables.cap_ports ? pod->tables.cap_ports * 2 : 64;
        struct bpf_port *grown = realloc(pod->tables.ports, more * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        pod->tables.ports = grown;
        pod->tables.cap_ports = more;
    }
    pod->tables.ports[pod->tables.n_ports++] = port;
    return 0;
}

static int walk(struct enforce *e, enum enforce_map map, size_t key_size, adopt_fn adopt,
                struct error *err)
{
    _Alignas(8) char key[64], next[64], value[64];
    bool have = false;

    for (;;) {
        bool end = bpf_map_get_next_key(e->maps[map], have ? key : NULL, next) < 0;
        int r;

        /* The one before is deleted only now: a walk needs its last key to exist. */
        if (have && key[key_size])
            (void)bpf_map_delete_elem(e->maps[map], key);
        if (end)
            return 0;
        memcpy(key, next, key_size);
        have = true;
        if (bpf_map_lookup_elem(e->maps[map], key, value) < 0)
            return error_errno(err, -errno, "read map %s", load_map_name(map));
        r = adopt(e, key, value);
        if (r < 0)
            return error_errno(err, r, "take over rules from map %s", load_map_name(map));
        key[key_size] = (char)r;
    }
}

int rules_collect_orphans(struct enforce *e, struct error *err)
{
    int r = walk(e, MAP_P_HOSTS, sizeof(struct berm_host_key), adopt_host, err);

    if (r == 0)
        r = walk(e, MAP_P_CIDRS, sizeof(struct berm_cidr_key), adopt_cidr, err);
    if (r == 0)
        r = walk(e, MAP_P_PORTS, sizeof(struct berm_port_key), adopt_port, err);
    return r;
}

/* -- entries that nobody here wrote -------------------------------------------------------- */

/* Where an entry says that it belongs, whichever map it is in. */
struct place {
    uint32_t scope, epoch;
};

static struct place place_of(enum enforce_map map, const void *key)
{
    const struct berm_host_key *host = key;
    const struct berm_cidr_key *cidr = key;
    const struct berm_port_key *port = key;

    return map == MAP_P_HOSTS   ? (struct place){host->scope & ENTRY_SCOPE_MASK, host->epoch}
           : map == MAP_P_CIDRS ? (struct place){cidr->scope, cidr->epoch}
                                : (struct place){port->scope, port->epoch};
}

/* Epochs only grow, so what is older can never be matched; it goes by itself. */
enum standing { HARMLESS, IN_FORCE, FOREIGN };
static enum standing standing_of(struct enforce *e, enum enforce_map map, const void *key)
{
    struct place p = place_of(map, key);
    uint32_t slot = p.scope >> 1, now;

    if (slot >= BERM_PODS_MAX)
        return FOREIGN;
    now = BERM_CONTROL_EPOCH(e->slots[slot] ? e->slots[slot]->control : e->control[slot].word);
    if (p.epoch < now)
        return HARMLESS;
    return owner(e, p.scope, p.epoch) ? IN_FORCE : FOREIGN;
}

/* A step in a large map with few entries in it takes long. */
enum { WALK_BUDGET = 8, FAST_CHUNK = 256 };
static const uint64_t FAST_NS = 20000000; /* of one sweep, at most */

static bool next_key(struct enforce *e, enum enforce_map map, char *ret)
{
    return bpf_map_get_next_key(e->maps[map], e->walk[map].begun ? e->walk[map].key : NULL, ret) ==
           0;
}

/* Taken out if it has no business there; 1 if it was. */
static int judge_entry(struct enforce *e, enum enforce_map map, const char *key)
{
    enum standing standing = standing_of(e, map, key);

    if (standing == HARMLESS ||
        (standing == IN_FORCE &&
         entries_hold(&e->slots[place_of(map, key).scope >> 1]->tables, map, key)))
        return 0;
    if (bpf_map_delete_elem(e->maps[map], key) < 0)
        return 0;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "removed a foreign entry from map %s",
             load_map_name(map));
    return 1;
}

/* One entry further, from where the last walk ended; 1 if one was taken out. The next one is found
 * before: a walk from a key that is gone would begin anew. */
static int walk_step(struct enforce *e, enum enforce_map map, size_t size)
{
    _Alignas(8) char next[sizeof(e->walk[map].key)], key[sizeof(next)];
    bool have = e->walk[map].begun, more = next_key(e, map, next);

    memcpy(key, e->walk[map].key, size);
    e->walk[map].begun = more;
    if (more)
        memcpy(e->walk[map].key, next, size);
    else
        e->walk[map].on = e->walk[map].fast = false;
    return have ? judge_entry(e, map, key) : 0;
}

int rules_remove_foreign(struct enforce *e, bool begin, bool fast)
{
    uint64_t until = enforce_now_ns() + FAST_NS;
    int removed = 0;

    for (size_t i = 0; i < ENTRY_MAPS; i++) {
        enum enforce_map map = entry_maps[i].map;

        if (fast)
            e->walk[map].begun = false;
        e->walk[map].on |= begin || fast;
        e->walk[map].fast |= fast;
        for (size_t n = 0; e->walk[map].on; n++) {
            if (e->walk[map].fast ? n % FAST_CHUNK == FAST_CHUNK - 1 && enforce_now_ns() > until
                                  : n == WALK_BUDGET)
                break;
            removed += walk_step(e, map, entry_maps[i].key_size);
        }
    }
    return removed;
}
