#include "agent/kube/nodes.h"

#include "agent/agent.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

enum { SETTLE_MS = 100, AGAIN_MS = 5000 };

struct collect {
    uint8_t (*list)[16];
    size_t n, max;
};

static int add(void *arg, const uint8_t addr[16])
{
    struct collect *c = arg;

    if (c->n == c->max) {
        size_t max = c->max ? c->max * 2 : 64;
        uint8_t(*grown)[16] = reallocarray(c->list, max, 16);

        if (!grown)
            return -ENOMEM;
        c->list = grown;
        c->max = max;
    }
    memcpy(c->list[c->n++], addr, 16);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* Heartbeats change nodes all the time, their addresses hardly ever. */
static void push(void *ctx)
{
    struct kube_nodes *n = ctx;
    struct error err = ERROR_INIT;
    struct collect c = {0};
    int r = engine_each_node_address(n->agent->netpolicy.engine, add, &c);

    if (c.n > 1)
        qsort(c.list, c.n, 16, compare);
    if (r == 0 && n->list && c.n == n->n && !memcmp(c.list, n->list, c.n * 16)) {
        free(c.list);
        return;
    }
    if (r == 0)
        r = enforce_set_nodes(n->agent->enforce, (const uint8_t(*)[16])c.list, c.n, &err);
    if (r < 0) {
        log_error("addresses of nodes: %s", *err.msg ? err.msg : strerror(-r));
        free(c.list);
        loop_timer_set(&n->agent->loop, &n->timer, AGAIN_MS, push, n);
        return;
    }
    free(n->list);
    n->list = c.list;
    n->n = c.n;
}

void kube_nodes_init(struct kube_nodes *n, struct agent *a)
{
    *n = (struct kube_nodes){.agent = a};
}

void kube_nodes_fini(struct kube_nodes *n)
{
    if (n->agent)
        loop_timer_cancel(&n->timer);
    free(n->list);
    n->list = NULL;
}

void kube_nodes_changed(struct kube_nodes *n)
{
    if (n->agent->enforce && (!n->timer.link.next || list_empty(&n->timer.link)))
        loop_timer_set(&n->agent->loop, &n->timer, SETTLE_MS, push, n);
}
