/*
 * The metadata guard on a pod's cgroup: what its sockets send and get, and at connect and sendmsg,
 * where EPERM tells the program at once. Beside the guard on the pod's device, never in its place:
 * frames of packet sockets are not seen here, and a pod without a device of its own not there.
 *
 * The pod is found by storage that the kernel keeps with the attachment. Allowed packets are not
 * counted here, for the device's guard counts them. Loopback stays inside the pod.
 */
#include "bpf/lib/forgery.h"
#include "bpf/lib/guard.h"

char LICENSE[] SEC("license") = "GPL";

enum { CGROUP_DENY, CGROUP_ALLOW, FAMILY_INET = 2, FAMILY_INET6 = 10, SOCKET_RAW = 3 };

struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
    __type(key, __u64);
    __type(value, struct berm_cgroup);
} g_cgroups SEC(".maps");

INLINE int is_off(const struct berm_cgroup *pod)
{
    __u32 zero = 0;
    struct berm_config *config = bpf_map_lookup_elem(&g_config, &zero);

    return config && (config->mode == BERM_MODE_NONE ||
                      (config->mode == BERM_MODE_SANDBOXED && pod->known && !pod->sandboxed));
}

INLINE int deny(const struct berm_cgroup *pod, const struct packet *p, int direction, int reason,
                __u32 row)
{
    struct denial denial = {.name = row,
                            .engine = BERM_ENGINE_GUARD,
                            .direction = (__u8)direction,
                            .reason = (__u8)reason};
    __u32 slot = pod->known ? pod->slot : ~0U;

    account_deny(&g_events, 0, p, slot, bpf_map_lookup_elem(&g_stats, &slot), &denial);
    return CGROUP_DENY;
}

INLINE int packet_verdict(struct __sk_buff *skb, int direction)
{
    const struct berm_cgroup *pod = bpf_get_local_storage(&g_cgroups, 0);
    struct packet p;
    __u32 row = ~0U;
    int r;

    if (is_off(pod))
        return CGROUP_ALLOW;
    r = packet_parse_ip(skb, &p);
    if (!r && (addr_is_loopback(&p.src) || addr_is_loopback(&p.dst)))
        return CGROUP_ALLOW;
    if (!r && !pod->known)
        r = BERM_REASON_UNKNOWN_POD;
    if (!r)
        r = direction == BERM_EGRESS ? guarded(&p, &p.dst, p.dport, pod->exceptions, &row)
                                     : guarded(&p, &p.src, p.sport, pod->exceptions, &row);
    return r ? deny(pod, &p, direction, r, row) : CGROUP_ALLOW;
}

SEC("cgroup_skb/egress")
int cguard_egress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_EGRESS);
}

SEC("cgroup_skb/ingress")
int cguard_ingress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_INGRESS);
}

/* A destination that a program names; p->dst and dport are set. */
INLINE int address_verdict(struct packet *p)
{
    const struct berm_cgroup *pod = bpf_get_local_storage(&g_cgroups, 0);
    __u32 row = ~0U;
    int r;

    if (is_off(pod) || addr_is_loopback(&p->dst))
        return CGROUP_ALLOW;
    r = pod->known ? guarded(p, &p->dst, p->dport, pod->exceptions, &row) : BERM_REASON_UNKNOWN_POD;
    return r ? deny(pod, p, BERM_EGRESS, r, row) : CGROUP_ALLOW;
}

INLINE int address4(struct bpf_sock_addr *ctx)
{
    struct packet p;

    __builtin_memset(&p, 0, sizeof(p));
    p.kind = PACKET_IP4;
    p.protocol = (__u8)ctx->protocol;
    p.dport = bpf_ntohs((__u16)ctx->user_port);
    addr_from_v4(&p.dst, ctx->user_ip4);
    return address_verdict(&p);
}

/* IPv4-mapped addresses are IPv4 here as everywhere. */
INLINE int address6(struct bpf_sock_addr *ctx)
{
    struct packet p;

    __builtin_memset(&p, 0, sizeof(p));
    p.kind = PACKET_IP6;
    p.protocol = (__u8)ctx->protocol;
    p.dport = bpf_ntohs((__u16)ctx->user_port);
    p.dst.w[0] = ctx->user_ip6[0];
    p.dst.w[1] = ctx->user_ip6[1];
    p.dst.w[2] = ctx->user_ip6[2];
    p.dst.w[3] = ctx->user_ip6[3];
    return address_verdict(&p);
}

SEC("cgroup/connect4")
int cguard_connect4(struct bpf_sock_addr *ctx)
{
    return address4(ctx);
}

SEC("cgroup/connect6")
int cguard_connect6(struct bpf_sock_addr *ctx)
{
    return address6(ctx);
}

SEC("cgroup/sendmsg4")
int cguard_sendmsg4(struct bpf_sock_addr *ctx)
{
    return address4(ctx);
}

SEC("cgroup/sendmsg6")
int cguard_sendmsg6(struct bpf_sock_addr *ctx)
{
    return address6(ctx);
}

/* Raw IP sockets write their own headers; packet sockets don't come by here. */
SEC("cgroup/sock_create")
int cguard_sock_create(struct bpf_sock *sock)
{
    const struct berm_cgroup *pod = bpf_get_local_storage(&g_cgroups, 0);
    struct packet p;

    if (is_off(pod) || sock->type != SOCKET_RAW || (pod->known && pod->net_raw))
        return CGROUP_ALLOW;
    if (sock->family != FAMILY_INET && sock->family != FAMILY_INET6)
        return CGROUP_ALLOW;
    __builtin_memset(&p, 0, sizeof(p));
    p.protocol = (__u8)sock->protocol;
    return deny(pod, &p, BERM_EGRESS, BERM_REASON_RAW_SOCKET, ~0U);
}
