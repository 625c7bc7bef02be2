/* Policies: which local pods they select, which peer sets they use, and their comings and goings.
 */
#include "policy/engine/internal.h"

#include <errno.h>
#include <string.h>

static uint64_t key_hash(enum engine_kind kind, const char *ns, const char *name)
{
    return hash_string(name) ^ (hash_string(ns) << 1) ^ hash_u64((uint64_t)kind);
}

static struct policy *find(const struct engine *e, enum engine_kind kind, const char *ns,
                           const char *name)
{
    struct hash_node *n = hashmap_first(&e->policies, key_hash(kind, ns, name));

    for (; n; n = hashmap_next_same(n)) {
        struct policy *p = hash_entry(n, struct policy, node);

        if (p->kind == kind && strcmp(p->name->text, name) == 0 &&
            strcmp(p->ns_name->text, ns) == 0)
            return p;
    }
    return NULL;
}

/* -- selection -------------------------------------------------------------------------- */

static bool selects(const struct engine *e, const struct policy *p, const struct pod *pod)
{
    if (!pod_counts(pod) || !selector_matches(&p->pod_sel, pod->labels))
        return false;
    return p->ns ? p->ns == pod->ns : namespace_matches(e, &p->ns_sel, pod->ns, false);
}

static void selection_free(struct selection *s)
{
    list_remove(&s->pod_link);
    list_remove(&s->policy_link);
    s->policy->n_selected--;
    free(s);
}

static int selection_add(struct pod_local *l, struct policy *p)
{
    struct selection *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->local = l;
    s->policy = p;
    list_append(&l->selections, &s->pod_link);
    list_append(&p->selected, &s->policy_link);
    p->n_selected++;
    return 0;
}

void local_drop_selections(struct pod_local *l)
{
    struct selection *s, *next;

    list_for_each_entry_safe (s, next, &l->selections, pod_link)
        selection_free(s);
}

/* A cluster policy might select the pod, but the labels of its namespace aren't known. */
static bool undecided(const struct engine *e, const struct policy *p, const struct pod *pod)
{
    return !p->ns && selector_matches(&p->pod_sel, pod->labels) &&
           namespace_matches(e, &p->ns_sel, pod->ns, true) &&
           !namespace_matches(e, &p->ns_sel, pod->ns, false);
}

/* Adds what is missing; counts what should be there. */
static int select_from(struct engine *e, struct pod_local *l, struct list *policies, size_t *n,
                       bool *changed, bool *open)
{
    struct policy *p;

    list_for_each_entry (p, policies, ns_link) {
        const struct selection *s;
        bool there = false;

        *open |= undecided(e, p, l->pod);
        if (!selects(e, p, l->pod))
            continue;
        (*n)++;
        list_for_each_entry (s, &l->selections, pod_link) {
            if ((there = s->policy == p))
                break;
        }
        if (!there && selection_add(l, p) < 0)
            return -ENOMEM;
        *changed |= !there;
    }
    return 0;
}

int local_reselect(struct engine *e, struct pod_local *l)
{
    struct selection *s, *next;
    bool changed = false, open = false;
    size_t n = 0;

    list_for_each_entry_safe (s, next, &l->selections, pod_link) {
        if (!selects(e, s->policy, l->pod)) {
            selection_free(s);
            changed = true;
        }
    }
    if (select_from(e, l, &l->pod->ns->policies, &n, &changed, &open) < 0 ||
        select_from(e, l, &e->cluster_policies, &n, &changed, &open) < 0) {
        local_mark_dirty(e, l);
        return -ENOMEM;
    }
    if (changed || open != l->undecided)
        local_mark_dirty(e, l);
    l->undecided = open;
    return 0;
}

/* Selects for a policy that is new. */
static int select_for(struct engine *e, struct policy *p)
{
    struct pod_local *l;
    struct pod *pod;
    int r = 0;

    if (p->ns && p->ns->n_pods < e->n_locals) {
        list_for_each_entry (pod, &p->ns->pods, ns_link) {
            if (r == 0 && pod->local && selects(e, p, pod) &&
                (r = selection_add(pod->local, p)) == 0)
                local_mark_dirty(e, pod->local);
        }
        return r;
    }
    list_for_each_entry (l, &e->locals, all_link) {
        if (undecided(e, p, l->pod) && !l->undecided) {
            l->undecided = true;
            local_mark_dirty(e, l);
        }
        if (r == 0 && selects(e, p, l->pod) && (r = selection_add(l, p)) == 0)
            local_mark_dirty(e, l);
    }
    return r;
}

/* -- peer sets -------------------------------------------------------------------------- */

static int link_peer(struct engine *e, struct policy *p, const struct model_rule *rule,
                     struct policy_peer *peer)
{
    if (peer->type == PEER_NODES)
        p->by_nodes = true;
    if (peer->type != PEER_PODS)
        return 0;
    peer->set = peer_set_get(e, peer->own_namespace ? p->ns : NULL, &peer->ns_sel, &peer->sel, NULL,
                             rule->action == POLICY_DENY, p);
    return peer->set ? 0 : -ENOMEM;
}

