#pragma once
/*
 * Rules as the BPF maps want them: every overlap resolved, so that one longest-prefix match finds
 * the class of an address and a second one the verdict for class, protocol and port.
 *
 * Two addresses are in one class if the same rules' peer sets hold them. Class 0 is that of
 * addresses in no set (rules for any peer still apply). Keys' slots and epochs are left zero (the
 * direction is in `scope`); the agent fills them in.
 *
 * A direction with many blocks, of few lengths, has them found by a look-up for each length
 * (struct berm_host_key) in place of a longest match.
 *
 * Cost: memory for (distinct prefixes) x (rules / 8) bytes while compiling. Port ranges become at
 * most 30 prefixes each.
 */
#include "bpf/include/types.h"
#include "common/error.h"
#include "policy/rules.h"

#include <stdbool.h>

struct bpf_peer {
    struct berm_addr addr;
    __u32 class_id;
    __u8 prefix; /* of 128; 128 = an exact host */
    __u8 direction;
};
struct bpf_port {
    struct berm_port_key key;
    struct berm_verdict verdict;
};
enum bpf_family { BPF_V4, BPF_V6, BPF_FAMILIES };
struct bpf_tables {
    /* Of the direction's blocks, as in struct berm_class; all 0: found by longest match. */
    __u32 lengths[POLICY_DIRECTION_MAX][BPF_FAMILIES];
    struct bpf_peer *peers;
    size_t n_peers, cap_peers;
    struct bpf_port *ports;
    size_t n_ports, cap_ports;
};

/* Compiles both directions. -ENOMEM, -EINVAL (a rule set that contradicts itself), -E2BIG. */
int bpf_tables_build(const struct policy_rules *rules, struct bpf_tables *ret, struct error *err);
void bpf_tables_fini(struct bpf_tables *t);

/* Are the direction's blocks found by their lengths? */
static inline bool bpf_tables_by_length(const struct bpf_tables *t, unsigned direction)
{
    return t->lengths[direction][BPF_V4] || t->lengths[direction][BPF_V6];
}

/* What the maps' longest match would say; for tests and `explain`. */
const struct berm_verdict *bpf_tables_ask(const struct bpf_tables *t,
                                          enum policy_direction direction, const uint8_t peer[16],
                                          uint8_t protocol, bool portless, uint16_t port);
