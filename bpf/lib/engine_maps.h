#pragma once
/* The policy engine's maps, but for the rules' (bpf/lib/rules.h): the agent writes all of them, and
 * programs the flows, counters and events. */
#include "bpf/lib/bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct berm_config);
} p_config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, BERM_PODS_MAX);
    __type(key, __u32);
    __type(value, struct berm_control);
} p_control SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_NODES_MAX);
    __type(key, struct berm_addr);
    __type(value, __u32); /* 1 = this node */
} p_nodes SEC(".maps");

struct flow_table { /* sizes, not types: BTF forgets types that only an inner map names */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BERM_FLOW_SETS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct berm_flow_set));
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, BERM_PODS_MAX);
    __type(key, __u32);
    __array(values, struct flow_table);
} p_flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_PODS_MAX);
    __type(key, __u32);
    __type(value, struct berm_stats);
} p_stats SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, BERM_EVENT_BYTES);
} p_events SEC(".maps");

/* What the node translates: empty where no program looks behind the translation. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_FRONTENDS_MAX);
    __type(key, struct berm_frontend);
    __type(value, __u32);
} p_frontends SEC(".maps");

/* And into what, where that is few. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_FRONTENDS_MAX);
    __type(key, struct berm_frontend);
    __type(value, struct berm_backends);
} p_backends SEC(".maps");

/* Pods by their addresses, for programs that see no device of theirs. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_SOURCES_MAX);
    __type(key, struct berm_addr);
    __type(value, struct berm_source);
} p_sources SEC(".maps");
