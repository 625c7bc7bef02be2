#pragma once
/*
 * What connection tracking knows of a packet: who opened the connection, by which addresses before
 * any translation and by which after it. Read by CO-RE out of the kernel's own structures, of which
 * only the fields in use are named here.
 */
#include "bpf/lib/skbuff.h"

enum {
    CT_RELATED = 1,
    CT_IS_REPLY = 3, /* from here on it is no packet of the opener */
    CT_POINTER_MASK = 7,
    CT_FAMILY_IP4 = 2,
    CT_FAMILY_IP6 = 10,
};

/* Copied out as a whole: its layout has not changed since there are tuples. */
struct nf_conntrack_tuple {
    struct {
        __u32 u3[4];
        __u16 u;
        __u16 l3num;
    } src;
    struct {
        __u32 u3[4];
        __u16 u;
        __u8 protonum;
        __u8 dir;
    } dst;
};
_Static_assert(sizeof(struct nf_conntrack_tuple) == 40, "tuple");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct nf_conntrack_tuple_hash {
    struct nf_conntrack_tuple tuple;
};
struct nf_conn {
    struct nf_conntrack_tuple_hash tuplehash[2];
};
#pragma clang attribute pop

/* Seen from who opened it. `target` is the destination before translation, `end` after it. */
struct connection {
    struct berm_addr source, target, end;
    __u16 source_port, target_port, end_port;
    __u8 protocol;
    __u8 info; /* enum ip_conntrack_info */
};

INLINE void connection_address(struct berm_addr *a, const __u32 *all, __u16 family)
{
    if (family == CT_FAMILY_IP4)
        addr_from_v4(a, all[0]);
    else
        __builtin_memcpy(a, all, 16);
}

/* 1 and the connection, or 0: the packet belongs to none. */
INLINE int connection_of(const struct sk_buff *skb, struct connection *ret)
{
    struct nf_conntrack_tuple there, back;
    unsigned long word = 0;
    const struct nf_conn *ct;

    if (bpf_core_read(&word, sizeof(word), &skb->_nfct))
        return 0;
    ct = (const struct nf_conn *)(word & ~(unsigned long)CT_POINTER_MASK);
    if (!ct || bpf_core_read(&there, sizeof(there), &ct->tuplehash[0].tuple) ||
        bpf_core_read(&back, sizeof(back), &ct->tuplehash[1].tuple))
        return 0;
    if (there.src.l3num != CT_FAMILY_IP4 && there.src.l3num != CT_FAMILY_IP6)
        return 0;
    connection_address(&ret->source, there.src.u3, there.src.l3num);
    connection_address(&ret->target, there.dst.u3, there.src.l3num);
    connection_address(&ret->end, back.src.u3, there.src.l3num);
    ret->source_port = bpf_ntohs(there.src.u);
    ret->target_port = bpf_ntohs(there.dst.u);
    ret->end_port = bpf_ntohs(back.src.u);
    ret->protocol = there.dst.protonum;
    ret->info = word & CT_POINTER_MASK;
    return 1;
}
