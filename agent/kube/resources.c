/*
 * Which collections of the API server are looked at, and where their objects go.
 */
#include "agent/agent.h"
#include "agent/exceptions.h"
#include "agent/json.h"
#include "agent/kube/source.h"
#include "agent/modes.h"
#include "agent/schema.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

static int apply_pod(struct kube_source *k, const json_t *object, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata");
    const char *node = get_string(json_object_get(object, "spec"), "nodeName", "");
    const char *ns = get_string(m, "namespace", ""), *name = get_string(m, "name", "");
    const char *uid = get_string(m, "uid", "");

    if (strcmp(node, k->agent->config.node_name) == 0) {
        int r = node_pods_apply(&k->pods, object, err);

        if (r < 0)
            return r;
        uid = node_pods_uid(&k->pods, object);
    } else {
        node_pods_remove(&k->pods, ns, name);
    }
    /* Our own copy, parsed for this: to write into it is fine. */
    (void)json_object_set_new((json_t *)(uintptr_t)m, "uid", json_string(uid));
    return netpolicy_object(&k->agent->netpolicy, ENGINE_POD, object, err);
}

static void remove_pod(struct kube_source *k, const char *ns, const char *name)
{
    netpolicy_forget(&k->agent->netpolicy, ENGINE_POD, ns, name);
    node_pods_remove(&k->pods, ns, name);
}

/* guard, policy: none, sandboxed, all. What isn't there, or is wrong, changes nothing. */
static int apply_switch(struct kube_source *k, const json_t *data, bool guard, struct error *err)
{
    const char *key = guard ? "guard" : "policy", *text = get_string(data, key, NULL);
    struct enforce *e = k->agent->enforce;
    enum berm_mode mode, now;

    if (!text || !e)
        return 0;
    if (mode_parse(text, &mode) < 0)
        return error_set(err, -EINVAL, "data.%s: '%.40s' is not known", key, text);
    now = guard ? enforce_guard_get(e) : enforce_policy_get(e);
    if (mode == now)
        return 0;
    log_info("%s: %s, by the ConfigMap", key, mode_name(mode));
    return guard ? enforce_guard_set(e, mode, err) : enforce_policy_set(e, mode, err);
}

/* guard-exceptions: as the file of --guard-exceptions, which it stands above. A text with an error
 * changes nothing. */
static int apply_exceptions(struct kube_source *k, const json_t *data, struct error *err)
{
    const char *text = json_string_value(json_object_get(data, "guard-exceptions"));
    int r;

    if (!text || !k->agent->enforce)
        return 0;
    r = exceptions_set(k->agent, text, err);
    if (r < 0)
        return error_wrap(err, "data.guard-exceptions");
    if (r > 0) {
        log_info("exceptions to the guard: %zu, by the ConfigMap", k->agent->exceptions.n);
        node_pods_exceptions(&k->pods);
    }
    return 0;
}

static int apply_config(struct kube_source *k, const json_t *object, struct error *err)
{
    const json_t *data = json_object_get(object, "data");
    int r = apply_switch(k, data, true, err);

    if (r == 0)
        r = apply_switch(k, data, false, err);
    return r < 0 ? r : apply_exceptions(k, data, err);
}

/* Without a ConfigMap everything stays as it is. */
static void remove_nothing(struct kube_source *k, const char *ns, const char *name)
{
    (void)k;
    (void)ns;
    (void)name;
}

static int apply_service(struct kube_source *k, const json_t *object, struct error *err)
{
    return services_apply(&k->agent->services, object, err);
}

static void remove_service(struct kube_source *k, const char *ns, const char *name)
{
    services_remove(&k->agent->services, ns, name);
}

static int apply_slice(struct kube_source *k, const json_t *object, struct error *err)
{
    return services_apply_slice(&k->agent->services, object, err);
}

static void remove_slice(struct kube_source *k, const char *ns, const char *name)
{
    services_remove_slice(&k->agent->services, ns, name);
}

static int apply_node(struct kube_source *k, const json_t *object, struct error *err)
{
    int r = netpolicy_object(&k->agent->netpolicy, ENGINE_NODE, object, err);

    if (r >= 0)
        kube_nodes_changed(&k->nodes);
    return r;
}

