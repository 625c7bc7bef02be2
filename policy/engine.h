#pragma once
/*
 * The cluster as policy sees it: objects in (as the API server or a manifest gives them), compiled
 * rules of the local pods out. Incremental: an update costs in proportion to what it touches, and
 * only the pods whose rules may have changed become dirty. No I/O, no threads, no clock.
 *
 *     engine_apply(e, ENGINE_POD, object, &err);  ... then, when the batch of events is read:
 *     while ((r = engine_next_dirty(e, &update, &err)) > 0) { enforce(&update);
 * engine_update_fini(&update); }
 *
 * Objects may come in any order (policies before pods, pods before their namespace). Objects are
 * hostile: whatever is wrong with one ends in an error that names it and the field.
 */
#include "common/error.h"
#include "policy/rules.h"

#include <jansson.h>

struct engine;

enum engine_kind {
    ENGINE_NAMESPACE,
    ENGINE_POD,
    ENGINE_NODE,
    ENGINE_NETWORK_POLICY,         /* networking.k8s.io/v1 */
    ENGINE_CLUSTER_NETWORK_POLICY, /* policy.networking.k8s.io/v1alpha2 */
    ENGINE_KIND_MAX,
};

struct engine_config {
    const char *node; /* name of this node: pods with this spec.nodeName are local. NULL: all are */
    /* A pod's namespace exists without an object (manifests, test files): its labels are its name
     * alone. Otherwise a namespace that isn't known yet matches only selectors that must match, and
     * a local pod in it is closed if a cluster policy may select it. */
    bool implicit_namespaces;
};

/* Positive results of engine_apply. */
enum { ENGINE_INEXPRESSIBLE = 1 };

/* NULL if memory is short. The configuration is copied. */
struct engine *engine_new(const struct engine_config *config);
void engine_free(struct engine *e); /* accepts NULL */

/* The kind of an object by its apiVersion and kind; -ENOENT for all others. */
int engine_kind_of(const json_t *object, enum engine_kind *ret_kind);
const char *engine_kind_name(enum engine_kind kind); /* "NetworkPolicy" */

/*
 * Adds or replaces one object; nothing of `object` is kept. kind decides, apiVersion and kind
 * inside need not be there (watch lists leave them out) but must fit if they are. 0 applied (or
 * nothing changed) ENGINE_INEXPRESSIBLE  a policy that can't be expressed: it is in force as "deny
 * everything" for the pods it names, in the directions it names; err says why negative refused,
 * nothing changed (the earlier version, if any, stays); err says why A pod with another uid than
 * the one held under its name replaces it.
 */
int engine_apply(struct engine *e, enum engine_kind kind, const json_t *object, struct error *err);
/* Field path ("spec.egress[0].to[1].ipBlock.cidr") that the last engine_apply complained about, for
 * yaml_doc_line(); "" if none. Valid until the next call. */
const char *engine_error_path(const struct engine *e);

/*
 * Takes an object out. uid may be NULL; if given and another one is held, nothing happens (a late
 * delete). ns is NULL or "" for cluster-wide kinds. True if it was there. A NetworkPolicy that is
 * deleted while its namespace terminates stays in force until the last of its pods is gone.
 */
bool engine_delete(struct engine *e, enum engine_kind kind, const char *ns, const char *name,
                   const char *uid);

/* A full list (first list, or after "410 Gone"): apply every item between the two calls; what was
 * held of this kind and isn't applied in between is deleted by the second. */
void engine_relist_begin(struct engine *e, enum engine_kind kind);
void engine_relist_end(struct engine *e, enum engine_kind kind);

/* A look at a pod; pointers are valid until the next change of the engine, ips until the next look
 * (copy them). */
struct engine_pod {
    const char *ns, *name, *uid, *node, *service_account, *phase; /* "" if unknown */
    const uint8_t (*ips)[16];
    size_t n_ips;
    bool local, host_network, terminating, finished /* Succeeded or Failed */;
};
bool engine_find_pod(const struct engine *e, const char *ns, const char *name,
                     struct engine_pod *ret);
/* The pod that owns an address now: not on the host's network, not finished; the latest if two. */
bool engine_find_address(const struct engine *e, const uint8_t addr[16], struct engine_pod *ret);
size_t engine_count(const struct engine *e, enum engine_kind kind);
/* Is the namespace known, or was it deleted while pods were left in it? */
bool engine_has_namespace(const struct engine *e, const char *name);

/* Calls fn for each address of each node until it returns non-zero, and returns that. */
int engine_each_node_address(const struct engine *e, int (*fn)(void *arg, const uint8_t addr[16]),
                             void *arg);

/* Calls fn for each local pod / for each policy until it returns non-zero, and returns that. */
int engine_each_local(const struct engine *e, int (*fn)(const struct engine_pod *pod, void *arg),
                      void *arg);
struct engine_policy {
    enum engine_kind kind;
    const char *ns, *name;
    const char *problem; /* why it can't be expressed; NULL if it can */
    const char *path;    /* field that is to blame */
    size_t local_pods;   /* how many it selects here */
};
int engine_each_policy(const struct engine *e,
                       int (*fn)(const struct engine_policy *policy, void *arg), void *arg);

/* What to put in force for one local pod that is not on the host's network. */
struct engine_update {
    char *ns, *name, *uid;
    struct policy_rules *rules; /* NULL: the pod is gone (deleted, finished or no longer local) */
    char *problem; /* NULL, or which inexpressible policy closes it (for an Event and a metric) */
    bool audit;    /* its namespace is annotated so: policy watches, and does not deny */
};

/* Annotation of a Namespace ("true"): what policy would deny in it is told, not denied. */
#define ENGINE_AUDIT_ANNOTATION "dev.berm.policy-audit"
/* Next pod whose rules may have changed: 1 and *ret filled (engine_update_fini it), 0 if none is
 * left, negative if it can't be compiled now (the pod stays dirty). */
int engine_next_dirty(struct engine *e, struct engine_update *ret, struct error *err);
void engine_update_fini(struct engine_update *u);
/* Puts a local pod in the queue again (its plane was lost); false if there is no such pod. */
bool engine_mark_dirty(struct engine *e, const char *ns, const char *name);

/* Compiles one local pod now, dirty or not. -ENOENT: no such local pod with a network of its own.
 */
int engine_compile(struct engine *e, const char *ns, const char *name,
                   struct policy_rules **ret_rules, struct error *err);

/* -- explain: both ends of one connection ------------------------------------------------ */

struct engine_end {
    const char *ns, *name; /* a pod; or ns = NULL and addr */
    uint8_t addr[16];
};

struct engine_verdict {
    bool allow; /* AND of both; the guard is not in it */
    struct engine_side {
        enum policy_verdict verdict;
        enum policy_origin origin;
        char rule[640]; /* "shop/db ingress[0].from[1]", "self", "node"; "-" where none applies */
    } side[POLICY_DIRECTION_MAX];
    uint8_t src[16], dst[16]; /* the addresses that were judged */
};

/* family: 4, 6, or 0 for the first that both have. -ENOENT: no such pod; -EAFNOSUPPORT: one of the
 * two has no address of that family. Compiled rules are cached until the next change. */
int engine_explain(struct engine *e, const struct engine_end *src, const struct engine_end *dst,
                   int protocol, int port, int family, struct engine_verdict *ret,
                   struct error *err);
