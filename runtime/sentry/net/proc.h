#pragma once
/*
 * Contents of /proc/net and of /sys/class/net. Of the pod's interfaces and routes as the host's
 * route netlink tells them; of sockets: those of this sandbox in that namespace.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct netns;

/* Names of the files of /proc/net, NULL behind the last one. */
extern const char *const net_proc_names[];
/* Appends the content of one of them as the current task's namespace (or the pod's) has it:
 * 0, -ENOENT, -ENOMEM. */
int net_proc_show_ns(struct netns *ns, const char *name, struct buf *out);

/* What /sys/class/net/NAME shows. */
struct net_interface {
    char name[16];
    int index, mtu, type, operstate; /* IF_OPER_* */
    unsigned flags, tx_queue_len;
    bool carrier;
    uint8_t address[32], address_size, broadcast[32];
    uint64_t stats[24]; /* struct rtnl_link_stats64 */
    unsigned n_stats;
};
/* All interfaces of ns in a fresh array (free it): 0, -ENOMEM, -EIO. */
int net_interfaces(struct netns *ns, struct net_interface **ret, size_t *ret_n);
struct netns *net_current_ns(void);
