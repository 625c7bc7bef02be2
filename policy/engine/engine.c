/* The engine's front: life, dispatch by kind, relists, looks from outside. */
#include "policy/engine/internal.h"

#include <errno.h>
#include <string.h>

static const struct kind_row {
    const char *name, *api;
} kinds[ENGINE_KIND_MAX] = {
    [ENGINE_NAMESPACE] = {"Namespace", "v1"},
    [ENGINE_POD] = {"Pod", "v1"},
    [ENGINE_NODE] = {"Node", "v1"},
    [ENGINE_NETWORK_POLICY] = {"NetworkPolicy", "networking.k8s.io/v1"},
    [ENGINE_CLUSTER_NETWORK_POLICY] = {"ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2"},
};

const char *engine_kind_name(enum engine_kind kind)
{
    return kinds[kind].name;
}

static const char *text_of(const json_t *object, const char *field)
{
    const char *s = json_string_value(json_object_get(object, field));

    return s ? s : "";
}

int engine_kind_of(const json_t *object, enum engine_kind *ret_kind)
{
    for (int i = 0; i < ENGINE_KIND_MAX; i++)
        if (strcmp(kinds[i].name, text_of(object, "kind")) == 0 &&
            strcmp(kinds[i].api, text_of(object, "apiVersion")) == 0) {
            *ret_kind = i;
            return 0;
        }
    return -ENOENT;
}

/* -- life ------------------------------------------------------------------------------- */

struct engine *engine_new(const struct engine_config *config)
{
    struct engine *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->labels.strings = e->ports.strings = &e->strings;
    e->decoder.labels = &e->labels;
    e->decoder.strings = &e->strings;
    list_init(&e->cluster_policies);
    list_init(&e->wide_sets);
    list_init(&e->locals);
    list_init(&e->dirty);
    list_init(&e->gone);
    e->implicit_namespaces = config && config->implicit_namespaces;
    e->name_key = string_get(&e->strings, NAMESPACE_NAME_LABEL);
    if (config && config->node)
        e->node = strdup(config->node);
    if (!e->name_key || (config && config->node && !e->node)) {
        engine_free(e);
        return NULL;
    }
    return e;
}

/* The successor is fetched first: starting over from an ever emptier map would be quadratic. */
static void remove_all(struct engine *e)
{
    struct hash_node *n, *next;

    for (n = hashmap_next(&e->policies, NULL); n; n = next) {
        next = hashmap_next(&e->policies, n);
        engine_remove_policy(e, hash_entry(n, struct policy, node));
    }
    for (n = hashmap_next(&e->pods, NULL); n; n = next) {
        next = hashmap_next(&e->pods, n);
        engine_remove_pod(e, hash_entry(n, struct pod, node));
    }
    for (n = hashmap_next(&e->nodes, NULL); n; n = next) {
        next = hashmap_next(&e->nodes, n);
        (void)engine_delete_node(e, hash_entry(n, struct kube_node, node)->name->text);
    }
    for (n = hashmap_next(&e->namespaces, NULL); n; n = next) {
        next = hashmap_next(&e->namespaces, n);
        (void)engine_delete_namespace(e, hash_entry(n, struct namespace, node)->name->text);
    }
}

void engine_free(struct engine *e)
{
    struct engine_update u;

    if (!e)
        return;
    remove_all(e);
    while (!list_empty(&e->gone) && engine_next_dirty(e, &u, NULL) > 0)
        engine_update_fini(&u);
    string_put(&e->strings, e->name_key);
    hashmap_fini(&e->namespaces);
    hashmap_fini(&e->pods);
    hashmap_fini(&e->addresses);
    hashmap_fini(&e->nodes);
    hashmap_fini(&e->policies);
    hashmap_fini(&e->sets);
    port_table_fini(&e->ports);
    label_table_fini(&e->labels);
    strings_fini(&e->strings);
    free(e->node);
    free(e);
}

/* -- objects ---------------------------------------------------------------------------- */

static int apply(struct engine *e, enum engine_kind kind, const json_t *object)
{
    switch (kind) {
    case ENGINE_NAMESPACE:
        return engine_apply_namespace(e, object);
    case ENGINE_POD:
        return engine_apply_pod(e, object);
    case ENGINE_NODE:
        return engine_apply_node(e, object);
    case ENGINE_NETWORK_POLICY:
    case ENGINE_CLUSTER_NETWORK_POLICY:
        return engine_apply_policy(e, kind, object);
    case ENGINE_KIND_MAX:
        break;
    }
    return -EINVAL;
}

static bool type_fits(const json_t *object, enum engine_kind kind)
{
    const char *name = text_of(object, "kind"), *api = text_of(object, "apiVersion");

    return (!*name || strcmp(name, kinds[kind].name) == 0) &&
           (!*api || strcmp(api, kinds[kind].api) == 0);
}

int engine_apply(struct engine *e, enum engine_kind kind, const json_t *object, struct error *err)
{
    struct decoder *d = &e->decoder;
    struct error local = ERROR_INIT;
    int r;

    d->err = &local;
    d->bad_path[0] = 0;
    decode_leave(d, 0);
    if (!type_fits(object, kind))
        return error_set(err, -EINVAL, "kind %s of %s is not %s of %s", text_of(object, "kind"),
                         text_of(object, "apiVersion"), kinds[kind].name, kinds[kind].api);
    r = apply(e, kind, object);
    d->err = NULL;
    decode_leave(d, 0);
    if (r != 0)
        error_set(err, local.code ? local.code : -EINVAL, "%s", local.msg);
    return r;
}

