/* The requests of the control socket, one function each; the table is at the end. */
#include "agent/agent.h"
#include "agent/control.h"
#include "agent/json.h"
#include "agent/kube/collect.h"
#include "agent/modes.h"
#include "agent/schema.h"
#include "agent/standalone/bundle.h"
#include "common/log.h"
#include "policy/address.h"
#include "policy/guard.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static const char *const directions[BERM_DIRECTION_MAX] = {"egress", "ingress"};
static const char *const origins[] = {
    [POLICY_ORIGIN_DEFAULT] = "no policy selects the pod",
    [POLICY_ORIGIN_NETWORKPOLICY] = "NetworkPolicy",
    [POLICY_ORIGIN_ADMIN] = "ClusterNetworkPolicy, tier Admin",
    [POLICY_ORIGIN_BASELINE] = "ClusterNetworkPolicy, tier Baseline",
    [POLICY_ORIGIN_INEXPRESSIBLE] = "a policy that can't be expressed",
    [POLICY_ORIGIN_UNKNOWN_POD] = "its policies are not known yet",
};

static void append_error(void *ctx, const char *error)
{
    (void)json_array_append_new(ctx, json_string(error));
}

static json_t *incidents_json(const struct agent *a)
{
    json_t *o = json_object();

    for (int k = 0; k < ENFORCE_INCIDENT_MAX; k++)
        (void)json_object_set_new(o, enforce_incident_name((enum enforce_incident_kind)k),
                                  json_integer((json_int_t)a->incidents[k]));
    return o;
}

static json_t *enforcement_json(struct agent *a)
{
    struct enforce_totals t;

    if (!a->enforce)
        return json_pack("{s:b, s:s}", "available", 0, "error", a->enforce_error);
    enforce_totals(a->enforce, &t);
    return json_pack("{s:b, s:s, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "available", 1,
                     "hook", t.tcx ? "tcx" : "clsact", "nftables", t.nft, "translated",
                     t.translated, "guard", mode_name(enforce_guard_get(a->enforce)), "policy",
                     mode_name(enforce_policy_get(a->enforce)), "pods", (json_int_t)t.pods,
                     "devices", (json_int_t)t.devices, "sweeps", (json_int_t)t.sweeps, "frontends",
                     (json_int_t)t.frontends, "incidents", incidents_json(a));
}

static json_t *get_status(struct agent *a, const json_t *request, struct error *err)
{
    json_t *errors = json_array(), *json;
    unsigned pods = 0, sandboxes = 0;
    const struct pod *p;

    (void)request;
    (void)err;
    list_for_each_entry (p, &a->runner.pods, link) {
        pods++;
        sandboxes += p->sandboxed;
    }
    folder_each_error(&a->folder, append_error, errors);
    if (agent_in_cluster(a))
        kube_count_json(a, &pods, &sandboxes);
    json = json_pack("{s:s, s:s, s:I, s:I, s:s, s:b, s:i, s:i, s:I, s:I, s:I, s:o, s:o}", "version",
                     BERM_VERSION, "node", a->config.node_name, "uptimeSeconds",
                     (json_int_t)((loop_now_ms() - a->started_ms) / 1000), "restarts",
                     (json_int_t)a->restarts, "folder", a->config.standalone, "synced",
                     (int)agent_synced(a), "pods", (int)pods, "sandboxedPods", (int)sandboxes,
                     "networkPolicies",
                     (json_int_t)engine_count(a->netpolicy.engine, ENGINE_NETWORK_POLICY),
                     "clusterNetworkPolicies",
                     (json_int_t)engine_count(a->netpolicy.engine, ENGINE_CLUSTER_NETWORK_POLICY),
                     "manifestFiles", (json_int_t)a->folder.n_files, "manifestErrors", errors,
                     "enforcement", enforcement_json(a));
    if (agent_in_cluster(a))
        (void)json_object_update_new(
            json, json_pack("{s:o, s:I, s:I}", "api", kube_source_json(&a->kube),
                            "serviceAddresses", (json_int_t)a->services.fronts.count,
                            "serviceBackends", (json_int_t)a->services.n_backends));
    return json;
}

static json_t *container_json(const struct container *c)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s}", "name", c->name, "id", c->id,
                     "state", container_phase_name(c), "restarts", (int)c->restarts, "exitCode",
                     c->exit_code, "reason", c->reason, "error", c->message, "startedAt",
                     c->started_at, "finishedAt", c->finished_at);
}

