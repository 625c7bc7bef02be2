#pragma once
/*
 * What the agent knows of enforcement: pods by UID, rules from the compiler, two switches, what was
 * denied, and what others did to our hooks. Everything in force is pinned under the bpf file
 * system; closing this handle, or dying, takes nothing back.
 *
 * Not thread-safe: one thread (the agent's loop) uses a handle. Calls return 0 or a negative errno
 * with the reason in `err`; where a positive value can be returned it is said so.
 */
#include "agent/enforce/exceptions.h"
#include "bpf/include/types.h"
#include "common/error.h"
#include "policy/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct enforce;

#define ENFORCE_PIN_DIR "/sys/fs/bpf/berm"

/* One denied packet (a sample: at most BERM_EVENT_RATE a second, pod and CPU). */
struct enforce_deny {
    const char *uid; /* NULL if the pod is gone */
    bool audit; /* nothing was denied: it would have been, or (reason none) passed by no rule */
    enum berm_engine engine;
    enum berm_direction direction;
    enum berm_reason reason;
    uint64_t time_ns;   /* CLOCK_MONOTONIC */
    uint8_t local[16];  /* the pod's address as the packet has it; IPv4 as ::ffff:a.b.c.d */
    uint8_t remote[16]; /* the peer's; all zero if the frame has none */
    uint8_t protocol;   /* IPPROTO_*, 0 if the frame is not IP */
    uint16_t local_port, remote_port; /* 0 where there is none */
    const char *what; /* policy: the rule's name; guard: the guarded endpoint's; "" where neither */
};

/* What somebody else did to what is in force, and what was done about it. */
enum enforce_incident_kind {
    ENFORCE_LINK_LOST,   /* link detached or gone: attached again */
    ENFORCE_PIN_LOST,    /* pin removed: pinned again */
    ENFORCE_NOT_FIRST,   /* a foreign program ran before ours: ours put first again */
    ENFORCE_XDP_FOREIGN, /* a foreign XDP program was on a device, before all of ours: taken off */
    ENFORCE_MAP_CHANGED, /* a value was not as written: overwritten */
    ENFORCE_QDISC_LOST,  /* clsact removed: installed again */
    ENFORCE_DEVICE_NEW,  /* another device of an armed pod appeared: attached */
    ENFORCE_CGROUP_NEW,  /* a pod's cgroup was removed and made again: attached */
    ENFORCE_TABLE_CHANGED, /* the table of nftables was deleted or edited: put back */
    ENFORCE_REPAIR_FAILED, /* `detail` says why; tried again at every sweep */
    ENFORCE_INCIDENT_MAX,
};
struct enforce_incident {
    enum enforce_incident_kind kind;
    const char *uid;    /* NULL: not about one pod */
    const char *device; /* NULL: not about one device */
    const char *detail; /* one line for a person */
};
const char *enforce_incident_name(enum enforce_incident_kind kind); /* for metrics: "link-lost" */

struct enforce_config {
    const char *pin_dir; /* NULL: ENFORCE_PIN_DIR. A bpf file system is mounted if none is there. */
    bool force_clsact;   /* as if the kernel had no tcx; for tests */
    bool no_nft;         /* as if it had no nftables; for tests */
    bool no_translated;  /* as if it had no BPF programs in netfilter; for tests */
    /* To begin with; NULL: none. Pods keep those that an earlier process gave them if it is the
     * same list. */
    const struct enforce_exceptions *exceptions;
    /* 0 = the default of bpf/include/types.h; only used when the maps are created. */
    uint32_t max_cidrs, max_hosts, max_ports;
    /* Called from enforce_dispatch and enforce_sweep only; may be NULL; must not call back. */
    void (*on_deny)(void *ctx, const struct enforce_deny *deny);
    void (*on_incident)(void *ctx, const struct enforce_incident *incident);
    void *ctx;
};

/*
 * Loads the programs, or adopts what an earlier process left (maps are used again, links get the
 * new programs in place: no packet passes unseen). Pods, their state and both switches are as they
 * were; a first start has no pods, guard all, policy all. -EALREADY if another process holds it.
 */
int enforce_open(const struct enforce_config *config, struct enforce **ret, struct error *err);
/* Frees the handle. What is in force stays in force. NULL is accepted. */
void enforce_close(struct enforce *e);
/* Takes everything back: links, programs, maps, pins. For uninstalling and tests. */
int enforce_uninstall(const char *pin_dir, struct error *err);