static void remove_node(struct kube_source *k, const char *ns, const char *name)
{
    netpolicy_forget(&k->agent->netpolicy, ENGINE_NODE, ns, name);
    kube_nodes_changed(&k->nodes);
}

static int apply_class(struct kube_source *k, const json_t *object, struct error *err)
{
    const char *handler = json_string_value(json_object_get(object, "handler"));
    const char *name = get_string(json_object_get(object, "metadata"), "name", "");

    if (!handler)
        return error_set(err, -EINVAL, "RuntimeClass %.100s has no handler", name);
    (void)json_object_set_new(k->handlers, name, json_string(handler));
    return 0;
}

static void remove_class(struct kube_source *k, const char *ns, const char *name)
{
    (void)ns;
    (void)json_object_del(k->handlers, name);
}

static const struct kube_resource resources[] = {
    {.name = "namespaces", .path = "/api/v1/namespaces", .kind = ENGINE_NAMESPACE},
    {.name = "nodes", .path = "/api/v1/nodes", .apply = apply_node, .remove = remove_node},
    {.name = "networkpolicies",
     .path = "/apis/networking.k8s.io/v1/networkpolicies",
     .kind = ENGINE_NETWORK_POLICY},
    {.name = "clusternetworkpolicies",
     .path = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
     .optional = true,
     .kind = ENGINE_CLUSTER_NETWORK_POLICY},
    {.name = "services",
     .path = "/api/v1/services",
     .apply = apply_service,
     .remove = remove_service},
    /* A headless service's endpoints are translated by nobody. */
    {.name = "endpointslices",
     .path = "/apis/discovery.k8s.io/v1/endpointslices",
     .labels = "!service.kubernetes.io/headless",
     .apply = apply_slice,
     .remove = remove_slice},
    {.name = "runtimeclasses",
     .path = "/apis/node.k8s.io/v1/runtimeclasses",
     .apply = apply_class,
     .remove = remove_class},
    {.name = "pods", .path = "/api/v1/pods", .apply = apply_pod, .remove = remove_pod},
};
static const struct kube_resource config_resource = {
    .name = "configmap", .apply = apply_config, .remove = remove_nothing};

static int apply(void *ctx, const json_t *object, struct error *err)
{
    struct kube_view *v = ctx;
    const struct kube_resource *r = v->resource;

    if (r->apply)
        return r->apply(v->source, object, err);
    return netpolicy_object(&v->source->agent->netpolicy, (enum engine_kind)r->kind, object, err);
}

static void forget(void *ctx, const char *ns, const char *name)
{
    struct kube_view *v = ctx;
    const struct kube_resource *r = v->resource;

    if (r->remove)
        r->remove(v->source, ns, name);
    else
        netpolicy_forget(&v->source->agent->netpolicy, (enum engine_kind)r->kind, ns, name);
}

static void synced(void *ctx)
{
    struct kube_view *v = ctx;
    struct kube_source *k = v->source;

    if (k->source.synced)
        return;
    for (size_t i = 0; i < k->n_views; i++)
        if (!k->views[i].reflector.synced)
            return;
    k->source.synced = true;
    node_pods_synced(&k->pods);
    k->ready(k->agent);
}

static const struct reflector_ops ops = {apply, forget, synced};

static void add_view(struct kube_source *k, const struct kube_resource *r, const char *path,
                     const char *selector)
{
    const struct config *c = &k->agent->config;
    struct kube_view *v = &k->views[k->n_views++];
    struct reflector_config rc = {.name = r->name,
                                  .path = path,
                                  .selector = selector,
                                  .labels = r->labels,
                                  .optional = r->optional,
                                  .page = c->kube_page,
                                  .object_max = c->kube_object_max,
                                  .silence_ms = c->kube_silence_ms,
                                  .backoff_ms = c->kube_backoff_ms,
                                  .backoff_max_ms = MAX(c->kube_backoff_ms, c->kube_backoff_max_ms),
                                  .absent_ms = c->kube_absent_ms};

    *v = (struct kube_view){.source = k, .resource = r};
    reflector_init(&v->reflector, &rc, &ops, v, &k->http);
}

