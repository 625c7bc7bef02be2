/* Reading, writing, seeking, polling: the checks that every type of file shares. */
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/vfs/async.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/notify.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <string.h>

static ssize_t dir_or(const struct file *f, ssize_t other)
{
    return f->inode && S_ISDIR(f->inode->mode) ? -EISDIR : other;
}

static ssize_t check_pos(const struct file *f, const struct uio *u, const int64_t *pos)
{
    if (!pos)
        return 0;
    if (!f->ops->seek)
        return -ESPIPE;
    return *pos < 0 || *pos > INT64_MAX - (int64_t)u->left ? -EINVAL : 0;
}

ssize_t vfs_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    int64_t nowhere = 0;
    ssize_t n;

    if (pos && pipe_of(f))
        return -ESPIPE; /* whichever end it is */
    if (!file_readable(f))
        return -EBADF;
    if (!f->ops->read)
        return dir_or(f, -EINVAL);
    n = check_pos(f, u, pos);
    if (n < 0)
        return n;
    if (pos) {
        n = f->ops->read(t, f, u, pos);
    } else if (!f->ops->seek) {
        n = f->ops->read(t, f, u, &nowhere);
    } else {
        mutex_lock(&f->pos_lock);
        n = f->ops->read(t, f, u, &f->pos);
        mutex_unlock(&f->pos_lock);
    }
    if (n > 0)
        notify_file(f, IN_ACCESS);
    return n;
}

ssize_t vfs_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    int64_t nowhere = 0;
    ssize_t n;

    if (pos && pipe_of(f))
        return -ESPIPE;
    if (!file_writable(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    n = check_pos(f, u, pos);
    if (n < 0)
        return n;
    if (pos) {
        n = f->ops->write(t, f, u, pos);
    } else if (!f->ops->seek) {
        n = f->ops->write(t, f, u, &nowhere);
    } else {
        mutex_lock(&f->pos_lock);
        n = f->ops->write(t, f, u, &f->pos);
        mutex_unlock(&f->pos_lock);
    }
    if (f->async && (n == -EAGAIN || (n > 0 && u->left)))
        async_full(f);
    if (n > 0)
        notify_file(f, IN_MODIFY);
    return n;
}

ssize_t vfs_read_kernel(struct task *t, struct file *f, void *data, size_t size, int64_t pos)
{
    struct uio u;

    uio_init_kernel(&u, data, size);
    return vfs_read(t, f, &u, f->ops->seek ? &pos : NULL);
}

ssize_t vfs_write_kernel(struct task *t, struct file *f, const void *data, size_t size, int64_t pos)
{
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)data, size); /* only read from */
    return vfs_write(t, f, &u, f->ops->seek ? &pos : NULL);
}

int64_t vfs_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    int64_t r;

    if (!f->ops->seek)
        return -ESPIPE;
    mutex_lock(&f->pos_lock);
    r = f->ops->seek(t, f, offset, whence);
    mutex_unlock(&f->pos_lock);
    return r;
}

uint32_t vfs_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    uint32_t events;

    if (!f->ops->poll)
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    events = f->ops->poll(t, f, pt);
    /* Who hears of no room waits for some. An epoll that registers hears nothing yet. */
    if (f->async && !(events & POLLOUT) && !(pt && epoll_registers(pt)))
        async_full(f);
    return events;
}

/* Of files that have no inode: pipes, sockets, eventfds. */
static void stat_anonymous(const struct file *f, struct attr *ret)
{
    const char *name = f->ops->name ? f->ops->name : "";
    uint32_t type = 0;

    if (strncmp(name, "pipe:", 5) == 0)
        type = S_IFIFO;
    else if (strncmp(name, "socket:", 7) == 0)
        type = S_IFSOCK;
    *ret = (struct attr){.mode = type | (type == S_IFSOCK ? 0777 : 0600),
                         .nlink = 1,
                         .ino = f->ino,
                         .dev = 13,
                         .blksize = 4096};
}

int vfs_file_attr(struct task *t, struct file *f, struct attr *ret)
{
    if (f->inode)
        return inode_getattr(t, f->inode, ret);
    stat_anonymous(f, ret);
    return 0;
}

void attr_to_stat(const struct attr *a, struct stat *ret)
{
    *ret = (struct stat){.st_dev = a->dev,
                         .st_ino = a->ino,
                         .st_nlink = a->nlink,
                         .st_mode = a->mode,
                         .st_uid = a->uid,
                         .st_gid = a->gid,
                         .st_rdev = a->rdev,
                         .st_size = (off_t)a->size,
                         .st_blksize = a->blksize,
                         .st_blocks = (blkcnt_t)a->blocks,
                         .st_atim = ns_to_timespec(a->atime),
                         .st_mtim = ns_to_timespec(a->mtime),
                         .st_ctim = ns_to_timespec(a->ctime)};
}

int vfs_stat_file(struct task *t, struct file *f, struct stat *ret)
{
    struct attr a;
    int r = vfs_file_attr(t, f, &a);

    if (r == 0)
        attr_to_stat(&a, ret);
    return r;
}
