/* The master side of a pair: ptmx. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/vfs/inode.h"

#include <errno.h>

enum { CHUNK = 2048 };

static bool other_closed(const struct tty *tty)
{
    return tty->was_open && tty->slaves == 0;
}

/* One read's worth into chunk. Lock held. 0: nothing there. */
static size_t take_output(struct tty *tty, char *chunk, size_t size)
{
    const char *from;
    size_t n = 0;

    if (tty->packet && tty->packet_status) {
        chunk[0] = (char)tty->packet_status;
        tty->packet_status = 0;
        return 1;
    }
    if (!ldisc_out_size(&tty->ld))
        return 0;
    if (tty->packet)
        chunk[n++] = TIOCPKT_DATA;
    while (n < size && ldisc_out_size(&tty->ld)) {
        size_t piece = MIN(ldisc_out_peek(&tty->ld, &from), size - n);

        for (size_t i = 0; i < piece; i++)
            chunk[n++] = from[i];
        ldisc_out_consume(&tty->ld, piece);
    }
    return n;
}

static ssize_t master_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct tty *tty = f->private;
    char chunk[CHUNK];
    size_t n = 0;
    int r = 0;

    (void)t;
    (void)pos;
    if (!u->left)
        return 0;
    mutex_lock(&tty->lock);
    while (r == 0 && !(n = take_output(tty, chunk, MIN(u->left, sizeof(chunk))))) {
        if (other_closed(tty))
            r = -EIO;
        else if (file_nonblock(f))
            r = -EAGAIN;
        else
            r = wait_interruptible(&tty->master_wait, &tty->lock, DEADLINE_NONE);
    }
    mutex_unlock(&tty->lock);
    if (r < 0)
        return r;
    waitq_wake(&tty->write_wait, POLLOUT | POLLWRNORM);
    return uio_copy_to(u, chunk, n);
}

static bool input_full(const struct ldisc *l)
{
    unsigned used = l->head - l->tail;

    return l->tio.c_lflag & ICANON ? used >= LDISC_IN - 1 && l->canon_head != l->tail
                                   : used >= LDISC_IN - 2;
}

/* Waits until the slave's side takes characters again. */
static int wait_room(struct tty *tty, const struct file *f)
{
    int r = 0;

    if (file_nonblock(f))
        return -EAGAIN;
    mutex_lock(&tty->lock);
    while (r == 0 && input_full(&tty->ld))
        r = other_closed(tty) ? -EIO
                              : wait_interruptible(&tty->master_wait, &tty->lock, DEADLINE_NONE);
    mutex_unlock(&tty->lock);
    return r;
}

static ssize_t master_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct tty *tty = f->private;
    char chunk[CHUNK];
    ssize_t done = 0;

    (void)t;
    (void)pos;
    while (u->left) {
        ssize_t n = uio_copy_from(u, chunk, MIN(u->left, sizeof(chunk))), at = 0;

        if (n <= 0)
            return done ? done : -EFAULT;
        while (at < n) {
            size_t got = tty_receive(tty, chunk + at, (size_t)(n - at));
            int r = got ? 0 : wait_room(tty, f);

            at += (ssize_t)got;
            done += (ssize_t)got;
            if (r < 0)
                return done ? done : r;
        }
    }
    return done;
}

static uint32_t master_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct tty *tty = f->private;
    uint32_t events = 0;

    (void)t;
    poll_wait(pt, &tty->master_wait);
    mutex_lock(&tty->lock);
    if (ldisc_out_size(&tty->ld))
        events |= POLLIN | POLLRDNORM;
    if (tty->packet && tty->packet_status)
        events |= POLLIN | POLLRDNORM | POLLPRI;
    if (tty->ld.head - tty->ld.tail < LDISC_IN / 2 || tty->ld.tio.c_lflag & ICANON)
        events |= POLLOUT | POLLWRNORM;
    if (other_closed(tty))
        events |= POLLHUP;
    mutex_unlock(&tty->lock);
    return events;
}

static long master_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    return tty_ioctl(t, f->private, f, cmd, arg, true);
}

static void master_release(struct file *f)
{
    struct tty *tty = f->private;

    devpts_remove(tty);
    mutex_lock(&tty->lock);
    tty->master_open = false;
    mutex_unlock(&tty->lock);
    tty_hangup(tty);
    tty_put(tty);
}

const struct file_ops tty_master_ops = {.read = master_read,
                                        .write = master_write,
                                        .poll = master_poll,
                                        .ioctl = master_ioctl,
                                        .async = POLLIN | POLLOUT,
                                        .release = master_release,
                                        .name = "/dev/ptmx"};

int ptmx_open(struct task *t, struct file *f)
{
    struct devpts *d = devpts_of(f);
    struct tty *tty;
    int r;

    if (!d)
        return -ENODEV;
    tty = tty_new();
    if (!tty) {
        devpts_put(d);
        return -ENOMEM;
    }
    tty->master_open = true;
    tty->locked = true;
    tty->uid = t->cred->fsuid;
    tty->gid = t->cred->fsgid;
    r = devpts_add(d, tty);
    devpts_put(d);
    if (r < 0) {
        tty_put(tty);
        return r;
    }
    f->ops = &tty_master_ops;
    f->private = tty;
    return 0;
}
