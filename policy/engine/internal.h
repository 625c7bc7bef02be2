#pragma once
/* The engine's insides, shared by policy/engine, policy/selectors and policy/compiler. */
#include "policy/engine.h"
#include "policy/evaluate.h"
#include "policy/model/objects.h"
#include "policy/selectors/peer_set.h"

/* Where a name in policy_rules.names comes from; rule -1: the isolation itself. */
struct rule_source {
    const struct policy *policy;
    enum policy_direction dir;
    long rule;
};

struct compiled {
    struct policy_rules *rules;
    struct rule_source *sources; /* one for each name */
};

struct selection {
    struct list pod_link, policy_link;
    struct pod_local *local;
    struct policy *policy;
};

struct pod_local {
    struct pod *pod;
    struct list all_link, dirty_link, selections;
    struct compiled *compiled; /* kept for explain; NULL: compile first */
    bool dirty, undecided /* a cluster policy may select it once its namespace is known */;
};

struct gone {
    struct list link;
    char *ns, *name, *uid;
};

struct engine {
    struct strings strings;
    struct label_table labels;
    struct port_table ports;
    struct decoder decoder;
    char *node;
    bool implicit_namespaces;
    struct string *name_key; /* NAMESPACE_NAME_LABEL */
    struct hashmap namespaces, pods, addresses, nodes, policies, sets;
    struct list cluster_policies, wide_sets, locals, dirty, gone;
    size_t n_locals, n_dirty, n_gone, n_known_namespaces, n_policies[2];
    uint64_t serial;
    uint32_t relist[ENGINE_KIND_MAX]; /* generation; odd while a relist runs */
};

/* -- namespaces.c ----------------------------------------------------------------------- */
struct namespace *namespace_find(const struct engine *e, const char *name);
struct namespace *namespace_get(struct engine *e, const char *name); /* made unknown if new */
/* Frees it if nothing needs it any more. */
void namespace_release(struct engine *e, struct namespace *ns);
int engine_apply_namespace(struct engine *e, const json_t *object);
bool engine_delete_namespace(struct engine *e, const char *name);
bool namespace_matches(const struct engine *e, const struct selector *sel,
                       const struct namespace *ns, bool if_unknown);
/* Drops policies that outlived their deletion, when their time has come. */
void namespace_drop_orphans(struct engine *e, struct namespace *ns);

/* -- pods.c ----------------------------------------------------------------------------- */
struct pod *pod_find(const struct engine *e, const char *ns, const char *name);
int engine_apply_pod(struct engine *e, const json_t *object);
bool engine_delete_pod(struct engine *e, const char *ns, const char *name, const char *uid);
void engine_remove_pod(struct engine *e, struct pod *p);
struct pod *pod_by_address(const struct engine *e, const uint8_t addr[16]);

/* -- nodes.c ---------------------------------------------------------------------------- */
int engine_apply_node(struct engine *e, const json_t *object);
bool engine_delete_node(struct engine *e, const char *name);
bool node_has_address(const struct engine *e, const struct string *node, const uint8_t addr[16]);

/* -- policies.c ------------------------------------------------------------------------- */
int engine_apply_policy(struct engine *e, enum engine_kind kind, const json_t *object);
bool engine_delete_policy(struct engine *e, enum engine_kind kind, const char *ns, const char *name,
                          const char *uid);
void engine_remove_policy(struct engine *e, struct policy *p);
/* Looks anew which policies select a local pod; dirties it if that changed. */
int local_reselect(struct engine *e, struct pod_local *l);
void local_drop_selections(struct pod_local *l);

/* -- dirty.c ---------------------------------------------------------------------------- */
void local_mark_dirty(struct engine *e, struct pod_local *l);
void local_forget(struct engine *e, struct pod_local *l); /* no longer dirty, nothing cached */
int engine_report_gone(struct engine *e, const struct pod *p);
void compiled_free(struct compiled *c); /* accepts NULL */

/* -- compiler/compile.c ----------------------------------------------------------------- */
int local_compile(struct engine *e, struct pod_local *l, struct compiled **ret);