/* Named ports towards addresses (or anybody) concern every pod that has a port of that name. */
static int link_named_ports(struct engine *e, struct policy *p, struct model_rule *rule)
{
    bool addresses = rule->any_peer;

    for (size_t i = 0; i < rule->n_peers; i++)
        addresses |= rule->peers[i].type == PEER_BLOCK;
    for (size_t i = 0; addresses && i < rule->n_ports; i++) {
        struct selector every[2] = {{0}, {0}};

        if (rule->ports[i].name &&
            !(rule->ports[i].set =
                  peer_set_get(e, NULL, &every[0], &every[1], rule->ports[i].name, true, p)))
            return -ENOMEM;
    }
    return 0;
}

static int link_sets(struct engine *e, struct policy *p)
{
    int r = 0;

    for (int dir = 0; dir < POLICY_DIRECTION_MAX; dir++)
        for (size_t i = 0; i < p->n_rules[dir]; i++) {
            struct model_rule *rule = &p->rules[dir][i];

            for (size_t k = 0; r == 0 && k < rule->n_peers; k++)
                r = link_peer(e, p, rule, &rule->peers[k]);
            if (r == 0 && dir == POLICY_EGRESS)
                r = link_named_ports(e, p, rule);
        }
    return r;
}

static void unlink_sets(struct engine *e, struct policy *p)
{
    for (int dir = 0; dir < POLICY_DIRECTION_MAX; dir++)
        for (size_t i = 0; i < p->n_rules[dir]; i++) {
            struct model_rule *rule = &p->rules[dir][i];

            for (size_t k = 0; k < rule->n_peers; k++)
                peer_set_put(e, rule->peers[k].set, p);
            for (size_t k = 0; k < rule->n_ports; k++)
                peer_set_put(e, rule->ports[k].set, p);
        }
}

/* Pods that waited for a cluster policy that is gone. */
static void reselect_undecided(struct engine *e)
{
    struct pod_local *l;

    list_for_each_entry (l, &e->locals, all_link) {
        if (l->undecided)
            (void)local_reselect(e, l);
    }
}

/* -- coming and going ------------------------------------------------------------------- */

void engine_remove_policy(struct engine *e, struct policy *p)
{
    struct selection *s, *next;
    struct namespace *ns = p->ns;

    list_for_each_entry_safe (s, next, &p->selected, policy_link) {
        local_mark_dirty(e, s->local);
        selection_free(s);
    }
    unlink_sets(e, p);
    list_remove(&p->ns_link);
    hashmap_remove(&e->policies, &p->node);
    e->n_policies[p->kind == ENGINE_CLUSTER_NETWORK_POLICY]--;
    policy_free(&e->strings, p);
    if (ns)
        namespace_release(e, ns);
    else
        reselect_undecided(e);
}

static int add_policy(struct engine *e, struct policy *p)
{
    struct policy *old = find(e, p->kind, p->ns_name->text, p->name->text);

    if (p->kind == ENGINE_NETWORK_POLICY && !(p->ns = namespace_get(e, p->ns_name->text))) {
        policy_free(&e->strings, p);
        return -ENOMEM;
    }
    if (hashmap_add(&e->policies, &p->node, key_hash(p->kind, p->ns_name->text, p->name->text)) <
        0) {
        policy_free(&e->strings, p);
        return -ENOMEM;
    }
    list_append(p->ns ? &p->ns->policies : &e->cluster_policies, &p->ns_link);
    e->n_policies[p->kind == ENGINE_CLUSTER_NETWORK_POLICY]++;
    if (link_sets(e, p) < 0 || select_for(e, p) < 0) {
        engine_remove_policy(e, p);
        return -ENOMEM;
    }
    if (old)
        engine_remove_policy(e, old);
    return 0;
}

static uint64_t digest(const json_t *object)
{
    CLEANUP(free_ptr)
    char *text = json_dumps(json_object_get(object, "spec"),
                            JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    return text ? hash_string(text) | 1 : 0;
}

int engine_apply_policy(struct engine *e, enum engine_kind kind, const json_t *object)
{
    struct policy *p, *old;
    int r = kind == ENGINE_NETWORK_POLICY ? network_policy_decode(&e->decoder, object, &p)
                                          : cluster_policy_decode(&e->decoder, object, &p);
    bool bad;

    if (r < 0)
        return r;
    bad = p->problem != NULL;
    p->touched = e->relist[kind];
    p->digest = digest(object);
    old = find(e, kind, p->ns_name->text, p->name->text);
    if (old && !old->problem && !bad && p->digest && old->digest == p->digest &&
        old->uid == p->uid) {
        old->touched = p->touched;
        old->orphan = false;
        policy_free(&e->strings, p);
        return 0;
    }
    if (add_policy(e, p) < 0)
        return decode_memory(&e->decoder);
    return bad ? ENGINE_INEXPRESSIBLE : 0;
}

bool engine_delete_policy(struct engine *e, enum engine_kind kind, const char *ns, const char *name,
                          const char *uid)
{
    struct policy *p = find(e, kind, ns, name);

    if (!p || p->orphan || (uid && *uid && *p->uid->text && strcmp(p->uid->text, uid) != 0))
        return false;
    if (p->ns && p->ns->ending && p->ns->n_pods)
        p->orphan = true; /* the pods still run: what isolates them stays until they are gone */
    else
        engine_remove_policy(e, p);
    return true;
}
