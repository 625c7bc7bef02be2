#pragma once
/*
 * The guard's table and what it says about one address, for every plane: addresses by way of the
 * map g_rows (the agent fills it from policy/guard.def), the embedded forms compiled in.
 */
#include "bpf/lib/account.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct berm_config);
} g_config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_GUARD_MAX);
    __type(key, struct berm_lpm_key);
    __type(value, struct berm_guard_row);
} g_rows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BERM_EXCEPTIONS_MAX);
    __type(key, __u32);
    __type(value, struct berm_exception);
} g_exceptions SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_PODS_MAX);
    __type(key, __u32);
    __type(value, struct berm_stats);
} g_stats SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, BERM_EVENT_BYTES);
} g_events SEC(".maps");

/* Pods by their addresses and by their network namespaces, for programs that see no device of
 * theirs. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_SOURCES_MAX);
    __type(key, struct berm_addr);
    __type(value, struct berm_guard_source);
} g_sources SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_NETNS_MAX);
    __type(key, __u64);
    __type(value, struct berm_netns);
} g_netns SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_NODES_MAX);
    __type(key, struct berm_addr);
    __type(value, __u32);
} g_nodes SEC(".maps");

/* Nearly every address is told apart from the table's by its first two bytes, which are compiled
 * in: that costs less than a walk through the trie by far. */
INLINE int row_unlikely(const struct berm_addr *a)
{
    if (addr_is_v4(a)) {
#define GUARD_V4(action, name, a0, a1, a2, a3, prefix, ...)                                        \
    _Static_assert((prefix) >= 16, "two bytes");                                                   \
    if (a->h[6] == bpf_htons((a0) << 8 | (a1)))                                                    \
        return 0;
#include "policy/guard.def"
        return 1;
    }
#define GUARD_V6(action, name, g0, g1, g2, g3, g4, g5, g6, g7, prefix, ...)                        \
    _Static_assert((prefix) >= 16, "two bytes");                                                   \
    if (a->h[0] == bpf_htons(g0))                                                                  \
        return 0;
#include "policy/guard.def"
    return 1;
}

static struct berm_guard_row *row_of(const struct berm_addr *addr)
{
    struct berm_lpm_key key = {.prefix = BERM_ROW_BITS + 128, .addr = *addr};

    return row_unlikely(addr) ? 0 : bpf_map_lookup_elem(&g_rows, &key);
}

/* Does the row speak of this protocol and port? Unknown ports count as guarded. */
INLINE int row_covers(const struct berm_guard_row *row, const struct packet *p, __u16 port)
{
    if (!row->protocol || !p->protocol || p->kind == PACKET_ARP)
        return 1;
    if (row->protocol != p->protocol)
        return 0;
    return p->portless || (port >= row->from && port <= row->to);
}

/* One of the exceptions that speak of this row and hold for this pod. */
INLINE int row_excepts(const struct berm_guard_row *row, __u64 exceptions, const struct packet *p,
                       __u16 port)
{
    __u64 mask = row->exceptions & exceptions;

    if (!mask || p->portless)
        return 0;
    for (__u32 i = 0; i < BERM_EXCEPTIONS_MAX; i++) {
        struct berm_exception *x;

        if (!(mask >> i))
            break;
        if (!(mask >> i & 1))
            continue;
        x = bpf_map_lookup_elem(&g_exceptions, &i);
        if (x && x->protocol == p->protocol && port >= x->from && port <= x->to)
            return 1;
    }
    return 0;
}

/* Any row for the IPv4 address in these bytes, of whatever port. */
static __attribute__((noinline)) int embedded_row(__u32 v4)
{
    struct berm_addr addr;
    struct berm_guard_row *row;

    addr_from_v4(&addr, v4);
    row = row_of(&addr);
    return row ? (int)row->row : -1;
}

/* Row of a guarded IPv4 address inside an IPv6 one, or -1. */
INLINE int embedded(const struct berm_addr *a)
{
    int row;

#define GUARD_EMBED(name, offset, bits, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, p0, p1,  \
                    p2, p3, why)                                                                   \
    {                                                                                              \
        const __u8 sig[12] = {b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11};                   \
        _Static_assert((bits) % 8 == 0 && (offset) + (bits) / 8 <= 16, "whole bytes");             \
        int same = 1;                                                                              \
        _Pragma("unroll") for (int i = 0; i < (bits) / 8; i++) if (a->b[(offset) + i] != sig[i])   \
            same = 0;                                                                              \
        if (same) {                                                                                \
            row = embedded_row((__u32)a->b[p0] | (__u32)a->b[p1] << 8 | (__u32)a->b[p2] << 16 |    \
                               (__u32)a->b[p3] << 24);                                             \
            if (row >= 0)                                                                          \
                return row;                                                                        \
        }                                                                                          \
    }
#include "policy/guard.def"
    return -1;
}

/* The far side of the packet against the table. */
INLINE int guarded(const struct packet *p, const struct berm_addr *far, __u16 port,
                   __u64 exceptions, __u32 *ret_row)
{
    struct berm_guard_row *row = row_of(far);
    int inner;

    if (row && row_covers(row, p, port)) {
        if (row_excepts(row, exceptions, p, port))
            return BERM_REASON_NONE;
        *ret_row = row->row;
        return BERM_REASON_GUARDED;
    }
    if (addr_is_v4(far))
        return BERM_REASON_NONE;
    inner = embedded(far);
    if (inner < 0)
        return BERM_REASON_NONE;
    *ret_row = (__u32)inner;
    return BERM_REASON_GUARDED_EMBEDDED;
}
