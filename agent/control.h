#pragma once
/*
 * The control socket, RUN/control.sock, for bermctl: a stream of JSON lines, root only. One request
 * a line: {"request":NAME, ...}; one answer a line: {"ok":true, ...} or {"ok":false,"error":TEXT}.
 * "drops" with "follow":true goes on with one line per denial.
 */
#include "agent/loop.h"
#include "common/error.h"

#include <jansson.h>

struct agent;
struct drop;

struct control {
    struct agent *agent;
    int fd;
    struct loop_fd source;
    struct list clients;
    size_t n_clients;
};

int control_init(struct control *c, struct agent *a, struct error *err);
void control_fini(struct control *c);
/* To all who follow. */
void control_send_drop(struct control *c, const struct drop *d);

/* One row a request (requests.c): answers with an object, or NULL and err. */
struct control_request {
    const char *name;
    json_t *(*fn)(struct agent *a, const json_t *request, struct error *err);
};
extern const struct control_request control_requests[];
extern const size_t control_n_requests;
json_t *control_drop_json(struct agent *a, const struct drop *d);
