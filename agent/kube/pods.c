#include "agent/kube/pods.h"

#include "agent/agent.h"
#include "agent/exceptions.h"
#include "agent/json.h"
#include "agent/kube/killed.h"
#include "agent/podlog.h"
#include "agent/schema.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    SWEEP_MS = 10000,
    SWEEP_SOON_MS = 1000,
    ARMED_UNKNOWN_MS = 600000, /* an armed pod that the API server never told of is kept so long */
    MIRROR_UID = 32,           /* hexadecimal digits of a static pod's UID: no API UID looks so */
    PODS_MAX = 4096,
};
#define MIRROR "kubernetes.io/config.mirror"
#define HASH   "kubernetes.io/config.hash"

static void sweep(void *ctx);

void node_pods_init(struct node_pods *n, struct agent *a)
{
    *n = (struct node_pods){.agent = a};
    list_init(&n->pods);
    rfc3339_now(n->since);
}

static void pod_free(struct node_pods *n, struct node_pod *p)
{
    list_remove(&p->link);
    n->count--;
    free(p->ns);
    free(p->name);
    free(p);
}

void node_pods_fini(struct node_pods *n)
{
    struct node_pod *p, *next;

    if (!n->agent)
        return;
    loop_timer_cancel(&n->sweep);
    list_for_each_entry_safe (p, next, &n->pods, link) {
        pod_free(n, p);
    }
}

const struct node_pod *node_pods_find(const struct node_pods *n, const char *uid)
{
    const struct node_pod *p;

    list_for_each_entry (p, &n->pods, link)
        if (strcmp(p->uid, uid) == 0)
            return p;
    return NULL;
}

static struct node_pod *find_name(const struct node_pods *n, const char *ns, const char *name)
{
    struct node_pod *p;

    list_for_each_entry (p, &n->pods, link)
        if (strcmp(p->ns, ns) == 0 && strcmp(p->name, name) == 0 && p->listed)
            return p;
    return NULL;
}

static struct node_pod *add(struct node_pods *n, const char *uid, const char *ns, const char *name)
{
    struct node_pod *p = n->count < PODS_MAX ? calloc(1, sizeof(*p)) : NULL;

    if (!p)
        return NULL;
    p->ns = strdup(ns);
    p->name = strdup(name);
    if (!p->ns || !p->name || strlen(uid) >= sizeof(p->uid)) {
        free(p->ns);
        free(p->name);
        free(p);
        return NULL;
    }
    text_format(p->uid, sizeof(p->uid), "%s", uid);
    list_append(&n->pods, &p->link);
    n->count++;
    return p;
}

/* -- what the API server says -------------------------------------------------------------- */

/*
 * Anybody who may create pods can write these annotations. A static pod's UID has a form that no
 * other has, so nobody takes over an ordinary pod; and the first that has one keeps it.
 */
const char *node_pods_uid(const struct node_pods *n, const json_t *object)
{
    const json_t *m = json_object_get(object, "metadata");
    const json_t *annotations = json_object_get(m, "annotations");
    const char *uid = get_string(m, "uid", ""),
               *hash = json_string_value(json_object_get(annotations, HASH));
    const struct node_pod *have;

    if (!hash || !json_object_get(annotations, MIRROR) || strlen(hash) != MIRROR_UID ||
        strspn(hash, "0123456789abcdef") != MIRROR_UID)
        return uid;
    have = node_pods_find(n, hash);
    if (have && (strcmp(have->ns, get_string(m, "namespace", "")) != 0 ||
                 strcmp(have->name, get_string(m, "name", "")) != 0))
        return uid;
    return hash;
}

static bool adds_net_raw(const json_t *containers)
{
    json_t *c, *v;
    size_t i, k;

    json_array_foreach((json_t *)(uintptr_t)containers, i, c)
        json_array_foreach(get(c, "securityContext.capabilities.add"), k, v)
    {
        const char *name = json_string_value(v);

        if (name && (strcasecmp(name, "NET_RAW") == 0 || strcasecmp(name, "CAP_NET_RAW") == 0 ||
                     strcasecmp(name, "ALL") == 0))
            return true;
    }
    return false;
}

static uint64_t exceptions(const struct node_pods *n, const struct node_pod *p)
{
    return p->listed ? exceptions_for(n->agent, p->ns, *p->account ? p->account : "default",
                                      *p->asked ? p->asked : NULL)
                     : ENFORCE_EXCEPTIONS_DEFAULT;
}

/* Pods that are not armed have none to be given. */
static void give_exceptions(const struct node_pods *n, const struct node_pod *p)
{
    struct error err = ERROR_INIT;

    if (n->agent->enforce &&
        enforce_pod_exceptions(n->agent->enforce, p->uid, exceptions(n, p), &err) < 0 &&
        err.code != -ENOENT)
        log_warn("pod %s/%s: %s", p->ns, p->name, err.msg);
}

