#include "agent/frontends.h"

#include "agent/agent.h"
#include "bpf/include/types.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 5, AGAIN_MS = 1000 }; /* a rollout changes many slices at once */

/* Backends lie in chunks of one array; their places are made pointers when it does not grow any
 * more. */
struct collect {
    const struct services *services;
    struct enforce_frontend *list;
    size_t n;
    struct enforce_backend *backends;
    size_t n_backends, cap_backends;
};

static int add_backend(void *ctx, const struct service_backend *backend)
{
    struct collect *c = ctx;
    struct enforce_backend *b;

    if (c->n_backends == c->cap_backends) {
        size_t more = c->cap_backends ? c->cap_backends * 2 : 256;
        struct enforce_backend *grown = realloc(c->backends, more * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        c->backends = grown;
        c->cap_backends = more;
    }
    b = &c->backends[c->n_backends];
    if (c->list[c->n - 1].n_backends++ == BERM_BACKENDS_MAX)
        return 1; /* too many: not kept */
    memcpy(b->addr, backend->addr, 16);
    b->port = backend->port;
    c->n_backends++;
    return 0;
}

static int add(void *ctx, const struct service_front *front)
{
    struct collect *c = ctx;
    struct enforce_frontend *f = &c->list[c->n++];
    size_t begin = c->n_backends;
    int r;

    memcpy(f->addr, front->addr, 16);
    f->protocol = front->protocol;
    f->port = front->port;
    r = services_each_backend(c->services, front, add_backend, c);
    if (r != 0) {
        c->n_backends = begin;
        f->n_backends = 0;
    }
    return r < 0 ? r : 0;
}

static void point(struct collect *c)
{
    const struct enforce_backend *next = c->backends;

    for (size_t i = 0; i < c->n; i++) {
        c->list[i].backends = next;
        next += c->list[i].n_backends;
    }
}

static void push(void *ctx)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;
    struct collect c = {.services = &a->services,
                        .list = calloc(a->services.fronts.count + 1, sizeof(*c.list))};
    int r = c.list ? services_each_front(&a->services, add, &c) : -ENOMEM;

    if (r < 0) {
        (void)error_errno(&err, r, "services");
    } else {
        point(&c);
        r = enforce_set_frontends(a->enforce, c.list, c.n, &err);
    }
    free(c.list);
    free(c.backends);
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
