/*
 * Calls that are answered here and told the sentry with the next event, or not at all (slot.h):
 * epoll_ctl; of a file just opened or read, fstat, the read that finds its end, and close. Single
 * thread: nobody changes the table meanwhile. Whatever fails, or is out of the ordinary, is the
 * sentry's.
 */
#include "runtime/platform/stub/stub.h"

enum { CTL_ADD = 1, CTL_DEL, CTL_MOD };
enum { AT_EMPTY = 0x1000 };
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

static struct plat_told *op_of(struct watches *w, uint32_t fd)
{
    uint32_t at = w->fd[fd] >> WATCH_OP_SHIFT;

    if (at && at <= WATCH_OPS)
        return &w->ops[at - 1];
    if (w->n >= WATCH_OPS)
        return NULL;
    w->ops[w->n] = (struct plat_told){(int32_t)fd, 0, 0, 0, 0};
    w->fd[fd] |= (w->n + 1) << WATCH_OP_SHIFT;
    return &w->ops[w->n++];
}

static struct watches *watches_of(const struct area *a)
{
    return (struct watches *)(a->base + SLOTS_OFF + LENT_OFF + WATCH_OFF);
}

static bool watch_call(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct watches *w = watches_of(a);
    uint32_t fd = (uint32_t)args[2], kind = (uint32_t)args[1];
    struct plat_told *op;
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

/* What is known of a descriptor, or NULL. */
static struct lent *known_of(const struct area *a, uint64_t fd, uint64_t what)
{
    struct lent *l;

    if ((uint32_t)fd >= LENT_MAX)
        return NULL;
    l = lent_at(a, (uint32_t)fd);
    return __atomic_load_n(&l->known, __ATOMIC_SEQ_CST) & what ? l : NULL;
}

static struct known_stat *last_of(const struct area *a)
{
    return (struct known_stat *)(a->base + SLOTS_OFF + LENT_OFF + KNOWN_OFF);
}

static bool known_fstat(const struct area *a, uint64_t fd, uint64_t out, uint64_t *ret)
{
    const struct known_stat *k = last_of(a);

    *ret = 0;
    return known_of(a, fd, PLAT_KNOWN_STAT) && k->fd == (uint32_t)fd &&
           stub_copy((void *)out, k->st, sizeof(k->st)) == 0;
}

/* fstat(3) is this call with an empty name. */
static bool known_fstatat(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    char first = 1;

    return (uint32_t)args[3] == AT_EMPTY && known_of(a, args[0], PLAT_KNOWN_STAT) &&
           stub_copy(&first, (const void *)args[1], 1) == 0 && !first &&
           known_fstat(a, args[0], args[2], ret);
}

static bool known_end(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    *ret = 0;
    return known_of(a, args[0], PLAT_KNOWN_END) && (int64_t)args[2] > 0;
}

/* The whole file at once. */
static bool known_data(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l = known_of(a, args[0], PLAT_KNOWN_DATA);
    struct watches *w = watches_of(a);
    const struct known_stat *k = last_of(a);
    uint32_t fd = (uint32_t)args[0];
    uint64_t known;

    if (!l || k->fd != fd || (int64_t)args[2] < (int64_t)k->size || k->size > PLAT_KNOWN_BYTES ||
        w->n >= WATCH_OPS || stub_copy((void *)args[1], k->data, k->size) < 0)
        return false;
    known = __atomic_load_n(&l->known, __ATOMIC_RELAXED);
    if (known) /* it may be taken back at this moment */
        (void)__atomic_compare_exchange_n(&l->known, &known,
                                          (known & ~(uint64_t)PLAT_KNOWN_DATA) | PLAT_KNOWN_END,
                                          false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    w->ops[w->n++] = (struct plat_told){(int32_t)fd, PLAT_TOLD_READ, 0, 0, k->size};
    slot_of(a)->changed = 1;
    *ret = k->size;
    return true;
}

/* Not if there is something of ours to close too. */
static bool known_close(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l = known_of(a, args[0], PLAT_KNOWN_CLOSE);
    struct watches *w = watches_of(a);
    uint32_t fd = (uint32_t)args[0];

    if (!l || proc_of(a)->donated[fd] || w->fd[fd] || w->n >= WATCH_OPS)
        return false;
    __atomic_store_n(&l->known, 0, __ATOMIC_RELAXED);
    w->ops[w->n++] = (struct plat_told){(int32_t)fd, PLAT_TOLD_CLOSE, 0, 0, 0};
    slot_of(a)->changed = 1;
    *ret = 0;
    return true;
}

bool told_is(uint64_t nr)
{
    return nr == __NR_epoll_ctl || nr == __NR_fstat || nr == __NR_newfstatat || nr == __NR_close;
}

bool told_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    switch (nr) {
    case __NR_epoll_ctl:
        return watch_call(a, args, ret);
    case __NR_fstat:
        return known_fstat(a, args[0], args[1], ret);
    case __NR_newfstatat:
        return known_fstatat(a, args, ret);
    case __NR_read:
        return known_data(a, args, ret) || known_end(a, args, ret);
    case __NR_close:
        return known_close(a, args, ret);
    default:
        return false;
    }
}
