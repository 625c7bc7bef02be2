/* read, write and their kin; lseek. */
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/syscalls/sys_file.h"

#include <sys/uio.h>

typedef ssize_t transfer_fn(struct task *t, struct file *f, struct uio *u, int64_t *pos);

static long transfer(struct task *t, int fd, gaddr_t buf, uint64_t size, int64_t *pos,
                     transfer_fn *fn)
{
    struct file *f = fd_get(t, fd);
    struct uio u;
    ssize_t n;

    if (!f)
        return -EBADF;
    if ((int64_t)size < 0) { /* no such range of addresses */
        file_put(f);
        return -EFAULT;
    }
    uio_init_guest(&u, t, buf, size);
    n = fn(t, f, &u, pos);
    if (n > 0)
        fd_was_used(t, fd, f, !pos);
    if (n > 0 && !pos && f->host_fd >= 0 && f->pos >= f->inode->size) {
        if (f->pos == n)
            fd_read_whole(t, false);
        fd_was_read_up(t, fd, f);
    }
    file_put(f);
    return n;
}

long sys_read(struct task *t, const struct sysargs *a)
{
    return transfer(t, (int)a->v[0], a->v[1], a->v[2], NULL, vfs_read);
}

long sys_write(struct task *t, const struct sysargs *a)
{
    return transfer(t, (int)a->v[0], a->v[1], a->v[2], NULL, vfs_write);
}

long sys_pread64(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];

    return pos < 0 ? -EINVAL : transfer(t, (int)a->v[0], a->v[1], a->v[2], &pos, vfs_read);
}

long sys_pwrite64(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];

    return pos < 0 ? -EINVAL : transfer(t, (int)a->v[0], a->v[1], a->v[2], &pos, vfs_write);
}

static long transfer_v(struct task *t, struct file *f, gaddr_t iov, uint64_t n, int64_t *pos,
                       transfer_fn *fn)
{
    struct uio u;
    long r = uio_init_guest_iov(&u, t, iov, n);

    if (r < 0)
        return r;
    r = fn(t, f, &u, pos);
    uio_fini(&u);
    return r;
}

static long vectored(struct task *t, const struct sysargs *a, int64_t *pos, transfer_fn *fn)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    long n;

    if (!f)
        return -EBADF;
    if (pos && *pos < 0)
        return -EINVAL;
    n = transfer_v(t, f, a->v[1], a->v[2], pos, fn);
    if (n > 0 && socket_stream_fd(f) >= 0)
        fd_was_used(t, (int)a->v[0], f, !pos);
    return n;
}

long sys_readv(struct task *t, const struct sysargs *a)
{
    return vectored(t, a, NULL, vfs_read);
}

long sys_writev(struct task *t, const struct sysargs *a)
{
    return vectored(t, a, NULL, vfs_write);
}

long sys_preadv(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];

    return vectored(t, a, &pos, vfs_read);
}

long sys_pwritev(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];

    return vectored(t, a, &pos, vfs_write);
}

enum { RWF_KNOWN = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND };

static long check_flags(const struct file *f, int flags, bool write)
{
    if (flags & ~RWF_KNOWN)
        return -EOPNOTSUPP;
    if ((flags & RWF_NOWAIT) && (write || !f->ops->seek))
        return -EOPNOTSUPP;
    return 0;
}

long sys_preadv2(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    long r;

    if (!f)
        return -EBADF;
    r = check_flags(f, (int)a->v[5], false);
    if (r < 0)
        return r;
    if (pos < -1)
        return -EINVAL;
    if (pos >= 0 && !f->ops->seek)
        return -ESPIPE;
    return transfer_v(t, f, a->v[1], a->v[2], pos == -1 ? NULL : &pos, vfs_read);
}

long sys_pwritev2(struct task *t, const struct sysargs *a)
{
    int64_t pos = (int64_t)a->v[3];
    int flags = (int)a->v[5];
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    bool own_pos = pos == -1;
    long n;

    if (!f)
        return -EBADF;
    n = check_flags(f, flags, true);
    if (n < 0)
        return n;
    if (pos < -1)
        return -EINVAL;
    if (pos >= 0 && !f->ops->seek)
        return -ESPIPE;
    if ((flags & RWF_APPEND) && f->inode && f->ops->seek) {
        int64_t end = __atomic_load_n(&f->inode->size, __ATOMIC_ACQUIRE);

        n = transfer_v(t, f, a->v[1], a->v[2], &end, vfs_write);
        if (n > 0 && own_pos)
            (void)vfs_seek(t, f, end, SEEK_SET);
    } else {
        n = transfer_v(t, f, a->v[1], a->v[2], own_pos ? NULL : &pos, vfs_write);
    }
    if (n > 0 && (flags & (RWF_DSYNC | RWF_SYNC)) && f->ops->fsync)
        (void)f->ops->fsync(t, f, !(flags & RWF_SYNC));
    return n;
}

long sys_lseek(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    unsigned whence = (unsigned)a->v[2];

    if (!f)
        return -EBADF;
    return whence > SEEK_HOLE ? -EINVAL : vfs_seek(t, f, (int64_t)a->v[1], (int)whence);
}
