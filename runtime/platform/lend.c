/*
 * Descriptors lent to stubs. Validity is a generation number in shared memory, so that taking one
 * back is one store; the stub's own descriptor is closed when one of its threads comes by.
 */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <sched.h>

enum { BUSY_TURNS = 2000 }; /* hostile code may never be done: its position is then its loss */

static int lend(struct plat_thread *th, int guest_fd, int host_fd, unsigned flags,
                const struct plat_lend *how)
{
    struct plat_space *s = th->space;
    struct slot_op *op;
    struct lent *l;
    uint32_t tag;
    int r;

    if (guest_fd < 0 || guest_fd >= LENT_MAX)
        return -ERANGE;
    if (th->n_ops >= SLOT_OPS) /* no flush here: the caller may hold locks */
        return -ENOSPC;
    r = ops_send_fds(th, &host_fd, 1, &tag);
    if (r < 0)
        return r;
    op = ops_add(th, OP_DONATE);
    if (!op)
        return -ENOSPC;
    (void)pthread_mutex_lock(&s->lock);
    if (!++s->lent_generation)
        s->lent_generation = 1;
    op->tag = tag;
    op->a[0] = (uint64_t)guest_fd;
    op->a[1] = s->lent_generation;
    l = lent_at(s, guest_fd);
    l->flags = (uint16_t)flags;
    l->pos = how->pos ? *how->pos : 0;
    l->limit = how->limit;
    l->read = l->written = 0;
    __atomic_store_n(&l->generation, s->lent_generation, __ATOMIC_SEQ_CST);
    (void)pthread_mutex_unlock(&s->lock);
    return 0;
}

int plat_lend(struct plat_thread *th, int guest_fd, int host_fd, const struct plat_lend *how)
{
    bool write = how->limit > 0 && th->space->plat->direct;

    return lend(th, guest_fd, host_fd,
                LENT_FILE | (how->pos ? LENT_POS : 0) | (write ? LENT_WRITE : 0) |
                    (how->times ? LENT_TIMES : 0),
                how);
}

/* The stub's stamp, taken; a lie is at most as old as the machine. */
static bool used(uint64_t *stamp, uint64_t *ret_ago)
{
    uint64_t at = __atomic_load_n(stamp, __ATOMIC_RELAXED);

    if (!at)
        return false;
    at = __atomic_exchange_n(stamp, 0, __ATOMIC_ACQ_REL);
    *ret_ago = at ? turn_ns_since(at) : 0;
    return at != 0;
}

bool plat_lent_used(struct plat_space *s, int guest_fd, struct plat_lent_use *ret)
{
    struct lent *l = lent_at(s, guest_fd);

    ret->read = used(&l->read, &ret->read_ago);
    ret->written = used(&l->written, &ret->written_ago);
    return ret->read || ret->written;
}

int plat_lend_stream(struct plat_thread *th, int guest_fd, int host_fd, bool nonblock)
{
    if (!th->space->plat->direct)
        return -EPERM;
    return lend(th, guest_fd, host_fd, LENT_RECV | (nonblock ? LENT_SEND : 0),
                &(const struct plat_lend){.pos = NULL});
}

int64_t plat_take_back(struct plat_space *s, int guest_fd)
{
    struct lent *l = lent_at(s, guest_fd);
    int64_t pos;

    __atomic_store_n(&l->generation, 0, __ATOMIC_SEQ_CST);
    for (int i = 0; i < BUSY_TURNS && __atomic_load_n(&l->busy, __ATOMIC_SEQ_CST); i++)
        (void)sched_yield();
    pos = __atomic_load_n(&l->pos, __ATOMIC_ACQUIRE);
    return pos < 0 ? 0 : pos;
}

int plat_revoke(struct plat_thread *th, int guest_fd)
{
    struct slot_op *op = th->n_ops < SLOT_OPS ? ops_add(th, OP_REVOKE) : NULL;

    if (!op)
        return -ENOSPC;
    op->a[0] = (uint64_t)guest_fd;
    return 0;
}

void plat_space_hold(struct plat_space *s)
{
    (void)plat_space_get(s);
}

void plat_space_release(struct plat_space *s)
{
    plat_space_put(s);
}
