#pragma once
/*
 * Pods that berm does not run: found by what the node shows. A device that appears (netlink), or a
 * pod that the API server tells of, is followed by looks at CRI until it is quiet again; each pod
 * sandbox of another handler (and of our own that an older agent armed, in maps of another layout)
 * is asked for its network namespace and its cgroup, and armed under its UID, before its containers
 * start as a rule: guard and policy then bind it as the modes say. Those that were there before the
 * agent are found by the first look.
 *
 * Limits: between the sandbox's start and the look (tens of milliseconds) only what binds the whole
 * node binds it: the guard on the parent cgroup and in nftables. CRI is trusted with who is who, as
 * kubelet trusts it. Pods on the node's network have no device of their own and are only noted.
 */
#include "agent/cri/cri.h"
#include "agent/kube/late.h"
#include "common/list.h"

struct agent;

/* A sandbox whose status is asked for; other NULL: none. */
struct others_asking {
    struct others *others;
    struct other *other;
    struct cri_call call;
};

struct others {
    struct agent *agent;
    struct cri cri;
    struct cri_call call;
    struct loop_fd links; /* netlink: devices of the node */
    int links_fd;
    struct loop_timer look;
    uint64_t delay_ms, generation;
    struct list sandboxes; /* of struct other */
    struct others_asking asking[8];
    struct late late;
    bool busy, again, on, down;
    bool own_seen; /* sandboxes of our own handler from before this agent were looked for */
    struct {
        uint64_t looks, failures, armed;
    } count;
};

/* Starts looking at --cri-socket; does nothing if there is none. */
int others_init(struct others *o, struct agent *a, struct error *err);
void others_fini(struct others *o);
/* Something happened: look soon. */
void others_look(struct others *o);
