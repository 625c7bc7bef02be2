/* The memory devices: null, zero, full, random, urandom. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/dev/dev_internal.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <linux/random.h>
#include <sys/random.h>

enum { RANDOM_CHUNK = 1024, ENTROPY_BITS = 256 };

static ssize_t null_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    (void)t;
    (void)f;
    (void)u;
    (void)pos;
    return 0;
}

static ssize_t null_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    size_t size = u->left;

    (void)t;
    (void)f;
    (void)pos;
    uio_skip(u, size);
    return (ssize_t)size;
}

static ssize_t zero_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    (void)t;
    (void)f;
    (void)pos;
    return u->left ? uio_zero(u, u->left) : 0;
}

static ssize_t full_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    (void)t;
    (void)f;
    (void)pos;
    return u->left ? -ENOSPC : 0;
}

static ssize_t random_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    char chunk[RANDOM_CHUNK];
    ssize_t done = 0;

    (void)f;
    (void)pos;
    while (u->left) {
        size_t n = MIN(u->left, sizeof(chunk));
        ssize_t r = getrandom(chunk, n, 0);

        if (r > 0)
            r = uio_copy_to(u, chunk, (size_t)r);
        if (r <= 0)
            return done ? done : (r ? -EFAULT : 0);
        done += r;
        if (signal_pending(t))
            break;
    }
    return done;
}

static uint32_t random_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    (void)t;
    (void)f;
    (void)pt;
    return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
}

static long random_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    int bits = ENTROPY_BITS;

    (void)f;
    switch (cmd) {
    case RNDGETENTCNT:
        return copy_out(t, arg, &bits, sizeof(bits));
    case RNDADDTOENTCNT:
    case RNDADDENTROPY:
    case RNDZAPENTCNT:
    case RNDCLEARPOOL:
        return -EPERM; /* the pool is the host's */
    default:
        return -EINVAL;
    }
}

static int64_t mem_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    (void)t;
    (void)f;
    (void)offset;
    (void)whence;
    return 0;
}

static int zero_mmap(struct task *t, struct file *f, int prot, int flags, uint64_t offset,
                     uint64_t size, struct mmap_backing *ret)
{
    bool writable = file_writable(f) || !(flags & MAP_SHARED);

    (void)t;
    (void)prot;
    (void)offset;
    (void)size;
    *ret = (struct mmap_backing){.fd = -1,
                                 .max_prot = PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0)};
    return 0;
}

const struct file_ops dev_null_ops = {.read = null_read, .write = null_write, .seek = mem_seek};
const struct file_ops dev_zero_ops = {
    .read = zero_read, .write = null_write, .seek = mem_seek, .mmap = zero_mmap};
const struct file_ops dev_full_ops = {.read = zero_read, .write = full_write, .seek = mem_seek};
const struct file_ops dev_random_ops = {.read = random_read,
                                        .write = null_write,
                                        .seek = mem_seek,
                                        .poll = random_poll,
                                        .ioctl = random_ioctl};
