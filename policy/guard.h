#pragma once
/*
 * The metadata guard's built-in table (guard.def) in evaluated form, and the pure function that
 * says what it means: the reference for the kernel planes, used by `bermctl policy test`.
 * Independent of the policy engine: nothing here reads a policy, no policy can change what it says.
 */
#include "policy/rules.h"

enum guard_action { GUARD_DENY, GUARD_ALLOW };

struct guard_row {
    enum guard_action action;
    const char *name;
    struct policy_cidr cidr; /* IPv4 as ::ffff:0:0/96 */
    uint8_t protocol;        /* 0: every one */
    uint16_t from, to;
    const char *cloud, *why;
};

struct guard_embed {
    const char *name;
    uint8_t offset, bits; /* signature: `bits` bits of sig, compared from byte `offset` on */
    uint8_t sig[12];
    uint8_t pos[4]; /* bytes of the address that are the IPv4 address */
    const char *why;
};

extern const struct guard_row guard_rows[];
extern const size_t guard_n_rows;
extern const struct guard_embed guard_embeds[];
extern const size_t guard_n_embeds;

struct guard_decision {
    enum guard_action action;
    const struct guard_row *row;     /* the row that decided; NULL: the address isn't guarded */
    const struct guard_embed *embed; /* set if it was reached through an embedded form */
};

/* protocol 0 or port -1: not known (fragments, protocols without ports); exceptions don't apply
 * then, denials limited to a port do. */
struct guard_decision guard_eval(const uint8_t addr[16], int protocol, int port);
