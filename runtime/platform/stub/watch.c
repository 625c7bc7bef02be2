/*
 * epoll_ctl, answered here and told the sentry with the next event (slot.h). Single thread: nobody
 * changes the table meanwhile. Whatever fails, or is out of the ordinary, is the sentry's.
 */
#include "runtime/platform/stub/stub.h"

enum { CTL_ADD = 1, CTL_DEL, CTL_MOD };
enum { ODD_EVENTS = 1 << 28 | 1 << 29 }; /* EPOLLEXCLUSIVE, EPOLLWAKEUP */

struct event {
    uint32_t events;
    uint64_t data;
} __attribute__((packed));

/* What comes of `next` behind what is still to be done. */
static int32_t sum(int32_t before, int32_t next)
{
    switch (before) {
    case CTL_ADD: /* not there for the sentry */
        return next == CTL_DEL ? 0 : CTL_ADD;
    case CTL_DEL:
    case CTL_MOD: /* there */
        return next == CTL_DEL ? CTL_DEL : CTL_MOD;
    default:
        return next;
    }
}

static struct plat_watch_op *op_of(struct watches *w, uint32_t fd)
{
    uint32_t at = w->fd[fd] >> WATCH_OP_SHIFT;

    if (at && at <= WATCH_OPS)
        return &w->ops[at - 1];
    if (w->n >= WATCH_OPS)
        return NULL;
    w->ops[w->n] = (struct plat_watch_op){(int32_t)fd, 0, 0, 0, 0};
    w->fd[fd] |= (w->n + 1) << WATCH_OP_SHIFT;
    return &w->ops[w->n++];
}

bool watch_call(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct watches *w = (struct watches *)(a->base + SLOTS_OFF + LENT_OFF + WATCH_OFF);
    uint32_t fd = (uint32_t)args[2], kind = (uint32_t)args[1];
    struct plat_watch_op *op;
    struct event e = {0, 0};

    if (!w->epoll || w->epoll != (uint32_t)args[0] + 1 || fd >= LENT_MAX ||
        !(w->fd[fd] & WATCH_GRANTED) || kind < CTL_ADD || kind > CTL_MOD ||
        (kind == CTL_ADD) == !!(w->fd[fd] & WATCH_PRESENT))
        return false;
    if (kind != CTL_DEL &&
        (stub_copy(&e, (const void *)args[3], sizeof(e)) < 0 || (e.events & ODD_EVENTS)))
        return false;
    op = op_of(w, fd);
    if (!op)
        return false;
    op->op = sum(op->op, (int32_t)kind);
    op->events = e.events;
    op->data = e.data;
    if (kind == CTL_DEL)
        w->fd[fd] &= ~(uint32_t)WATCH_PRESENT;
    else
        w->fd[fd] |= WATCH_PRESENT;
    slot_of(a)->changed = 1;
    *ret = 0;
    return true;
}
