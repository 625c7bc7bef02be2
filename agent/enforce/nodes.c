/*
 * Addresses of nodes: this one's own (found here; its packets to its own pods pass, kubelet probes
 * by them; with its nets' broadcast addresses) and others' (given by the agent). Tunnels may not
 * end there.
 */
#include "agent/enforce/internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NODE_THIS = 1, NODE_OTHER = 2, OWN_MAX = 4096 };

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct berm_addr));
}

static bool holds(const struct berm_addr *list, size_t n, const struct berm_addr *a)
{
    return n && bsearch(a, list, n, sizeof(*a), compare);
}

static int put(struct enforce *e, const struct berm_addr *addr, uint32_t value)
{
    if (bpf_map_update_elem(e->maps[MAP_G_NODES], addr, &value, BPF_ANY) < 0 ||
        bpf_map_update_elem(e->maps[MAP_P_NODES], addr, &value, BPF_ANY) < 0)
        return -errno;
    return 0;
}

static void drop_others(struct enforce *e, enum enforce_map map)
{
    struct berm_addr key, next;
    void *from = NULL;

    for (size_t n = 0; n < BERM_NODES_MAX; n++) {
        bool gone = bpf_map_get_next_key(e->maps[map], from, &next) < 0;

        if (from && !holds(e->own, e->n_own, &key) && !holds(e->nodes, e->n_nodes, &key))
            (void)bpf_map_delete_elem(e->maps[map], &key);
        if (gone)
            return;
        key = next;
        from = &key;
    }
}

static int write_all(struct enforce *e, struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < e->n_nodes; i++)
        r = put(e, &e->nodes[i], NODE_OTHER);
    for (size_t i = 0; r == 0 && i < e->n_own; i++)
        r = put(e, &e->own[i], NODE_THIS);
    if (r < 0)
        return error_errno(err, r, "write node addresses");
    drop_others(e, MAP_G_NODES);
    drop_others(e, MAP_P_NODES);
    return 0;
}

struct collect {
    struct berm_addr *list;
    size_t n;
};

static int collect(struct collect *c, const struct berm_addr *addr)
{
    struct berm_addr *grown;

    if (c->n >= OWN_MAX)
        return -1;
    grown = realloc(c->list, (c->n + 1) * sizeof(*grown));
    if (!grown)
        return -1;
    c->list = grown;
    c->list[c->n++] = *addr;
    return 0;
}

/* What is sent to a whole net of the node's, it takes in as well: the address that is set for it
 * and the one that the kernel makes of the prefix. */
static int collect_broadcast(struct collect *c, const struct netdev_addr *addr)
{
    static const struct berm_addr none;
    struct berm_addr all = addr->addr;
    int r = 0;

    if (memcmp(&addr->broadcast, &none, sizeof(none)) != 0)
        r = collect(c, &addr->broadcast);
    if (r < 0 || all.w[2] != htonl(0xffff) || all.d[0] || addr->prefix > 30)
        return r;
    all.w[3] |= htonl(0xffffffffU >> addr->prefix);
    return collect(c, &all);
}

static int on_address(void *ctx, const struct netdev_addr *addr)
{
    struct collect *c = ctx;

    return collect(c, &addr->addr) < 0 ? -1 : collect_broadcast(c, addr);
}

int nodes_refresh(struct enforce *e, struct error *err)
{
    struct collect c = {0};
    int r = netdev_addresses(on_address, &c, err);

    if (r < 0) {
        free(c.list);
        return r;
    }
    qsort(c.list, c.n, sizeof(*c.list), compare);
    free(e->own);
    e->own = c.list;
    e->n_own = c.n;
    e->own_changed = false;
    return write_all(e, err);
}

int enforce_set_nodes(struct enforce *e, const uint8_t (*addrs)[16], size_t n, struct error *err)
{
    struct berm_addr *list = calloc(n ? n : 1, sizeof(*list));

    if (!list)
        return error_set(err, -ENOMEM, "out of memory");
    if (n)
        memcpy(list, addrs, n * sizeof(*list));
    qsort(list, n, sizeof(*list), compare);
    free(e->nodes);
    e->nodes = list;
    e->n_nodes = n;
    return write_all(e, err);
}
