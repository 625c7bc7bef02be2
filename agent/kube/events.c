#include "agent/kube/events.h"

#include "agent/agent.h"
#include "agent/schema.h"
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

enum {
    ENTRIES_MAX = 256,
    BURST = 25,            /* Events at once */
    REFILL_MS = 10000,     /* and one more each */
    AGAIN_MS = 300 * 1000, /* what repeats is sent again so often */
    TIMEOUT_S = 30,
    MESSAGE_MAX = 800,
};

static const struct {
    const char *name;
    bool warning;
} reasons[EVENT_REASON_MAX] = {
    [EVENT_GUARD_DENIED] = {"GuardDenied", true},
    [EVENT_POLICY_DENIES] = {"PolicyNotExpressible", true},
    [EVENT_ARMED_LATE] = {"ArmedLate", true},
    [EVENT_SANDBOX_REFUSED] = {"SandboxRefused", true},
    [EVENT_MEMORY] = {"KilledForMemory", true},
    [EVENT_TAMPERING] = {"EnforcementRepaired", true},
};

struct event {
    struct list link;
    enum event_reason reason;
    char kind[8], ns[64], name[254], uid[64];
    char event[300]; /* the Event's own name */
    char message[MESSAGE_MAX];
    char first[RFC3339_SIZE], last[RFC3339_SIZE];
    unsigned count, told; /* told: how often as the API server knows it */
    uint64_t told_ms;
    bool posted;
};

static void send_next(struct kube_events *e);

static void entry_free(struct kube_events *e, struct event *v)
{
    list_remove(&v->link);
    e->n_entries--;
    free(v);
}

static void now(char out[RFC3339_SIZE])
{
    rfc3339_now(out);
    text_format(strchr(out, '.'), 2, "Z");
}

static bool take_token(struct kube_events *e)
{
    uint64_t ms = loop_now_ms(), more = (ms - e->refilled_ms) * 1000 / REFILL_MS;

    if (more) {
        e->tokens_milli = MIN(e->tokens_milli + more, (uint64_t)BURST * 1000);
        e->refilled_ms = ms;
    }
    if (e->tokens_milli < 1000)
        return false;
    e->tokens_milli -= 1000;
    return true;
}

/* -- to the API server
 * ----------------------------------------------------------------------------- */

static json_t *whole(const struct kube_events *e, const struct event *v)
{
    const char *node = e->agent->config.node_name;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", "v1", "kind", v->kind, "name",
                               v->name, "uid", v->uid);

    if (*v->ns)
        (void)json_object_set_new(object, "namespace", json_string(v->ns));
    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:o, s:s, s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:i, "
                     "s:s, s:s}",
                     "apiVersion", "v1", "kind", "Event", "metadata", "namespace",
                     *v->ns ? v->ns : "default", "name", v->event, "involvedObject", object, "type",
                     reasons[v->reason].warning ? "Warning" : "Normal", "reason",
                     reasons[v->reason].name, "message", v->message, "source", "component", "bermd",
                     "host", node, "firstTimestamp", v->first, "lastTimestamp", v->last, "count",
                     (int)v->count, "reportingComponent", "berm.dev/bermd", "reportingInstance",
                     node);
}

static json_t *difference(const struct event *v)
{
    return json_pack("{s:i, s:s, s:s}", "count", (int)v->count, "lastTimestamp", v->last, "message",
                     v->message);
}

static int ignore_data(void *ctx, const char *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
    return 0;
}

static void on_done(void *ctx, const struct kube_result *r)
{
    struct kube_events *e = ctx;
    struct event *v = e->sending;

    e->sending = NULL;
    if (r->code == CURLE_OK && r->status >= 200 && r->status < 300) {
        v->posted = true;
        e->count.sent++;
    } else {
        /* 404: it has expired there. Told again as a new one when it happens again. */
        v->posted = false;
        e->count.failed++;
        log_debug("event %s of %s/%s: %ld %.200s", reasons[v->reason].name, v->ns, v->name,
                  r->status, r->code == CURLE_OK ? r->body : r->message);
    }
    send_next(e);
}

static void send_one(struct kube_events *e, struct event *v)
{
    json_t *body = v->posted ? difference(v) : whole(e, v);
    CLEANUP(free_ptr) char *text = json_dumps(body, JSON_COMPACT);
    struct error err = ERROR_INIT;
    char path[400];
    struct kube_call call = {.method = v->posted ? "PATCH" : "POST",
                             .path = path,
                             .content_type =
                                 v->posted ? "application/merge-patch+json" : "application/json",
                             .body = text,
                             .size = text ? strlen(text) : 0,
                             .timeout_s = TIMEOUT_S};

    json_decref(body);
    text_format(path, sizeof(path), "/api/v1/namespaces/%s/events%s%s", *v->ns ? v->ns : "default",
                v->posted ? "/" : "", v->posted ? v->event : "");
    v->told = v->count;
    v->told_ms = loop_now_ms();
    e->request.data = ignore_data;
    e->request.done = on_done;
    e->request.ctx = e;
    e->sending = v;
    if (text && kube_send(&e->agent->kube.http, &e->request, &call, &err) == 0)
        return;
    e->sending = NULL;
    e->count.failed++;
}

