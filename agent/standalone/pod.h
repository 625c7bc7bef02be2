#pragma once
/*
 * A pod of the standalone runner: what is known of it in memory. On disk it is
 *   STATE/pods/UID/pod.json               identity, manifest, address number; written first
 *   STATE/pods/UID/ready                  network, volumes and files are complete
 *   STATE/pods/UID/{etc,volumes}/         generated files, volumes
 *   STATE/pods/UID/c/NAME/ATTEMPT/        an OCI bundle, with the monitor's files (monitor.h)
 *   STATE/logs/NS_POD_UID/NAME/N.log      logs
 *   RUN/netns/UID                         network namespace
 * A sandboxed pod has one more container, "POD", that is its sandbox: containers[0].
 */
#include "agent/loop.h"
#include "agent/standalone/network.h"
#include "agent/worker.h"

#include <jansson.h>
#include <time.h>

struct runner;

enum { UID_TEXT = 37 };

enum container_phase {
    CONTAINER_WAITING,   /* for the pod's preparation or its sandbox */
    CONTAINER_PREPARING, /* a worker makes rootfs and bundle */
    CONTAINER_STARTING,  /* the monitor creates and starts it */
    CONTAINER_RUNNING,
    CONTAINER_CLEANING, /* a worker removes what it left */
    CONTAINER_BACKOFF,
    CONTAINER_ENDED, /* for good */
};

struct container {
    struct pod *pod;
    const json_t *spec; /* NULL: the sandbox */
    const char *name;   /* "POD": the sandbox */
    char id[128];       /* the runtime's */
    char bundle[512];
    unsigned attempt, restarts;
    enum container_phase phase;
    struct worker worker;    /* prepares, cleans */
    struct worker signaller; /* runs the runtime's kill */
    struct loop_child monitor;
    struct loop_fd ready; /* the monitor says "running" */
    int ready_fd;
    struct loop_timer timer; /* back-off, polling of an adopted start */
    uint64_t backoff_ms, running_since_ms;
    bool started;           /* once in its life */
    bool failed_to_prepare; /* to be retried whatever the restart policy */
    int exit_code;
    char reason[32];   /* Completed, Error, StartError, OOMKilled... */
    char message[512]; /* last error */
    char started_at[40], finished_at[40];
};

enum pod_phase {
    POD_PREPARING,
    POD_ACTIVE,
    POD_STOPPING, /* containers are being ended */
    POD_FINISHED, /* all ended, the object is still there */
    POD_REMOVING, /* a worker removes the rest */
    POD_BLOCKED,  /* set-up failed; tried again */
};

struct pod {
    struct runner *runner;
    struct list link;
    char uid[UID_TEXT];
    char *ns, *name;
    json_t *manifest; /* as given */
    bool sandboxed;
    char dir[256], netns[256], ifname[16], log_dir[600];
    uint32_t number;
    struct pod_address address;
    int ifindex; /* 0: no network yet */
    enum pod_phase phase;
    bool deleted;              /* its object is gone: remove it when stopped */
    bool seen;                 /* a source named it since the start */
    const char *failed_reason; /* DeadlineExceeded; NULL */
    char message[512];         /* last error of the pod as a whole */
    time_t started;
    uint64_t backoff_ms;
    struct worker worker;
    struct loop_timer timer;    /* retry */
    struct loop_timer refresh;  /* of volumes whose object changed */
    struct loop_timer deadline; /* activeDeadlineSeconds */
    struct loop_timer grace;    /* terminationGracePeriodSeconds */
    int kill_round;             /* how often grace ran out */
    struct container *containers;
    size_t n_containers;
};

static inline struct container *pod_sandbox(struct pod *p)
{
    return p->sandboxed ? &p->containers[0] : NULL;
}

/* "Pending", "Running", "Succeeded", "Failed", "Terminating". */
const char *pod_phase_name(const struct pod *p);
const char *container_phase_name(const struct container *c);
