#include "agent/frontends.h"

#include "agent/agent.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 5, AGAIN_MS = 1000 }; /* a rollout changes many slices at once */

struct collect {
    struct enforce_frontend *list;
    size_t n;
};

static int add(void *ctx, const struct service_front *front)
{
    struct collect *c = ctx;
    struct enforce_frontend *f = &c->list[c->n++];

    memcpy(f->addr, front->addr, 16);
    f->protocol = front->protocol;
    f->port = front->port;
    return 0;
}

static void push(void *ctx)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;
    struct collect c = {calloc(a->services.fronts.count + 1, sizeof(*c.list)), 0};
    int r = c.list ? 0 : error_errno(&err, -ENOMEM, "services");

    if (r == 0) {
        (void)services_each_front(&a->services, add, &c);
        r = enforce_set_frontends(a->enforce, c.list, c.n, &err);
    }
    free(c.list);
    if (r < 0) {
        log_error("services: %s", err.msg);
        loop_timer_set(&a->loop, &a->frontends, AGAIN_MS, push, a);
    }
}

static void changed(void *ctx)
{
    struct agent *a = ctx;

    if (!a->frontends.link.next || list_empty(&a->frontends.link))
        loop_timer_set(&a->loop, &a->frontends, SETTLE_MS, push, a);
}

void frontends_start(struct agent *a)
{
    if (!a->enforce)
        return;
    a->services.changed = changed;
    a->services.ctx = a;
    push(a);
}
