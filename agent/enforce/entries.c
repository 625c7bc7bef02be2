#include "agent/enforce/entries.h"

#include <string.h>

const struct entry_map entry_maps[ENTRY_MAPS] = {
    [BERM_CHECK_HOSTS] = {MAP_P_HOSTS, sizeof(struct berm_host_key), sizeof(struct berm_class)},
    [BERM_CHECK_CIDRS] = {MAP_P_CIDRS, sizeof(struct berm_cidr_key), sizeof(struct berm_class)},
    [BERM_CHECK_PORTS] = {MAP_P_PORTS, sizeof(struct berm_port_key), sizeof(struct berm_verdict)},
};

/* How long the blocks of a direction and family are: an entry of each, if they are found so. */
static struct berm_addr lengths_address(enum bpf_family family)
{
    return family == BPF_V4 ? (struct berm_addr){.b = {[10] = 0xff, 0xff}} : (struct berm_addr){0};
}

size_t entries_count(const struct bpf_tables *t)
{
    size_t n = t->n_peers + t->n_ports;

    for (int d = 0; d < POLICY_DIRECTION_MAX; d++)
        n += bpf_tables_by_length(t, (unsigned)d) ? BPF_FAMILIES : 0;
    return n;
}

static void get_lengths(const struct bpf_tables *t, size_t i, uint32_t slot, uint32_t epoch,
                        struct berm_check *ret)
{
    unsigned direction = bpf_tables_by_length(t, 0) ? (unsigned)(i / BPF_FAMILIES) : 1;
    enum bpf_family family = i % BPF_FAMILIES;

    ret->map = BERM_CHECK_HOSTS;
    ret->host.scope = (uint32_t)BERM_LENGTHS << BERM_SCOPE_BITS | slot << 1 | direction;
    ret->host.epoch = epoch;
    ret->host.addr = lengths_address(family);
    ret->class.id = t->lengths[direction][family];
}

static void get_port(const struct bpf_port *port, uint32_t slot, uint32_t epoch,
                     struct berm_check *ret)
{
    ret->map = BERM_CHECK_PORTS;
    ret->port = port->key;
    ret->port.scope = slot << 1 | (port->key.scope & 1);
    ret->port.epoch = epoch;
    ret->verdict = port->verdict;
}

static void get_peer(const struct bpf_tables *t, const struct bpf_peer *peer, uint32_t slot,
                     uint32_t epoch, struct berm_check *ret)
{
    uint32_t scope = slot << 1 | peer->direction;

    ret->class.id = peer->class_id;
    ret->map = BERM_CHECK_HOSTS;
    if (peer->prefix == 128) {
        ret->host = (struct berm_host_key){scope, epoch, peer->addr};
    } else if (bpf_tables_by_length(t, peer->direction)) {
        scope |= (peer->prefix + 1U) << BERM_SCOPE_BITS;
        ret->host = (struct berm_host_key){scope, epoch, peer->addr};
    } else {
        ret->map = BERM_CHECK_CIDRS;
        ret->cidr = (struct berm_cidr_key){BERM_CIDR_BITS + (uint32_t)peer->prefix, scope, epoch, 0,
                                           peer->addr};
    }
}

void entries_get(const struct bpf_tables *t, size_t i, uint32_t slot, uint32_t epoch,
                 struct berm_check *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (i < t->n_peers)
        get_peer(t, &t->peers[i], slot, epoch, ret);
    else if (i - t->n_peers < t->n_ports)
        get_port(&t->ports[i - t->n_peers], slot, epoch, ret);
    else
        get_lengths(t, i - t->n_peers - t->n_ports, slot, epoch, ret);
}

static bool same_place(const struct berm_check *own, const void *key)
{
    struct berm_check other = *own;

    memcpy(&other.host, key, entry_maps[own->map].key_size);
    if (own->map == BERM_CHECK_HOSTS)
        other.host.epoch = 0, other.host.scope &= ~(uint32_t)ENTRY_SCOPE_MASK | 1;
    else if (own->map == BERM_CHECK_CIDRS)
        other.cidr.epoch = 0, other.cidr.scope &= 1;
    else
        other.port.epoch = 0, other.port.scope &= 1;
    return !memcmp(&own->host, &other.host, entry_maps[own->map].key_size);
}

bool entries_hold(const struct bpf_tables *t, enum enforce_map map, const void *key)
{
    size_t n = entries_count(t);

    for (size_t i = 0; i < n; i++) {
        struct berm_check own;

        entries_get(t, i, 0, 0, &own);
        if (entry_maps[own.map].map == map && same_place(&own, key))
            return true;
    }
    return false;
}

bool entries_adopt_lengths(struct bpf_tables *t, const struct berm_host_key *key,
                           const struct berm_class *class, uint8_t *ret_prefix)
{
    const struct berm_addr four = lengths_address(BPF_V4);
    uint32_t length = key->scope >> BERM_SCOPE_BITS;

    *ret_prefix = length ? (uint8_t)(length - 1) : 128;
    if (length != BERM_LENGTHS)
        return false;
    t->lengths[key->scope & 1][memcmp(&key->addr, &four, sizeof(four)) ? BPF_V6 : BPF_V4] =
        class->id;
    return true;
}
