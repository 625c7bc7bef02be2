#pragma once
/*
 * The handle and what hangs on it: pods, their devices, each device's hooks. The kernel's maps are
 * the truth that survives; this is what we believe they hold, so that a sweep can compare.
 */
#include "agent/enforce/enforce.h"
#include "agent/enforce/netdev.h"
#include "bpf/include/audit.h"
#include "common/hashmap.h"
#include "common/list.h"
#include "policy/backends/bpf/tables.h"

struct guard_bpf;
struct guard_table;
struct policy_bpf;
struct cgroup_guard_bpf;
struct cgroup_policy_bpf;
struct watch_bpf;
struct watch_saved_bpf;
struct tally_bpf;
struct counts_bpf;
struct nft;
struct translated;
struct parent;
struct ring_buffer;
struct bpf_object;

/* Order of attachment: what the pod sends first, the guard before the policy engine. */
enum hook_kind {
    HOOK_GUARD_FROM_POD,
    HOOK_POLICY_FROM_POD,
    HOOK_GUARD_TO_POD,
    HOOK_POLICY_TO_POD,
    HOOK_MAX,
};

/* What the node translates, and what its entry of backends comes to; 0: it has none. */
struct frontend {
    struct berm_frontend key;
    uint64_t backends;
};

/* Two programs for each hook: the kernel refuses one program twice on a hook, so getting in front
 * of somebody without a gap takes a twin. */
enum { VARIANTS = 2, CGROUP_HOOK_MAX = 11 };

struct hook {
    int link_fd; /* -1 with clsact */
    uint32_t link_id;
    uint32_t prog_id;
    int variant;
};

/* record.nsid: the namespace is gone. */
enum { NSID_GONE = -2 };

struct device {
    struct list siblings; /* in pod.devices */
    struct pod *pod;
    int ifindex, master;
    char name[IF_NAMESIZE];
    struct berm_iface guard, policy; /* as written to the two maps */
    struct hook hooks[HOOK_MAX];
    bool handover; /* bound by clsact filters; links follow */
};

struct pod {
    struct hash_node node;
    struct list devices;
    uint32_t slot;
    struct berm_record record;
    uint64_t control;                         /* as written */
    struct berm_addr sources[BERM_ADDRS_MAX]; /* addresses that it is found by, as written */
    uint32_t n_sources;
    struct bpf_tables tables;
    bool inherited; /* policy links of another layout judge it still; ours only watch */
    int cgroup_fd, cgroup_links[CGROUP_HOOK_MAX]; /* -1: none */
    uint32_t cgroup_ids[CGROUP_HOOK_MAX];         /* of those links */
    char *cgroup_path;                            /* where to look if somebody makes it anew */
    char **names;                                 /* of the epoch in force */
    size_t n_names;
};

/* Entries of an epoch that is no longer in force; deleted when no packet can be using it. */
struct stale {
    struct list list;
    struct bpf_tables tables;
    uint32_t slot, epoch;
    uint64_t since_ns;
};

enum enforce_map {
    MAP_G_IFACES,
    MAP_G_CONFIG,
    MAP_G_ROWS,
    MAP_G_EXCEPTIONS,
    MAP_G_NODES,
    MAP_G_STATS,
    MAP_G_EVENTS,
    MAP_G_SOURCES,
    MAP_G_NETNS,
    MAP_P_IFACES,
    MAP_P_CONFIG,
    MAP_P_CONTROL,
    MAP_P_NODES,
    MAP_P_STATS,
    MAP_P_EVENTS,
    MAP_P_FLOWS,
    MAP_P_HOSTS,
    MAP_P_CIDRS,
    MAP_P_PORTS,
    MAP_P_FRONTENDS,
    MAP_P_BACKENDS,
    MAP_P_SOURCES,
    MAP_RECORDS, /* ours alone: not seen by any program */
    MAP_TWINS, /* what twins jump to; emptied by the kernel when nobody holds it: then they drop */
    MAP_MAX,
};

