/*
 * Regular files over inode_ops.read/.write: positions, O_APPEND, limits, times, seals, set-id bits.
 * Writers of one inode take turns (io_lock), as on Linux's file systems.
 */
#include "runtime/sentry/vfs/regular.h"
#include "runtime/sentry/signal/signal.h"
#include "runtime/sentry/vfs/acl.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/mman.h>

/* Does reading f move its file's time of access at all? */
static bool keeps_atime(const struct file *f)
{
    const struct inode *i = f->inode;

    return (i->super->flags & SUPER_NO_ATIME) || (f->flags & O_NOATIME) ||
           (f->path.mount && (f->path.mount->flags & (MS_NOATIME | MS_RDONLY)));
}

static bool atime_is_fresh(const struct inode *i, nsec_t now)
{
    return i->atime > i->mtime && i->atime > i->ctime && now - i->atime < 86400 * NSEC_PER_SEC;
}

bool regular_keeps_atime(const struct file *f)
{
    return keeps_atime(f) || atime_is_fresh(f->inode, time_realtime());
}

/* relatime: only if older than the last change, or a day old. */
bool regular_touch_atime(struct file *f, nsec_t now)
{
    struct inode *i = f->inode;

    if (keeps_atime(f) || atime_is_fresh(i, now))
        return false;
    inode_touch_at(i, ATTR_ATIME, now);
    return true;
}

static void touch_atime(struct file *f)
{
    if (keeps_atime(f))
        return;
    if (regular_touch_atime(f, time_realtime()))
        lend_recall(f->inode); /* what fstat says, to others */
}

static ssize_t regular_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct inode *i = f->inode;
    ssize_t n;

    (void)t;
    if (!i->ops->read)
        return -EINVAL;
    n = i->ops->read(i, u, *pos);
    if (n > 0) {
        *pos += n;
        touch_atime(f);
    }
    return n;
}

static void tell_too_big(struct task *t)
{
    struct l_siginfo info;

    siginfo_user(&info, SIGXFSZ, t); /* as if it had sent it itself */
    (void)signal_send_task(t, SIGXFSZ, &info);
}

/* Clamps u to what the process's file size limit and the largest position allow. */
static int limit_write(struct task *t, struct uio *u, int64_t pos)
{
    rlim_t limit = t ? task_rlimit(t, RLIMIT_FSIZE) : RLIM_INFINITY;
    int64_t max = INT64_MAX;

    if (pos == max)
        return -EFBIG;
    if (limit < (rlim_t)max)
        max = (int64_t)limit;
    if (pos >= max) {
        if (t && limit < (rlim_t)INT64_MAX)
            tell_too_big(t);
        return -EFBIG;
    }
    if (u->left > (uint64_t)(max - pos))
        u->left = (uint64_t)(max - pos);
    return 0;
}

int regular_check_size(struct task *t, int64_t size)
{
    rlim_t limit = t ? task_rlimit(t, RLIMIT_FSIZE) : RLIM_INFINITY;

    if ((rlim_t)size <= limit)
        return 0;
    tell_too_big(t);
    return -EFBIG;
}

/* Writing takes a program's capabilities away, and set-id bits, unless the writer may set them. */
void regular_drop_setid(struct task *t, struct inode *i)
{
    uint32_t drop = 0;
    struct attr_change c = {.mask = ATTR_MODE};

    if (__atomic_load_n(&i->acl, __ATOMIC_RELAXED) & ACL_HAS_CAPS)
        (void)i->ops->removexattr(i, ACL_CAPS);

    if (i->mode & S_ISUID)
        drop |= S_ISUID;
    if ((i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        drop |= S_ISGID;
    if (!drop || !S_ISREG(i->mode) || inode_capable(t, i, CAP_FSETID))
        return;
    c.mode = i->mode & 07777 & ~drop;
    if (i->ops->setattr)
        (void)i->ops->setattr(t, i, &c);
    else
        inode_apply(i, &c);
    lend_recall(i);
}

static ssize_t write_locked(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct inode *i = f->inode;
    ssize_t n;
    int r;

    if (f->flags & O_APPEND)
        *pos = __atomic_load_n(&i->size, __ATOMIC_ACQUIRE);
    r = limit_write(t, u, *pos);
    if (r < 0)
        return r;
    if (i->seals) {
        if (i->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
            return -EPERM;
        if ((i->seals & F_SEAL_GROW) && *pos + (int64_t)u->left > i->size) {
            int64_t whole = i->size & ~4095LL; /* page by page: the one with the end fails */

            if (*pos >= whole)
                return -EPERM;
            u->left = (uint64_t)(whole - *pos);
        }
    }
    n = i->ops->write(i, u, *pos);
    if (n > 0)
        *pos += n;
    return n;
}

static ssize_t regular_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct inode *i = f->inode;
    ssize_t n;

    if (!i->ops->write)
        return -EINVAL;
    if (!u->left)
        return 0;
    if ((i->mode & (S_ISUID | S_ISGID)) || i->acl)
        regular_drop_setid(t, i);
    mutex_lock(&i->io_lock);
    n = write_locked(t, f, u, pos);
    mutex_unlock(&i->io_lock);
    if (n > 0) {
        inode_touch(i, ATTR_MTIME | ATTR_CTIME);
        if ((f->flags & O_DSYNC) && i->ops->fsync)
            (void)i->ops->fsync(i, (f->flags & O_SYNC) != O_SYNC);
    }
    return n;
}

static int64_t seek_data(struct inode *i, int64_t offset, int whence, int64_t size)
{
    if (offset < 0 || offset >= size)
        return -ENXIO;
    if (i->ops->seek_data)
        return i->ops->seek_data(i, offset, whence);
    return whence == SEEK_DATA ? offset : size;
}

static int64_t regular_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    struct attr a;
    int64_t base = 0;
    int r;

    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        base = f->pos;
        break;
    case SEEK_END:
    case SEEK_DATA:
    case SEEK_HOLE:
        r = inode_getattr(t, f->inode, &a);
        if (r < 0)
            return r;
        if (whence != SEEK_END) {
            offset = seek_data(f->inode, offset, whence, (int64_t)a.size);
            if (offset < 0)
                return offset;
            break;
        }
        base = (int64_t)a.size;
        break;
    default:
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, offset, &offset) || offset < 0)
        return -EINVAL;
    f->pos = offset;
    return offset;
}