static void add_counters(struct agent *a, json_t *json)
{
    struct enforce_stats s;
    struct error err = ERROR_INIT;
    uint64_t denied[BERM_ENGINE_MAX] = {0}, allowed = 0;

    if (!a->enforce || enforce_stats(a->enforce, get_string(json, "uid", ""), &s, &err) < 0)
        return;
    for (int e = 0; e < BERM_ENGINE_MAX; e++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            for (int r = 0; r < BERM_REASON_MAX; r++)
                denied[e] += s.engine[e].denied[d][r];
    for (int d = 0; d < BERM_DIRECTION_MAX; d++)
        allowed += s.engine[BERM_ENGINE_POLICY].packets[d];
    (void)json_object_update_new(
        json, json_pack("{s:I, s:I, s:I}", "allowedPackets", (json_int_t)allowed,
                        "guardDeniedPackets", (json_int_t)denied[BERM_ENGINE_GUARD],
                        "policyDeniedPackets", (json_int_t)denied[BERM_ENGINE_POLICY]));
}

static json_t *pod_json(const struct pod *p)
{
    json_t *containers = json_array(), *json;
    unsigned ready = 0, restarts = 0;
    const char *prefix[RUNTIME_PREFIX_MAX];
    json_t *runtime = json_array();

    runtime_prefix(p, prefix);
    for (int i = 0; prefix[i]; i++)
        (void)json_array_append_new(runtime, json_string(prefix[i]));
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct container *c = &p->containers[i];

        (void)json_array_append_new(containers, container_json(c));
        ready += c->spec && c->phase == CONTAINER_RUNNING;
        restarts += c->spec ? c->restarts : 0;
    }
    json = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:o, s:s, s:o}",
                     "namespace", p->ns, "name", p->name, "uid", p->uid, "phase", pod_phase_name(p),
                     "sandboxed", p->sandboxed, "ip", p->ifindex ? p->address.text4 : "", "ip6",
                     p->ifindex ? p->address.text6 : "", "device", p->ifname, "ready", (int)ready,
                     "containersWanted", (int)(p->n_containers - p->sandboxed), "restarts",
                     (int)restarts, "error", p->failed_reason ? p->failed_reason : p->message,
                     "runtime", runtime, "logs", p->log_dir, "containers", containers);
    return json;
}

static json_t *get_pods(struct agent *a, const json_t *request, struct error *err)
{
    json_t *list = json_array(), *json;
    const struct pod *p;
    size_t i;

    (void)request;
    (void)err;
    list_for_each_entry (p, &a->runner.pods, link)
        (void)json_array_append_new(list, pod_json(p));
    if (agent_in_cluster(a))
        kube_list_pods(a, list);
    json_array_foreach(list, i, json) add_counters(a, json);
    return json_pack("{s:o}", "pods", list);
}

static int need_enforce(const struct agent *a, struct error *err)
{
    return a->enforce
               ? 0
               : error_set(err, -EOPNOTSUPP, "nothing is enforced here: %s", a->enforce_error);
}

static json_t *set_mode(struct agent *a, const json_t *request, struct error *err, bool guard)
{
    const char *text = get_string(request, "mode", NULL);
    enum berm_mode mode;
    int r = need_enforce(a, err);

    if (r < 0)
        return NULL;
    if (text) {
        if (mode_parse(text, &mode) < 0) {
            (void)error_set(err, -EINVAL, "mode '%.40s' is not known", text);
            return NULL;
        }
        r = guard ? enforce_guard_set(a->enforce, mode, err)
                  : enforce_policy_set(a->enforce, mode, err);
        if (r < 0)
            return NULL;
        log_info("%s: %s", guard ? "guard" : "policy", mode_name(mode));
    }
    mode = guard ? enforce_guard_get(a->enforce) : enforce_policy_get(a->enforce);
    return json_pack("{s:s}", "mode", mode_name(mode));
}

static json_t *set_guard(struct agent *a, const json_t *request, struct error *err)
{
    return set_mode(a, request, err, true);
}

static json_t *set_policy(struct agent *a, const json_t *request, struct error *err)
{
    return set_mode(a, request, err, false);
}

static int append_policy(const struct engine_policy *policy, void *arg)
{
    (void)json_array_append_new(arg, json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "kind",
                                               engine_kind_name(policy->kind), "namespace",
                                               policy->ns ? policy->ns : "", "name", policy->name,
                                               "pods", (json_int_t)policy->local_pods, "problem",
                                               policy->problem ? policy->problem : "", "path",
                                               policy->path ? policy->path : ""));
    return 0;
}

