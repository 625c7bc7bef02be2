#pragma once
/* The agent as a whole: what main.c puts together and control, metrics and arming look at. */
#include "agent/arm/server.h"
#include "agent/config.h"
#include "agent/control.h"
#include "agent/drops.h"
#include "agent/enforce/enforce.h"
#include "agent/kube/events.h"
#include "agent/kube/others.h"
#include "agent/kube/source.h"
#include "agent/loop.h"
#include "agent/metrics/server.h"
#include "agent/netpolicy.h"
#include "agent/notify.h"
#include "agent/objects.h"
#include "agent/services/services.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/source.h"

#include <time.h>

struct agent {
    struct config config;
    struct loop loop;
    struct loop_signals signals;
    struct objects objects;
    struct enforce *enforce;
    struct enforce_exceptions exceptions; /* configured ones, in force */
    char enforce_error[512];              /* why there is none */
    struct loop_fd enforce_events;
    struct loop_timer sweep, rearm, frontends;
    struct netpolicy netpolicy;
    struct services services;
    struct runner runner;
    struct folder folder;    /* stand-alone */
    struct kube_source kube; /* else */
    struct kube_events events;
    struct others others; /* pods of other runtimes, in a cluster */
    struct arm_server arm;
    struct control control;
    struct metrics_server metrics;
    struct drops drops;
    struct notify notify;
    uint64_t incidents[ENFORCE_INCIDENT_MAX];
    uint64_t restarts; /* how often the agent started on this state */
    time_t started;
    uint64_t started_ms; /* by the clock that nobody sets */
    int lock_fd;
};

/* Objects come from an API server, pods are kubelet's: there is no folder, and no pod runner. */
static inline bool agent_in_cluster(const struct agent *a)
{
    return !*a->config.standalone;
}

static inline bool agent_synced(const struct agent *a)
{
    return agent_in_cluster(a) ? a->kube.source.synced : a->folder.source.synced;
}

/* "ns/name" of a pod by UID, "" if it is gone. */
void agent_pod_name(struct agent *a, const char *uid, char *ret, size_t size);
/* Who has this address: "ns/name", "node", or "". */
void agent_peer_name(struct agent *a, const uint8_t addr[16], char *ret, size_t size);
