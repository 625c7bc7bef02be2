#pragma once
/* Judges one connection by compiled rules, without a kernel. Pure; the reference for backends. */
#include "policy/rules.h"

#define POLICY_PORT_UNKNOWN (-1) /* a later fragment, or a protocol without ports */

struct policy_decision {
    enum policy_verdict verdict; /* never POLICY_PASS */
    enum policy_origin origin;
    const char *name; /* of the rule or fallback; NULL where none applies; lives with the rules */
    long rule;        /* index in dir[].rules; -1: the fallback */
};

/* peer: 128-bit address of the other end (IPv4 as ::ffff:a.b.c.d); port: of the destination. */
struct policy_decision policy_eval(const struct policy_rules *rules, enum policy_direction dir,
                                   const uint8_t peer[16], int protocol, int port);
bool policy_cidr_contains(const struct policy_cidr *c, const uint8_t addr[16]);
