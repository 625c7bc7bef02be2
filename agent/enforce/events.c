/* Denied packets from the two ring buffers to the agent, with names in place of numbers. */
#include "agent/enforce/internal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

static const char *what(const struct pod *pod, const struct berm_event *event)
{
    if ((event->engine & ~BERM_EVENT_AUDIT) == BERM_ENGINE_GUARD)
        return enforce_guard_name(event->name);
    if (pod && event->epoch == BERM_CONTROL_EPOCH(pod->control) && event->name < pod->n_names)
        return pod->names[event->name];
    return "";
}

static int on_event(void *ctx, void *data, size_t size)
{
    struct enforce *e = ctx;
    const struct berm_event *event = data;
    struct enforce_deny deny = {0};
    const struct pod *pod;

    if (size < sizeof(*event) || !e->config.on_deny)
        return 0;
    pod = event->slot < BERM_PODS_MAX ? e->slots[event->slot] : NULL;
    deny.uid = pod ? pod->record.uid : NULL;
    if (pod && pod->inherited && event->reason == BERM_REASON_UNKNOWN_POD)
        return 0; /* another layout's programs judge it */
    deny.audit = event->engine & BERM_EVENT_AUDIT;
    deny.engine = event->engine & ~BERM_EVENT_AUDIT;
    deny.direction = event->direction;
    deny.reason = event->reason;
    deny.time_ns = event->time;
    memcpy(deny.local, &event->local, 16);
    memcpy(deny.remote, &event->remote, 16);
    deny.protocol = event->protocol;
    deny.local_port = event->local_port;
    deny.remote_port = event->remote_port;
    deny.what = what(pod, event);
    e->config.on_deny(e->config.ctx, &deny);
    return 0;
}

int events_open(struct enforce *e, struct error *err)
{
    int r;

    e->rings = ring_buffer__new(e->maps[MAP_G_EVENTS], on_event, e, NULL);
    if (!e->rings)
        return error_errno(err, -errno, "open the guard's events");
    r = ring_buffer__add(e->rings, e->maps[MAP_P_EVENTS], on_event, e);
    return r < 0 ? error_errno(err, r, "open the policy engine's events") : 0;
}

void events_close(struct enforce *e)
{
    ring_buffer__free(e->rings);
    e->rings = NULL;
}

int events_drain(struct enforce *e)
{
    int r = ring_buffer__consume(e->rings);

    return r < 0 ? r : 0;
}