struct enforce {
    struct enforce_config config;
    char pin_dir[160], dir[192]; /* given; with the layout's version */
    int lock_fd, epoll_fd, inotify_fd, watch_fd;
    bool upgrading;  /* another layout has links, too */
    bool tcx, fresh; /* fresh: no earlier process left anything */
    struct guard_bpf *guard;
    struct policy_bpf *policy;
    struct cgroup_guard_bpf *cgroup_guard; /* NULL until a pod asks */
    struct cgroup_policy_bpf *cgroup_policy;
    uint32_t cgroup_prog_ids[CGROUP_HOOK_MAX];
    struct watch_bpf *watch;             /* NULL: this kernel can't walk its links */
    struct watch_saved_bpf *watch_saved; /* NULL: nor look again at what the last walk found */
    int watch_link;
    struct tally_bpf *tally;   /* NULL: this kernel can't sum its maps up */
    bool tallied;              /* it did, in this sweep */
    struct counts_bpf *counts; /* NULL: this kernel can't count */
    struct berm_counts expected;
    bool counted, rules_touched;   /* expected holds; somebody else changed it */
    struct nft *nft;               /* NULL: this kernel has none */
    struct translated *translated; /* NULL: this kernel has no BPF links in netfilter */
    struct parent *parent;         /* NULL: nobody asked */
    uint64_t cookie;               /* of our own network namespace */
    struct frontend *frontends;    /* sorted; as written */
    size_t n_frontends, frontends_verified;
    int prog_fds[VARIANTS][HOOK_MAX];
    uint32_t prog_ids[VARIANTS][HOOK_MAX];
    int maps[MAP_MAX];
    struct berm_config *guard_config, *policy_config; /* mapped: stores are atomic */
    struct berm_control *control;
    struct berm_config guard_expected, policy_expected;
    struct ring_buffer *rings;
    struct hashmap pods; /* by UID */
    struct pod *slots[BERM_PODS_MAX];
    struct list stale;
    struct berm_addr *nodes; /* given by the agent, sorted */
    size_t n_nodes;
    struct berm_addr *own; /* this node's */
    size_t n_own;
    bool own_changed, pins_changed, devices_changed;
    /* Free slots: with a fresh flow table, or with that of a dead pod. */
    bool flows_ready[BERM_PODS_MAX], flows_used[BERM_PODS_MAX];
    size_t audit_slot, audit_entry; /* where the rolling comparison of rules stands */
    struct {
        bool on, begun, fast;
        _Alignas(8) char key[32];
    } walk[MAP_MAX];                      /* and that of the rules' maps */
    struct enforce_exceptions exceptions; /* configured ones; their bits follow the built-in */
    struct guard_table *table;            /* what the guard's maps must hold */
    bool exceptions_changed;              /* since the last process */
    struct enforce_totals totals;
};

/* lock.c: the lock that goes with a pin folder; a descriptor to hold, or -EALREADY. */
int lock_take(const char *pin_dir, struct error *err);
/* load.c: programs and maps */
int load_open(struct enforce *e, struct error *err);
void load_close(struct enforce *e);
const char *load_map_name(enum enforce_map map);
/* Gives an object our maps for those that it names. */
int load_share_maps(struct enforce *e, struct bpf_object *object, struct error *err);

/* guard.c */
/* Before the pods are loaded, and after: pods lose exceptions whose bits mean something else now
 * before these are written. */
int guard_open(struct enforce *e, struct error *err);
int guard_open_pods(struct enforce *e, struct error *err);
void guard_close(struct enforce *e);
unsigned guard_builtin_exceptions(void); /* they have the first bits */
/* A changed record, to everything that holds a copy. */
int guard_spread(struct enforce *e, struct pod *pod, struct error *err);
/* Compares the table with what it must be; number of entries that were put right, or -errno. */
int guard_verify(struct enforce *e);

