/*
 * Namespaces: labels that selectors see, and the time between the end of a namespace's policies and
 * the end of its pods. A namespace exists here as soon as anything names it; until its object is
 * seen it isn't `known`.
 */
#include "policy/engine/internal.h"

#include <errno.h>
#include <string.h>

struct namespace *namespace_find(const struct engine *e, const char *name)
{
    struct hash_node *n = hashmap_first(&e->namespaces, hash_string(name));

    for (; n; n = hashmap_next_same(n)) {
        struct namespace *ns = hash_entry(n, struct namespace, node);

        if (strcmp(ns->name->text, name) == 0)
            return ns;
    }
    return NULL;
}

static struct labels *name_only(struct engine *e, const char *name)
{
    struct label *l = label_get(&e->labels, NAMESPACE_NAME_LABEL, name);

    return l ? labels_get(&e->labels, &l, 1) : NULL;
}

struct namespace *namespace_get(struct engine *e, const char *name)
{
    struct namespace *ns = namespace_find(e, name);

    if (ns || !(ns = calloc(1, sizeof(*ns))))
        return ns;
    list_init(&ns->pods);
    list_init(&ns->policies);
    list_init(&ns->sets);
    ns->name = string_get(&e->strings, name);
    ns->labels = name_only(e, name);
    if (!ns->name || !ns->labels || hashmap_add(&e->namespaces, &ns->node, hash_string(name)) < 0) {
        labels_put(&e->labels, ns->labels);
        string_put(&e->strings, ns->name);
        free(ns);
        return NULL;
    }
    return ns;
}

void namespace_release(struct engine *e, struct namespace *ns)
{
    if (ns->pinned || ns->known || !list_empty(&ns->pods) || !list_empty(&ns->policies) ||
        !list_empty(&ns->sets))
        return;
    hashmap_remove(&e->namespaces, &ns->node);
    labels_put(&e->labels, ns->labels);
    string_put(&e->strings, ns->name);
    free(ns);
}

bool namespace_matches(const struct engine *e, const struct selector *sel,
                       const struct namespace *ns, bool if_unknown)
{
    if (ns->known || ns->ending || e->implicit_namespaces)
        return selector_matches(sel, ns->labels);
    return selector_must_match(sel, ns->labels, e->name_key) || if_unknown;
}

void namespace_drop_orphans(struct engine *e, struct namespace *ns)
{
    struct policy *p, *next;

    if (ns->ending && ns->n_pods)
        return;
    ns->pinned = true; /* the last policy would take it along */
    list_for_each_entry_safe (p, next, &ns->policies, ns_link) {
        if (p->orphan)
            engine_remove_policy(e, p);
    }
    ns->pinned = false;
}

/* -- changes ---------------------------------------------------------------------------- */

struct ns_state {
    struct labels *labels;
    bool known, ending;
};

/* Whether the namespace holds a pod that the set's pod selector takes. */
static bool has_member(const struct namespace *ns, const struct peer_set *s)
{
    const struct pod *p;

    list_for_each_entry (p, &ns->pods, ns_link) {
        if (pod_counts(p) && selector_matches(&s->sel, p->labels))
            return true;
    }
    return false;
}

static void swap_state(struct namespace *ns, struct ns_state *other)
{
    struct ns_state now = {ns->labels, ns->known, ns->ending};

    ns->labels = other->labels;
    ns->known = other->known;
    ns->ending = other->ending;
    *other = now;
}

/* Puts the new state in force: sets whose view of the namespace changes are touched, and local pods
 * in it are selected anew (cluster policies select by namespace labels). */
static void change(struct engine *e, struct namespace *ns, struct ns_state state)
{
    struct hash_node *n = NULL;
    struct pod *p;

    while (ns->n_pods && (n = hashmap_next(&e->sets, n))) {
        struct peer_set *s = hash_entry(n, struct peer_set, node);
        bool before, now;

        if (s->ns)
            continue;
        before = peer_set_matches_namespace(e, s, ns);
        swap_state(ns, &state);
        now = peer_set_matches_namespace(e, s, ns);
        swap_state(ns, &state);
        if (before != now && has_member(ns, s))
            peer_set_touch(e, s);
    }
    swap_state(ns, &state);
    labels_put(&e->labels, state.labels);
    list_for_each_entry (p, &ns->pods, ns_link) {
        if (p->local)
            (void)local_reselect(e, p->local);
    }
    namespace_drop_orphans(e, ns);
}

static void set_audit(struct engine *e, struct namespace *ns, bool audit)
{
    struct pod *p;

    if (ns->audit == audit)
        return;
    ns->audit = audit;
    list_for_each_entry (p, &ns->pods, ns_link) {
        if (p->local)
            local_mark_dirty(e, p->local);
    }
}

int engine_apply_namespace(struct engine *e, const json_t *object)
{
    struct labels *labels = NULL;
    struct namespace *ns;
    const char *name;
    bool ending, audit;
    int r = namespace_decode(&e->decoder, object, &name, &labels, &ending, &audit);

    if (r < 0)
        return r;
    if (!(ns = namespace_get(e, name))) {
        labels_put(&e->labels, labels);
        return decode_memory(&e->decoder);
    }
    ns->touched = e->relist[ENGINE_NAMESPACE];
    set_audit(e, ns, audit);
    if (ns->known && ns->labels == labels && ns->ending == ending) {
        labels_put(&e->labels, labels);
        return 0;
    }
    e->n_known_namespaces += !ns->known;
    change(e, ns, (struct ns_state){labels, true, ending});
    return 0;
}

bool engine_has_namespace(const struct engine *e, const char *name)
{
    const struct namespace *ns = namespace_find(e, name);

    return ns && (ns->known || ns->ending);
}

/* While pods are left, the namespace stays as it was, marked as ending. */
bool engine_delete_namespace(struct engine *e, const char *name)
{
    struct namespace *ns = namespace_find(e, name);

    if (!ns || !ns->known)
        return false;
    e->n_known_namespaces--;
    ns->known = false;
    ns->ending = ns->n_pods > 0;
    namespace_drop_orphans(e, ns);
    namespace_release(e, ns);
    return true;
}
