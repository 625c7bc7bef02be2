#pragma once
/*
 * What devices there are, in the host's and in a pod's network namespace, and how their ends
 * belong together. Read by netlink; nothing is changed here.
 */
#include "bpf/include/types.h"
#include "common/error.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETDEV_ADDRS_MAX = 32, NETDEV_MAX = 64 };

enum netdev_xdp { NETDEV_XDP_DRIVER, NETDEV_XDP_GENERIC, NETDEV_XDP_HARDWARE, NETDEV_XDP_MAX };

struct netdev {
    int ifindex;
    int peer;   /* IFLA_LINK: the other end's index, in its namespace; 0 none */
    int master; /* bridge or the like that it is a port of; 0 none */
    int nsid;   /* this namespace's id of the other end's namespace; -1: the same or unknown */
    uint32_t xdp[NETDEV_XDP_MAX]; /* ids of programs on its XDP hooks; 0 none */
    bool has_nsid;
    bool loopback;
    uint8_t mac[6];
    char name[IF_NAMESIZE];
    char kind[16]; /* "veth"; "" for a physical device */
};

struct netdev_addr {
    int ifindex;
    struct berm_addr addr;
    int prefix;                 /* bits of its net, as the family counts them */
    struct berm_addr broadcast; /* IPv4: the one that is set; all zero if none is */
};

struct netdev_view {
    struct netdev devs[NETDEV_MAX];
    size_t n_devs;
    struct netdev_addr addrs[NETDEV_ADDRS_MAX];
    size_t n_addrs;
};

/* A route netlink socket in the namespace (netns_fd < 0: ours). The thread enters and leaves it.
 * Descriptor or negative errno. */
int netdev_socket(int netns_fd, struct error *err);
/* Devices and addresses of a pod's namespace. -E2BIG if there are more than fit. */
int netdev_read(int netns_fd, struct netdev_view *ret, struct error *err);
/* One device of our own namespace by index. -ENODEV if there is none. */
int netdev_host(int ifindex, struct netdev *ret, struct error *err);
/* Our id of that namespace, -1 if it has none. */
int netdev_nsid(int netns_fd, int *ret_nsid, struct error *err);
/* Is there a namespace that we know by this id? True if that can't be told. */
bool netdev_nsid_used(int nsid);
/* The namespace's cookie, never used again; netns_fd -1: our own. */
int netdev_cookie(int netns_fd, uint64_t *ret);
/* All addresses of our own namespace; fn's non-zero value ends it. One may be told twice if they
 * change meanwhile. */
int netdev_addresses(int (*fn)(void *ctx, const struct netdev_addr *addr), void *ctx,
                     struct error *err);

/* Notifications about devices and addresses of our namespace: non-blocking socket. */
int netdev_watch(struct error *err);
enum netdev_event_kind { NETDEV_NEW, NETDEV_GONE, NETDEV_ADDRESS, NETDEV_OVERRUN };
struct netdev_event {
    enum netdev_event_kind kind;
    struct netdev dev; /* NEW, GONE */
};
/* Reads what is there. 0 or -errno. */
int netdev_watch_read(int fd, void (*fn)(void *ctx, const struct netdev_event *event), void *ctx);

/* The link-local address that the kernel makes of a MAC. */
void netdev_link_local(const uint8_t mac[6], struct berm_addr *ret);
