/*
 * Pipes and fifos (pipe(7)): atomic writes up to PIPE_BUF, packet mode, readiness, size changes.
 *
 * All state is under pipe->lock, which is held while bytes move from or to the guest: as on Linux,
 * a guest whose memory is slow delays the others on its own pipe, and nobody else. Wakes are sent
 * only if somebody waits, after the lock is dropped; whoever waits registers before looking at the
 * state under the lock, so none is lost. Sleepers are woken one at a time: a reader that leaves
 * bytes behind wakes the next.
 */
#include "runtime/sentry/fs/pipe/pipe_internal.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* Guards all inodes' pipe pointers and the `files` of fifos. */
static struct mutex g_fifo_lock = MUTEX_INIT;

/* Bytes that all pipes together may hold; atomic. */
static size_t g_charged;

static const struct file_ops pipe_ops;

struct pipe *pipe_of(const struct file *f)
{
    return f->ops == &pipe_ops ? f->private : NULL;
}

bool pipe_charge(size_t size)
{
    if (__atomic_add_fetch(&g_charged, size, __ATOMIC_RELAXED) <= PIPES_SIZE_MAX)
        return true;
    pipe_uncharge(size);
    return false;
}

void pipe_uncharge(size_t size)
{
    (void)__atomic_sub_fetch(&g_charged, size, __ATOMIC_RELAXED);
}

static struct pipe *pipe_alloc(void)
{
    struct pipe *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->charged = pipe_charge(PIPE_DEFAULT_SIZE) ? PIPE_DEFAULT_SIZE : 0;
    p->ring.limit = p->charged ? PIPE_DEFAULT_SIZE : PIPE_ATOMIC;
    waitq_init(&p->read_wait);
    waitq_init(&p->write_wait);
    waitq_init(&p->read_sleep);
    waitq_init(&p->write_sleep);
    waitq_init(&p->open_wait);
    return p;
}

void pipe_signal(struct task *t)
{
    struct l_siginfo info;

    siginfo_user(&info, SIGPIPE, t);
    (void)signal_send_task(t, SIGPIPE, &info);
}

/* ---- reading ------------------------------------------------------------------------------- */
/* Copies out what is there: one packet or a stretch of stream. Lock held, not empty. */
static ssize_t pipe_take(struct pipe *p, struct uio *u)
{
    size_t packet = ring_packet(&p->ring), n = MIN(u->left, p->ring.size);
    ssize_t got;

    if (packet) {
        got = ring_copy(&p->ring, u, MIN(u->left, packet), 0);
        if (got >= 0)
            ring_drop(&p->ring, packet); /* the rest of a packet is lost */
        return got;
    }
    if (p->ring.n_marks)
        n = MIN(n, (size_t)p->ring.marks[0].size);
    got = ring_copy(&p->ring, u, n, 0);
    if (got > 0)
        ring_drop(&p->ring, (size_t)got);
    return got;
}

/* Pollers hear of what edge-triggered epoll calls an event: bytes were written, a full pipe has
 * room again. Sleepers are woken as long as there is something for them. */
static void wake_side(struct waitq *sleepers, struct waitq *pollers, bool sleep, bool poll,
                      uint32_t events)
{
    if (poll)
        waitq_wake(pollers, events);
    if (sleep)
        waitq_wake_one(sleepers, events);
}

static void wake_writers(struct pipe *p, bool sleepers, bool pollers)
{
    wake_side(&p->write_sleep, &p->write_wait, sleepers, pollers, POLLOUT | POLLWRNORM);
}

static void wake_readers(struct pipe *p, bool sleepers, bool pollers)
{
    wake_side(&p->read_sleep, &p->read_wait, sleepers, pollers, POLLIN | POLLRDNORM);
}

static ssize_t pipe_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct pipe *p = f->private;
    bool was_full = false, wake, wake_poll, pass_on;
    ssize_t r = 0;

    (void)t;
    (void)pos;
    if (u->left == 0)
        return 0;
    mutex_lock(&p->lock);
    for (;;) {
        if (p->ring.size) {
            was_full = ring_room(&p->ring) < PIPE_ATOMIC;
            r = pipe_take(p, u);
            break;
        }
        if (!p->writers)
            break;
        r = file_nonblock(f)
                ? -EAGAIN
                : wait_interruptible_exclusive(&p->read_sleep, &p->lock, DEADLINE_NONE);
        if (r < 0)
            break;
    }
    wake = was_full && waitq_has_waiters(&p->write_sleep);
    wake_poll = was_full && ring_room(&p->ring) >= PIPE_ATOMIC && waitq_has_waiters(&p->write_wait);
    pass_on = p->ring.size && waitq_has_waiters(&p->read_sleep);
    mutex_unlock(&p->lock);
    if (wake || wake_poll)
        wake_writers(p, wake, wake_poll);
    if (pass_on)
        wake_readers(p, true, false);
    return r;
}

