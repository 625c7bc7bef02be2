#include "agent/netpolicy.h"

#include "agent/podlog.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

static int engine_kind(enum object_kind kind)
{
    switch (kind) {
    case OBJECT_NAMESPACE:
        return ENGINE_NAMESPACE;
    case OBJECT_NETWORK_POLICY:
        return ENGINE_NETWORK_POLICY;
    case OBJECT_CLUSTER_NETWORK_POLICY:
        return ENGINE_CLUSTER_NETWORK_POLICY;
    case OBJECT_POD:
        return ENGINE_POD;
    default:
        return -ENOENT;
    }
}

static int take_error(const struct engine *e, int r, const struct error *err,
                      struct schema_error *ret)
{
    if (r != 0)
        (void)schema_fail(ret, r < 0 ? r : -EINVAL, engine_error_path(e), "%s", err->msg);
    return r;
}

static void changed(struct netpolicy *n);

static int mark_closed(const struct engine_pod *pod, void *arg)
{
    struct netpolicy *n = arg;
    struct enforce_pod_info info;

    if (enforce_find(n->enforce, pod->uid, &info) && info.state == BERM_POD_CLOSED)
        (void)engine_mark_dirty(n->engine, pod->ns, pod->name);
    return 0;
}

static void retry(void *ctx)
{
    struct netpolicy *n = ctx;

    n->full = false;
    (void)engine_each_local(n->engine, mark_closed, n);
    changed(n);
}

/* Entries of others went, or will in a moment: there may be room for pods that had none. */
static void room(struct netpolicy *n)
{
    enum { RETRY_MS = 2000 }; /* replaced entries are gone by then */

    if (n->full && n->enforce && (!n->retry.link.next || list_empty(&n->retry.link)))
        loop_timer_set(n->loop, &n->retry, RETRY_MS, retry, n);
}

static void set_rules(struct netpolicy *n, const struct engine_update *u)
{
    struct error err = ERROR_INIT;
    int r;

    if (!n->enforce)
        return;
    if (u->rules && enforce_set_audit(n->enforce, u->uid, u->audit, &err) < 0 &&
        err.code != -ENOENT)
        log_error("pod %s/%s: %s", u->ns, u->name, err.msg);
    err = (struct error)ERROR_INIT;
    r = u->rules ? enforce_set_rules(n->enforce, u->uid, u->rules, &err)
                 : enforce_set_unknown(n->enforce, u->uid, &err);
    if (r < 0 && r != -ENOENT) {
        n->count.failures++;
        n->full |= r == -E2BIG;
        log_pod(LOG_ERROR, u->ns, u->name, u->uid,
                "its policies can't be put in force, all its traffic is denied: %s", err.msg);
        if (n->on_problem)
            n->on_problem(n->ctx, u, err.msg);
    } else {
        room(n);
    }
    if (u->problem) {
        n->count.inexpressible++;
        log_pod(LOG_ERROR, u->ns, u->name, u->uid, "traffic denied: %s", u->problem);
        if (n->on_problem)
            n->on_problem(n->ctx, u, u->problem);
    }
}

static void flush(void *ctx)
{
    struct netpolicy *n = ctx;
    struct engine_update u;
    struct error err = ERROR_INIT;
    int r = 0;

    if (n->hold)
        return;
    while ((r = engine_next_dirty(n->engine, &u, &err)) > 0) {
        n->count.updates++;
        set_rules(n, &u);
        engine_update_fini(&u);
    }
    if (r < 0) {
        log_error("compile policies: %s", err.msg);
        loop_timer_set(n->loop, &n->flush, 1000, flush, n);
    }
}

static void changed(struct netpolicy *n)
{
    if (!n->flush.link.next || list_empty(&n->flush.link))
        loop_timer_set(n->loop, &n->flush, 0, flush, n);
}

int netpolicy_init(struct netpolicy *n, struct loop *l, const struct objects *o, const char *node,
                   struct enforce *enforce, struct error *err)
{
    *n = (struct netpolicy){.loop = l, .objects = o, .enforce = enforce, .hold = true};
    n->engine = engine_new(&(struct engine_config){.node = node});
    return n->engine ? 0 : error_errno(err, -ENOMEM, "policy engine");
}

void netpolicy_fini(struct netpolicy *n)
{
    loop_timer_cancel(&n->flush);
    loop_timer_cancel(&n->retry);
    engine_free(n->engine);
    n->engine = NULL;
}

void netpolicy_release(struct netpolicy *n)
{
    n->hold = false;
    flush(n);
}

int netpolicy_set_node(struct netpolicy *n, const char *name, const char *const *addresses,
                       size_t count, struct error *err)
{
    json_t *list = json_array(), *node;
    int r;

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", "InternalIP", "address", addresses[i]));
    node = json_pack("{s:s, s:s, s:{s:s}, s:{s:o}}", "apiVersion", "v1", "kind", "Node", "metadata",
                     "name", name, "status", "addresses", list);
    r = node ? engine_apply(n->engine, ENGINE_NODE, node, err) : -ENOMEM;
    json_decref(node);
    return r < 0 ? r : 0;
}

