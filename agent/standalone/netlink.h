#pragma once
/*
 * The few rtnetlink requests that pod networks need, by libmnl. A handle belongs to the namespace
 * it was opened in, wherever the caller goes afterwards. Making what exists already is success.
 */
#include "common/error.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct netlink {
    struct mnl_socket *sock;
    uint32_t seq;
};

struct ip_address {
    int family; /* AF_INET, AF_INET6 */
    uint8_t addr[16];
    uint8_t prefix;
};

/* ns_fd -1: the caller's own namespace. */
int netlink_open(struct netlink *nl, int ns_fd, struct error *err);
void netlink_close(struct netlink *nl);

/* Returns the index or -ENODEV. */
int link_index(struct netlink *nl, const char *name, struct error *err);
int link_add_bridge(struct netlink *nl, const char *name, const uint8_t mac[6], uint32_t mtu,
                    struct error *err);
struct veth_end {
    const char *name;
    uint8_t mac[6];
    int ns_fd; /* -1: the handle's */
};
int link_add_veth(struct netlink *nl, const struct veth_end *a, const struct veth_end *b,
                  uint32_t mtu, struct error *err);
int link_delete(struct netlink *nl, const char *name, struct error *err); /* absent is fine */
int link_set_up(struct netlink *nl, int index, struct error *err);
int link_set_master(struct netlink *nl, int index, int master, struct error *err);
int address_add(struct netlink *nl, int index, const struct ip_address *a, struct error *err);
/* dst NULL: default route; via NULL: on-link. */
int route_add(struct netlink *nl, const struct ip_address *dst, const struct ip_address *via,
              int index, struct error *err);
/* A permanent neighbour entry. */
int neighbour_add(struct netlink *nl, int index, const struct ip_address *a, const uint8_t mac[6],
                  struct error *err);
/* Calls fn for each device's name. */
int link_each(struct netlink *nl, void (*fn)(void *ctx, int index, const char *name), void *ctx,
              struct error *err);
