/*
 * io_setup(2) and its kin. A request is carried out by the thread that submits it, as Linux does
 * for files that can't do better; its result waits in the context until it is fetched. So nothing
 * can be cancelled, and a request that blocks (a pipe, a socket) blocks io_submit.
 *
 * The context's number is the address of a page in the guest, which libraries read: it stays
 * zero, which sends them to the system call.
 *
 * Threats: contexts and their events are bounded for the whole sandbox (aio-max-nr).
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/syscalls/deadline.h"
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/wait.h"

#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>

enum { AIO_EVENTS_MAX = 65536, AIO_BATCH = 32 };

struct aio_context {
    struct list link;
    struct ref ref; /* the table's, and those who use it */
    gaddr_t id;
    unsigned size, n, first; /* events: room, how many wait, the oldest */
    bool destroyed;
    struct waitq wait;
    struct io_event events[];
};

struct aio_table {
    struct mutex lock; /* guards the contexts, too */
    struct list contexts;
};

static unsigned g_aio_events; /* atomic: room in all contexts */

/* ---- contexts ---------------------------------------------------------------------------------*/
static void context_put(struct aio_context *c)
{
    if (!ref_put(&c->ref))
        return;
    (void)__atomic_fetch_sub(&g_aio_events, c->size, __ATOMIC_RELAXED);
    free(c);
}

static void context_cleanup(struct aio_context **c)
{
    if (*c)
        context_put(*c);
}
#define AUTO_CONTEXT CLEANUP(context_cleanup) struct aio_context *

static void table_free(void *table)
{
    struct aio_table *tab = table;
    struct aio_context *c, *next;

    list_for_each_entry_safe (c, next, &tab->contexts, link)
        context_put(c);
    free(tab);
}

static struct aio_table *table_of(struct mm *mm, bool make)
{
    struct aio_table *tab;

    mutex_lock(&mm->lock);
    tab = mm->aio;
    if (!tab && make && (tab = calloc(1, sizeof(*tab)))) {
        list_init(&tab->contexts);
        mm->aio_free = table_free;
        mm->aio = tab;
    }
    mutex_unlock(&mm->lock);
    return tab;
}

static struct aio_context *find(struct task *t, gaddr_t id)
{
    struct aio_table *tab = table_of(t->mm, false);
    struct aio_context *c, *found = NULL;

    if (!tab)
        return NULL;
    mutex_lock(&tab->lock);
    list_for_each_entry (c, &tab->contexts, link)
        if (c->id == id) {
            ref_get(&c->ref);
            found = c;
            break;
        }
    mutex_unlock(&tab->lock);
    return found;
}

static struct aio_context *context_new(unsigned size)
{
    struct aio_context *c;

    if (__atomic_fetch_add(&g_aio_events, size, __ATOMIC_RELAXED) + size > AIO_EVENTS_MAX) {
        (void)__atomic_fetch_sub(&g_aio_events, size, __ATOMIC_RELAXED);
        return NULL;
    }
    c = calloc(1, sizeof(*c) + size * sizeof(c->events[0]));
    if (!c) {
        (void)__atomic_fetch_sub(&g_aio_events, size, __ATOMIC_RELAXED);
        return NULL;
    }
    c->size = size;
    ref_init(&c->ref);
    waitq_init(&c->wait);
    return c;
}

long sys_io_setup(struct task *t, const struct sysargs *a)
{
    const struct map_request page = {
        .size = PAGE_BYTES, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE | MAP_ANONYMOUS};
    unsigned size = (unsigned)a->v[0];
    struct aio_context *c;
    struct aio_table *tab;
    uint64_t id;
    long at;

    if (copy_in(t, &id, a->v[1], sizeof(id)) < 0)
        return -EFAULT;
    if (id || !size || size > INT32_MAX / sizeof(struct io_event))
        return -EINVAL;
    if (size > AIO_EVENTS_MAX)
        return -EAGAIN;
    tab = table_of(t->mm, true);
    c = tab ? context_new(size) : NULL;
    if (!c)
        return -EAGAIN;
    at = mm_map(t, &page);
    if (at < 0 || copy_out(t, a->v[1], &at, sizeof(at)) < 0) {
        if (at >= 0)
            (void)mm_unmap(t, (uint64_t)at, PAGE_BYTES);
        context_put(c);
        return at < 0 ? at : -EFAULT;
    }
    c->id = (gaddr_t)at;
    mutex_lock(&tab->lock);
    list_append(&tab->contexts, &c->link);
    mutex_unlock(&tab->lock);
    return 0;
}

