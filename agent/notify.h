#pragma once
/*
 * What a service manager wants to know (sd_notify): that the agent is ready, that it is alive, that
 * it ends. Under none (no NOTIFY_SOCKET) all of this does nothing.
 */
#include "agent/loop.h"

struct agent;

struct notify {
    struct agent *agent;
    struct loop_timer timer;
    uint64_t alive_ms; /* a sign of life so often; 0: nobody waits for one */
    bool ready;
};

void notify_init(struct notify *n, struct agent *a);
void notify_fini(struct notify *n);
