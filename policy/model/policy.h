#pragma once
/*
 * Policies of both kinds in one shape, decoded from the API's objects. What could not be understood
 * is still here, closed: see `closed` and `problem`.
 */
#include "policy/engine.h"
#include "policy/model/selector.h"

enum policy_tier { TIER_ADMIN, TIER_NETWORK_POLICY, TIER_BASELINE };

struct peer_set; /* policy/selectors/peer_set.h */
struct namespace;

struct policy_peer {
    enum { PEER_PODS, PEER_BLOCK, PEER_NODES } type;
    bool own_namespace;        /* PEER_PODS without a namespaceSelector */
    struct selector ns_sel;    /* PEER_PODS */
    struct selector sel;       /* PEER_PODS: pods; PEER_NODES: nodes */
    struct policy_cidr *cidrs; /* PEER_BLOCK: includes, then excepts (not sorted) */
    size_t n_cidrs;
    struct peer_set *set; /* PEER_PODS, once the policy is in an engine */
};

struct policy_port {
    uint8_t protocol; /* 0 with a name: the port of that name, whatever its protocol */
    uint16_t from, to;
    struct string *name;  /* named port, resolved per destination pod; NULL: from..to */
    struct peer_set *set; /* pods that have it, where the peers are addresses */
};

struct model_rule {
    enum policy_verdict action;
    bool closed; /* not understood: as an allowance it matches nothing, else it denies everything */
    struct policy_peer *peers;
    size_t n_peers;
    bool any_peer;
    struct policy_port *ports;
    size_t n_ports;
    bool any_port;
};

struct policy {
    struct hash_node node; /* by kind, ns, name */
    struct list ns_link;   /* in its namespace's or the engine's list */
    enum engine_kind kind;
    enum policy_tier tier;
    long priority;
    struct namespace *ns; /* NULL for cluster policies; set by the engine */
    struct string *ns_name, *name, *uid;
    struct selector ns_sel, pod_sel; /* whom it is for; ns_sel for cluster policies only */
    bool affects[POLICY_DIRECTION_MAX];
    bool closed[POLICY_DIRECTION_MAX]; /* denies everything there */
    bool by_nodes;                     /* some peer is a set of nodes */
    struct model_rule *rules[POLICY_DIRECTION_MAX];
    size_t n_rules[POLICY_DIRECTION_MAX];
    char *problem, *path;
    struct list selected; /* local pods: struct selection.policy_link */
    size_t n_selected;
    bool orphan;      /* deleted while its namespace ends; in force until the pods are gone */
    uint32_t touched; /* generation of the last relist that saw it */
    uint64_t digest;  /* of the spec: an update that changes nothing touches nobody */
};

/* 0 and a policy (perhaps with a problem), or negative if it has no name to keep it under. */
int network_policy_decode(struct decoder *d, const json_t *object, struct policy **ret);
int cluster_policy_decode(struct decoder *d, const json_t *object, struct policy **ret);
void policy_free(struct strings *s, struct policy *p); /* accepts NULL */

/* -- for the two decoders --------------------------------------------------------------- */

struct policy *policy_new(struct decoder *d, const struct metadata *m, enum engine_kind kind);
/* Notes the decoder's error as the policy's problem (the first one stays). */
void policy_blame(struct policy *p, const struct decoder *d);
/* Grows a rule's list by one zeroed element; NULL if memory is short. */
struct policy_peer *rule_add_peer(struct model_rule *r);
struct policy_port *rule_add_port(struct model_rule *r);
int peer_add_cidr(struct decoder *d, struct policy_peer *p, const char *field, const char *text,
                  bool except);
/* Protocol of a port entry; TCP if absent. */
int decode_protocol(struct decoder *d, const json_t *o, uint8_t *ret);
/* A port's name as the API defines it: at most 15 of a-z, 0-9, '-', with a letter. */
bool port_name_ok(const char *s);
