/* Nodes: their addresses, as peers of cluster policies and as those who may always reach their
 * pods. */
#include "policy/engine/internal.h"

#include <string.h>

static struct kube_node *find(const struct engine *e, const char *name)
{
    struct hash_node *n = hashmap_first(&e->nodes, hash_string(name));

    for (; n; n = hashmap_next_same(n)) {
        struct kube_node *k = hash_entry(n, struct kube_node, node);

        if (strcmp(k->name->text, name) == 0)
            return k;
    }
    return NULL;
}

/* Rare and cheap: every policy that speaks of nodes is looked at again. */
static void nodes_changed(struct engine *e)
{
    const struct selection *s;
    struct policy *p;

    list_for_each_entry (p, &e->cluster_policies, ns_link) {
        if (!p->by_nodes)
            continue;
        list_for_each_entry (s, &p->selected, policy_link)
            local_mark_dirty(e, s->local);
    }
}

static void remove_node(struct engine *e, struct kube_node *n)
{
    hashmap_remove(&e->nodes, &n->node);
    node_free(&e->decoder, n);
}

static bool same(const struct kube_node *a, const struct kube_node *b)
{
    return a->labels == b->labels && a->n_addresses == b->n_addresses &&
           memcmp(a->addresses, b->addresses, a->n_addresses * 16) == 0;
}

int engine_apply_node(struct engine *e, const json_t *object)
{
    struct kube_node *n, *old;
    bool changed;
    int r = node_decode(&e->decoder, object, &n);

    if (r < 0)
        return r;
    n->touched = e->relist[ENGINE_NODE];
    old = find(e, n->name->text);
    changed = !old || !same(old, n);
    if (hashmap_add(&e->nodes, &n->node, hash_string(n->name->text)) < 0) {
        node_free(&e->decoder, n);
        return decode_memory(&e->decoder);
    }
    if (old)
        remove_node(e, old);
    if (changed)
        nodes_changed(e);
    return 0;
}

bool engine_delete_node(struct engine *e, const char *name)
{
    struct kube_node *n = find(e, name);

    if (!n)
        return false;
    remove_node(e, n);
    nodes_changed(e);
    return true;
}

/* Also without Node objects: pods on the host's network have their node's address. */
bool node_has_address(const struct engine *e, const struct string *node, const uint8_t addr[16])
{
    struct hash_node *h = hashmap_first(&e->addresses, hash_seeded(addr, 16));
    const struct kube_node *n = find(e, node->text);

    if (!*node->text)
        return false;
    for (size_t i = 0; n && i < n->n_addresses; i++)
        if (memcmp(n->addresses[i], addr, 16) == 0)
            return true;
    for (; h; h = hashmap_next_same(h)) {
        const struct pod_address *a = hash_entry(h, struct pod_address, node);

        if (a->pod->host_network && a->pod->node_name == node && !pod_finished(a->pod) &&
            memcmp(a->addr, addr, 16) == 0)
            return true;
    }
    return false;
}

int engine_each_node_address(const struct engine *e, int (*fn)(void *arg, const uint8_t addr[16]),
                             void *arg)
{
    struct hash_node *h = NULL;

    while ((h = hashmap_next(&e->nodes, h))) {
        const struct kube_node *n = hash_entry(h, struct kube_node, node);

        for (size_t i = 0; i < n->n_addresses; i++) {
            int r = fn(arg, n->addresses[i]);

            if (r)
                return r;
        }
    }
    return 0;
}
