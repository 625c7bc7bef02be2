#pragma once
/*
 * What the compiler hands to the backends: for one pod, in each direction, a list of rules in the
 * order in which they decide. Backend-neutral, no pointers into the model: a backend may keep it.
 *
 * Semantics: the first rule whose peer set and port set match decides. ALLOW and DENY are final;
 * PASS goes on with rule number `pass_to` (always larger than its own; n_rules means the fallback).
 * If none matches, `fallback` does. A backend that cannot do PASS must treat it as DENY. Replies to
 * connections that were allowed flow without being judged (the planes' business), and so do a
 * pod's packets to itself and its own node's packets to it.
 *
 * Peer sets: cidrs holds first all including entries, then all `except` entries; each part is
 * sorted by address, disjoint, and merged as far as it goes. An except entry lies inside an
 * including entry, and no including entry lies inside an except entry: so "any except wins" and
 * "the longest prefix wins" mean the same, and a set may go into an LPM trie as it is.
 * Port sets: sorted by protocol and `from`, disjoint, not adjacent. Only packets of a protocol with
 * ports (TCP, UDP, SCTP) can match an entry whose protocol is not 0; packets whose ports are
 * unknown (later fragments) match only any_port.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum policy_direction { POLICY_EGRESS, POLICY_INGRESS, POLICY_DIRECTION_MAX };
enum policy_verdict { POLICY_DENY, POLICY_ALLOW, POLICY_PASS /* rules only, never a fallback */ };
/* Which of the two engines and what in it said so; kept in events and `explain`. */
enum policy_origin {
    POLICY_ORIGIN_DEFAULT,       /* no policy selects the pod: allowed */
    POLICY_ORIGIN_NETWORKPOLICY, /* a rule of a NetworkPolicy, or the isolation that it causes */
    POLICY_ORIGIN_ADMIN,         /* ClusterNetworkPolicy, tier Admin */
    POLICY_ORIGIN_BASELINE,      /* ClusterNetworkPolicy, tier Baseline */
    POLICY_ORIGIN_INEXPRESSIBLE, /* a policy that can't be expressed: closed */
    POLICY_ORIGIN_UNKNOWN_POD,   /* armed, objects not yet known: closed */
};

#define POLICY_NO_NAME UINT32_MAX

/* 128-bit address, IPv4 as ::ffff:a.b.c.d, network order; prefix counts from the 128 bits. */
struct policy_cidr {
    uint8_t addr[16]; /* bits after the prefix are zero */
    uint8_t prefix;   /* 0..128; IPv4 entries have 96..128 */
    bool except;      /* carved out of the set */
};

struct policy_ports {
    uint8_t protocol;  /* IPPROTO_TCP, _UDP, _SCTP */
    uint16_t from, to; /* inclusive; 0..65535 = any */
};

struct policy_rule {
    enum policy_verdict verdict;
    enum policy_origin origin;
    uint32_t name;    /* index into names: "ns/policy egress[2]"; several rules may share it */
    uint32_t pass_to; /* for POLICY_PASS */
    bool any_peer;    /* every address; cidrs is empty then */
    bool any_port;    /* every protocol, with or without ports; ports is empty then */
    struct policy_cidr *cidrs;  /* pods and nodes are /128 entries; merged with their neighbours */
    size_t n_cidrs, n_includes; /* cidrs[n_includes] and on are the except entries */
    struct policy_ports *ports;
    size_t n_ports;
};

struct policy_rules {
    struct {
        struct policy_rule *rules;
        size_t n_rules;
        enum policy_verdict fallback;
        enum policy_origin fallback_origin;
        uint32_t fallback_name; /* "ns/policy ingress" of the isolating policy, or POLICY_NO_NAME */
        bool isolated;          /* some NetworkPolicy selects the pod in this direction */
    } dir[POLICY_DIRECTION_MAX];
    char **names;
    size_t n_names;
};

void policy_rules_free(struct policy_rules *r); /* accepts NULL */
