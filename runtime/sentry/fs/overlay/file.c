/* Overlay: data and attributes, handed on to the real inode; what writes copies up first. */
#include "runtime/sentry/fs/overlay/overlay.h"

#include <errno.h>
#include <string.h>

static bool is_private(const char *name)
{
    return strncmp(name, OVL_PREFIX, strlen(OVL_PREFIX)) == 0;
}

static ssize_t ovl_read(struct inode *i, struct uio *u, int64_t pos)
{
    struct inode *real = ovl_data(ovl_node(i));

    return real->ops->read ? real->ops->read(real, u, pos) : -EINVAL;
}

static ssize_t ovl_write(struct inode *i, struct uio *u, int64_t pos)
{
    struct ovl_node *n = ovl_node(i);
    struct inode *up = ovl_upper(n);
    ssize_t r;

    mutex_lock(&up->io_lock);
    r = up->ops->write(up, u, pos);
    mutex_unlock(&up->io_lock);
    if (r > 0)
        inode_grew(i, pos + r);
    return r;
}

static int ovl_data_fd(struct inode *i, bool writable)
{
    struct inode *real = ovl_data(ovl_node(i));

    return real->ops->data_fd ? real->ops->data_fd(real, writable) : -ENODEV;
}

static int ovl_fallocate(struct inode *i, int mode, int64_t offset, int64_t size)
{
    struct inode *up = ovl_upper(ovl_node(i));
    int r = up->ops->fallocate ? up->ops->fallocate(up, mode, offset, size) : -EOPNOTSUPP;

    if (r == 0)
        inode_grew(i, __atomic_load_n(&up->size, __ATOMIC_ACQUIRE));
    return r;
}

static int64_t ovl_seek_data(struct inode *i, int64_t offset, int whence)
{
    struct inode *real = ovl_data(ovl_node(i));

    if (real->ops->seek_data)
        return real->ops->seek_data(real, offset, whence);
    return whence == SEEK_DATA ? offset : i->size;
}

static int ovl_fsync(struct inode *i, bool data_only)
{
    struct inode *up = ovl_upper(ovl_node(i));

    return up && up->ops->fsync ? up->ops->fsync(up, data_only) : 0;
}

static int ovl_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    struct ovl_node *n = ovl_node(i);
    struct inode *real = ovl_real(n), *data = ovl_data(n);
    uint32_t nlink = i->nlink;
    int r;

    if (!ovl_upper(n)) { /* never changes: our fields are as good */
        inode_fill_attr(i, ret);
        return 0;
    }
    r = inode_getattr(t, real, ret);
    if (r < 0)
        return r;
    ret->ino = i->ino;
    ret->dev = i->super->dev;
    if (nlink == 0)
        ret->nlink = 0;
    if (S_ISDIR(ret->mode))
        ret->size = 4096; /* a disk's directories, not tmpfs's: programs compare */
    if (data != real) {
        ret->size = (uint64_t)data->size;
        ret->blocks = data->blocks;
    }
    return 0;
}

/* A layer that is not written to keeps its times; what is read of it moves ours until then. */
static void ovl_touched(struct inode *i, unsigned mask, nsec_t now)
{
    struct inode *up = ovl_upper(ovl_node(i));

    if (up)
        inode_touch_at(up, mask, now);
}

static int ovl_setattr(struct task *t, struct inode *i, const struct attr_change *c)
{
    struct ovl_node *n = ovl_node(i);
    enum ovl_copy how = !(c->mask & ATTR_SIZE) ? OVL_META : c->size ? OVL_DATA : OVL_NO_DATA;
    struct inode *up;
    int r;

    if ((c->mask & ATTR_SIZE) && !S_ISREG(i->mode))
        return -EINVAL;
    r = ovl_copy_up(t, n, how);
    if (r < 0)
        return r;
    up = ovl_upper(n);
    if (c->mask & ATTR_SIZE)
        mutex_lock(&up->io_lock);
    r = up->ops->setattr(t, up, c);
    if (c->mask & ATTR_SIZE)
        mutex_unlock(&up->io_lock);
    ovl_sync(n);
    return r;
}

static ssize_t ovl_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
    ssize_t n = inode_readlink(t, ovl_real(ovl_node(i)), buf, size);

    if (n > 0 && (size_t)n < size)
        inode_set_link(i, buf, (size_t)n);
    return n;
}

