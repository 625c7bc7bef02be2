#include "agent/notify.h"

#include "agent/agent.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>

enum { LOOK_MS = 100 };

/* The same as /readyz. */
static bool is_ready(const struct agent *a)
{
    return a->enforce && agent_synced(a);
}

static void tick(void *ctx)
{
    struct notify *n = ctx;

    if (!n->ready && is_ready(n->agent)) {
        n->ready = true;
        (void)sd_notify(0, "READY=1\nSTATUS=guard and policy are in force");
    }
    if (n->alive_ms)
        (void)sd_notify(0, "WATCHDOG=1");
    if (!n->ready || n->alive_ms)
        loop_timer_set(&n->agent->loop, &n->timer, n->ready ? n->alive_ms : LOOK_MS, tick, n);
}

void notify_init(struct notify *n, struct agent *a)
{
    uint64_t patience_us = 0;

    *n = (struct notify){.agent = a};
    if (!getenv("NOTIFY_SOCKET"))
        return;
    if (sd_watchdog_enabled(0, &patience_us) > 0)
        n->alive_ms = MAX(patience_us / 3000, 1U);
    loop_timer_set(&a->loop, &n->timer, 0, tick, n);
}

void notify_fini(struct notify *n)
{
    if (!n->agent)
        return;
    loop_timer_cancel(&n->timer);
    (void)sd_notify(0, "STOPPING=1");
}
