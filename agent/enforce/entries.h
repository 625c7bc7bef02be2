#pragma once
/* A pod's rules as a list of map entries: what is written, compared, and looked for. */
#include "agent/enforce/internal.h"
#include "bpf/include/audit.h"

/* Of a scope in p_hosts: slot and direction, without the length of a block. */
enum { ENTRY_SCOPE_MASK = (1 << BERM_SCOPE_BITS) - 1 };

/* The map that an entry is in, and its value's size. */
struct entry_map {
    enum enforce_map map;
    size_t key_size, value_size;
};
enum { ENTRY_MAPS = 3 };
extern const struct entry_map entry_maps[ENTRY_MAPS]; /* by enum berm_check_map */

size_t entries_count(const struct bpf_tables *t);
/* The i-th one, for that slot and epoch. */
void entries_get(const struct bpf_tables *t, size_t i, uint32_t slot, uint32_t epoch,
                 struct berm_check *ret);
/* Is that key (its slot and epoch aside) one of them? */
bool entries_hold(const struct bpf_tables *t, enum enforce_map map, const void *key);
/* Takes over what a host key says beside exact addresses; false: it is a peer with *ret_prefix. */
bool entries_adopt_lengths(struct bpf_tables *t, const struct berm_host_key *key,
                           const struct berm_class *class, uint8_t *ret_prefix);