static int regular_mmap(struct task *t, struct file *f, int prot, int flags, uint64_t offset,
                        uint64_t size, struct mmap_backing *ret)
{
    struct inode *i = f->inode;
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    int max = PROT_READ | PROT_WRITE | PROT_EXEC, fd;

    (void)t;
    (void)offset;
    (void)size;
    if (!file_readable(f))
        return -EACCES;
    if (!i->ops->data_fd)
        return -ENODEV;
    if (shared && !file_writable(f))
        max &= ~PROT_WRITE;
    if (shared && (i->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
        if (prot & PROT_WRITE)
            return -EPERM;
        max &= ~PROT_WRITE;
    }
    if ((f->path.mount && (f->path.mount->flags & MS_NOEXEC)) || (i->super->flags & SUPER_NO_EXEC))
        max &= ~PROT_EXEC;
    if (prot & PROT_EXEC & ~max)
        return -EPERM;
    if (prot & PROT_WRITE & ~max)
        return -EACCES;
    fd = i->ops->data_fd(i, shared && (max & PROT_WRITE));
    if (fd < 0)
        return fd;
    *ret = (struct mmap_backing){.fd = fd, .max_prot = max};
    touch_atime(f);
    return 0;
}

static int regular_fsync(struct task *t, struct file *f, bool data_only)
{
    (void)t;
    return f->inode->ops->fsync ? f->inode->ops->fsync(f->inode, data_only) : 0;
}

static int regular_fallocate(struct task *t, struct file *f, int mode, int64_t offset, int64_t size)
{
    struct inode *i = f->inode;
    int64_t end = offset + size;
    int r = 0;

    if (!i->ops->fallocate)
        return -EOPNOTSUPP;
    mutex_lock(&i->io_lock);
    if ((i->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) && (mode & FALLOC_FL_PUNCH_HOLE))
        r = -EPERM;
    else if (!(mode & FALLOC_FL_KEEP_SIZE) && end > i->size)
        r = i->seals & F_SEAL_GROW ? -EPERM : regular_check_size(t, end);
    if (r == 0)
        r = i->ops->fallocate(i, mode, offset, size);
    mutex_unlock(&i->io_lock);
    if (r == 0)
        inode_touch(i, ATTR_MTIME | ATTR_CTIME);
    return r;
}

int regular_truncate(struct task *t, struct inode *i, int64_t size)
{
    struct attr_change c = {.mask = ATTR_SIZE | ATTR_MTIME | ATTR_MTIME_NOW, .size = size};
    int r = 0;

    if ((i->mode & (S_ISUID | S_ISGID)) || i->acl)
        regular_drop_setid(t, i);
    mutex_lock(&i->io_lock);
    lend_recall(i);
    if (((i->seals & F_SEAL_SHRINK) && size < i->size) ||
        ((i->seals & F_SEAL_GROW) && size > i->size))
        r = -EPERM;
    else if (size > i->size)
        r = regular_check_size(t, size);
    if (r == 0)
        r = i->ops->setattr ? i->ops->setattr(t, i, &c) : -EINVAL;
    mutex_unlock(&i->io_lock);
    return r;
}

static int truncate_file(struct task *t, struct file *f, int64_t size)
{
    return regular_truncate(t, f->inode, size);
}

const struct file_ops regular_file_ops = {
    .read = regular_read,
    .write = regular_write,
    .seek = regular_seek,
    .mmap = regular_mmap,
    .fsync = regular_fsync,
    .fallocate = regular_fallocate,
    .truncate = truncate_file,
};
