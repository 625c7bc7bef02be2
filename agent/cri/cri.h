#pragma once
/*
 * The container runtime's CRI socket, asked over gRPC (HTTP/2 by libcurl): which handlers it
 * serves, and which pod sandboxes there are. Only runtime.v1 is spoken (containerd 1.6 and later,
 * CRI-O). Answers are bounded; what a runtime says is trusted as far as it runs as root anyway.
 */
#include "agent/cri/protobuf.h"
#include "agent/kube/http.h"
#include "common/buf.h"

#include <jansson.h>

struct cri {
    struct kube_auth auth;
    struct kube_http http;
    char *socket;
};

int cri_init(struct cri *c, struct loop *l, const char *socket, struct error *err);
void cri_fini(struct cri *c); /* after all calls are done or cancelled; fine if zero-filled */

enum cri_method {
    CRI_STATUS,
    CRI_LIST_SANDBOXES,
    CRI_SANDBOX_STATUS,
    CRI_LIST_CONTAINERS,
    CRI_REMOVE_SANDBOX, /* with its containers; one that lives is stopped first */
};

struct cri_call {
    struct kube_request request;
    struct buf answer;
    /* err->code 0: `message` is the answer. Else it failed; -ENOENT: there is no such thing. */
    void (*done)(void *ctx, const struct pb *message, const struct error *err);
    void *ctx;
};

/* id: of the sandbox (CRI_SANDBOX_STATUS, CRI_REMOVE_SANDBOX), else NULL. Verbose where the method
 * knows that. `done` is called once from the loop, unless this fails or the call is cancelled. */
int cri_send(struct cri *c, struct cri_call *call, enum cri_method method, const char *id,
             struct error *err);
void cri_cancel(struct cri_call *call); /* fine if not under way */
/* As cri_send, and runs the loop until there is an answer. The message lies in call->answer; end
 * with cri_cancel. */
int cri_ask(struct cri *c, struct cri_call *call, enum cri_method method, const char *id,
            struct pb *ret, struct error *err);

struct cri_sandbox {
    char id[128], ns[64], name[254], uid[64], handler[64];
    bool ready;
    uint64_t created_ns; /* since the epoch */
};
/* Calls fn for each sandbox of an answer to CRI_LIST_SANDBOXES; stops at and returns its first
 * non-zero value; -EBADMSG if the answer is malformed. */
int cri_each_sandbox(struct pb list, int (*fn)(void *ctx, const struct cri_sandbox *s), void *ctx);

struct cri_container {
    char sandbox[128];
    uint64_t created_ns; /* since the epoch */
};
/* The same for an answer to CRI_LIST_CONTAINERS. */
int cri_each_container(struct pb list, int (*fn)(void *ctx, const struct cri_container *c),
                       void *ctx);
/* The JSON text under that key of a verbose answer's map (field 2), parsed; NULL if it isn't
 * there. */
json_t *cri_info(struct pb message, const char *key);
