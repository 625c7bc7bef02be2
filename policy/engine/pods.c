/* Pods: one version replaces another, and what that touches. */
#include "policy/engine/internal.h"

#include <errno.h>
#include <string.h>

static uint64_t key_hash(const struct namespace *ns, const char *name)
{
    return hash_string(name) ^ hash_u64((uintptr_t)ns);
}

static struct pod *find_in(const struct engine *e, const struct namespace *ns, const char *name)
{
    struct hash_node *n = ns ? hashmap_first(&e->pods, key_hash(ns, name)) : NULL;

    for (; n; n = hashmap_next_same(n)) {
        struct pod *p = hash_entry(n, struct pod, node);

        if (p->ns == ns && strcmp(pod_name(p), name) == 0)
            return p;
    }
    return NULL;
}

struct pod *pod_find(const struct engine *e, const char *ns, const char *name)
{
    return find_in(e, namespace_find(e, ns), name);
}

/* The pod that counts and came last; only if there is none, one on the host's network. */
struct pod *pod_by_address(const struct engine *e, const uint8_t addr[16])
{
    struct hash_node *n = hashmap_first(&e->addresses, hash_seeded(addr, 16));
    struct pod *best = NULL;

    for (; n; n = hashmap_next_same(n)) {
        struct pod_address *a = hash_entry(n, struct pod_address, node);

        if (memcmp(a->addr, addr, 16) == 0 && pod_counts(a->pod) &&
            (!best || a->pod->serial > best->serial))
            best = a->pod;
    }
    return best;
}

/* -- linking ---------------------------------------------------------------------------- */

static void unlink_addresses(struct engine *e, struct pod *p, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++)
        hashmap_remove(&e->addresses, &p->addresses[i].node);
}

static int link_pod(struct engine *e, struct pod *p)
{
    uint8_t i;

    for (i = 0; i < p->n_addresses; i++)
        if (hashmap_add(&e->addresses, &p->addresses[i].node,
                        hash_seeded(p->addresses[i].addr, 16)) < 0)
            break;
    if (i < p->n_addresses || hashmap_add(&e->pods, &p->node, key_hash(p->ns, pod_name(p))) < 0) {
        unlink_addresses(e, p, i);
        return -ENOMEM;
    }
    list_append(&p->ns->pods, &p->ns_link);
    list_append(&p->labels->pods, &p->labels_link);
    p->ns->n_pods++;
    return 0;
}

static void unlink_pod(struct engine *e, struct pod *p)
{
    unlink_addresses(e, p, p->n_addresses);
    hashmap_remove(&e->pods, &p->node);
    list_remove(&p->ns_link);
    list_remove(&p->labels_link);
    p->ns->n_pods--;
}

/* -- local pods ------------------------------------------------------------------------- */

static bool is_local(const struct engine *e, const struct pod *p)
{
    return !e->node || strcmp(p->node_name->text, e->node) == 0;
}

static struct pod_local *local_new(struct engine *e)
{
    struct pod_local *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    list_init(&l->dirty_link);
    list_init(&l->selections);
    list_append(&e->locals, &l->all_link);
    e->n_locals++;
    return l;
}

static void local_free(struct engine *e, struct pod_local *l)
{
    if (!l)
        return;
    local_drop_selections(l);
    local_forget(e, l);
    list_remove(&l->all_link);
    e->n_locals--;
    free(l);
}

/* p has taken the place of a version that was local (l) or not (NULL). */
static int settle_local(struct engine *e, struct pod *p, struct pod_local *l, bool counted,
                        bool same_ports)
{
    bool fresh = !l;

    if (!l && !(l = local_new(e)))
        return -ENOMEM;
    l->pod = p;
    p->local = l;
    if (!pod_counts(p)) {
        local_drop_selections(l);
        local_forget(e, l);
        return 0;
    }
    if (local_reselect(e, l) < 0)
        return -ENOMEM;
    if (fresh || !counted || !same_ports)
        local_mark_dirty(e, l);
    return 0;
}

/* -- apply and delete ------------------------------------------------------------------- */

static bool unchanged(const struct pod *a, const struct pod *b)
{
    if (a->labels != b->labels || a->ports != b->ports || a->node_name != b->node_name ||
        a->service_account != b->service_account || a->n_addresses != b->n_addresses ||
        a->phase != b->phase || a->host_network != b->host_network ||
        a->terminating != b->terminating || strcmp(pod_uid(a), pod_uid(b)) != 0)
        return false;
    for (uint8_t i = 0; i < a->n_addresses; i++)
        if (memcmp(a->addresses[i].addr, b->addresses[i].addr, 16) != 0)
            return false;
    return true;
}

static int replace(struct engine *e, struct pod *old, struct pod *p)
{
    struct pod_local *l = old ? old->local : NULL;
    bool counted = old && pod_counts(old), same_ports = old && old->ports == p->ports;
    bool stays = is_local(e, p) && pod_counts(p);
    int r;

    if (l && counted && (!stays || strcmp(pod_uid(old), pod_uid(p)) != 0)) {
        if (engine_report_gone(e, old) < 0)
            return -ENOMEM;
        counted = false; /* what follows is another pod */
    }
    p->serial = ++e->serial;
    if ((r = link_pod(e, p)) < 0)
        return r;
    if (old)
        unlink_pod(e, old);
    peer_sets_pod_changed(e, old, p);
    if (old)
        old->local = NULL;
    if (is_local(e, p))
        r = settle_local(e, p, l, counted, same_ports);
    else
        local_free(e, l);
    pod_free(&e->decoder, &e->ports, old);
    return r;
}

int engine_apply_pod(struct engine *e, const json_t *object)
{
    struct namespace *ns;
    struct pod *p, *old;
    const char *ns_name;
    int r = pod_decode(&e->decoder, &e->ports, object, &p, &ns_name);

    if (r < 0)
        return r;
    if (!(ns = namespace_get(e, ns_name))) {
        pod_free(&e->decoder, &e->ports, p);
        return decode_memory(&e->decoder);
    }
    p->ns = ns;
    p->touched = e->relist[ENGINE_POD];
    old = find_in(e, ns, pod_name(p));
    if (old && unchanged(old, p)) {
        old->touched = p->touched;
        pod_free(&e->decoder, &e->ports, p);
        p = old;
    } else if (replace(e, old, p) < 0) {
        if (!p->labels_link.next || list_empty(&p->labels_link)) {
            pod_free(&e->decoder, &e->ports, p);
            namespace_release(e, ns);
        }
        return decode_memory(&e->decoder);
    }
    namespace_drop_orphans(e, ns);
    return 0;
}

void engine_remove_pod(struct engine *e, struct pod *p)
{
    struct namespace *ns = p->ns;

    if (p->local && pod_counts(p))
        (void)engine_report_gone(e, p);
    unlink_pod(e, p);
    peer_sets_pod_changed(e, p, NULL);
    local_free(e, p->local);
    pod_free(&e->decoder, &e->ports, p);
    namespace_drop_orphans(e, ns);
    namespace_release(e, ns);
}

bool engine_delete_pod(struct engine *e, const char *ns, const char *name, const char *uid)
{
    struct pod *p = pod_find(e, ns, name);

    if (!p || (uid && *uid && *pod_uid(p) && strcmp(pod_uid(p), uid) != 0))
        return false;
    engine_remove_pod(e, p);
    return true;
}
