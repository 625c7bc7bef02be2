#include "agent/node/api.h"

#include "agent/rfc3339.h"
#include "agent/schema.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { ANSWER_MAX = 8 << 20, TIMEOUT_S = 30, AGAIN_MS = 500, CONFLICTS_MAX = 10 };
#define MERGE     "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define JSON_TYPE "application/json"

struct exchange {
    struct kube_request request;
    struct loop *loop;
    struct buf answer;
    long status;
    char message[512];
};

static int on_data(void *ctx, const char *data, size_t size)
{
    struct exchange *x = ctx;

    return x->answer.size + size > ANSWER_MAX ? -EMSGSIZE : buf_append(&x->answer, data, size);
}

static void on_done(void *ctx, const struct kube_result *r)
{
    struct exchange *x = ctx;

    x->status = r->code == CURLE_OK ? r->status : 0;
    text_format(x->message, sizeof(x->message), "%s", r->code == CURLE_OK ? r->body : r->message);
    loop_stop(x->loop);
}

/* Once: the status, 0 if there was no answer. */
static long exchange(struct node_api *a, const struct kube_call *call, struct exchange *x,
                     struct error *err)
{
    x->loop = a->loop;
    x->answer.size = 0;
    x->request.data = on_data;
    x->request.done = on_done;
    x->request.ctx = x;
    x->status = 0;
    if (kube_send(&a->http, &x->request, call, err) < 0)
        return 0;
    a->loop->stop = false;
    if (loop_run(a->loop) < 0)
        kube_cancel(&x->request);
    if (x->status < 200 || x->status >= 300)
        (void)error_set(err, -EREMOTEIO, "%s %s: %ld %.300s", call->method, call->path, x->status,
                        x->message);
    return x->status;
}

static void pause_ms(struct loop *l, struct loop_timer *t, uint64_t ms, void (*fn)(void *ctx))
{
    loop_timer_set(l, t, ms, fn, l);
    l->stop = false;
    (void)loop_run(l);
    loop_timer_cancel(t);
}

static void on_pause(void *ctx)
{
    loop_stop(ctx);
}

/* Until there is an answer that means something. *ret_json may be NULL. Returns the HTTP status, or
 * negative. body is stolen. */
static int call(struct node_api *a, const char *method, const char *path, const char *type,
                json_t *body, json_t **ret_json, struct error *err)
{
    CLEANUP(free_ptr) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct kube_call c = {.method = method,
                          .path = path,
                          .content_type = body ? type : NULL,
                          .body = text,
                          .size = text ? strlen(text) : 0,
                          .timeout_s = TIMEOUT_S};
    uint64_t end = loop_now_ms() + a->patience_ms;
    struct exchange x = {0};
    struct loop_timer t = {0};
    long status;

    json_decref(body);
    for (;;) {
        status = exchange(a, &c, &x, err);
        if ((status && status != 429 && status < 500) || loop_now_ms() >= end)
            break;
        pause_ms(a->loop, &t, AGAIN_MS, on_pause);
    }
    if (ret_json)
        *ret_json = status >= 200 && status < 300 ? json_loadb(x.answer.data ? x.answer.data : "",
                                                               x.answer.size, JSON_ALLOW_NUL, NULL)
                                                  : NULL;
    buf_fini(&x.answer);
    return status ? (int)status : -EIO;
}

static bool good(int status)
{
    return status >= 200 && status < 300;
}

int node_api_init(struct node_api *a, struct loop *l, const char *kubeconfig, const char *node,
                  uint64_t patience_ms, struct error *err)
{
    int r;

    *a = (struct node_api){.loop = l, .node = node, .patience_ms = patience_ms};
    if (!name_is_subdomain(node))
        return error_set(err, -EINVAL, "--node-name: '%.100s' is no name of a node", node);
    r = *kubeconfig ? kube_auth_kubeconfig(&a->auth, kubeconfig, err)
                    : kube_auth_in_cluster(&a->auth, KUBE_SERVICE_ACCOUNT, err);
    if (r == 0)
        r = kube_auth_freeze(&a->auth, err);
    if (r == 0)
        r = kube_http_init(&a->http, l, &a->auth, err);
    a->on = r == 0;
    return r;
}