/* NS/NAME of --kube-config-map. */
static int config_view(struct kube_source *k, const char *text, struct error *err)
{
    const char *slash = strchr(text, '/');
    CLEANUP(free_ptr) char *ns = slash ? strndup(text, (size_t)(slash - text)) : NULL;

    if (!ns || !name_is_label(ns) || !name_is_subdomain(slash + 1))
        return error_set(err, -EINVAL, "--kube-config-map: '%s' is no NAMESPACE/NAME", text);
    if (asprintf(&k->config_path, "/api/v1/namespaces/%s/configmaps", ns) < 0 ||
        asprintf(&k->config_selector, "metadata.name=%s", slash + 1) < 0)
        return error_errno(err, -ENOMEM, "configuration");
    add_view(k, &config_resource, k->config_path, k->config_selector);
    return 0;
}

static int start(struct object_source *s, struct error *err)
{
    struct kube_source *k = (struct kube_source *)s;

    (void)err;
    for (size_t i = 0; i < k->n_views; i++)
        reflector_start(&k->views[i].reflector);
    return 0;
}

static void stop(struct object_source *s)
{
    struct kube_source *k = (struct kube_source *)s;

    for (size_t i = 0; i < k->n_views; i++)
        reflector_fini(&k->views[i].reflector);
    k->n_views = 0;
}

int kube_source_init(struct kube_source *k, struct agent *a, void (*ready)(void *ctx),
                     struct error *err)
{
    const struct config *c = &a->config;
    int r;

    *k = (struct kube_source){
        .source = {.name = "API server", .start = start, .stop = stop}, .agent = a, .ready = ready};
    node_pods_init(&k->pods, a);
    kube_nodes_init(&k->nodes, a);
    k->handlers = json_object();
    if (!name_is_subdomain(c->node_name))
        return error_set(err, -EINVAL, "--node-name: '%.100s' is no name of a node", c->node_name);
    r = *c->kubeconfig ? kube_auth_kubeconfig(&k->auth, c->kubeconfig, err)
                       : kube_auth_in_cluster(&k->auth, KUBE_SERVICE_ACCOUNT, err);
    if (r < 0 || (r = kube_http_init(&k->http, &a->loop, &k->auth, err)) < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
        add_view(k, &resources[i], resources[i].path, NULL);
    return *c->kube_config_map ? config_view(k, c->kube_config_map, err) : 0;
}

void kube_source_fini(struct kube_source *k)
{
    if (!k->agent)
        return;
    stop(&k->source);
    kube_http_fini(&k->http);
    node_pods_fini(&k->pods);
    kube_nodes_fini(&k->nodes);
    kube_auth_fini(&k->auth);
    json_decref(k->handlers);
    free(k->config_path);
    free(k->config_selector);
}

bool kube_source_sandboxes(const struct kube_source *k, const char *class)
{
    const char *handler = *class ? json_string_value(json_object_get(k->handlers, class)) : NULL;

    return handler && strcmp(handler, k->agent->config.handler) == 0;
}

uint64_t kube_source_age_ms(const struct kube_source *k)
{
    uint64_t age = 0;

    for (size_t i = 0; i < k->n_views; i++)
        age = MAX(age, reflector_age_ms(&k->views[i].reflector));
    return age;
}

json_t *kube_source_json(const struct kube_source *k)
{
    uint64_t age = kube_source_age_ms(k);
    json_t *views = json_array();

    for (size_t i = 0; i < k->n_views; i++) {
        const struct reflector *r = &k->views[i].reflector;

        (void)json_array_append_new(
            views,
            json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "name", r->config.name,
                      "state", reflector_state_name(r), "synced", (int)r->synced, "objects",
                      (json_int_t)r->known.count, "lists", (json_int_t)r->count.lists, "watches",
                      (json_int_t)r->count.watches, "events", (json_int_t)r->count.events,
                      "failures", (json_int_t)r->count.failures, "refused",
                      (json_int_t)r->count.refused, "error", r->error.msg));
    }
    return json_pack("{s:s, s:b, s:I, s:I, s:o}", "server", k->auth.server, "synced",
                     (int)k->source.synced, "ageMs",
                     age == UINT64_MAX ? (json_int_t)-1 : (json_int_t)age, "requests",
                     (json_int_t)k->http.count.requests, "views", views);
}