/* ---- writing ------------------------------------------------------------------------------- */
/* How much of `left` may go in now: nothing if a write that must be atomic doesn't fit. */
static size_t pipe_fits(const struct pipe *p, size_t left, size_t total, bool packet)
{
    size_t room = ring_room(&p->ring);

    if (packet) {
        /* Each packet takes a page of the limit, however short. */
        if (p->ring.n_marks >= p->ring.limit / PIPE_ATOMIC)
            return 0;
        left = MIN(left, (size_t)PIPE_ATOMIC);
        return room >= left ? left : 0;
    }
    if (total <= PIPE_ATOMIC)
        return room >= left ? left : 0;
    return MIN(room, left);
}

static ssize_t pipe_put(struct pipe *p, struct uio *u, size_t n, bool packet)
{
    ssize_t got;
    int e = ring_reserve(&p->ring, n);

    if (e < 0)
        return e;
    got = ring_fill(&p->ring, u, n);
    if (got > 0 && (e = ring_mark(&p->ring, (size_t)got, packet)) < 0) {
        p->ring.size -= (size_t)got;
        return e;
    }
    return got;
}

/* Writes until all is in, an error, or (non-blocking) no more fits. Lock held; drops it to sleep.
 */
static ssize_t pipe_write_locked(struct pipe *p, struct file *f, struct uio *u, size_t *done)
{
    bool packet = __atomic_load_n(&f->flags, __ATOMIC_RELAXED) & O_DIRECT;
    size_t total = u->left;

    while (*done < total) {
        size_t n;
        ssize_t r;

        if (!p->readers)
            return -EPIPE;
        n = pipe_fits(p, total - *done, total, packet);
        if (n) {
            r = pipe_put(p, u, n, packet);
            if (r <= 0)
                return r ? r : -EFAULT;
            *done += (size_t)r;
            if ((size_t)r < n)
                return -EFAULT;
            continue;
        }
        if (file_nonblock(f))
            return -EAGAIN;
        if (*done)
            wake_readers(p, true, true);
        r = wait_interruptible_exclusive(&p->write_sleep, &p->lock, DEADLINE_NONE);
        if (r < 0)
            return r;
    }
    return 0;
}

static ssize_t pipe_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct pipe *p = f->private;
    size_t done = 0;
    bool wake, wake_poll, pass_on;
    ssize_t r;

    (void)pos;
    if (u->left == 0)
        return 0;
    mutex_lock(&p->lock);
    r = pipe_write_locked(p, f, u, &done);
    wake = done && waitq_has_waiters(&p->read_sleep);
    wake_poll = done && waitq_has_waiters(&p->read_wait);
    pass_on = ring_room(&p->ring) && waitq_has_waiters(&p->write_sleep);
    mutex_unlock(&p->lock);
    if (wake || wake_poll)
        wake_readers(p, wake, wake_poll);
    if (pass_on)
        wake_writers(p, true, false);
    if (r == -EPIPE)
        pipe_signal(t);
    return done ? (ssize_t)done : r;
}

/* ---- the rest of a file's life --------------------------------------------------------------- */
static uint32_t pipe_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct pipe *p = f->private;
    uint32_t events = 0;

    (void)t;
    if (file_readable(f))
        poll_wait(pt, &p->read_wait);
    if (file_writable(f))
        poll_wait(pt, &p->write_wait);
    mutex_lock(&p->lock);
    if (file_readable(f)) {
        if (p->ring.size)
            events |= POLLIN | POLLRDNORM;
        /* A fifo that had no writer since it was opened has not been hung up. */
        if (!p->writers && (int64_t)p->writer_opens != f->pos)
            events |= POLLHUP;
    }
    if (file_writable(f)) {
        if (ring_room(&p->ring) >= PIPE_ATOMIC)
            events |= POLLOUT | POLLWRNORM;
        if (!p->readers)
            events |= POLLERR;
    }
    mutex_unlock(&p->lock);
    return events;
}

static long pipe_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    int n;

    if (cmd != FIONREAD)
        return -ENOTTY;
    n = (int)pipe_available(f->private);
    return copy_out(t, arg, &n, sizeof(n));
}

static void pipe_free(struct pipe *p)
{
    pipe_uncharge(p->charged);
    ring_fini(&p->ring);
    free(p);
}

/* Wakes whoever an open or a close may concern; over: one side is gone. Lock held: afterwards p may
 * go away. */
