#pragma once
/*
 * What the compiler hands to the backends: for one pod, in each direction, a list of rules in the
 * order in which they decide. Backend-neutral, no pointers into the model: a backend may keep it.
 *
 * Semantics: the first rule whose peer set and port set match decides. If none matches, `fallback`
 * does. Replies to connections that were allowed flow without being judged (the planes' business).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum policy_direction { POLICY_EGRESS, POLICY_INGRESS, POLICY_DIRECTION_MAX };
enum policy_verdict { POLICY_DENY, POLICY_ALLOW };
/* Which of the two engines and what in it said so; kept in events and `explain`. */
enum policy_origin {
    POLICY_ORIGIN_DEFAULT,       /* no policy selects the pod: allowed */
    POLICY_ORIGIN_NETWORKPOLICY, /* a rule of a NetworkPolicy, or the isolation that it causes */
    POLICY_ORIGIN_ADMIN,         /* ClusterNetworkPolicy, tier Admin */
    POLICY_ORIGIN_BASELINE,      /* ClusterNetworkPolicy, tier Baseline */
    POLICY_ORIGIN_INEXPRESSIBLE, /* a policy that can't be expressed: closed */
    POLICY_ORIGIN_UNKNOWN_POD,   /* armed, objects not yet known: closed */
};

/* 128-bit address, IPv4 as ::ffff:a.b.c.d, network order; prefix counts from the 128 bits. */
struct policy_cidr {
    uint8_t addr[16];
    uint8_t prefix;
    bool except; /* carved out of the set: wins over the other entries of the same set that hold it
                  */
};

struct policy_ports {
    uint8_t protocol;  /* IPPROTO_TCP, _UDP, _SCTP; 0 = every protocol, with or without ports */
    uint16_t from, to; /* inclusive; 0..65535 = any */
};

struct policy_rule {
    enum policy_verdict verdict;
    enum policy_origin origin;
    uint32_t name;             /* index into names: "ns/policy egress[2]" */
    bool any_peer;             /* every address; cidrs is empty then */
    bool any_port;             /* ports is empty then */
    struct policy_cidr *cidrs; /* pods and nodes are /128 entries */
    size_t n_cidrs;
    struct policy_ports *ports;
    size_t n_ports;
};

struct policy_rules {
    struct {
        struct policy_rule *rules;
        size_t n_rules;
        enum policy_verdict fallback;
        enum policy_origin fallback_origin;
        uint32_t fallback_name;
        bool isolated; /* some NetworkPolicy selects the pod in this direction */
    } dir[POLICY_DIRECTION_MAX];
    char **names;
    size_t n_names;
};

void policy_rules_free(struct policy_rules *r); /* accepts NULL */