static json_t *get_policies(struct agent *a, const json_t *request, struct error *err)
{
    json_t *list = json_array();

    (void)request;
    (void)err;
    (void)engine_each_policy(a->netpolicy.engine, append_policy, list);
    return json_pack("{s:o}", "policies", list);
}

/* "ns/name", "name" (of namespace default), or an address. */
static int parse_end(const struct agent *a, const char *text, struct engine_end *ret, char *ns,
                     size_t size, struct error *err)
{
    const char *slash = strchr(text, '/');
    struct engine_pod pod;

    *ret = (struct engine_end){0};
    if (address_parse_mapped(text, ret->addr)) {
        /* The pod behind an address is judged as that pod. */
        if (engine_find_address(a->netpolicy.engine, ret->addr, &pod)) {
            ret->ns = pod.ns;
            ret->name = pod.name;
        }
        return 0;
    }
    text_format(ns, size, "%.*s", slash ? (int)(slash - text) : 7, slash ? text : "default");
    ret->ns = ns;
    ret->name = slash ? slash + 1 : text;
    if (!engine_find_pod(a->netpolicy.engine, ret->ns, ret->name, &pod))
        return error_set(err, -ENOENT, "there is no pod '%s/%s'", ret->ns, ret->name);
    return 0;
}

static json_t *side_json(const struct engine_side *side)
{
    return json_pack("{s:b, s:s, s:s}", "allow", side->verdict == POLICY_ALLOW, "rule", side->rule,
                     "why", origins[side->origin]);
}

static bool binds(enum berm_mode mode, bool sandboxed)
{
    return mode == BERM_MODE_ALL || (mode == BERM_MODE_SANDBOXED && sandboxed);
}

/* What is in force for the source: nothing if it is no pod that is armed here. */
struct in_force {
    bool guard, policy, audit;
    const char *endpoint; /* that the guard would deny; "" */
};

static void look_in_force(struct agent *a, const struct engine_end *from,
                          const struct engine_verdict *v, int protocol, int port,
                          struct in_force *ret)
{
    struct guard_decision guard = guard_eval(v->dst, protocol, port);
    struct enforce_pod_info info;
    struct engine_pod pod;

    *ret = (struct in_force){.endpoint = guard.row ? guard.row->name : ""};
    if (!a->enforce || !from->ns ||
        !engine_find_pod(a->netpolicy.engine, from->ns, from->name, &pod) ||
        !enforce_find(a->enforce, pod.uid, &info))
        return;
    ret->guard = guard.action == GUARD_DENY &&
                 binds(enforce_guard_get(a->enforce), info.sandboxed) &&
                 !enforce_pod_excepts(a->enforce, pod.uid, v->dst, protocol, port);
    ret->policy =
        !info.host_network && !info.audit && binds(enforce_policy_get(a->enforce), info.sandboxed);
    ret->audit = info.audit;
}

static json_t *explain_json(struct agent *a, const struct engine_end *from,
                            const struct engine_verdict *v, int protocol, int port)
{
    char src[ADDRESS_TEXT_MAX], dst[ADDRESS_TEXT_MAX];
    struct in_force f;

    look_in_force(a, from, v, protocol, port, &f);
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:i, s:{s:b, s:s}, s:o, s:o}", "source",
                     address_format(v->src, src), "destination", address_format(v->dst, dst),
                     "allow", !f.guard && (v->allow || !f.policy), "policyAllows", v->allow,
                     "policyInForce", f.policy, "audit", f.audit, "port", port, "guard", "denies",
                     f.guard, "endpoint", f.endpoint, "egress", side_json(&v->side[POLICY_EGRESS]),
                     "ingress", side_json(&v->side[POLICY_INGRESS]));
}

struct backends {
    struct agent *agent;
    const struct engine_end *from;
    int protocol;
    json_t *list;
};

static int explain_backend(void *ctx, const struct service_backend *backend)
{
    struct backends *b = ctx;
    struct engine *e = b->agent->netpolicy.engine;
    struct engine_end to = {0};
    struct engine_verdict v;
    struct engine_pod pod;

    memcpy(to.addr, backend->addr, 16);
    if (engine_find_address(e, to.addr, &pod)) {
        to.ns = pod.ns;
        to.name = pod.name;
    }
    if (engine_explain(e, b->from, &to, b->protocol, backend->port,
                       address_is_v4(backend->addr) ? 4 : 6, &v, NULL) == 0)
        (void)json_array_append_new(
            b->list, explain_json(b->agent, b->from, &v, b->protocol, backend->port));
    return 0;
}