/* pods.c */
/* Policy denials are only counted. */
static inline bool pod_watched(const struct pod *pod)
{
    return pod->record.audit || pod->inherited;
}
struct pod *enforced_pod_find(const struct enforce *e, const char *uid);
int pod_new(struct enforce *e, const char *uid, struct pod **ret, struct error *err);
int pod_load(struct enforce *e, uint32_t slot, const struct berm_record *record, struct pod **ret,
             struct error *err);
int pod_save(struct enforce *e, struct pod *pod, struct error *err);
int enforced_pod_free(struct enforce *e, struct pod *pod,
                      struct error *err);          /* slot and map entries too */
void pod_drop(struct enforce *e, struct pod *pod); /* memory only */
void pod_control(struct enforce *e, struct pod *pod, enum berm_pod_state state, uint32_t epoch);

/* cgroup.c */
int cgroup_adopt(struct enforce *e, struct pod *pod, struct error *err);
int cgroup_write(struct enforce *e, struct pod *pod, struct error *err);
uint64_t cgroup_digest(const struct pod *pod); /* of its storage, as it must be */
/* What one sweep looks at. */
struct look {
    bool full;    /* what notifications should have told, too */
    bool pins;    /* they must be looked at */
    bool links;   /* all are as we have them, and what hangs on cgroups */
    bool entries; /* all devices' are as written */
    int handovers;
};
int cgroup_verify(struct enforce *e, struct pod *pod, const struct look *look, struct error *err);
void cgroup_remove(struct enforce *e, struct pod *pod);
void cgroup_close(struct enforce *e);

/* nft.c: plane C. A kernel without nftables leaves it out. */
int nft_open(struct enforce *e, struct error *err);
void nft_close(struct enforce *e);
int nft_fd(const struct enforce *e);
void nft_stale(struct enforce *e);                     /* pods or switch changed */
int nft_refresh(struct enforce *e, struct error *err); /* puts that in force */
int nft_verify(struct enforce *e, bool full);          /* number of repairs */
int nft_rebuild(struct enforce *e, struct error *err);
void nft_uninstall(const char *pin_dir);

/* translated.c: both engines behind address translation. A kernel without such hooks leaves it out,
 * and then no destination is deferred. */
int translated_open(struct enforce *e, struct error *err);
void translated_close(struct enforce *e);
void translated_remove(struct enforce *e);           /* pins of an earlier process */
int translated_verify(struct enforce *e, bool pins); /* number of repairs */

int translations_verify(struct enforce *e); /* translations.c: number of repairs */

/* sources.c: how programs find a pod that don't see its devices */
int sources_write(struct enforce *e, struct pod *pod, struct error *err);
void sources_remove(struct enforce *e, struct pod *pod);
int netns_default(struct enforce *e, bool told); /* number of changes; told: as incidents */
void netns_collect(struct enforce *e);
int sources_verify(struct enforce *e); /* number of repairs */

/* parent.c: the guard on the parent of the pods' cgroups */
void parent_close(struct enforce *e);
int parent_verify(struct enforce *e, bool pins); /* number of repairs */

/* flows.c: one table per slot, some of them ahead of need */
int flows_take(struct enforce *e, uint32_t slot, struct error *err);
int flows_prepare(struct enforce *e, struct error *err);
void flows_collect(struct enforce *e); /* at most one dead pod's table */

/* rules.c */
void rules_forget(struct enforce *e, struct pod *pod); /* queues the entries in force as stale */
int rules_flush(struct enforce *e, bool now); /* deletes stale entries that are old enough */
int rules_collect_orphans(struct enforce *e, struct error *err);
int rules_verify(struct enforce *e, bool all); /* number of repairs; or only some entries */
/* The same from the maps' side: takes out entries that are neither in force nor of an epoch that
 * was; number. A few at a time, from where `begin` was set to the end; `fast`: all of them, as far
 * as a sweep may take. */
