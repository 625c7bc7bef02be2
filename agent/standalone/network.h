#pragma once
/*
 * The pods' network: one bridge in the agent's namespace, one veth pair a pod, addresses of both
 * families computed from one number per pod (so that only the number is remembered).
 */
#include "agent/standalone/netlink.h"

#include <stdbool.h>

struct config;

struct pod_network {
    struct netlink nl;
    const char *bridge;
    int bridge_index;
    uint8_t bridge_mac[6];
    struct ip_address net4, net6; /* prefix; host bits zero */
    uint32_t mtu;
    uint32_t next; /* where the search for a free number begins: numbers are not reused at once */
    uint32_t limit;
    uint8_t *used; /* one byte a number */
};

struct pod_address {
    struct ip_address v4, v6;
    char text4[16], text6[46];
    uint8_t mac[6], host_mac[6];
};

/* Parses "10.88.0.0/24"; an address without prefix counts as one host. */
int ip_address_parse(const char *text, struct ip_address *ret, struct error *err);
/* a as 16 bytes, IPv4 mapped. */
void ip_address_mapped(const struct ip_address *a, uint8_t ret[16]);

/* Makes the bridge with its addresses (number 1), or takes over the one that is there. */
int network_init(struct pod_network *n, const struct config *config, struct error *err);
void network_fini(struct pod_network *n); /* leaves the bridge */

int network_allocate(struct pod_network *n, uint32_t *ret_number, struct error *err);
int network_claim(struct pod_network *n, uint32_t number); /* -EADDRINUSE, -ERANGE */
void network_release(struct pod_network *n, uint32_t number);
void network_address(const struct pod_network *n, uint32_t number, struct pod_address *ret);

/* Makes namespace and veth pair with addresses and routes inside. The host end stays down, and off
 * the bridge: nothing flows before network_connect. On failure nothing is left. */
int network_attach(struct pod_network *n, const char *netns_path, const char *ifname,
                   const struct pod_address *a, int *ret_ifindex, struct error *err);
int network_connect(struct pod_network *n, int ifindex, struct error *err);
/* Whether an adopted pod's namespace and device are there; returns the device's index. */
int network_check(struct pod_network *n, const char *netns_path, const char *ifname,
                  struct error *err);
void network_detach(struct pod_network *n, const char *netns_path, const char *ifname);