/* A Service's address: what counts is what the node may translate it into. */
static json_t *explain_service(struct agent *a, const struct engine_end *from,
                               const struct service_front *front)
{
    struct backends b = {a, from, front->protocol, json_array()};
    bool any = false, all = true;
    json_t *v;
    size_t i;

    (void)services_each_backend(&a->services, front, explain_backend, &b);
    json_array_foreach(b.list, i, v)
    {
        any |= json_is_true(json_object_get(v, "allow"));
        all &= json_is_true(json_object_get(v, "allow"));
    }
    return json_pack("{s:s, s:s, s:b, s:b, s:o}", "serviceNamespace",
                     service_namespace(front->service), "service", service_name(front->service),
                     "allow", any, "allowsAll", any && all, "backends", b.list);
}

static json_t *explain(struct agent *a, const json_t *request, struct error *err)
{
    const struct service_front *front;
    struct engine_verdict v;
    struct engine_end from, to;
    char ns[2][64];
    int protocol = protocol_parse(get_string(request, "protocol", "TCP"));
    int64_t port = get_int(request, "port", -1);

    if (protocol < 0 || port < 0 || port > 65535) {
        (void)error_set(err, -EINVAL, "bad protocol or port");
        return NULL;
    }
    if (parse_end(a, get_string(request, "from", ""), &from, ns[0], sizeof(ns[0]), err) < 0 ||
        parse_end(a, get_string(request, "to", ""), &to, ns[1], sizeof(ns[1]), err) < 0)
        return NULL;
    front = to.ns ? NULL : services_find(&a->services, to.addr, (uint8_t)protocol, (uint16_t)port);
    if (front)
        return explain_service(a, &from, front);
    if (engine_explain(a->netpolicy.engine, &from, &to, protocol, (int)port, 0, &v, err) < 0)
        return NULL;
    return explain_json(a, &from, &v, protocol, (int)port);
}

json_t *control_drop_json(struct agent *a, const struct drop *d)
{
    char pod[400], peer[400], address[ADDRESS_TEXT_MAX];
    const char *protocol = protocol_name(d->protocol);

    agent_pod_name(a, d->uid, pod, sizeof(pod));
    agent_peer_name(a, d->remote, peer, sizeof(peer));
    return json_pack(
        "{s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:I, s:I, s:I}", "pod",
        *pod ? pod : d->uid, "denied", !d->audit, "direction", directions[d->direction % 2], "peer",
        peer, "address", address_format(d->remote, address), "engine",
        d->engine == BERM_ENGINE_GUARD ? "guard" : "policy", "protocol", protocol ? protocol : "",
        "protocolNumber", d->protocol, "port", d->port, "reason",
        enforce_reason_name((enum berm_reason)d->reason), "rule", d->what, "count",
        (json_int_t)d->count, "first", (json_int_t)d->first, "last", (json_int_t)d->last);
}

struct lost {
    struct agent *agent;
    uint64_t n;
};

static int add_lost(void *ctx, const struct enforce_pod_info *info)
{
    struct lost *l = ctx;
    struct enforce_stats s;

    if (enforce_stats(l->agent->enforce, info->uid, &s, NULL) < 0)
        return 0;
    for (int e = 0; e < BERM_ENGINE_MAX; e++)
        l->n += s.engine[e].events_lost;
    return 0;
}

/* Packets of pods that are here now for which no event was sent: too many at once. */
static uint64_t lost_events(struct agent *a)
{
    struct lost l = {a, 0};

    if (a->enforce)
        (void)enforce_for_each(a->enforce, add_lost, &l);
    return l.n;
}

/* What was denied; or, audit, what would have been or passed by no rule. */
static json_t *get_drops(struct agent *a, const json_t *request, struct error *err)
{
    bool audit = get_bool(request, "audit", false);
    json_t *list = json_array();
    const struct drop *d;

    (void)err;
    list_for_each_entry (d, &a->drops.recent, link)
        if (d->audit == audit)
            (void)json_array_append_new(list, control_drop_json(a, d));
    return json_pack("{s:o, s:I}", "drops", list, "lost", (json_int_t)lost_events(a));
}

const struct control_request control_requests[] = {
    {"status", get_status},      {"pods", get_pods},         {"guard", set_guard},
    {"policy-mode", set_policy}, {"policies", get_policies}, {"explain", explain},
    {"drops", get_drops},
};
const size_t control_n_requests = ARRAY_SIZE(control_requests);
