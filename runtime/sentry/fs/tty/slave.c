/* Reading, writing and polling a terminal (slave side, and host terminals). */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/tty/tty_internal.h"

#include <errno.h>

enum { CHUNK = 2048 };
#define TENTH (NSEC_PER_SEC / 10)

/* ---- read
 * ---------------------------------------------------------------------------------------- */
/* Enough for a read to return? wanted: bytes the reader still has room for. Lock held. */
static bool enough(const struct ldisc *l, size_t wanted)
{
    size_t min = l->tio.c_cc[VMIN];

    if (l->tio.c_lflag & ICANON)
        return ldisc_readable(l);
    if (l->tio.c_cc[VTIME] || !min)
        return ldisc_readable(l);
    return ldisc_available(l) >= MIN(min, wanted);
}

/* Waits until there is something to return. Lock held. 0; 1: end of file or nothing in time. */
static int wait_input(struct tty *tty, const struct file *f, size_t wanted)
{
    const cc_t *cc = tty->ld.tio.c_cc;
    nsec_t deadline = DEADLINE_NONE;

    if (!(tty->ld.tio.c_lflag & ICANON) && !cc[VMIN]) {
        if (!cc[VTIME])
            return !ldisc_readable(&tty->ld);
        deadline = deadline_after(cc[VTIME] * TENTH);
    }
    while (!enough(&tty->ld, wanted)) {
        int r;

        if (tty->hung_up || (!tty->is_host && !tty->master_open))
            return 1;
        if (file_nonblock(f))
            return -EAGAIN;
        r = wait_interruptible(&tty->read_wait, &tty->lock, deadline);
        if (r == -ETIMEDOUT)
            return 1;
        if (r < 0)
            return r;
    }
    return 0;
}

/* Moves what is there, one chunk. Lock held. Bytes or -EFAULT. */
static ssize_t move_out(struct tty *tty, struct uio *u)
{
    char chunk[CHUNK];
    size_t n = ldisc_read(&tty->ld, chunk, MIN(u->left, sizeof(chunk)));

    return n ? uio_copy_to(u, chunk, n) : 0;
}

/* MIN > 0 and TIME > 0: goes on while characters come within TIME of each other. Lock held. */
static bool more_in_time(struct tty *tty, size_t done)
{
    const cc_t *cc = tty->ld.tio.c_cc;

    if (tty->ld.tio.c_lflag & ICANON || !cc[VTIME] || done >= cc[VMIN])
        return false;
    while (!ldisc_readable(&tty->ld))
        if (wait_interruptible(&tty->read_wait, &tty->lock, deadline_after(cc[VTIME] * TENTH)) < 0)
            return false;
    return true;
}

static ssize_t read_locked(struct tty *tty, const struct file *f, struct uio *u)
{
    ssize_t done = 0;
    int r = wait_input(tty, f, u->left);

    if (r != 0)
        return r > 0 ? 0 : r;
    for (;;) {
        bool line = tty->ld.tio.c_lflag & ICANON;
        size_t left = u->left;
        ssize_t n = move_out(tty, u);

        if (n < 0)
            return done ? done : n;
        done += n;
        if (!u->left || (size_t)n < MIN(left, (size_t)CHUNK) || line) {
            /* A full chunk of a longer line goes on. */
            if (!(line && (size_t)n == CHUNK && u->left && ldisc_readable(&tty->ld)) &&
                !(u->left && !line && more_in_time(tty, (size_t)done)))
                return done;
        }
    }
}

static ssize_t slave_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct tty *tty = f->private;
    ssize_t r = tty_check_background(t, tty, SIGTTIN);

    (void)pos;
    if (r < 0 || !u->left)
        return r;
    mutex_lock(&tty->lock);
    r = read_locked(tty, f, u);
    mutex_unlock(&tty->lock);
    if (r > 0) {
        waitq_wake(&tty->master_wait, POLLOUT | POLLWRNORM);
        host_kick(tty);
    }
    return r;
}

/* ---- write
 * --------------------------------------------------------------------------------------- */
/* All of data unless non-blocking or interrupted. Lock held. Bytes or -errno if none. */
static ssize_t write_locked(struct tty *tty, const struct file *f, const char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        struct tty_due due = {0};
        size_t n;
        int r;

        if (tty->hung_up || (!tty->is_host && !tty->master_open))
            return done ? (ssize_t)done : -EIO;
        n = ldisc_write(&tty->ld, data + done, size - done);
        tty_collect_locked(tty, &due);
        done += n;
        if (due.output)
            waitq_wake(&tty->master_wait, POLLIN | POLLRDNORM);
        if (n)
            continue;
        r = file_nonblock(f) ? -EAGAIN
                             : wait_interruptible(&tty->write_wait, &tty->lock, DEADLINE_NONE);
        if (r < 0)
            return done ? (ssize_t)done : r;
    }
    return (ssize_t)done;
}

static ssize_t slave_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct tty *tty = f->private;
    char chunk[CHUNK];
    ssize_t done = 0;
    int check = tty->ld.tio.c_lflag & TOSTOP ? tty_check_background(t, tty, SIGTTOU) : 0;

    (void)pos;
    if (check < 0)
        return check;
    while (u->left) {
        ssize_t n = uio_copy_from(u, chunk, MIN(u->left, sizeof(chunk))), r;

        if (n <= 0)
            return done ? done : -EFAULT;
        mutex_lock(&tty->lock);
        r = write_locked(tty, f, chunk, (size_t)n);
        mutex_unlock(&tty->lock);
        if (r < 0)
            return done ? done : r;
        done += r;
        if (r < n)
            break;
    }
    return done;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------- */
static uint32_t slave_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct tty *tty = f->private;
    uint32_t events = 0;

    (void)t;
    poll_wait(pt, &tty->read_wait);
    poll_wait(pt, &tty->write_wait);
    mutex_lock(&tty->lock);
    if (tty->hung_up || (!tty->is_host && !tty->master_open)) {
        events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLERR;
    } else {
        const struct ldisc *l = &tty->ld;
        size_t min = l->tio.c_lflag & ICANON || l->tio.c_cc[VTIME] ? 1 : l->tio.c_cc[VMIN];

        if (l->tio.c_lflag & ICANON ? ldisc_readable(l) : ldisc_available(l) >= MAX(min, 1UL))
            events |= POLLIN | POLLRDNORM;
        if (!l->stopped && ldisc_out_room(l) > LDISC_OUT / 2)
            events |= POLLOUT | POLLWRNORM;
    }
    mutex_unlock(&tty->lock);
    return events;
}

static long slave_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    return tty_ioctl(t, f->private, f, cmd, arg, false);
}

static void slave_release(struct file *f)
{
    struct tty *tty = f->private;
    bool last;

    mutex_lock(&tty->lock);
    last = --tty->slaves == 0;
    if (last)
        tty->exclusive = false;
    mutex_unlock(&tty->lock);
    if (last) {
        waitq_wake(&tty->master_wait, 0);
        if (tty->is_host)
            host_last_close(tty);
    }
    tty_put(tty);
}

const struct file_ops tty_slave_ops = {.read = slave_read,
                                       .write = slave_write,
                                       .poll = slave_poll,
                                       .ioctl = slave_ioctl,
                                       .async = POLLIN | POLLOUT,
                                       .async_owner = tty_foreground_of,
                                       .release = slave_release,
                                       .name = "/dev/tty"};
