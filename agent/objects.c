#include "agent/objects.h"

#include <errno.h>
#include <string.h>

static const struct kind_row {
    const char *api_version, *name;
    bool namespaced;
} kinds[OBJECT_KIND_MAX] = {
    [OBJECT_NAMESPACE] = {"v1", "Namespace", false},
    [OBJECT_NODE] = {"v1", "Node", false},
    [OBJECT_CONFIG_MAP] = {"v1", "ConfigMap", true},
    [OBJECT_SECRET] = {"v1", "Secret", true},
    [OBJECT_NETWORK_POLICY] = {"networking.k8s.io/v1", "NetworkPolicy", true},
    [OBJECT_CLUSTER_NETWORK_POLICY] = {"policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy",
                                       false},
    [OBJECT_POD] = {"v1", "Pod", true},
};

const char *object_kind_name(enum object_kind kind)
{
    return kinds[kind].name;
}

void objects_init(struct objects *o)
{
    *o = (struct objects){.map = HASHMAP_INIT};
}

static void object_free(struct object *object)
{
    if (!object)
        return;
    free(object->ns);
    free(object->name);
    json_decref(object->json);
    free(object);
}

void objects_fini(struct objects *o)
{
    struct hash_node *n = hashmap_next(&o->map, NULL);

    while (n) {
        struct hash_node *next = hashmap_next(&o->map, n);

        object_free(hash_entry(n, struct object, node));
        n = next;
    }
    hashmap_fini(&o->map);
}

static uint64_t object_hash(enum object_kind kind, const char *ns, const char *name)
{
    return hash_string(name) * 31 + hash_string(ns) * 7 + (uint64_t)kind;
}

const struct object *objects_get(const struct objects *o, enum object_kind kind, const char *ns,
                                 const char *name)
{
    struct hash_node *n = hashmap_first(&o->map, object_hash(kind, ns, name));

    for (; n; n = hashmap_next_same(n)) {
        const struct object *object = hash_entry(n, struct object, node);

        if (object->kind == kind && strcmp(object->ns, ns) == 0 && strcmp(object->name, name) == 0)
            return object;
    }
    return NULL;
}

static int find_kind(const json_t *json, enum object_kind *ret, struct schema_error *e)
{
    const char *version = json_string_value(json_object_get(json, "apiVersion"));
    const char *kind = json_string_value(json_object_get(json, "kind"));

    if (!json_is_object(json))
        return schema_fail(e, -EINVAL, "", "the document is no object");
    if (!version)
        return schema_fail(e, -EINVAL, "apiVersion", "is required");
    if (!kind)
        return schema_fail(e, -EINVAL, "kind", "is required");
    for (int i = 0; i < OBJECT_KIND_MAX; i++)
        if (strcmp(kinds[i].api_version, version) == 0 && strcmp(kinds[i].name, kind) == 0) {
            *ret = (enum object_kind)i;
            return 0;
        }
    return schema_fail(e, -EINVAL, "kind", "'%.60s' of '%.60s' is not known here", kind, version);
}

int object_identify(const json_t *json, enum object_kind *ret_kind, const char **ret_ns,
                    const char **ret_name, struct schema_error *e)
{
    const json_t *metadata, *ns;
    int r = find_kind(json, ret_kind, e);

    if (r < 0)
        return r;
    metadata = json_object_get(json, "metadata");
    if (!json_is_object(metadata))
        return schema_fail(e, -EINVAL, "metadata", "is required");
    *ret_name = json_string_value(json_object_get(metadata, "name"));
    if (!*ret_name)
        return schema_fail(e, -EINVAL, "metadata.name", "is required");
    if (!name_is_subdomain(*ret_name))
        return schema_fail(e, -EINVAL, "metadata.name", "'%.80s' is not a valid name", *ret_name);
    ns = json_object_get(metadata, "namespace");
    *ret_ns = kinds[*ret_kind].namespaced ? "default" : "";
    if (!ns || !kinds[*ret_kind].namespaced)
        return 0;
    *ret_ns = json_string_value(ns);
    if (!*ret_ns || !name_is_label(*ret_ns))
        return schema_fail(e, -EINVAL, "metadata.namespace", "'%.80s' is not a valid name",
                           *ret_ns ? *ret_ns : "?");
    return 0;
}

static struct object *object_new(enum object_kind kind, const char *ns, const char *name,
                                 json_t *json)
{
    struct object *object = calloc(1, sizeof(*object));

    if (!object)
        return NULL;
    object->kind = kind;
    object->ns = strdup(ns);
    object->name = strdup(name);
    object->json = json_incref(json);
    if (object->ns && object->name)
        return object;
    object_free(object);
    return NULL;
}

static void drop(struct objects *o, struct object *object)
{
    (void)hashmap_remove(&o->map, &object->node);
    o->count[object->kind]--;
    object_free(object);
}

int objects_apply(struct objects *o, json_t *json, struct schema_error *e)
{
    const char *ns = "", *name = "";
    enum object_kind kind = OBJECT_KIND_MAX;
    const struct object_sink *sink;
    struct object *object, *old;
    int r = object_identify(json, &kind, &ns, &name, e);

    if (r < 0)
        return r;
    old = (struct object *)(uintptr_t)objects_get(o, kind, ns, name);
    if (old && json_equal(old->json, json))
        return 0;
    sink = &o->sink[kind];
    if (sink->check && (r = sink->check(json, e)) < 0)
        return r;
    object = object_new(kind, ns, name, json);
    if (!object || hashmap_add(&o->map, &object->node, object_hash(kind, ns, name)) < 0) {
        object_free(object);
        return schema_fail(e, -ENOMEM, "", "out of memory");
    }
    o->count[kind]++;
    r = sink->apply ? sink->apply(sink->ctx, object, e) : 0;
    if (r < 0)
        drop(o, object);
    else if (old)
        drop(o, old);
    return r;
}

bool objects_delete(struct objects *o, enum object_kind kind, const char *ns, const char *name)
{
    struct object *object = (struct object *)(uintptr_t)objects_get(o, kind, ns, name);

    if (!object)
        return false;
    if (o->sink[kind].remove)
        o->sink[kind].remove(o->sink[kind].ctx, object);
    drop(o, object);
    return true;
}
