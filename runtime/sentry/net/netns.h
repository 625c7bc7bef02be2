#pragma once
/*
 * Network namespaces as guests see them. The pod's own one stands for the host namespace that the
 * sentry lives in. One that a guest unshares is isolated: abstract unix names of its own, a
 * loopback interface that carries nothing, and no way to reach anything else.
 */
#include "common/hashmap.h"
#include "common/list.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"

#include <stdbool.h>
#include <stdint.h>

struct userns;

struct netns {
    struct ref ref;
    uint64_t ino;
    bool isolated;                  /* immutable */
    struct userns *userns;          /* owner, reference; NULL: the initial one; immutable */
    struct mutex lock;              /* guards the following */
    struct hashmap abstract;        /* struct unix_sock by abstract name */
    struct list sockets;            /* struct socket.link, for /proc/net */
    unsigned n_sockets;             /* of `sockets` */
    uint32_t autobind_next;         /* where the search for a free abstract name goes on */
    int unprivileged_port_start;    /* net.ipv4.ip_unprivileged_port_start; atomic */
    bool lo_up, lo_addr4, lo_addr6; /* isolated only: what RTM_NEWADDR and RTM_NEWLINK were told */
};

/* Fresh namespace, isolated unless it is to stand for the pod's. NULL: out of memory. */
struct netns *netns_new(bool isolated);
struct netns *netns_get(struct netns *ns);
void netns_put(struct netns *ns); /* accepts NULL */