static ssize_t ovl_getxattr(struct inode *i, const char *name, void *value, size_t size)
{
    struct inode *real = ovl_real(ovl_node(i));

    if (is_private(name))
        return -ENODATA;
    return real->ops->getxattr ? real->ops->getxattr(real, name, value, size) : -EOPNOTSUPP;
}

static int ovl_setxattr(struct inode *i, const char *name, const void *value, size_t size,
                        int flags)
{
    struct ovl_node *n = ovl_node(i);
    int r = is_private(name) ? -EPERM : ovl_copy_up(NULL, n, OVL_META);

    if (r == 0)
        r = ovl_upper(n)->ops->setxattr(ovl_upper(n), name, value, size, flags);
    if (r == 0)
        ovl_sync(n);
    return r;
}

static int ovl_removexattr(struct inode *i, const char *name)
{
    struct ovl_node *n = ovl_node(i);
    int r = is_private(name) ? -ENODATA : ovl_copy_up(NULL, n, OVL_META);

    if (r == 0)
        r = ovl_upper(n)->ops->removexattr(ovl_upper(n), name);
    if (r == 0)
        ovl_sync(n);
    return r;
}

static ssize_t ovl_listxattr(struct inode *i, char *names, size_t size)
{
    CLEANUP(free_ptr) char *all = NULL;
    struct inode *real = ovl_real(ovl_node(i));
    ssize_t n = real->ops->listxattr ? real->ops->listxattr(real, NULL, 0) : 0;
    size_t used = 0;
    const char *p;

    if (n <= 0)
        return n;
    n += 4096; /* room for what is set meanwhile */
    all = malloc((size_t)n);
    if (!all)
        return -ENOMEM;
    n = real->ops->listxattr(real, all, (size_t)n);
    for (p = all; n > 0 && p < all + n; p += strlen(p) + 1) {
        size_t len = strlen(p) + 1;

        if (is_private(p))
            continue;
        if (size && used + len > size)
            return -ERANGE;
        if (size)
            memcpy(names + used, p, len);
        used += len;
    }
    return n < 0 ? n : (ssize_t)used;
}

/* file->private is the real inode that was opened with it: the lower one stays open for mappings
 * and must be closed as it was opened, though reads follow a later copy-up. */
static int ovl_open(struct task *t, struct inode *i, struct file *f)
{
    struct ovl_node *n = ovl_node(i);
    struct inode *real;
    int r;

    if (!S_ISREG(i->mode))
        return 0;
    if (file_writable(f)) {
        r = ovl_copy_up(t, n, OVL_DATA);
        if (r < 0)
            return r;
    }
    real = ovl_data(n);
    if (!real->ops->open)
        return 0;
    r = real->ops->open(t, real, f);
    if (r < 0)
        return r;
    f->private = inode_get(real);
    return 0;
}

static void ovl_close(struct inode *i, struct file *f)
{
    struct inode *real = f->private;

    if (!real || !S_ISREG(i->mode))
        return;
    if (real->ops->close)
        real->ops->close(real, f);
    inode_put(real);
}

static int ovl_connect(struct inode *i, int type)
{
    struct inode *real = ovl_real(ovl_node(i));

    return real->ops->connect ? real->ops->connect(real, type) : -ECONNREFUSED;
}

const struct inode_ops ovl_ops = {
    .lookup = ovl_lookup,
    .make = ovl_make,
    .link = ovl_link,
    .unlink = ovl_unlink,
    .rmdir = ovl_rmdir,
    .rename = ovl_rename,
    .tmpfile = ovl_tmpfile,
    .list = ovl_list,
    .readlink = ovl_readlink,
    .read = ovl_read,
    .write = ovl_write,
    .data_fd = ovl_data_fd,
    .fallocate = ovl_fallocate,
    .seek_data = ovl_seek_data,
    .fsync = ovl_fsync,
    .getattr = ovl_getattr,
    .touched = ovl_touched,
    .setattr = ovl_setattr,
    .getxattr = ovl_getxattr,
    .setxattr = ovl_setxattr,
    .listxattr = ovl_listxattr,
    .removexattr = ovl_removexattr,
    .open = ovl_open,
    .close = ovl_close,
    .connect = ovl_connect,
    .evict = ovl_evict,
};