/* In a folder a namespace need not be declared; its name label is there either way. */
static int apply_namespace(struct netpolicy *n, const char *name, const json_t *json,
                           struct error *err)
{
    json_t *copy = json ? json_deep_copy(json)
                        : json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Namespace",
                                    "metadata", "name", name);
    json_t *metadata = json_object_get(copy, "metadata"), *labels;
    int r;

    if (!copy)
        return error_errno(err, -ENOMEM, "namespace");
    if (!json_is_object(json_object_get(metadata, "labels")))
        (void)json_object_set_new(metadata, "labels", json_object());
    labels = json_object_get(metadata, "labels");
    (void)json_object_set_new(labels, "kubernetes.io/metadata.name", json_string(name));
    r = engine_apply(n->engine, ENGINE_NAMESPACE, copy, err);
    json_decref(copy);
    return r;
}

static void want_namespace(struct netpolicy *n, const char *name)
{
    struct error err = ERROR_INIT;

    if (!objects_get(n->objects, OBJECT_NAMESPACE, "", name) &&
        !engine_has_namespace(n->engine, name) && apply_namespace(n, name, NULL, &err) < 0)
        log_warn("namespace %s: %s", name, err.msg);
}

int netpolicy_apply(void *ctx, const struct object *object, struct schema_error *e)
{
    struct netpolicy *n = ctx;
    struct error err = ERROR_INIT;
    int r;

    if (object->kind == OBJECT_NAMESPACE) {
        r = apply_namespace(n, object->name, object->json, &err);
    } else {
        json_t *copy = json_deep_copy(object->json);

        /* "default" is written out for whom no API server did it. */
        if (*object->ns)
            (void)json_object_set_new(json_object_get(copy, "metadata"), "namespace",
                                      json_string(object->ns));
        want_namespace(n, object->ns);
        r = engine_apply(n->engine, (enum engine_kind)engine_kind(object->kind), copy, &err);
        json_decref(copy);
    }
    changed(n);
    return take_error(n->engine, r, &err, e);
}

void netpolicy_remove(void *ctx, const struct object *object)
{
    struct netpolicy *n = ctx;

    /* A namespace with pods in it ends when they do: its labels and policies stay till then. */
    (void)engine_delete(n->engine, (enum engine_kind)engine_kind(object->kind), object->ns,
                        object->name, NULL);
    changed(n);
}

int netpolicy_pod(struct netpolicy *n, const char *ns, const char *name, const char *uid,
                  const json_t *json, struct schema_error *e)
{
    struct error err = ERROR_INIT;
    int r = 0;

    if (json) {
        want_namespace(n, ns);
        r = engine_apply(n->engine, ENGINE_POD, json, &err);
    } else {
        (void)engine_delete(n->engine, ENGINE_POD, ns, name, uid);
        room(n);
    }
    changed(n);
    return json ? take_error(n->engine, r, &err, e) : 0;
}

int netpolicy_object(struct netpolicy *n, enum engine_kind kind, const json_t *json,
                     struct error *err)
{
    int r = engine_apply(n->engine, kind, json, err);

    changed(n);
    return r < 0 ? error_wrap(err, "%.200s", engine_error_path(n->engine)) : r;
}

void netpolicy_forget(struct netpolicy *n, enum engine_kind kind, const char *ns, const char *name)
{
    (void)engine_delete(n->engine, kind, ns, name, NULL);
    changed(n);
}

void netpolicy_refresh(struct netpolicy *n, const char *ns, const char *name)
{
    if (engine_mark_dirty(n->engine, ns, name))
        changed(n);
}

/* By an engine of its own, thrown away: a check must not change what is in force. */
static int check(enum engine_kind kind, const json_t *json, struct schema_error *e)
{
    struct engine *scratch = engine_new(&(struct engine_config){0});
    struct error err = ERROR_INIT;
    int r = scratch ? engine_apply(scratch, kind, json, &err) : -ENOMEM;

    if (r != 0)
        (void)schema_fail(e, r < 0 ? r : -EINVAL, scratch ? engine_error_path(scratch) : "", "%s",
                          err.msg);
    engine_free(scratch);
    return r;
}

int netpolicy_check_namespace(const json_t *json, struct schema_error *e)
{
    return check(ENGINE_NAMESPACE, json, e);
}

int netpolicy_check_policy(const json_t *json, struct schema_error *e)
{
    enum engine_kind kind;

    if (engine_kind_of(json, &kind) < 0)
        return schema_fail(e, -EINVAL, "kind", "is not known here");
    return check(kind, json, e);
}

int netpolicy_check_pod(const json_t *json, struct schema_error *e)
{
    return check(ENGINE_POD, json, e);
}
