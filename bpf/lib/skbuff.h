#pragma once
/*
 * The kernel's own view of a packet, of which only the fields in use are named. Read by CO-RE: in
 * place where the kernel lets a program (Linux 6.4), else by the helper, which costs as much as the
 * rest of a check.
 */
#include "bpf/lib/bpf.h"

#include <bpf/bpf_core_read.h>

enum { SKB_CHECKSUM_PARTIAL = 3 };
/* Came with the same kernel as all that is needed here. */
enum bpf_prog_type___6_4 { BPF_PROG_TYPE_NETFILTER___6_4 = 32 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct net {
    __u64 net_cookie;
};
typedef struct {
    struct net *net;
} possible_net_t;
struct sock_common {
    possible_net_t skc_net;
};
struct sock {
    struct sock_common __sk_common;
};
struct sk_buff {
    struct sock *sk;
    unsigned char *head, *data;
    unsigned long _nfct;
    __u16 transport_header, network_header;
    __u16 csum_start, csum_offset;
    __u8 ip_summed : 2;
};
struct udp_sock {
    __u8 encap_type;
};
#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __ksym __weak;

#define SKB_IN_PLACE                                                                               \
    bpf_core_enum_value_exists(enum bpf_prog_type___6_4, BPF_PROG_TYPE_NETFILTER___6_4)

/* Is a checksum still to be written by whoever sends the packet out? Then it is summed from
 * `start`, and written to `at`; both as offsets like the program's own. */
INLINE int skb_owes_checksum(struct __sk_buff *ctx, __u32 *ret_start, __u32 *ret_at)
{
    const struct sk_buff *skb = (const struct sk_buff *)ctx;
    unsigned long head, data;
    __u16 start, offset;

    if (SKB_IN_PLACE) {
        skb = bpf_cast_to_kern_ctx(ctx);
        if (BPF_CORE_READ_BITFIELD(skb, ip_summed) != SKB_CHECKSUM_PARTIAL)
            return 0;
        head = (unsigned long)skb->head;
        data = (unsigned long)skb->data;
        start = skb->csum_start;
        offset = skb->csum_offset;
    } else {
        if (BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed) != SKB_CHECKSUM_PARTIAL)
            return 0;
        head = (unsigned long)BPF_CORE_READ(skb, head);
        data = (unsigned long)BPF_CORE_READ(skb, data);
        start = BPF_CORE_READ(skb, csum_start);
        offset = BPF_CORE_READ(skb, csum_offset);
    }
    *ret_start = start - (__u32)(data - head);
    *ret_at = *ret_start + offset;
    return 1;
}
