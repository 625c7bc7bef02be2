#pragma once
/*
 * The standalone pod runner: in place of kubelet and containerd. Pods come as objects; each is
 * driven by a small state machine (pod.c, container.c) whose steps can be repeated and undone.
 */
#include "agent/objects.h"
#include "agent/standalone/network.h"
#include "agent/standalone/pod.h"

struct config;

/* What the runner asks of the rest of the agent. */
struct runner_hooks {
    /* Guard and deny-all on the pod's devices, before anything can run; 0 or error. */
    int (*arm)(void *ctx, const struct pod *p, int netns_fd, struct error *err);
    void (*disarm)(void *ctx, const char *uid);
    /* The pod as policy shall see it (status filled in); object NULL: gone. */
    int (*update)(void *ctx, const struct pod *p, const json_t *object, struct schema_error *e);
    void *ctx;
};

struct runner {
    struct loop *loop;
    const struct config *config;
    struct objects *objects;
    struct runner_hooks hooks;
    struct pod_network network;
    char berm_config[256]; /* configuration file of the berm runtime */
    struct list pods;      /* of struct pod */
    struct loop_timer reconcile;
    struct {
        uint64_t starts, restarts, failures, adopted, cleaned;
    } count;
};

int runner_init(struct runner *r, struct loop *l, const struct config *c, struct objects *o,
                const struct runner_hooks *hooks, struct error *err);
void runner_fini(struct runner *r); /* frees memory; pods go on */
/* Takes over pods that an earlier agent left running; removes what was half-made. */
int runner_adopt(struct runner *r, struct error *err);
/* The source's first view is complete: pods without an object end, leftovers are removed. */
void runner_synced(struct runner *r);

/* Sinks for Pod objects, and for what their volumes and variables come from. */
int runner_apply(void *ctx, const struct object *object, struct schema_error *e);
void runner_remove(void *ctx, const struct object *object);
int runner_source_changed(void *ctx, const struct object *object, struct schema_error *e);
/* Starts what has an object and is not there (soon, from the loop). */
void runner_reconcile(struct runner *r);

struct pod *runner_find(struct runner *r, const char *ns, const char *name);
struct pod *runner_find_uid(struct runner *r, const char *uid);