struct enforce_pod {
    const char *uid; /* at most BERM_UID_MAX - 1 bytes, [A-Za-z0-9._-] */
    int netns_fd;    /* the pod's network namespace; not kept */
    bool sandboxed;
    bool host_network; /* netns_fd is the node's own: no devices, no policy; the guard comes with
                        * the cgroup (enforce_arm_cgroup) */
    bool audit;        /* policy denials are counted and reported, not enforced */
    /* Addresses that the pod may use as its own; IPv4 as ::ffff:a.b.c.d. The link-local address of
     * each device is added. None (n_addrs 0): those that the devices in the namespace have now. */
    const uint8_t (*addrs)[16];
    size_t n_addrs;
    uint8_t mac[6];      /* all zero: as the device in the namespace has it */
    uint64_t exceptions; /* bits of enforce_exceptions; ENFORCE_EXCEPTIONS_DEFAULT */
};
#define ENFORCE_EXCEPTIONS_DEFAULT UINT64_C(0) /* none but the built-in, which every pod has */
/* Replaces the configured exceptions. No pod has any of them until it is armed again with their
 * bits; the built-in ones are always on. */
int enforce_set_exceptions(struct enforce *e, const struct enforce_exceptions *list,
                           struct error *err);
uint64_t enforce_exception_bit(size_t i); /* of entry i of that list */

/*
 * Puts guard and policy on the host's end of every device of that namespace (both directions), and
 * returns when they are in force. A new pod starts unknown: all its traffic but ARP and neighbour
 * discovery is denied until enforce_set_rules. Calling it again for the same pod updates addresses
 * and flags in place and takes in new devices; its rules stay. A namespace with only a loopback
 * device is fine. -EOPNOTSUPP if a device has no end on this host that a program can be put on
 * (macvlan, ipvlan, a physical device): the pod is then not armed and `err` names the device.
 */
int enforce_arm(struct enforce *e, const struct enforce_pod *pod, struct error *err);
/*
 * Puts guard and policy on the pod's cgroup (v2) as well: connections and datagrams that either
 * denies fail with EPERM at once, raw sockets are refused without net_raw. After enforce_arm; again
 * with the same cgroup: updates. Taken back by enforce_remove, or when the cgroup is removed.
 */
int enforce_arm_cgroup(struct enforce *e, const char *uid, int cgroup_fd, bool net_raw,
                       struct error *err);
/*
 * Puts the guard on the parent of all pods' cgroups: for pods of every runtime, armed or not.
 * Sockets of the node's own network namespace pass. Idempotent; a restarted agent asks again.
 * enforce_totals.parent is false again once that cgroup was removed.
 */
int enforce_guard_parent(struct enforce *e, int cgroup_fd, struct error *err);
/* Opens a cgroup v2 directory that is there; -ENOENT if it isn't. */
int enforce_cgroup_find(const char *path, struct error *err);
/* Opens the cgroup v2 directory of that path ("/berm/pod1"), made if it is not there; -ENOTSUP
 * where no cgroup v2 is mounted for writing. */
int enforce_cgroup_open(const char *path, struct error *err);
/* Detaches, frees the slot and the maps' entries. 0 also if it is not known. The device should be
 * gone or going: what its namespace still sends is no longer filtered. */
int enforce_remove(struct enforce *e, const char *uid, struct error *err);

/*
 * Replaces the pod's rules in both directions at once. If they do not fit the maps the pod is
 * closed (all denied, reason policy-closed) and -E2BIG returned. `rules` is not kept. A pod
 * that no policy selects gets rules whose fallbacks are POLICY_ALLOW. -ENOENT: not armed.
 */
int enforce_set_rules(struct enforce *e, const char *uid, const struct policy_rules *rules,
                      struct error *err);
int enforce_set_unknown(struct enforce *e, const char *uid, struct error *err); /* deny all */

/* Only watch the pod's policy, or enforce it again. -ENOENT: not armed. */
int enforce_set_audit(struct enforce *e, const char *uid, bool audit, struct error *err);
/* The exceptions to the guard that one pod has, from now on. -ENOENT: not armed. */
int enforce_pod_exceptions(struct enforce *e, const char *uid, uint64_t exceptions,
                           struct error *err);
