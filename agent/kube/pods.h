#pragma once
/*
 * The pods of this node, from both sides: what the API server says of them (spec.nodeName is this
 * node), and what the runtime asked to be armed. The two come in any order and are joined by UID.
 *
 * Pods of other runtimes come by others.h. A sandboxed pod that is armed before the API server told
 * of it gets no NET_RAW.
 */
#include "agent/loop.h"
#include "agent/rfc3339.h"
#include "common/error.h"
#include "common/hashmap.h"

#include <jansson.h>

struct agent;

struct node_pod {
    struct list link;
    char uid[64];
    char *ns, *name;
    char sandbox[128];   /* id of the sandbox that was armed last, "" if none or not known */
    uint64_t sandbox_ns; /* when it was made, if CRI told of it */
    char phase[16];
    bool listed;         /* the API server has it */
    bool armed, foreign; /* foreign: another runtime's */
    bool host_network, net_raw, mirror;
    char runtime_class[64];
    char account[256], asked[300]; /* service account; exceptions to the guard that it asks for */
    char killed[RFC3339_SIZE];     /* when one of its containers was last killed for memory */
    uint64_t armed_ms;
};

struct node_pods {
    struct agent *agent;
    struct list pods; /* of struct node_pod: 250 at most, or so */
    size_t count;
    char since[RFC3339_SIZE]; /* what happened before is not told as news */
    struct loop_timer sweep;
    bool swept;
};

void node_pods_init(struct node_pods *n, struct agent *a);
void node_pods_fini(struct node_pods *n);
/* The first view is complete: what is armed and is no pod is taken back once it is empty. */
void node_pods_synced(struct node_pods *n);

/* The UID that kubelet uses for this pod: of a static pod's mirror that is another than its own. */
const char *node_pods_uid(const struct node_pods *n, const json_t *object);
/* A pod of this node, or one that was. */
int node_pods_apply(struct node_pods *n, const json_t *object, struct error *err);
void node_pods_remove(struct node_pods *n, const char *ns, const char *name);

/* The configured exceptions are others now: pods get theirs anew. */
void node_pods_exceptions(struct node_pods *n);

struct node_pods_request {
    const char *uid, *sandbox, *ns, *name;
    int netns_fd, cgroup_fd; /* cgroup_fd negative: none */
    bool foreign;            /* no sandbox of ours: bound as the modes say */
};
/* Arms a sandbox: guard and deny-all in force when this returns 0; its policies follow as soon as
 * they are known. */
int node_pods_arm(struct node_pods *n, const struct node_pods_request *r, bool *ret_net_raw,
                  struct error *err);
/* CRI knows this sandbox of that pod: if an earlier process armed the pod, it did so for the newest
 * of those. */
void node_pods_sandbox(struct node_pods *n, const char *uid, const char *sandbox,
                       uint64_t created_ns);
/* The sandbox is deleted. */
int node_pods_disarm(struct node_pods *n, const char *sandbox, struct error *err);

const struct node_pod *node_pods_find(const struct node_pods *n, const char *uid);
