#pragma once
/* What every program here needs of the kernel's and libbpf's headers, and the two verdicts. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/include/types.h"

/*
 * The only two: TCX_NEXT (= TC_ACT_UNSPEC) leaves the programs behind us their say, TCX_DROP
 * (= TC_ACT_SHOT) is final. OK, PASS or REDIRECT would silence the other engine.
 */
enum { VERDICT_NEXT = -1, VERDICT_DROP = 2 };
enum { FAMILY_INET = 2, FAMILY_INET6 = 10 };

#define INLINE static inline __attribute__((always_inline))

enum {
    PROTO_HOPOPTS = 0,
    PROTO_ICMP = 1,
    PROTO_IPIP = 4,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_IPV6 = 41,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_GRE = 47,
    PROTO_ESP = 50,
    PROTO_AH = 51,
    PROTO_ICMPV6 = 58,
    PROTO_NONE = 59,
    PROTO_DSTOPTS = 60,
    PROTO_ETHERIP = 97,
    PROTO_L2TP = 115,
    PROTO_SCTP = 132,
    PROTO_MOBILITY = 135,
    PROTO_MPLS = 137,
    PROTO_HIP = 139,
    PROTO_SHIM6 = 140,
    PROTO_TEST1 = 253,
    PROTO_TEST2 = 254,
};

INLINE int addr_equal(const struct berm_addr *a, const struct berm_addr *b)
{
    return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

INLINE void addr_from_v4(struct berm_addr *a, __u32 v4)
{
    a->d[0] = 0;
    a->w[2] = bpf_htonl(0xffff);
    a->w[3] = v4;
}

INLINE int addr_is_v4(const struct berm_addr *a)
{
    return a->d[0] == 0 && a->w[2] == bpf_htonl(0xffff);
}
