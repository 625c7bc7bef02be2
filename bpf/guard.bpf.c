/*
 * The metadata guard, on the host's end of a pod's device: no packet to or from a guarded address
 * passes, in any of its forms, whatever policies, connections or translations say. Stateless: every
 * packet is looked at. Reads nothing of the policy engine and shares no map with it.
 *
 * The table comes from policy/guard.def: addresses by way of the map g_rows (the agent fills it),
 * the embedded forms compiled in below.
 */
#include "bpf/lib/account.h"
#include "bpf/lib/forgery.h"

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BERM_IFACES_MAX);
    __type(key, __u32);
    __type(value, struct berm_iface);
} g_ifaces SEC(".maps");

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
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, BERM_NODES_MAX);
    __type(key, struct berm_addr);
    __type(value, __u32);
} g_nodes SEC(".maps");

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

static struct berm_guard_row *row_of(const struct berm_addr *addr)
{
    struct berm_lpm_key key = {.prefix = BERM_ROW_BITS + 128, .addr = *addr};

    return bpf_map_lookup_elem(&g_rows, &key);
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
INLINE int row_excepts(const struct berm_guard_row *row, const struct berm_iface *iface,
                       const struct packet *p, __u16 port)
{
    __u64 mask = row->exceptions & iface->exceptions;

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
                   const struct berm_iface *iface, __u32 *ret_row)
{
    struct berm_guard_row *row = row_of(far);
    int inner;

    if (row && row_covers(row, p, port)) {
        if (row_excepts(row, iface, p, port))
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

/* A solicitation asks for its target: that it is guarded must not even be asked. */
INLINE int guarded_target(struct __sk_buff *skb, const struct packet *p,
                          const struct berm_iface *iface, __u32 *ret_row)
{
    struct berm_addr target;

    if (p->kind != PACKET_IP6 || p->protocol != PROTO_ICMPV6 || p->icmp_type != ND_SOLICIT)
        return BERM_REASON_NONE;
    if (bpf_skb_load_bytes(skb, p->l4 + 8, &target, 16))
        return BERM_REASON_MALFORMED;
    if (iface_owns(iface, &target)) /* duplicate detection of its own */
        return BERM_REASON_NONE;
    return guarded(p, &target, 0, iface, ret_row);
}

INLINE int judge(struct __sk_buff *skb, struct packet *p, const struct berm_iface *iface,
                 int direction, __u32 *ret_row)
{
    int r = packet_parse(skb, p);

    if (r)
        return r;
    if (direction == BERM_INGRESS) {
        r = forged_to_pod(p);
        return r ? r : guarded(p, &p->src, p->sport, iface, ret_row);
    }
    /* The table first: a guarded address is the reason that people look for. */
    r = guarded(p, &p->dst, p->dport, iface, ret_row);
    if (r)
        return r;
    r = forged_from_pod(skb, p, iface, &g_nodes);
    return r ? r : guarded_target(skb, p, iface, ret_row);
}

INLINE int guard(struct __sk_buff *skb, int direction)
{
    struct denial denial = {.name = ~0U, .engine = BERM_ENGINE_GUARD};
    __u32 zero = 0, ifindex = skb->ifindex, slot = ~0U;
    struct berm_config *config;
    struct berm_iface *iface;
    struct berm_stats *stats;
    struct packet p;
    int r;

    config = bpf_map_lookup_elem(&g_config, &zero);
    iface = bpf_map_lookup_elem(&g_ifaces, &ifindex);
    if (iface)
        slot = iface->slot;
    stats = bpf_map_lookup_elem(&g_stats, &slot);
    if (config && (config->mode == BERM_MODE_NONE ||
                   (config->mode == BERM_MODE_SANDBOXED && iface && !iface->sandboxed))) {
        account_pass(skb, stats, direction);
        return VERDICT_NEXT;
    }
    if (iface) {
        r = judge(skb, &p, iface, direction, &denial.name);
    } else {
        __builtin_memset(&p, 0, sizeof(p));
        r = BERM_REASON_UNKNOWN_DEVICE;
    }
    if (r == BERM_REASON_NONE) {
        account_pass(skb, stats, direction);
        return VERDICT_NEXT;
    }
    denial.direction = (__u8)direction;
    denial.reason = (__u8)r;
    account_deny(&g_events, skb, &p, slot, stats, &denial);
    return VERDICT_DROP;
}

SEC("tc")
int guard_from_pod(struct __sk_buff *skb)
{
    return guard(skb, BERM_EGRESS);
}

SEC("tc")
int guard_to_pod(struct __sk_buff *skb)
{
    return guard(skb, BERM_INGRESS);
}