void node_pods_exceptions(struct node_pods *n)
{
    const struct node_pod *p;

    list_for_each_entry (p, &n->pods, link)
        give_exceptions(n, p);
}

/* A list that is too long asks for nothing. */
static void read_asked(struct node_pod *p, const json_t *metadata)
{
    const char *asked = json_string_value(
        json_object_get(json_object_get(metadata, "annotations"), EXCEPTIONS_ANNOTATION));

    text_format(p->asked, sizeof(p->asked), "%s",
                asked && strlen(asked) < sizeof(p->asked) ? asked : "");
}

/* Armed by a process before this one, which did not say on behalf of which sandbox: CRI does. */
static void adopt(const struct node_pods *n, struct node_pod *p)
{
    struct enforce_pod_info info;

    if (p->armed || !n->agent->enforce || !enforce_find(n->agent->enforce, p->uid, &info))
        return;
    p->armed = true;
    p->foreign = !info.sandboxed;
    p->armed_ms = loop_now_ms();
}

void node_pods_sandbox(struct node_pods *n, const char *uid, const char *sandbox,
                       uint64_t created_ns)
{
    struct node_pod *p = (struct node_pod *)(uintptr_t)node_pods_find(n, uid);

    if (!p || !p->armed || (*p->sandbox && created_ns <= p->sandbox_ns))
        return;
    p->sandbox_ns = created_ns;
    text_format(p->sandbox, sizeof(p->sandbox), "%s", sandbox);
}

int node_pods_apply(struct node_pods *n, const json_t *object, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata"), *spec = json_object_get(object, "spec");
    const char *ns = get_string(m, "namespace", ""), *name = get_string(m, "name", "");
    const char *uid = node_pods_uid(n, object);
    struct node_pod *p = find_name(n, ns, name);

    /* The same name with another UID: another pod. */
    if (p && strcmp(p->uid, uid) != 0) {
        node_pods_remove(n, ns, name);
        p = NULL;
    }
    if (!p)
        p = (struct node_pod *)(uintptr_t)node_pods_find(n, uid);
    if (!p)
        p = add(n, uid, ns, name);
    if (!p)
        return error_set(err, -ENOMEM, "pod %.60s/%.100s can't be held", ns, name);
    p->listed = true;
    p->mirror = strcmp(uid, get_string(m, "uid", "")) != 0;
    p->host_network = get_bool(spec, "hostNetwork", false);
    p->net_raw = adds_net_raw(json_object_get(spec, "containers")) ||
                 adds_net_raw(json_object_get(spec, "initContainers"));
    text_format(p->runtime_class, sizeof(p->runtime_class), "%s",
                get_string(spec, "runtimeClassName", ""));
    text_format(p->phase, sizeof(p->phase), "%s",
                get_string(json_object_get(object, "status"), "phase", ""));
    text_format(p->account, sizeof(p->account), "%s", get_string(spec, "serviceAccountName", ""));
    read_asked(p, m);
    adopt(n, p);
    killed_look(n, p, json_object_get(object, "status"));
    give_exceptions(n, p);
    others_look(&n->agent->others);
    return 0;
}

void node_pods_remove(struct node_pods *n, const char *ns, const char *name)
{
    struct node_pod *p = find_name(n, ns, name);

    if (!p)
        return;
    /* What still runs (a pod that was deleted by force) stays armed, with all denied: its object is
     * out of the policy engine. The sweep takes it back when its devices are gone. */
    if (p->armed) {
        p->listed = false;
        p->armed_ms = loop_now_ms();
        if (n->swept)
            loop_timer_set(&n->agent->loop, &n->sweep, SWEEP_SOON_MS, sweep, n);
    } else {
        pod_free(n, p);
    }
}

/* -- what the runtime asks for --------------------------------------------------------------- */

