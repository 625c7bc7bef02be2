#pragma once
/*
 * Events that the agent tells the API server: of pods, and of its node. What repeats is counted on
 * one Event, sent anew at most every few minutes; all in all no more than a small budget. Events
 * are a courtesy: what can't be sent is dropped and counted, and nothing waits for it.
 */
#include "agent/kube/http.h"
#include "agent/rfc3339.h"
#include "common/list.h"

#include <stdbool.h>

struct agent;

enum event_reason {
    EVENT_GUARD_DENIED,    /* the guard denied a pod something for the first time */
    EVENT_POLICY_DENIES,   /* a policy can't be expressed: the pod is closed */
    EVENT_ARMED_LATE,      /* a pod ran for a while before its policy was in force */
    EVENT_SANDBOX_REFUSED, /* arming was refused, so the sandbox was not made */
    EVENT_MEMORY,          /* a container was killed for memory */
    EVENT_TAMPERING,       /* somebody changed what is in force; it was put back */
    EVENT_REASON_MAX,
};

struct event_object {
    const char *kind, *ns, *name, *uid; /* "Pod"; "Node" has ns "" */
};

struct kube_events {
    struct agent *agent;
    struct kube_request request;
    struct list entries; /* of struct event; most recent first */
    size_t n_entries;
    struct event *sending;
    struct loop_timer soon;
    uint64_t tokens_milli, refilled_ms;
    struct {
        uint64_t sent, dropped, failed;
    } count;
};

void events_init(struct kube_events *e, struct agent *a);
void events_fini(struct kube_events *e);
/* Fine, and nothing happens, where objects don't come from an API server. */
void events_tell(struct kube_events *e, enum event_reason reason, const struct event_object *object,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* About this node. */
void events_tell_node(struct kube_events *e, enum event_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