long sys_io_destroy(struct task *t, const struct sysargs *a)
{
    AUTO_CONTEXT c = find(t, a->v[0]);
    struct aio_table *tab = table_of(t->mm, false);
    bool mine;

    if (!c)
        return -EINVAL;
    mutex_lock(&tab->lock);
    mine = !c->destroyed;
    c->destroyed = true;
    if (mine)
        list_remove(&c->link);
    mutex_unlock(&tab->lock);
    if (!mine)
        return -EINVAL;
    waitq_wake(&c->wait, 0);
    (void)mm_unmap(t, c->id, PAGE_BYTES);
    context_put(c); /* the table's */
    return 0;
}

/* ---- requests ---------------------------------------------------------------------------------*/
static long carry_out(struct task *t, struct file *f, const struct iocb *cb)
{
    bool write = cb->aio_lio_opcode == IOCB_CMD_PWRITE || cb->aio_lio_opcode == IOCB_CMD_PWRITEV;
    int64_t pos = cb->aio_offset, *at = f->ops->seek ? &pos : NULL;
    struct uio u;
    long r = 0;

    switch (cb->aio_lio_opcode) {
    case IOCB_CMD_FSYNC:
    case IOCB_CMD_FDSYNC:
        return f->ops->fsync(t, f, cb->aio_lio_opcode == IOCB_CMD_FDSYNC);
    case IOCB_CMD_PREADV:
    case IOCB_CMD_PWRITEV:
        r = uio_init_guest_iov(&u, t, cb->aio_buf, cb->aio_nbytes);
        break;
    default:
        uio_init_guest(&u, t, cb->aio_buf, cb->aio_nbytes);
    }
    if (r < 0)
        return r;
    r = write ? vfs_write(t, f, &u, at) : vfs_read(t, f, &u, at);
    uio_fini(&u);
    return r == -ERESTARTSYS ? -EINTR : r;
}

