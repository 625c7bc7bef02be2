#pragma once
/*
 * The objects that the agent works from, whatever their source (a folder of manifests, an API
 * server): checked, held by kind, namespace and name, and handed to whoever cares for the kind.
 */
#include "agent/schema.h"
#include "common/hashmap.h"

enum object_kind {
    OBJECT_NAMESPACE,
    OBJECT_NODE,
    OBJECT_CONFIG_MAP,
    OBJECT_SECRET,
    OBJECT_NETWORK_POLICY,
    OBJECT_CLUSTER_NETWORK_POLICY,
    OBJECT_POD, /* last: what a pod needs is applied before it */
    OBJECT_KIND_MAX,
};

struct object {
    struct hash_node node;
    enum object_kind kind;
    char *ns, *name; /* ns "" for cluster-wide kinds */
    json_t *json;
};

/* One consumer a kind. check and apply: 0, 1 (in force, but with a problem that e names) or
 * negative (refused: the earlier version stays); both may be NULL. */
struct object_sink {
    int (*check)(const json_t *json, struct schema_error *e);
    int (*apply)(void *ctx, const struct object *object, struct schema_error *e);
    void (*remove)(void *ctx, const struct object *object);
    void *ctx;
};

struct objects {
    struct hashmap map;
    size_t count[OBJECT_KIND_MAX];
    struct object_sink sink[OBJECT_KIND_MAX];
};

/* Where objects come from. start lists what is there (objects_apply, objects_delete) and goes on
 * from the event loop; `synced` is true once the first full view has been applied. */
struct object_source {
    const char *name;
    int (*start)(struct object_source *s, struct error *err);
    void (*stop)(struct object_source *s);
    bool synced;
};

void objects_init(struct objects *o);
void objects_fini(struct objects *o);

const char *object_kind_name(enum object_kind kind);
/* Kind, namespace ("default" if left out, "" if cluster-wide) and name of a raw object; checks
 * apiVersion, kind and the names. Strings live as long as json. */
int object_identify(const json_t *json, enum object_kind *ret_kind, const char **ret_ns,
                    const char **ret_name, struct schema_error *e);
/* Adds or replaces. As object_sink.apply; json is kept (its own reference), not changed. */
int objects_apply(struct objects *o, json_t *json, struct schema_error *e);
/* True if it was there. */
bool objects_delete(struct objects *o, enum object_kind kind, const char *ns, const char *name);
const struct object *objects_get(const struct objects *o, enum object_kind kind, const char *ns,
                                 const char *name);
