#pragma once
/*
 * HTTP to the API server: libcurl's multi interface driven by the agent's loop. HTTP/2 where TLS
 * offers it (what comes later shares a connection), gzip, no proxies, no redirects, certificate and
 * token files read anew whenever they are used.
 */
#include "agent/kube/auth.h"
#include "agent/loop.h"

#include <curl/curl.h>

struct kube_http {
    struct loop *loop;
    const struct kube_auth *auth;
    CURLM *multi;
    struct loop_timer timer;
    struct {
        uint64_t requests, bytes;
    } count;
};

/* How a request ended. */
struct kube_result {
    CURLcode code;       /* CURLE_OK: the answer is complete */
    long status;         /* HTTP, 0 if none came */
    long retry_after;    /* seconds, 0 if not said */
    const char *message; /* why, if code is not CURLE_OK */
    const char *body;    /* start of a body whose status was not 2xx */
    int grpc_status;     /* of a gRPC answer; -1 if it said none */
    const char *grpc_message;
};

struct kube_request {
    struct kube_http *http;
    CURL *easy; /* NULL: not under way */
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE], body[512], grpc_message[256];
    size_t body_size;
    int grpc_status;
    /* Data of a 2xx answer; negative ends the request. Must not start or cancel requests. */
    int (*data)(void *ctx, const char *data, size_t size);
    void (*done)(void *ctx, const struct kube_result *result);
    void *ctx;
};

int kube_http_init(struct kube_http *h, struct loop *l, const struct kube_auth *auth,
                   struct error *err);
void kube_http_fini(struct kube_http *h); /* after all requests were cancelled */

enum { KUBE_GET_STREAM = 1, KUBE_GET_FRESH = 2 };

struct kube_call {
    const char *method, *path; /* path with query */
    const char *content_type;  /* of the body; "application/grpc" makes it a gRPC call */
    const void *body;          /* copied; NULL: none */
    size_t size;
    /* STREAM: no limit of time or speed. FRESH: not on a connection that is there, for it may be
     * dead. */
    unsigned flags;
    long timeout_s; /* 0: that of a list */
};

/* `done` is called once, from the loop, unless this fails or the request is cancelled. */
int kube_send(struct kube_http *h, struct kube_request *r, const struct kube_call *call,
              struct error *err);
/* GET. */
int kube_get(struct kube_http *h, struct kube_request *r, const char *path, unsigned flags,
             struct error *err);
void kube_cancel(struct kube_request *r); /* fine if not under way */
/* s, escaped for a query; free it. */
char *kube_escape(const char *s);
