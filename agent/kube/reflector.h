#pragma once
/*
 * Keeps one collection of the API server in view: lists it (streamed where the server offers that,
 * else in pages), watches it from there on, and starts over with a difference where it must, so
 * that no object is lost and none is left over. Of the objects only names and versions are held.
 *
 * While anything is wrong the view stays as it was: nothing is removed because a list failed.
 */
#include "agent/kube/http.h"
#include "agent/kube/stream.h"
#include "common/hashmap.h"

enum { REFLECTOR_VERSION_MAX = 64 };

struct reflector_ops {
    /* 0, or negative: refused, with err; the stream goes on. */
    int (*apply)(void *ctx, const json_t *object, struct error *err);
    void (*remove)(void *ctx, const char *ns, const char *name); /* ns "" if cluster-wide */
    void (*synced)(void *ctx);                                   /* after every complete list */
};

struct reflector_config {
    const char *name;     /* "pods" */
    const char *path;     /* "/api/v1/pods" */
    const char *selector; /* by field, "metadata.name=n1", or NULL */
    const char *labels;   /* by label, or NULL */
    bool optional;        /* may be served or not, now or later */
    size_t page, object_max;
    uint64_t silence_ms;                 /* a watch that says nothing for so long is dead */
    uint64_t backoff_ms, backoff_max_ms; /* first and largest */
    uint64_t absent_ms;                  /* how often to look whether an optional one is served */
};

enum reflector_state {
    REFLECTOR_LISTING,   /* in pages */
    REFLECTOR_STREAMING, /* the list comes as a watch's first events */
    REFLECTOR_WATCHING,
    REFLECTOR_WAITING, /* for the next try */
    REFLECTOR_ABSENT,  /* optional, and not served */
};

struct reflector {
    struct reflector_config config;
    const struct reflector_ops *ops;
    void *ctx;
    struct loop *loop;
    struct kube_http *http;
    struct kube_request request;
    struct stream stream;
    struct loop_timer retry, silence;
    struct hashmap known;
    uint32_t generation;
    enum reflector_state state, next; /* next: what a retry begins with */
    char version[REFLECTOR_VERSION_MAX], *token /* of the next page */;
    bool synced, no_streaming, fresh, progressed;
    bool refused,
        again; /* an object was refused since the last list; that list was because of one */
    unsigned failures, broken_pages;
    uint64_t heard_ms; /* when the server last said something good */
    uint64_t began_ms;
    struct error error; /* of the last failure; code 0: all is well */
    struct {
        uint64_t lists, watches, events, failures, refused;
    } count;
};

void reflector_init(struct reflector *r, const struct reflector_config *config,
                    const struct reflector_ops *ops, void *ctx, struct kube_http *http);
void reflector_start(struct reflector *r);
void reflector_fini(struct reflector *r);
/* Milliseconds for which the view may have been wrong; UINT64_MAX before the first. */
uint64_t reflector_age_ms(const struct reflector *r);
const char *reflector_state_name(const struct reflector *r);