void node_api_fini(struct node_api *a)
{
    if (!a->loop)
        return;
    kube_http_fini(&a->http);
    kube_auth_fini(&a->auth);
}

static void node_path(const struct node_api *a, const char *sub, char *out, size_t size)
{
    text_format(out, size, "/api/v1/nodes/%s%s", a->node, sub);
}

int node_api_get(struct node_api *a, json_t **ret, struct error *err)
{
    char path[400];
    int status;

    node_path(a, "", path, sizeof(path));
    status = call(a, "GET", path, NULL, NULL, ret, err);
    return good(status) && *ret ? 0 : error_wrap(err, "node");
}

int node_api_label(struct node_api *a, const char *label, bool set, bool *ret_changed,
                   struct error *err)
{
    const char *equals = strchr(label, '='), *have;
    CLEANUP(free_ptr) char *key = strndup(label, equals ? (size_t)(equals - label) : strlen(label));
    json_t *node = NULL;
    char path[400];
    int status;

    *ret_changed = false;
    if (!a->on || !*label)
        return 0;
    if (!key)
        return error_errno(err, -ENOMEM, "label");
    if (node_api_get(a, &node, err) < 0)
        return err ? err->code : -EIO;
    have = json_string_value(
        json_object_get(json_object_get(json_object_get(node, "metadata"), "labels"), key));
    *ret_changed = set ? !have || strcmp(have, equals ? equals + 1 : "") != 0 : have != NULL;
    json_decref(node);
    if (!*ret_changed)
        return 0;
    node_path(a, "", path, sizeof(path));
    status = call(a, "PATCH", path, MERGE,
                  json_pack("{s:{s:{s:s?}}}", "metadata", "labels", key,
                            set ? (equals ? equals + 1 : "") : NULL),
                  NULL, err);
    if (!good(status))
        return error_wrap(err, "label of the node");
    log_info("node: label %s %s", label, set ? "set" : "removed");
    return 0;
}

/* Only if nobody changed the node since: other controllers write taints, too. */
static int put_taints(struct node_api *a, const json_t *node, json_t *taints, struct error *err)
{
    const char *version =
        json_string_value(json_object_get(json_object_get(node, "metadata"), "resourceVersion"));
    char path[400];

    node_path(a, "", path, sizeof(path));
    return call(a, "PATCH", path, MERGE,
                json_pack("{s:{s:s}, s:{s:o}}", "metadata", "resourceVersion",
                          version ? version : "", "spec", "taints", taints),
                NULL, err);
}

static int untaint_once(struct node_api *a, const char *key, struct error *err)
{
    json_t *node = NULL, *left = json_array(), *v;
    size_t i, n = 0;
    int status = 200;

    if (node_api_get(a, &node, err) < 0) {
        json_decref(left);
        return -EIO;
    }
    json_array_foreach(json_object_get(json_object_get(node, "spec"), "taints"), i, v)
    {
        const char *k = json_string_value(json_object_get(v, "key"));

        if (k && strcmp(k, key) == 0)
            n++;
        else
            (void)json_array_append(left, v);
    }
    if (n) {
        status = put_taints(a, node, left, err);
        if (good(status))
            log_info("node: taint %s taken away", key);
    } else {
        json_decref(left);
    }
    json_decref(node);
    return status;
}

int node_api_untaint(struct node_api *a, const char *key, struct error *err)
{
    int status = 409;

    if (!a->on || !*key)
        return 0;
    for (int i = 0; i < CONFLICTS_MAX && status == 409; i++)
        status = untaint_once(a, key, err);
    return good(status) ? 0 : error_wrap(err, "taint of the node");
}

static int patch_status(struct node_api *a, json_t *condition, struct error *err)
{
    char path[400];
    int status;

    node_path(a, "/status", path, sizeof(path));
    status = call(a, "PATCH", path, STRATEGIC,
                  json_pack("{s:{s:[o]}}", "status", "conditions", condition), NULL, err);
    return good(status) ? 0 : error_wrap(err, "condition of the node");
}