static bool is_own_netns(int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat("/proc/self/ns/net", &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int check(const struct node_pods *n, const struct node_pods_request *r,
                 const struct node_pod *p, struct error *err)
{
    if (!n->agent->enforce)
        return error_set(err, -EOPNOTSUPP, "enforcement is not available: %s",
                         n->agent->enforce_error);
    if (p && (strcmp(p->ns, r->ns) != 0 || strcmp(p->name, r->name) != 0))
        return error_set(err, -EPERM, "uid %s is that of pod %s/%s", r->uid, p->ns, p->name);
    if (!is_own_netns(r->netns_fd))
        return 0;
    if (p && p->listed && !p->host_network)
        return error_set(err, -EPERM, "on the node's network, which its spec does not ask for");
    if (r->cgroup_fd < 0)
        return error_set(err, -EOPNOTSUPP,
                         "hostNetwork: true: without cgroup v2 a sandbox on the node's own network "
                         "can't be guarded");
    return 0;
}

/* On the host's network there is nothing else than the cgroup: without it there is no sandbox. */
static int arm_cgroup(struct node_pods *n, const struct node_pods_request *r, const char *uid,
                      bool net_raw, bool host, struct error *err)
{
    struct error why = ERROR_INIT;

    if (r->cgroup_fd < 0 ||
        enforce_arm_cgroup(n->agent->enforce, uid, r->cgroup_fd, net_raw, &why) == 0)
        return 0;
    if (!host) {
        log_pod(LOG_WARN, r->ns, r->name, uid, "guarded on its devices, not on its cgroup: %s",
                why.msg);
        return 0;
    }
    (void)enforce_remove(n->agent->enforce, uid, NULL);
    return error_set(err, -EOPNOTSUPP, "hostNetwork: true: %s", why.msg);
}

int node_pods_arm(struct node_pods *n, const struct node_pods_request *r, bool *ret_net_raw,
                  struct error *err)
{
    const char *uid = *r->uid ? r->uid : r->sandbox;
    struct node_pod *p = (struct node_pod *)(uintptr_t)node_pods_find(n, uid);
    struct enforce_pod pod = {.uid = uid, .netns_fd = r->netns_fd, .sandboxed = !r->foreign};
    struct enforce_pod_info info;
    int code = check(n, r, p, err);

    if (code < 0)
        return code;
    pod.host_network = is_own_netns(r->netns_fd);
    pod.exceptions = p ? exceptions(n, p) : ENFORCE_EXCEPTIONS_DEFAULT;
    pod.audit = enforce_find(n->agent->enforce, uid, &info) && info.audit;
    *ret_net_raw = r->foreign || (p && p->listed && p->net_raw);
    code = enforce_arm(n->agent->enforce, &pod, err);
    if (code == 0)
        code = arm_cgroup(n, r, uid, *ret_net_raw, pod.host_network, err);
    if (code < 0)
        return code;
    if (!p)
        p = add(n, uid, r->ns, r->name);
    if (!p)
        return error_set(err, -ENOMEM, "pod %.80s can't be held", uid);
    p->armed = true;
    p->foreign = r->foreign;
    p->armed_ms = loop_now_ms();
    p->sandbox_ns = UINT64_MAX; /* nobody knows better */
    text_format(p->sandbox, sizeof(p->sandbox), "%s", r->sandbox);
    netpolicy_refresh(&n->agent->netpolicy, p->ns, p->name);
    return 0;
}

int node_pods_disarm(struct node_pods *n, const char *sandbox, struct error *err)
{
    struct node_pod *p, *next;

    list_for_each_entry_safe (p, next, &n->pods, link) {
        /* A pod whose sandbox was made anew in the meantime keeps what is in force. */
        if (!p->armed || strcmp(p->sandbox, sandbox) != 0)
            continue;
        p->armed = false;
        if (n->agent->enforce && enforce_remove(n->agent->enforce, p->uid, err) < 0)
            return err ? err->code : -EIO;
        if (!p->listed)
            pod_free(n, p);
        return 0;
    }
    return 0;
}

/* -- what is left over ------------------------------------------------------------------------ */

struct leftovers {
    struct node_pods *n;
    json_t *uids;
};

static bool is_leftover(const struct node_pods *n, const struct enforce_pod_info *info)
{
    const struct node_pod *p = node_pods_find(n, info->uid);

    if (enforce_is_gone(n->agent->enforce, info->uid))
        return true;
    if (info->n_devices || (info->host_network && p && p->armed) || (p && p->listed))
        return false;
    return !p || loop_now_ms() - p->armed_ms >= ARMED_UNKNOWN_MS;
}

static int note_leftover(void *ctx, const struct enforce_pod_info *info)
{
    struct leftovers *l = ctx;

    if (is_leftover(l->n, info))
        (void)json_array_append_new(l->uids, json_string(info->uid));
    return 0;
}

/* What is armed and of which nothing is left, or which has no device any more and is no pod of this
 * node: from before a restart, or because nobody told that its sandbox was deleted. */
static void sweep(void *ctx)
{
    struct node_pods *n = ctx;
    struct leftovers l = {n, json_array()};
    json_t *v;
    size_t i;

    (void)enforce_for_each(n->agent->enforce, note_leftover, &l);
    json_array_foreach(l.uids, i, v)
    {
        const char *uid = json_string_value(v);
        struct node_pod *p = (struct node_pod *)(uintptr_t)node_pods_find(n, uid);
        struct error err = ERROR_INIT;

        if (enforce_remove(n->agent->enforce, uid, &err) < 0)
            log_warn("pod %s: %s", uid, err.msg);
        if (p && p->armed && !p->foreign)
            log_pod(LOG_INFO, p->ns, p->name, uid, "gone without a word: taken back");
        if (p && p->listed)
            p->armed = false;
        else if (p)
            pod_free(n, p);
    }
    json_decref(l.uids);
    n->swept = true;
    loop_timer_set(&n->agent->loop, &n->sweep, SWEEP_MS, sweep, n);
}

void node_pods_synced(struct node_pods *n)
{
    if (n->agent->enforce)
        loop_timer_set(&n->agent->loop, &n->sweep, SWEEP_MS, sweep, n);
    others_look(&n->agent->others);
}
