#pragma once
/*
 * A node that unpacks what a pod sends to it: for kernels without the devices that would. What has
 * come past the programs on the pod's device is taken from a socket, and the inner packet goes to a
 * tun device, from where the node forwards it as from any tunnel.
 */
#include <stdbool.h>

enum unpack_kind {
    UNPACK_NOTHING,
    UNPACK_VLAN,
    UNPACK_MPLS,
    UNPACK_PPPOE,
    UNPACK_IPIP,
    UNPACK_GRE,
    UNPACK_6IN4,
    UNPACK_KINDS
};

struct unpack {
    enum unpack_kind kind;
    int socket, tun;
};

/* Of "unpack vlan|mpls|pppoe|ipip|gre|6in4"; of anything else, nothing. */
enum unpack_kind unpack_named(const char *text);
/* false: this kernel can't (no tun). `ifindex`: the node's end of the pod's device. */
bool unpack_open(struct unpack *u, enum unpack_kind kind, int ifindex);
/* Forwards everything that has come so far; number of packets. */
unsigned unpack_drain(const struct unpack *u);
void unpack_close(struct unpack *u);
