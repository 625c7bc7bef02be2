#pragma once
/*
 * One pod's rules in one direction, from three maps: peer address -> class (exact hosts first, then
 * blocks), then class, protocol and port -> verdict. Everything that overlaps was
 * resolved by the agent: the longest match is the answer.
 */
#include "bpf/lib/packet.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_HOSTS_MAX);
    __type(key, struct berm_host_key);
    __type(value, struct berm_class);
} p_hosts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_CIDRS_MAX);
    __type(key, struct berm_cidr_key);
    __type(value, struct berm_class);
} p_cidrs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_PORTS_MAX);
    __type(key, struct berm_port_key);
    __type(value, struct berm_verdict);
} p_ports SEC(".maps");

struct question {
    struct berm_addr peer;
    __u32 scope, epoch;
    __u16 port;
    __u8 protocol, portless;
};

/* Clears what follows the first `bits` (at most 127). */
INLINE void addr_clear_host_bits(struct berm_addr *a, __u32 bits)
{
    if (bits >= 64) {
        a->d[1] &= bpf_cpu_to_be64(~(~0ULL >> (bits & 63)));
    } else {
        a->d[0] &= bpf_cpu_to_be64(~(~0ULL >> bits));
        a->d[1] = 0;
    }
}

/* The keys of one question, one after the other in the same place: stack is scarce here. */
union rules_key {
    struct berm_host_key host;
    struct berm_cidr_key cidr;
    struct berm_port_key port;
};

/* The longest block that holds the address, one look-up for each of those lengths. */
INLINE struct berm_class *block_class(const struct question *q, __u32 lengths, union rules_key *key)
{
    struct berm_class *class = 0;

    key->host.addr = q->peer;
#pragma unroll
    for (int i = 0; i < BERM_LENGTHS_MAX; i++) {
        __u32 length = lengths >> (8 * i) & 0xff;

        if (!length)
            break;
        key->host.scope = q->scope | length << BERM_SCOPE_BITS;
        addr_clear_host_bits(&key->host.addr, (length - 1) & 127);
        class = bpf_map_lookup_elem(&p_hosts, &key->host);
        if (class)
            break;
    }
    return class;
}

INLINE struct berm_class *longest_match(const struct question *q, union rules_key *key)
{
    key->cidr.prefix = BERM_CIDR_BITS + 128;
    key->cidr.scope = q->scope;
    key->cidr.epoch = q->epoch;
    key->cidr.zero = 0;
    key->cidr.addr = q->peer;
    return bpf_map_lookup_elem(&p_cidrs, &key->cidr);
}

INLINE __u32 rules_class(const struct question *q, union rules_key *key)
{
    struct berm_class *class, *lengths;

    key->host.scope = q->scope;
    key->host.epoch = q->epoch;
    key->host.addr = q->peer;
    class = bpf_map_lookup_elem(&p_hosts, &key->host);
    if (class)
        return class->id;
    key->host.scope = q->scope | BERM_LENGTHS << BERM_SCOPE_BITS;
    key->host.addr.d[0] = 0;
    key->host.addr.d[1] = addr_is_v4(&q->peer) ? bpf_cpu_to_be64(0xffffULL << 32) : 0;
    lengths = bpf_map_lookup_elem(&p_hosts, &key->host);
    class = lengths ? block_class(q, lengths->id, key) : longest_match(q, key);
    return class ? class->id : 0;
}

/* NULL if the epoch's rules are not complete: the caller denies. */
static __attribute__((noinline, unused)) struct berm_verdict *rules_ask(const struct question *q)
{
    union rules_key key;
    __u32 class_id = rules_class(q, &key);

    key.port.prefix = BERM_PORT_PREFIX_FULL;
    key.port.scope = q->scope;
    key.port.epoch = q->epoch;
    key.port.class_id = class_id;
    key.port.protocol = q->protocol;
    key.port.portless = q->portless;
    key.port.port[0] = q->portless ? 0 : (__u8)(q->port >> 8);
    key.port.port[1] = q->portless ? 0 : (__u8)q->port;
    return bpf_map_lookup_elem(&p_ports, &key.port);
}
