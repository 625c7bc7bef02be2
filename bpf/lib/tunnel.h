#pragma once
/* Packets that would be unpacked at a node, and go on from there as others: for every plane. */
#include "bpf/lib/packet.h"

/* UDP ports of encapsulations that anybody may write, by the name of who unpacks them. */
INLINE int port_is_tunnel(__u16 port)
{
    switch (port) {
    case 1701: /* L2TP */
    case 2152: /* GTP-U */
    case 3544: /* Teredo */
    case 4754: /* GRE in UDP */
    case 4789: /* VXLAN, */
    case 4790: /* its generic form, */
    case 8472: /* and Linux's first port of it */
    case 6080: /* GUE */
    case 6081: /* Geneve */
    case 6635: /* MPLS in UDP */
        return 1;
    default:
        return 0;
    }
}

INLINE int packet_is_tunnel(const struct packet *p)
{
    switch (p->protocol) {
    case PROTO_IPIP:
    case PROTO_IPV6:
    case PROTO_GRE:
    case PROTO_ESP:
    case PROTO_AH:
    case PROTO_ETHERIP:
    case PROTO_L2TP:
    case PROTO_MPLS:
        return p->kind != PACKET_ARP;
    case PROTO_UDP: /* a later fragment might be one */
        return p->later || port_is_tunnel(p->dport);
    default:
        return 0;
    }
}

/* Multicast, and the broadcast address of no net: whoever listens on the link gets it. */
INLINE int addr_is_many(const struct berm_addr *a)
{
    if (addr_is_v4(a))
        return a->b[12] >= 224;
    return a->b[0] == 0xff;
}

/* `nodes` is the caller's set of nodes' addresses, with those that stand for a whole net. */
INLINE int packet_is_for_node(const struct packet *p, void *nodes)
{
    return addr_is_many(&p->dst) || bpf_map_lookup_elem(nodes, &p->dst);
}
