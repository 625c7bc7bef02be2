#pragma once
/*
 * One pod's rules in one direction, from three maps: peer address -> class (exact hosts first,
 * then longest prefix), then class, protocol and port -> verdict. Everything that overlaps was
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

INLINE __u32 rules_class(const struct question *q)
{
    struct berm_host_key host = {.scope = q->scope, .epoch = q->epoch, .addr = q->peer};
    struct berm_cidr_key cidr = {
        .prefix = BERM_CIDR_BITS + 128, .scope = q->scope, .epoch = q->epoch, .addr = q->peer};
    struct berm_class *class = bpf_map_lookup_elem(&p_hosts, &host);

    if (!class)
        class = bpf_map_lookup_elem(&p_cidrs, &cidr);
    return class ? class->id : 0;
}

/* NULL if the epoch's rules are not complete: the caller denies. */
static __attribute__((noinline, unused)) struct berm_verdict *rules_ask(const struct question *q)
{
    struct berm_port_key key = {
        .prefix = BERM_PORT_PREFIX_FULL,
        .scope = q->scope,
        .epoch = q->epoch,
        .class_id = rules_class(q),
        .protocol = q->protocol,
        .portless = q->portless,
        .port = {(__u8)(q->port >> 8), (__u8)q->port},
    };

    if (q->portless)
        key.port[0] = key.port[1] = 0;
    return bpf_map_lookup_elem(&p_ports, &key);
}
