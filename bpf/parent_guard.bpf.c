/*
 * The metadata guard on the parent of all pods' cgroups: pods of every runtime, before the agent
 * has seen them, and after others took the guard off their own cgroup. Whose socket it is is told
 * by its network namespace: those of the node's own pass, for node agents need their metadata
 * (sandboxed pods on the host's network have the guard on their own cgroup); in namespaces that
 * nobody knows the built-in exceptions hold.
 *
 * No raw sockets are refused here: what makes them is seen packet by packet.
 */
#include "bpf/lib/cgroup_guard.h"
#include "bpf/lib/skbuff.h"

char LICENSE[] SEC("license") = "GPL";

/* 0: the node's own network. */
INLINE int guarded_namespace(__u64 cookie, struct berm_cgroup *pod)
{
    struct berm_netns *ns = bpf_map_lookup_elem(&g_netns, &cookie);
    __u64 all_others = 0;

    if (!ns)
        ns = bpf_map_lookup_elem(&g_netns, &all_others);
    __builtin_memset(pod, 0, sizeof(*pod));
    pod->known = BERM_CGROUP_POD;
    pod->slot = ~0U;
    if (!ns)
        return 1;
    if (ns->host)
        return 0;
    pod->exceptions = ns->exceptions;
    pod->slot = ns->slot;
    pod->sandboxed = ns->sandboxed;
    pod->known = ns->silent ? BERM_CGROUP_SILENT : BERM_CGROUP_POD;
    return 1;
}

/* bpf_get_netns_cookie is not there for packets before Linux 6.15. */
INLINE int packet(struct __sk_buff *ctx, int direction)
{
    const struct sk_buff *skb = (const struct sk_buff *)ctx;
    __u64 cookie = BPF_CORE_READ(skb, sk, __sk_common.skc_net.net, net_cookie);
    struct berm_cgroup pod;

    return guarded_namespace(cookie, &pod) ? packet_verdict(ctx, direction, &pod) : CGROUP_ALLOW;
}

INLINE int address(struct bpf_sock_addr *ctx, int family)
{
    struct berm_cgroup pod;

    if (!guarded_namespace(bpf_get_netns_cookie(ctx), &pod))
        return CGROUP_ALLOW;
    return family == FAMILY_INET ? address4(ctx, &pod) : address6(ctx, &pod);
}

SEC("cgroup_skb/egress")
int pguard_egress(struct __sk_buff *skb)
{
    return packet(skb, BERM_EGRESS);
}

SEC("cgroup_skb/ingress")
int pguard_ingress(struct __sk_buff *skb)
{
    return packet(skb, BERM_INGRESS);
}

SEC("cgroup/connect4")
int pguard_connect4(struct bpf_sock_addr *ctx)
{
    return address(ctx, FAMILY_INET);
}

SEC("cgroup/connect6")
int pguard_connect6(struct bpf_sock_addr *ctx)
{
    return address(ctx, FAMILY_INET6);
}

SEC("cgroup/sendmsg4")
int pguard_sendmsg4(struct bpf_sock_addr *ctx)
{
    return address(ctx, FAMILY_INET);
}

SEC("cgroup/sendmsg6")
int pguard_sendmsg6(struct bpf_sock_addr *ctx)
{
    return address(ctx, FAMILY_INET6);
}
