#pragma once
/*
 * bpf(2) calls that libbpf 1.1.2 and Debian 12's headers don't know: tcx links with a place in the
 * chain, and the query that tells the chain. All return 0 (or a descriptor) or a negative errno.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYS_TCX_INGRESS = 46, SYS_TCX_EGRESS = 47, SYS_CHAIN_MAX = 64 };

/* A link for prog on the device. after_link_fd < 0: before all others; else right behind that. */
int sys_tcx_link(int prog_fd, int ifindex, int attach_type, int after_link_fd);

struct sys_chain {
    uint32_t n;
    uint32_t prog_ids[SYS_CHAIN_MAX], link_ids[SYS_CHAIN_MAX];
};
/* Who is on the device, first to last. -EINVAL: this kernel has no tcx. */
int sys_tcx_chain(int ifindex, int attach_type, struct sys_chain *ret);
bool sys_has_tcx(void);

struct sys_link_info {
    uint32_t id, prog_id;
    int ifindex; /* 0: the device is gone or the link was detached */
    uint32_t attach_type;
};
int sys_link_info(int link_fd, struct sys_link_info *ret);
struct sys_cgroup_link {
    uint32_t id, prog_id;
    uint64_t cgroup_id; /* 0: the cgroup is gone or the link was detached */
};
int sys_cgroup_open(uint64_t id); /* by its id; -ENOENT if it is gone */
int sys_cgroup_link(int link_fd, struct sys_cgroup_link *ret);
/* A program of type netfilter on one hook of this network namespace. One priority takes one
 * program: -EBUSY. */
enum { SYS_PROG_NETFILTER = 32, SYS_ATTACH_NETFILTER = 45 };
struct sys_netfilter {
    uint32_t family, hook;
    int32_t priority;
};
int sys_netfilter_link(int prog_fd, const struct sys_netfilter *at);
int sys_prog_id(int prog_fd, uint32_t *ret_id);
/* Runs a program for packets once, on an empty frame: for what it leaves in its variables. */
int sys_run(int prog_fd);

/* Makes sure that path lies on a bpf file system; mounts one at /sys/fs/bpf if it is to be there.
 */
int sys_bpffs(const char *path);
/* Pins fd at path, in place of what is there (rename, so that there is always one). */
int sys_pin_replace(int fd, const char *path);
