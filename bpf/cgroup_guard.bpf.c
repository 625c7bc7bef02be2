/*
 * The metadata guard on a pod's cgroup: what its sockets send and get, and at connect and sendmsg,
 * where EPERM tells the program at once. Beside the guard on the pod's device, never in its place:
 * frames of packet sockets are not seen here, and a pod without a device of its own not there.
 *
 * The pod is found by storage that the kernel keeps with the attachment. Allowed packets are not
 * counted here, for the device's guard counts them. Loopback stays inside the pod.
 */
#include "bpf/lib/cgroup_guard.h"

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
    __type(key, __u64);
    __type(value, struct berm_cgroup);
} g_cgroups SEC(".maps");

INLINE const struct berm_cgroup *own(void)
{
    return bpf_get_local_storage(&g_cgroups, 0);
}

SEC("cgroup_skb/egress")
int cguard_egress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_EGRESS, own());
}

SEC("cgroup_skb/ingress")
int cguard_ingress(struct __sk_buff *skb)
{
    return packet_verdict(skb, BERM_INGRESS, own());
}

SEC("cgroup/connect4")
int cguard_connect4(struct bpf_sock_addr *ctx)
{
    return address4(ctx, own());
}

SEC("cgroup/connect6")
int cguard_connect6(struct bpf_sock_addr *ctx)
{
    return address6(ctx, own());
}

SEC("cgroup/sendmsg4")
int cguard_sendmsg4(struct bpf_sock_addr *ctx)
{
    return address4(ctx, own());
}

SEC("cgroup/sendmsg6")
int cguard_sendmsg6(struct bpf_sock_addr *ctx)
{
    return address6(ctx, own());
}

/* Raw IP sockets write their own headers; packet sockets don't come by here. */
SEC("cgroup/sock_create")
int cguard_sock_create(struct bpf_sock *sock)
{
    const struct berm_cgroup *pod = own();
    struct packet p;

    if (is_off(pod) || sock->type != SOCKET_RAW || (pod->known && pod->net_raw))
        return CGROUP_ALLOW;
    if (sock->family != FAMILY_INET && sock->family != FAMILY_INET6)
        return CGROUP_ALLOW;
    __builtin_memset(&p, 0, sizeof(p));
    p.protocol = (__u8)sock->protocol;
    return deny(pod, &p, BERM_EGRESS, BERM_REASON_RAW_SOCKET, ~0U);
}