/* Does one of the configured exceptions of that pod hold for this destination? */
bool enforce_pod_excepts(const struct enforce *e, const char *uid, const uint8_t addr[16],
                         int protocol, int port);

/* The two switches: one word each, overwritten in place. */
int enforce_guard_set(struct enforce *e, enum berm_mode mode, struct error *err);
int enforce_policy_set(struct enforce *e, enum berm_mode mode, struct error *err);
enum berm_mode enforce_guard_get(const struct enforce *e);
enum berm_mode enforce_policy_get(const struct enforce *e);

/* Addresses of other nodes, where tunnels from pods may not end (this node's own are found here).
 * Replaces the list. */
int enforce_set_nodes(struct enforce *e, const uint8_t (*addrs)[16], size_t n, struct error *err);

/*
 * What the node translates (Services): egress to these is judged by the backend, behind the
 * translation. Replaces the list; until the first call it is as an earlier process left it. Where
 * the kernel has no hook for that (enforce_totals.translated), nothing is deferred: such a
 * destination is judged by its own address, and so denied unless a block of addresses allows it.
 */
struct enforce_backend {
    uint8_t addr[16];
    uint16_t port;
};
struct enforce_frontend {
    uint8_t addr[16]; /* all zero: any address of this node */
    uint8_t protocol; /* IPPROTO_TCP, UDP or SCTP */
    uint16_t port;
    /* What it may become; not known, or too many: 0. A connection none of whose backends is allowed
     * fails at once. */
    const struct enforce_backend *backends;
    size_t n_backends;
};
int enforce_set_frontends(struct enforce *e, const struct enforce_frontend *list, size_t n,
                          struct error *err);

/* Everything that there is to read becomes readable on one descriptor; then call dispatch. */
int enforce_poll_fd(const struct enforce *e);
int enforce_dispatch(struct enforce *e, struct error *err);
/* Looks for what others did and repairs it; every 100 to 250 ms. Number of repairs, or -errno. */
int enforce_sweep(struct enforce *e, struct error *err);

struct enforce_engine_stats {
    uint64_t packets[BERM_DIRECTION_MAX],
        bytes[BERM_DIRECTION_MAX]; /* let through by this engine */
    uint64_t denied[BERM_DIRECTION_MAX][BERM_REASON_MAX];
    uint64_t audited[BERM_DIRECTION_MAX];
    uint64_t events_lost; /* denials for which no event was sent */
};
struct enforce_stats {
    struct enforce_engine_stats engine[BERM_ENGINE_MAX];
};
int enforce_stats(struct enforce *e, const char *uid, struct enforce_stats *ret, struct error *err);

struct enforce_totals {
    uint64_t incidents[ENFORCE_INCIDENT_MAX]; /* since this process started */
    uint64_t sweeps;
    size_t pods, devices, frontends;
    bool tcx;        /* false: clsact */
    bool parent;     /* the guard is on the pods' parent cgroup, too */
    bool nft;        /* the guard is in nftables, too */
    bool translated; /* policy is judged behind address translation, too */
};
void enforce_totals(const struct enforce *e, struct enforce_totals *ret);

struct enforce_pod_info {
    const char *uid;
    bool sandboxed, audit, host_network;
    enum berm_pod_state state; /* unknown until rules are set; survives a restart */
    size_t n_devices;
    const uint8_t (*addrs)[16];
    size_t n_addrs;
};
/* One of them; false: not armed. Valid until the next call that arms or removes. */
bool enforce_find(const struct enforce *e, const char *uid, struct enforce_pod_info *ret);
/* Nothing of an armed pod is left on this node: it has no device any more, and its network
 * namespace (on the node's own network: its cgroup) is gone. */
bool enforce_is_gone(const struct enforce *e, const char *uid);
/* Calls fn for each armed pod; stops at and returns its first non-zero value. fn must not arm or
 * remove. */
int enforce_for_each(struct enforce *e, int (*fn)(void *ctx, const struct enforce_pod_info *pod),
                     void *ctx);

const char *enforce_reason_name(enum berm_reason reason); /* "guarded", for metrics and events */
const char *enforce_guard_name(uint32_t row); /* the endpoint's name in policy/guard.def, or "" */
