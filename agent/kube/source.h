#pragma once
/*
 * The API server as the agent's source of objects. Which collections are looked at is a table
 * (resources.c); each is kept by a reflector. Objects are not held as JSON, as those of a folder
 * are: a cluster has 150,000 pods. They go straight to the policy engine, and what is needed of the
 * pods of this node goes to node_pods.
 */
#include "agent/kube/nodes.h"
#include "agent/kube/pods.h"
#include "agent/kube/reflector.h"
#include "agent/objects.h"
#include "policy/engine.h"

enum { KUBE_RESOURCES_MAX = 12 };

struct agent;
struct kube_source;

struct kube_resource {
    const char *name, *path;
    const char *labels; /* selector, or NULL */
    bool optional;      /* may not be served, or not yet */
    enum engine_kind kind;
    /* Both, or neither: then objects go to the policy engine as that kind. */
    int (*apply)(struct kube_source *k, const json_t *object, struct error *err);
    void (*remove)(struct kube_source *k, const char *ns, const char *name);
};

struct kube_view {
    struct kube_source *source;
    const struct kube_resource *resource;
    struct reflector reflector;
};

struct kube_source {
    struct object_source source; /* first: it is an object_source */
    struct agent *agent;
    struct kube_auth auth;
    struct kube_http http;
    struct kube_view views[KUBE_RESOURCES_MAX];
    size_t n_views;
    char *config_path, *config_selector; /* of the agent's own ConfigMap */
    struct node_pods pods;
    struct kube_nodes nodes;
    json_t *handlers; /* of RuntimeClasses, by their names: a handful */
    /* The first full view is complete. */
    void (*ready)(void *ctx);
};

/* Takes the agent's configuration (node_name, kubeconfig, ...). ready is called with the agent. */
int kube_source_init(struct kube_source *k, struct agent *a, void (*ready)(void *ctx),
                     struct error *err);
void kube_source_fini(struct kube_source *k);
/* Whether pods of this RuntimeClass are berm's to run. */
bool kube_source_sandboxes(const struct kube_source *k, const char *class);
/* How old the view may be, in milliseconds, of the collection that is worst off; UINT64_MAX before
 * the first full view. */
uint64_t kube_source_age_ms(const struct kube_source *k);
/* State of every collection, for `bermctl status`. */
json_t *kube_source_json(const struct kube_source *k);
