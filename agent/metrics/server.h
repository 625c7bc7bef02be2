#pragma once
/* HTTP on one address: /metrics, /healthz, /readyz. Runs in the agent's loop, without a thread. */
#include "agent/loop.h"
#include "common/error.h"

struct agent;

struct metrics_server {
    struct agent *agent;
    struct MHD_Daemon *daemon;
    struct loop_fd source;
    struct loop_timer timer;
};

int metrics_server_init(struct metrics_server *m, struct agent *a, const char *listen,
                        struct error *err);
void metrics_server_fini(struct metrics_server *m);
