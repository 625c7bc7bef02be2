#pragma once
/*
 * What the installer tells the API server: the node's label, taint, condition and events. One
 * request after the other, each awaited; what fails for want of a connection, or with 429 or 5xx,
 * is tried again for a while.
 */
#include "agent/kube/http.h"

#include <jansson.h>
#include <stdbool.h>

#define NODE_CONDITION "BermReady"

struct node_api {
    bool on;
    struct loop *loop;
    struct kube_auth auth;
    struct kube_http http;
    const char *node;
    uint64_t patience_ms;
};

/* Reads everything that stands in files at once: afterwards the root may be another. */
int node_api_init(struct node_api *a, struct loop *l, const char *kubeconfig, const char *node,
                  uint64_t patience_ms, struct error *err);
void node_api_fini(struct node_api *a);

/* All of these but node_api_get do nothing, and succeed, where the API is off. */

/* The node as it is; *ret is owned. */
int node_api_get(struct node_api *a, json_t **ret, struct error *err);

/* "key=value" is set, "key" alone (or key=value, with set false) removed. *ret_changed: it was
 * otherwise. */
int node_api_label(struct node_api *a, const char *label, bool set, bool *ret_changed,
                   struct error *err);
/* Takes every taint of that key away. */
int node_api_untaint(struct node_api *a, const char *key, struct error *err);
/* The condition BermReady. */
int node_api_condition(struct node_api *a, bool ready, const char *reason, const char *message,
                       struct error *err);
int node_api_remove_condition(struct node_api *a, struct error *err);
/* An Event on the node. What repeats an earlier one of this process is counted there. */
int node_api_event(struct node_api *a, bool warning, const char *reason, const char *message,
                   struct error *err);
/* Asks for the eviction of the pod of that UID. *ret_gone: there is none any more (of its name
 * there may be another one, elsewhere). -EAGAIN: a budget forbids it now. */
int node_api_evict(struct node_api *a, const char *ns, const char *name, const char *uid,
                   bool *ret_gone, struct error *err);