static bool is_due(const struct event *v)
{
    return v->count > v->told && (!v->told || loop_now_ms() - v->told_ms >= AGAIN_MS);
}

static void send_soon(void *ctx)
{
    send_next(ctx);
}

static void send_next(struct kube_events *e)
{
    struct event *v;

    if (e->sending)
        return;
    list_for_each_entry (v, &e->entries, link) {
        if (!is_due(v))
            continue;
        if (!take_token(e)) {
            e->count.dropped++;
            v->told = v->count; /* its time is over; what comes later counts anew */
            return;
        }
        send_one(e, v);
        return;
    }
}

/* -- what happened
 * ------------------------------------------------------------------------------------- */

static struct event *find(struct kube_events *e, enum event_reason reason,
                          const struct event_object *o)
{
    struct event *v;

    list_for_each_entry (v, &e->entries, link)
        if (v->reason == reason && strcmp(v->uid, o->uid) == 0 && strcmp(v->name, o->name) == 0)
            return v;
    return NULL;
}

static struct event *add(struct kube_events *e, enum event_reason reason,
                         const struct event_object *o)
{
    struct event *v = calloc(1, sizeof(*v)), *oldest;
    uint64_t unique = loop_now_ms();

    if (!v)
        return NULL;
    if (e->n_entries >= ENTRIES_MAX) {
        oldest = list_entry(e->entries.prev, struct event, link);
        if (oldest == e->sending) {
            free(v);
            return NULL;
        }
        entry_free(e, oldest);
    }
    v->reason = reason;
    text_format(v->kind, sizeof(v->kind), "%s", o->kind);
    text_format(v->ns, sizeof(v->ns), "%s", o->ns);
    text_format(v->name, sizeof(v->name), "%s", o->name);
    text_format(v->uid, sizeof(v->uid), "%s", o->uid);
    if (getrandom(&unique, sizeof(unique), GRND_NONBLOCK) != sizeof(unique))
        unique = loop_now_ms();
    text_format(v->event, sizeof(v->event), "%.230s.%016llx", o->name, (unsigned long long)unique);
    now(v->first);
    list_prepend(&e->entries, &v->link);
    e->n_entries++;
    return v;
}

__attribute__((format(printf, 4, 0))) static void tell(struct kube_events *e,
                                                       enum event_reason reason,
                                                       const struct event_object *o,
                                                       const char *fmt, va_list ap)
{
    struct event *v;

    if (!e->agent || !agent_in_cluster(e->agent) || !*o->name || !e->agent->kube.http.multi)
        return;
    v = find(e, reason, o);
    if (v) {
        list_remove(&v->link);
        list_prepend(&e->entries, &v->link);
    } else if (!(v = add(e, reason, o))) {
        e->count.dropped++;
        return;
    }
    (void)vsnprintf(v->message, sizeof(v->message), fmt, ap);
    now(v->last);
    v->count++;
    /* Not from here: what happened may be told of from within a request's own answer. */
    loop_timer_set(&e->agent->loop, &e->soon, 0, send_soon, e);
}

void events_tell(struct kube_events *e, enum event_reason reason, const struct event_object *object,
                 const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tell(e, reason, object, fmt, ap);
    va_end(ap);
}

void events_tell_node(struct kube_events *e, enum event_reason reason, const char *fmt, ...)
{
    const char *node = e->agent ? e->agent->config.node_name : "";
    /* kubelet names a node's events by the node's name, not by its UID. */
    struct event_object object = {"Node", "", node, node};
    va_list ap;

    va_start(ap, fmt);
    tell(e, reason, &object, fmt, ap);
    va_end(ap);
}

void events_init(struct kube_events *e, struct agent *a)
{
    *e = (struct kube_events){
        .agent = a, .tokens_milli = BURST * 1000, .refilled_ms = loop_now_ms()};
    list_init(&e->entries);
}

void events_fini(struct kube_events *e)
{
    struct event *v, *next;

    if (!e->agent)
        return;
    loop_timer_cancel(&e->soon);
    kube_cancel(&e->request);
    list_for_each_entry_safe (v, next, &e->entries, link) {
        entry_free(e, v);
    }
}