/* As long as the state is the same, so is the time since when. */
static void since(struct node_api *a, const char *state, char out[RFC3339_SIZE])
{
    json_t *node = NULL, *v;
    size_t i;

    rfc3339_now(out);
    text_format(strchr(out, '.'), 2, "Z");
    if (node_api_get(a, &node, NULL) < 0)
        return;
    json_array_foreach(json_object_get(json_object_get(node, "status"), "conditions"), i, v)
    {
        const char *type = json_string_value(json_object_get(v, "type"));
        const char *have = json_string_value(json_object_get(v, "status"));
        const char *time = json_string_value(json_object_get(v, "lastTransitionTime"));

        if (type && have && time && strcmp(type, NODE_CONDITION) == 0 && strcmp(have, state) == 0)
            text_format(out, RFC3339_SIZE, "%s", time);
    }
    json_decref(node);
}

int node_api_condition(struct node_api *a, bool ready, const char *reason, const char *message,
                       struct error *err)
{
    const char *state = ready ? "True" : "False";
    char now[RFC3339_SIZE], from[RFC3339_SIZE];

    if (!a->on)
        return 0;
    rfc3339_now(now);
    text_format(strchr(now, '.'), 2, "Z");
    since(a, state, from);
    return patch_status(a,
                        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", NODE_CONDITION,
                                  "status", state, "reason", reason, "message", message,
                                  "lastHeartbeatTime", now, "lastTransitionTime", from),
                        err);
}

int node_api_remove_condition(struct node_api *a, struct error *err)
{
    return a->on ? patch_status(
                       a, json_pack("{s:s, s:s}", "type", NODE_CONDITION, "$patch", "delete"), err)
                 : 0;
}

int node_api_event(struct node_api *a, bool warning, const char *reason, const char *message,
                   struct error *err)
{
    char now[RFC3339_SIZE], name[400];
    uint64_t unique = 0;
    int status;

    if (!a->on)
        return 0;
    rfc3339_now(now);
    text_format(strchr(now, '.'), 2, "Z");
    if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
        unique = loop_now_ms();
    text_format(name, sizeof(name), "%.200s.%016llx", a->node, (unsigned long long)unique);
    /* As kubelet does it: a node's events are in "default", and name the node as its uid. */
    status = call(
        a, "POST", "/api/v1/namespaces/default/events", JSON_TYPE,
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:{s:s, s:s}, "
                  "s:s, s:s, s:i, s:s, s:s}",
                  "apiVersion", "v1", "kind", "Event", "metadata", "namespace", "default", "name",
                  name, "involvedObject", "apiVersion", "v1", "kind", "Node", "name", a->node,
                  "uid", a->node, "type", warning ? "Warning" : "Normal", "reason", reason,
                  "message", message, "source", "component", "berm", "host", a->node,
                  "firstTimestamp", now, "lastTimestamp", now, "count", 1, "reportingComponent",
                  "berm", "reportingInstance", a->node),
        NULL, err);
    return good(status) ? 0 : error_wrap(err, "event");
}

int node_api_evict(struct node_api *a, const char *ns, const char *name, const char *uid,
                   bool *ret_gone, struct error *err)
{
    struct error why = ERROR_INIT;
    uint64_t patience = a->patience_ms;
    char path[700];
    int status;

    if (!a->on)
        return error_set(err, -EOPNOTSUPP, "pods can't be evicted without the API server");
    text_format(path, sizeof(path), "/api/v1/namespaces/%s/pods/%s/eviction", ns, name);
    a->patience_ms = 0; /* 429 is an answer here */
    status = call(a, "POST", path, JSON_TYPE,
                  json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:{s:s}}}", "apiVersion", "policy/v1",
                            "kind", "Eviction", "metadata", "namespace", ns, "name", name,
                            "deleteOptions", "preconditions", "uid", uid),
                  NULL, &why);
    a->patience_ms = patience;
    *ret_gone = status == 404 || status == 409;
    if (good(status) || *ret_gone)
        return 0;
    return error_set(err, status == 429 ? -EAGAIN : -EIO, "evict %s/%s: %s", ns, name, why.msg);
}