static void wake_all_locked(struct pipe *p, bool over)
{
    waitq_wake(&p->read_wait, over ? POLLIN | POLLRDNORM | POLLHUP : 0);
    waitq_wake(&p->write_wait, over ? POLLOUT | POLLWRNORM | POLLERR : 0);
    waitq_wake(&p->read_sleep, 0);
    waitq_wake(&p->write_sleep, 0);
    waitq_wake(&p->open_wait, 0);
}

/* Gives up what f's mode and reference held. */
static void pipe_leave(struct pipe *p, unsigned readers, unsigned writers)
{
    bool last;

    mutex_lock(&g_fifo_lock);
    mutex_lock(&p->lock);
    p->readers -= readers;
    p->writers -= writers;
    last = --p->files == 0;
    if (last && p->slot)
        *p->slot = NULL;
    if (!last)
        wake_all_locked(p, !p->readers != !p->writers);
    mutex_unlock(&p->lock);
    mutex_unlock(&g_fifo_lock);
    if (last)
        pipe_free(p);
}

static void pipe_release(struct file *f)
{
    if (f->private)
        pipe_leave(f->private, file_readable(f), file_writable(f));
}

static const struct file_ops pipe_ops = {
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
    .async = POLLIN | POLLOUT,
    .name = "pipe:[%lu]",
};

/* ---- making and opening ---------------------------------------------------------------------- */
int pipe_new(unsigned flags, struct file **ret_read, struct file **ret_write)
{
    unsigned status = flags & (O_NONBLOCK | O_DIRECT);
    struct pipe *p = pipe_alloc();
    struct file *r, *w;

    if (!p)
        return -ENOMEM;
    if (file_new(&pipe_ops, O_RDONLY | status, NULL, &r) < 0) {
        pipe_free(p);
        return -ENOMEM;
    }
    if (file_new(&pipe_ops, O_WRONLY | status, NULL, &w) < 0) {
        file_put(r);
        pipe_free(p);
        return -ENOMEM;
    }
    p->readers = p->writers = p->reader_opens = p->writer_opens = 1;
    p->files = 2;
    r->private = w->private = p;
    w->ino = r->ino;
    *ret_read = r;
    *ret_write = w;
    return 0;
}

static struct pipe *fifo_pipe(struct pipe **slot)
{
    struct pipe *p;

    mutex_lock(&g_fifo_lock);
    p = *slot;
    if (!p && (p = pipe_alloc())) {
        *slot = p;
        p->slot = slot;
    }
    if (p)
        p->files++;
    mutex_unlock(&g_fifo_lock);
    return p;
}

/* Waits until *opens, how often the other side was opened, changes. Lock held. */
static int fifo_wait_partner(struct pipe *p, const unsigned *opens)
{
    unsigned before = *opens;

    while (*opens == before) {
        int r = wait_interruptible(&p->open_wait, &p->lock, DEADLINE_NONE);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Counts this opener in and waits for the other side. Lock held. */
static int fifo_enter(struct pipe *p, struct file *f)
{
    bool reads = file_readable(f), writes = file_writable(f);

    if (writes && !reads && file_nonblock(f) && !p->readers)
        return -ENXIO;
    /* Who didn't wait for a writer isn't hung up on before one came; all others are. */
    f->pos = reads && !writes && !p->writers && file_nonblock(f) ? p->writer_opens : 0;
    p->readers += reads;
    p->reader_opens += reads;
    p->writers += writes;
    p->writer_opens += writes;
    wake_all_locked(p, false);
    if (!writes && !p->writers && !file_nonblock(f))
        return fifo_wait_partner(p, &p->writer_opens);
    if (!reads && !p->readers)
        return fifo_wait_partner(p, &p->reader_opens);
    return 0;
}

int fifo_open(struct task *t, struct file *f, struct pipe **slot)
{
    struct pipe *p = fifo_pipe(slot);
    int r;

    (void)t;
    if (!p)
        return -ENOMEM;
    mutex_lock(&p->lock);
    r = fifo_enter(p, f);
    mutex_unlock(&p->lock);
    if (r < 0) {
        bool entered = r != -ENXIO;

        pipe_leave(p, entered && file_readable(f), entered && file_writable(f));
        return r;
    }
    f->ops = &pipe_ops;
    f->private = p;
    return 0;
}

int pipe_attach(struct pipe *p, struct file *f)
{
    bool reads = file_readable(f), writes = file_writable(f);

    mutex_lock(&g_fifo_lock);
    mutex_lock(&p->lock);
    p->files++;
    p->readers += reads;
    p->reader_opens += reads;
    p->writers += writes;
    p->writer_opens += writes;
    f->pos = 0;
    wake_all_locked(p, false);
    mutex_unlock(&p->lock);
    mutex_unlock(&g_fifo_lock);
    f->ops = &pipe_ops;
    f->private = p;
    return 0;
}
