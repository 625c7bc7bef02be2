#pragma once
/* Ways by which something on the path would turn a harmless packet into another one: the node
 * unpacks it, follows its route, or writes into it. Functions of struct attempt. */
#include "tests/bypass/bypass.h"

int detour_source_route(const struct bypass *b, const char *how);   /* a frame with LSRR */
int detour_routing_header(const struct bypass *b, const char *how); /* a frame with SRv6 */
int detour_segments(const struct bypass *b, const char *how);       /* a socket's SRv6 header */
/* "ipip", "gre", "6in4", or "vxlan PORT ADDRESS": a packet in a packet, by a packet socket. */
int detour_tunnel(const struct bypass *b, const char *kind);
/* The same VXLAN packet by a UDP socket; "PORT ADDRESS". */
int detour_vxlan_socket(const struct bypass *b, const char *to);
/* "vlan", "qinq", "mpls", "pppoe": a label before the IP header. */
int detour_label(const struct bypass *b, const char *kind);
/* A checksum that the node is to write is asked for in the destination address. */
int detour_checksum(const struct bypass *b, const char *how);