/* What io_submit itself refuses; the rest is told by the event. */
static long check(const struct file *f, const struct iocb *cb)
{
    if (cb->aio_reserved2 || (cb->aio_flags & ~(unsigned)IOCB_FLAG_RESFD) ||
        (int64_t)cb->aio_nbytes < 0)
        return -EINVAL;
    if (cb->aio_rw_flags)
        return -EOPNOTSUPP;
    switch (cb->aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PREADV:
        if (!file_readable(f))
            return -EBADF;
        return f->ops->read ? (cb->aio_offset < 0 ? -EINVAL : 0) : -EINVAL;
    case IOCB_CMD_PWRITE:
    case IOCB_CMD_PWRITEV:
        if (!file_writable(f))
            return -EBADF;
        return f->ops->write ? (cb->aio_offset < 0 ? -EINVAL : 0) : -EINVAL;
    case IOCB_CMD_FSYNC:
    case IOCB_CMD_FDSYNC:
        return f->ops->fsync ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

static bool has_room(struct aio_table *tab, const struct aio_context *c)
{
    bool room;

    mutex_lock(&tab->lock);
    room = c->n < c->size && !c->destroyed;
    mutex_unlock(&tab->lock);
    return room;
}

static void complete(struct task *t, struct aio_context *c, const struct io_event *e)
{
    struct aio_table *tab = table_of(t->mm, false);

    mutex_lock(&tab->lock);
    if (c->n < c->size) {
        c->events[(c->first + c->n) % c->size] = *e;
        c->n++;
    }
    mutex_unlock(&tab->lock);
    waitq_wake(&c->wait, 0);
}

static long submit_one(struct task *t, struct aio_context *c, gaddr_t at)
{
    const uint64_t one = 1;
    struct io_event e = {.obj = at};
    struct iocb cb;
    long r;

    if (copy_in(t, &cb, at, sizeof(cb)) < 0)
        return -EFAULT;
    AUTO_FILE f = fd_get(t, (int)cb.aio_fildes);
    AUTO_FILE event = cb.aio_flags & IOCB_FLAG_RESFD ? fd_get(t, (int)cb.aio_resfd) : NULL;

    if (!f || ((cb.aio_flags & IOCB_FLAG_RESFD) && !event))
        return -EBADF;
    r = check(f, &cb);
    if (r == 0 && event &&
        (!event->ops->name || strcmp(event->ops->name, "anon_inode:[eventfd]") != 0))
        r = -EINVAL;
    if (r == 0 && !has_room(table_of(t->mm, false), c))
        r = -EAGAIN;
    if (r < 0)
        return r;
    e.data = cb.aio_data;
    e.res = carry_out(t, f, &cb);
    complete(t, c, &e);
    if (event)
        (void)vfs_write_kernel(t, event, &one, sizeof(one), -1);
    return 0;
}

long sys_io_submit(struct task *t, const struct sysargs *a)
{
    AUTO_CONTEXT c = find(t, a->v[0]);
    int64_t n = (int64_t)a->v[1], done = 0;
    uint64_t at;
    long r = 0;

    if (!c || n < 0)
        return -EINVAL;
    for (n = MIN(n, (int64_t)c->size); done < n; done++) {
        r = copy_in(t, &at, a->v[2] + (uint64_t)done * sizeof(at), sizeof(at));
        if (r == 0)
            r = submit_one(t, c, at);
        if (r < 0)
            break;
    }
    return done ? done : r;
}

/* Everything is done when io_submit returns: there is nothing to cancel. */
long sys_io_cancel(struct task *t, const struct sysargs *a)
{
    AUTO_CONTEXT c = find(t, a->v[0]);
    struct iocb cb;

    (void)c;
    return copy_in(t, &cb, a->v[1], sizeof(cb)) < 0 ? -EFAULT : -EINVAL;
}

/* ---- results ----------------------------------------------------------------------------------*/
static unsigned take_locked(struct aio_context *c, struct io_event *ret, unsigned most)
{
    unsigned n = MIN(c->n, most);

    for (unsigned i = 0; i < n; i++)
        ret[i] = c->events[(c->first + i) % c->size];
    c->first = (c->first + n) % c->size;
    c->n -= n;
    return n;
}

static long get_events(struct task *t, struct aio_context *c, int64_t least, int64_t most,
                       gaddr_t out, nsec_t deadline)
{
    struct aio_table *tab = table_of(t->mm, false);
    struct io_event batch[AIO_BATCH];
    int64_t done = 0;
    long r = 0;

    while (r == 0 && done < most) {
        unsigned n;

        mutex_lock(&tab->lock);
        while (r == 0 && !c->n && done < least)
            r = c->destroyed ? -EINVAL : wait_interruptible(&c->wait, &tab->lock, deadline);
        n = take_locked(c, batch, (unsigned)MIN(most - done, (int64_t)AIO_BATCH));
        mutex_unlock(&tab->lock);
        if (!n)
            break;
        if (copy_out(t, out + (uint64_t)done * sizeof(batch[0]), batch, n * sizeof(batch[0])) < 0)
            return done ? done : -EFAULT;
        done += n;
    }
    if (done || r == -ETIMEDOUT)
        return done;
    return r == -ERESTARTSYS ? -EINTR : r;
}

static long events_until(struct task *t, const struct sysargs *a, nsec_t deadline)
{
    AUTO_CONTEXT c = find(t, a->v[0]);
    int64_t least = (int64_t)a->v[1], most = (int64_t)a->v[2];

    if (!c || least < 0 || most < least)
        return -EINVAL;
    return get_events(t, c, least, most, a->v[3], deadline);
}

long sys_io_getevents(struct task *t, const struct sysargs *a)
{
    nsec_t deadline;
    int r = deadline_from_timespec(t, a->v[4], &deadline);

    return r < 0 ? r : events_until(t, a, deadline);
}

long sys_io_pgetevents(struct task *t, const struct sysargs *a)
{
    struct {
        uint64_t mask, size;
    } sig = {0};
    nsec_t deadline;
    int r = deadline_from_timespec(t, a->v[4], &deadline);

    if (r == 0 && a->v[5] && copy_in(t, &sig, a->v[5], sizeof(sig)) < 0)
        r = -EFAULT;
    if (r == 0 && sig.mask)
        r = temporary_mask_from(t, sig.mask, sig.size);
    return r < 0 ? r : events_until(t, a, deadline);
}
