#pragma once
/* Pods, namespaces and nodes: what policy needs of them, small, for there are 150,000 pods. */
#include "policy/engine.h"
#include "policy/model/policy.h"

#define NAMESPACE_NAME_LABEL "kubernetes.io/metadata.name"

struct engine;

struct namespace
{
    struct hash_node node;
    struct string *name;
    struct labels *labels; /* always with NAMESPACE_NAME_LABEL */
    struct list pods;      /* struct pod.ns_link */
    struct list policies;  /* struct policy.ns_link */
    struct list sets;      /* struct peer_set.watch_link: sets of pods of this namespace only */
    uint32_t n_pods, touched;
    bool known;  /* its object was seen */
    bool ending; /* terminating, or its object is gone while pods are still there */
    bool audit;  /* annotated: policy watches its pods */
    bool pinned; /* in use up the stack: not to be freed */
};

struct named_port {
    struct string *name;
    uint16_t port;
    uint8_t protocol;
};

/* Interned list of named ports: pods of one template share it. */
struct port_list {
    struct hash_node node;
    uint32_t refs, n;
    struct named_port at[];
};

struct port_table {
    struct strings *strings;
    struct hashmap map;
};

struct pod_address {
    struct hash_node node;
    struct pod *pod;
    uint8_t addr[16];
};

struct pod_local; /* what only local pods have: policy/engine/local.h */

struct pod {
    struct hash_node node; /* by namespace and name */
    struct list ns_link, labels_link;
    struct namespace *ns;
    struct labels *labels;
    struct port_list *ports; /* NULL: none */
    struct string *node_name, *service_account;
    struct pod_local *local; /* NULL: not local */
    struct pod_address *addresses;
    uint64_t serial; /* rises with every version applied */
    uint32_t touched;
    uint8_t n_addresses;
    uint8_t phase; /* index into pod_phases */
    bool host_network : 1, terminating : 1;
    char text[]; /* name, NUL, uid, NUL */
};

enum { PHASE_UNKNOWN, PHASE_PENDING, PHASE_RUNNING, PHASE_SUCCEEDED, PHASE_FAILED, PHASE_MAX };
extern const char *const pod_phases[PHASE_MAX];

static inline const char *pod_name(const struct pod *p)
{
    return p->text;
}
const char *pod_uid(const struct pod *p);
static inline bool pod_finished(const struct pod *p)
{
    return p->phase == PHASE_SUCCEEDED || p->phase == PHASE_FAILED;
}
/* Whether policies select it and peers match it. */
static inline bool pod_counts(const struct pod *p)
{
    return !p->host_network && !pod_finished(p);
}
/* Port number of a name on a pod for a protocol (0: the first of that name, its protocol in
 * *ret_protocol); 0 if it has none. `from` is the index to start with and becomes the next one. */
uint16_t pod_named_port(const struct pod *p, const struct string *name, uint8_t protocol,
                        uint32_t *from, uint8_t *ret_protocol);

struct kube_node {
    struct hash_node node;
    struct string *name;
    struct labels *labels;
    uint8_t (*addresses)[16];
    size_t n_addresses;
    uint32_t touched;
};

void port_table_fini(struct port_table *t);
void port_list_put(struct port_table *t, struct port_list *l); /* accepts NULL */

/* A fresh pod that isn't linked anywhere; its namespace's name is in *ret_ns (valid while object
 * lives). */
int pod_decode(struct decoder *d, struct port_table *ports, const json_t *object, struct pod **ret,
               const char **ret_ns);
void pod_free(struct decoder *d, struct port_table *ports, struct pod *p);
/* Labels (with the name's) of a namespace object. */
int namespace_decode(struct decoder *d, const json_t *object, const char **ret_name,
                     struct labels **ret_labels, bool *ret_ending, bool *ret_audit);
int node_decode(struct decoder *d, const json_t *object, struct kube_node **ret);
void node_free(struct decoder *d, struct kube_node *n);