const char *engine_error_path(const struct engine *e)
{
    return e->decoder.bad_path;
}

bool engine_delete(struct engine *e, enum engine_kind kind, const char *ns, const char *name,
                   const char *uid)
{
    ns = ns ? ns : "";
    switch (kind) {
    case ENGINE_NAMESPACE:
        return engine_delete_namespace(e, name);
    case ENGINE_POD:
        return engine_delete_pod(e, ns, name, uid);
    case ENGINE_NODE:
        return engine_delete_node(e, name);
    case ENGINE_NETWORK_POLICY:
    case ENGINE_CLUSTER_NETWORK_POLICY:
        return engine_delete_policy(e, kind, kind == ENGINE_NETWORK_POLICY ? ns : "", name, uid);
    case ENGINE_KIND_MAX:
        break;
    }
    return false;
}

/* -- relist ----------------------------------------------------------------------------- */

void engine_relist_begin(struct engine *e, enum engine_kind kind)
{
    e->relist[kind]++;
}

/* The maps change while we sweep: start over after each deletion would be quadratic, so the
 * successor is fetched first. Deleting one object never frees another of the same kind, but for
 * policies kept for a namespace's sake, which only pods' and namespaces' ends release. */
static void sweep(struct engine *e, enum engine_kind kind)
{
    const struct hashmap *map[ENGINE_KIND_MAX] = {&e->namespaces, &e->pods, &e->nodes, &e->policies,
                                                  &e->policies};
    uint32_t now = e->relist[kind];
    struct hash_node *n, *next;

    for (n = hashmap_next(map[kind], NULL); n; n = next) {
        next = hashmap_next(map[kind], n);
        if (kind == ENGINE_NAMESPACE) {
            struct namespace *ns = hash_entry(n, struct namespace, node);

            if (ns->known && ns->touched != now)
                (void)engine_delete_namespace(e, ns->name->text);
        } else if (kind == ENGINE_POD) {
            struct pod *p = hash_entry(n, struct pod, node);

            if (p->touched != now)
                engine_remove_pod(e, p);
        } else if (kind == ENGINE_NODE) {
            struct kube_node *k = hash_entry(n, struct kube_node, node);

            if (k->touched != now)
                (void)engine_delete_node(e, k->name->text);
        } else {
            struct policy *p = hash_entry(n, struct policy, node);

            if (p->kind == kind && p->touched != now)
                (void)engine_delete_policy(e, kind, p->ns_name->text, p->name->text, NULL);
        }
    }
}

void engine_relist_end(struct engine *e, enum engine_kind kind)
{
    sweep(e, kind);
}

/* -- looks ------------------------------------------------------------------------------ */

static void fill(const struct pod *p, struct engine_pod *ret)
{
    static __thread uint8_t addresses[UINT8_MAX][16];

    for (uint8_t i = 0; i < p->n_addresses; i++)
        memcpy(addresses[i], p->addresses[i].addr, 16);
    *ret = (struct engine_pod){
        .ns = p->ns->name->text,
        .name = pod_name(p),
        .uid = pod_uid(p),
        .node = p->node_name->text,
        .service_account = p->service_account->text,
        .phase = pod_phases[p->phase],
        .ips = (const uint8_t(*)[16])addresses,
        .n_ips = p->n_addresses,
        .local = p->local != NULL,
        .host_network = p->host_network,
        .terminating = p->terminating,
        .finished = pod_finished(p),
    };
}

bool engine_find_pod(const struct engine *e, const char *ns, const char *name,
                     struct engine_pod *ret)
{
    const struct pod *p = pod_find(e, ns, name);

    if (p)
        fill(p, ret);
    return p != NULL;
}

bool engine_find_address(const struct engine *e, const uint8_t addr[16], struct engine_pod *ret)
{
    const struct pod *p = pod_by_address(e, addr);

    if (p)
        fill(p, ret);
    return p != NULL;
}

size_t engine_count(const struct engine *e, enum engine_kind kind)
{
    switch (kind) {
    case ENGINE_NAMESPACE:
        return e->n_known_namespaces;
    case ENGINE_POD:
        return e->pods.count;
    case ENGINE_NODE:
        return e->nodes.count;
    case ENGINE_NETWORK_POLICY:
        return e->n_policies[0];
    case ENGINE_CLUSTER_NETWORK_POLICY:
        return e->n_policies[1];
    case ENGINE_KIND_MAX:
        break;
    }
    return 0;
}

int engine_each_local(const struct engine *e, int (*fn)(const struct engine_pod *pod, void *arg),
                      void *arg)
{
    const struct pod_local *l;
    struct engine_pod view;
    int r = 0;

    list_for_each_entry (l, &e->locals, all_link) {
        if (r)
            break;
        fill(l->pod, &view);
        r = fn(&view, arg);
    }
    return r;
}

int engine_each_policy(const struct engine *e,
                       int (*fn)(const struct engine_policy *policy, void *arg), void *arg)
{
    struct hash_node *n = NULL;
    int r = 0;

    while (r == 0 && (n = hashmap_next(&e->policies, n))) {
        const struct policy *p = hash_entry(n, struct policy, node);
        struct engine_policy view = {p->kind,    p->ns_name->text, p->name->text,
                                     p->problem, p->path,          p->n_selected};

        r = fn(&view, arg);
    }
    return r;
}