int rules_remove_foreign(struct enforce *e, bool begin, bool fast);

/* device.c */
struct device *device_find(struct pod *pod, int ifindex);
/* Adds or updates the device in maps, then its hooks. */
int device_attach(struct enforce *e, struct pod *pod, const struct device *wanted,
                  struct error *err);
/* From here on it is this pod's. Its links and filters stay where they are: no packet passes
 * unseen. Then device_attach. */
void device_take(struct enforce *e, struct pod *pod, struct device *device);
/* Links, pins, map entries, memory. */
void device_remove(struct enforce *e, struct device *device);
void device_drop(struct device *device); /* memory and descriptors only */
/* Writes guard and policy entries of the device. */
int device_write(struct enforce *e, struct device *device, struct error *err);
/* Both maps' entries are those of all devices, and no others. */
bool device_entries_intact(const struct enforce *e);
int device_remove_foreign(struct enforce *e);
/* After a change of the record: all devices of the pod. */
int device_rewrite(struct enforce *e, struct pod *pod, struct error *err);
int device_adopt(struct enforce *e, struct error *err);

/* Gives a device that filters bind its links, which wait for grace periods. */
int device_handover(struct enforce *e, struct device *device, struct error *err);

/* twins.c: a second program of each kind, which only jumps to the first */
int twins_load(struct enforce *e, struct error *err); /* idempotent */
int twins_verify(struct enforce *e);                  /* number of repairs */
void twins_close(struct enforce *e);

/* tcx.c, clsact.c: hooks of one device; repair compares with the kernel. Number of repairs. */
struct hook_ops {
    int (*attach)(struct enforce *e, struct device *device, struct error *err);
    int (*verify)(struct enforce *e, struct device *device, struct error *err);
    void (*detach)(struct enforce *e, struct device *device);
};
extern const struct hook_ops tcx_ops, clsact_ops;
/* Takes over pinned links; true if all four were there. */
bool tcx_adopt(struct enforce *e, struct device *device);
/* Filters by that handle are ours. */
enum { CLSACT_HANDLE = 0xbe71 };
void hook_pin_path(const struct enforce *e, const struct device *device, enum hook_kind kind,
                   char *path, size_t size);
int tcx_verify_pins(struct enforce *e, struct device *device, struct error *err);

/* xdp.c: takes off what others put before all hooks; number of programs. */
int xdp_verify(struct enforce *e, struct device *device, struct error *err);
int xdp_remove(struct enforce *e, struct device *device, const struct netdev *dev,
               struct error *err); /* as the kernel has just told */

bool hook_is_policy(enum hook_kind kind); /* second in its chain, after the guard */

/* sweep.c */
void incident(struct enforce *e, enum enforce_incident_kind kind, const struct device *device,
              const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* events.c */
int events_open(struct enforce *e, struct error *err);
void events_close(struct enforce *e);
int events_drain(struct enforce *e);
/* upgrade.c: links of other layouts, which stay until the pod's rules are in force in this one */
bool upgrade_pending(const struct enforce *e);
/* The mode that the other layout's switch has, the stricter of two; -ENOENT: none can be read. */
int upgrade_mode(const struct enforce *e, enum enforce_map config);
/* Do its policy links stand on all of these devices? Then the pod, whose rules are not known here
 * yet, goes on by those, and ours may watch. */
bool upgrade_judges(const struct enforce *e, const int *ifindexes, size_t n);
void upgrade_load(const struct enforce *e, struct pod *pod); /* the same, of a pod from the maps */
/* Our programs judge from now on, and the others are taken away. */
void upgrade_take_over(struct enforce *e, struct pod *pod);
int upgrade_verify(struct enforce *e); /* number of pods whose other links were gone */
/* nodes.c */
int nodes_refresh(struct enforce *e, struct error *err);

uint64_t enforce_now_ns(void);
