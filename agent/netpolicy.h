#pragma once
/*
 * Between the policy engine and what is in force: objects in, rules of dirty pods out to
 * enforcement. Until the source's first full view nothing is set: what is pinned stays in force,
 * new pods stay denied.
 */
#include "agent/enforce/enforce.h"
#include "agent/loop.h"
#include "agent/objects.h"
#include "policy/engine.h"

struct netpolicy {
    struct loop *loop;
    struct engine *engine;
    struct enforce *enforce; /* NULL: nothing is enforced (the kernel can't; see status) */
    const struct objects *objects;
    bool hold;
    /* A pod's traffic is denied because of a policy, and why. NULL: only the log tells. */
    void (*on_problem)(void *ctx, const struct engine_update *u, const char *problem);
    void *ctx;
    struct loop_timer flush, retry;
    bool full; /* pods are closed for lack of room in the maps */
    struct {
        uint64_t updates, failures, inexpressible;
    } count;
};

int netpolicy_init(struct netpolicy *n, struct loop *l, const struct objects *o, const char *node,
                   struct enforce *enforce, struct error *err);
void netpolicy_fini(struct netpolicy *n);
/* This node, with its addresses: 16 bytes each, IPv4 mapped. */
int netpolicy_set_node(struct netpolicy *n, const char *name, const char *const *addresses,
                       size_t count, struct error *err);
/* The first full view has been applied. */
void netpolicy_release(struct netpolicy *n);

/* Sinks for Namespace, NetworkPolicy, ClusterNetworkPolicy; ctx is the netpolicy. */
int netpolicy_check_namespace(const json_t *json, struct schema_error *e);
int netpolicy_check_policy(const json_t *json, struct schema_error *e);
int netpolicy_apply(void *ctx, const struct object *object, struct schema_error *e);
void netpolicy_remove(void *ctx, const struct object *object);
/* A pod with its status, or json NULL: it is gone. */
int netpolicy_pod(struct netpolicy *n, const char *ns, const char *name, const char *uid,
                  const json_t *json, struct schema_error *e);
/* As an API server gives and takes them: namespaces exist as objects. apply: 0, 1 (in force as
 * deny) or negative (refused). */
int netpolicy_object(struct netpolicy *n, enum engine_kind kind, const json_t *json,
                     struct error *err);
void netpolicy_forget(struct netpolicy *n, enum engine_kind kind, const char *ns, const char *name);
/* The pod's rules are to be put in force again: it was armed anew. */
void netpolicy_refresh(struct netpolicy *n, const char *ns, const char *name);
/* Would the engine take this pod? Changes nothing. */
int netpolicy_check_pod(const json_t *json, struct schema_error *e);
