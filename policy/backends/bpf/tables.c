/* The two lists of entries, and a slow reader of them that does what the maps' match does. */
#include "policy/backends/bpf/tables.h"

#include "policy/backends/bpf/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int grow(void **list, size_t n, size_t *capacity, size_t size)
{
    size_t more = *capacity ? *capacity * 2 : 32;
    void *grown;

    if (n < *capacity)
        return 0;
    grown = realloc(*list, more * size);
    if (!grown)
        return -ENOMEM;
    *list = grown;
    *capacity = more;
    return 0;
}

int bpf_tables_add_peer(struct bpf_tables *t, const struct bpf_peer *peer)
{
    void *list = t->peers;

    if (t->n_peers >= BERM_CIDRS_MAX + BERM_HOSTS_MAX)
        return -E2BIG;
    if (grow(&list, t->n_peers, &t->cap_peers, sizeof(*peer)) < 0)
        return -ENOMEM;
    t->peers = list;
    t->peers[t->n_peers++] = *peer;
    return 0;
}

int bpf_tables_add_port(struct bpf_tables *t, const struct bpf_port *port)
{
    void *list = t->ports;

    if (t->n_ports >= BERM_PORTS_MAX)
        return -E2BIG;
    if (grow(&list, t->n_ports, &t->cap_ports, sizeof(*port)) < 0)
        return -ENOMEM;
    t->ports = list;
    t->ports[t->n_ports++] = *port;
    return 0;
}

int bpf_tables_build(const struct policy_rules *rules, struct bpf_tables *ret, struct error *err)
{
    struct bpf_tables t = {0};
    int r = 0;

    for (int d = 0; r == 0 && d < POLICY_DIRECTION_MAX; d++) {
        struct classes classes;

        r = classes_init(&classes, rules->dir[d].n_rules);
        if (r < 0)
            r = error_errno(err, r, "compile rules");
        if (r == 0)
            r = bpf_peers_build(rules, d, &classes, &t, err);
        if (r == 0)
            r = bpf_ports_build(rules, d, &classes, &t, err);
        classes_fini(&classes);
    }
    if (r < 0) {
        bpf_tables_fini(&t);
        return r;
    }
    bpf_lengths_choose(&t);
    *ret = t;
    return 0;
}

void bpf_tables_fini(struct bpf_tables *t)
{
    free(t->peers);
    free(t->ports);
    memset(t, 0, sizeof(*t));
}

static bool prefix_equal(const void *x, const void *y, unsigned bits)
{
    const uint8_t *a = x, *b = y;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return !(bits % 8) || !((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8));
}

const struct berm_verdict *bpf_tables_ask(const struct bpf_tables *t,
                                          enum policy_direction direction, const uint8_t peer[16],
                                          uint8_t protocol, bool portless, uint16_t port)
{
    struct berm_port_key key = {.scope = (uint32_t)direction,
                                .protocol = protocol,
                                .portless = portless,
                                .port = {(uint8_t)(port >> 8), (uint8_t)port}};
    const struct berm_verdict *best = NULL;
    int longest = -1;

    if (portless)
        key.port[0] = key.port[1] = 0;
    for (size_t i = 0; i < t->n_peers; i++) {
        const struct bpf_peer *p = &t->peers[i];

        if (p->direction == (uint8_t)direction && p->prefix > longest &&
            prefix_equal(&p->addr, peer, p->prefix)) {
            longest = p->prefix;
            key.class_id = p->class_id;
        }
    }
    longest = -1;
    for (size_t i = 0; i < t->n_ports; i++) {
        const struct berm_port_key *k = &t->ports[i].key;

        if ((int)k->prefix > longest && prefix_equal(&k->scope, &key.scope, k->prefix)) {
            longest = (int)k->prefix;
            best = &t->ports[i].verdict;
        }
    }
    return best;
}
