/* Changing attributes: chmod, chown, utimensat, truncate, fallocate, statfs. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/vfs/acl.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"
#include "runtime/sentry/vfs/notify.h"
#include "runtime/sentry/vfs/ops.h"
#include "runtime/sentry/vfs/regular.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

static int apply(struct task *t, const struct path *p, const struct attr_change *c)
{
    struct inode *i = p->dentry->inode;
    int r = 0;

    lend_recall(i); /* what was written before counts as before */
    if (i->ops->setattr)
        r = i->ops->setattr(t, i, c);
    else
        inode_apply(i, c);
    lend_recall(i); /* lent meanwhile, as one with the old mode */
    if (r == 0)
        notify_dentry(p->dentry, IN_ATTRIB);
    return r;
}

int vfs_chmod(struct task *t, const struct path *p, uint32_t mode)
{
    struct inode *i = p->dentry->inode;
    struct attr_change c = {.mask = ATTR_MODE, .mode = mode & 07777};
    int r = path_want_write(p);

    if (r < 0)
        return r;
    if (S_ISLNK(i->mode))
        return -EOPNOTSUPP;
    if (!inode_owner_or_capable(t, i))
        return -EPERM;
    if (!task_in_group(t, i->gid) && !inode_capable(t, i, CAP_FSETID))
        c.mode &= ~(uint32_t)S_ISGID;
    r = apply(t, p, &c);
    return r == 0 && i->acl ? acl_chmod(t, i) : r;
}

static bool may_chown(struct task *t, const struct inode *i, uint32_t uid, uint32_t gid)
{
    if (uid == UINT32_MAX && gid == UINT32_MAX)
        return true;
    if (inode_capable(t, i, CAP_CHOWN))
        return true;
    if (task_fsuid(t) != i->uid)
        return false;
    return (uid == UINT32_MAX || uid == i->uid) &&
           (gid == UINT32_MAX || gid == i->gid || task_in_group(t, gid));
}

int vfs_chown(struct task *t, const struct path *p, uint32_t uid, uint32_t gid)
{
    struct inode *i = p->dentry->inode;
    struct attr_change c = {.uid = uid, .gid = gid};
    int r = path_want_write(p);

    if (r < 0)
        return r;
    if (!may_chown(t, i, uid, gid))
        return -EPERM;
    if (uid != UINT32_MAX)
        c.mask |= ATTR_UID;
    if (gid != UINT32_MAX)
        c.mask |= ATTR_GID;
    if (!S_ISDIR(i->mode) && (i->mode & (S_ISUID | S_ISGID)) && !S_ISLNK(i->mode)) {
        c.mode = i->mode & 07777 & ~(uint32_t)S_ISUID;
        if (i->mode & S_IXGRP)
            c.mode &= ~(uint32_t)S_ISGID;
        if (c.mode != (i->mode & 07777))
            c.mask |= ATTR_MODE;
    }
    if ((c.mask & ATTR_MODE) && !inode_owner_or_capable(t, i))
        return -EPERM;
    if (!S_ISDIR(i->mode) && (i->acl & ACL_HAS_CAPS))
        (void)i->ops->removexattr(i, ACL_CAPS);
    return apply(t, p, &c);
}

int vfs_utimes(struct task *t, const struct path *p, const struct timespec *times)
{
    static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    struct inode *i = p->dentry->inode;
    const struct timespec *ts = times ? times : now;
    struct attr_change c = {0};
    bool both_now = ts[0].tv_nsec == UTIME_NOW && ts[1].tv_nsec == UTIME_NOW;
    int r = path_want_write(p), k;

    if (r < 0)
        return r;
    for (k = 0; k < 2; k++) {
        if (ts[k].tv_nsec == UTIME_OMIT)
            continue;
        c.mask |= k ? ATTR_MTIME : ATTR_ATIME;
        if (ts[k].tv_nsec == UTIME_NOW) {
            c.mask |= k ? ATTR_MTIME_NOW : ATTR_ATIME_NOW;
            continue;
        }
        if (ts[k].tv_nsec < 0 || ts[k].tv_nsec >= NSEC_PER_SEC)
            return -EINVAL;
        *(k ? &c.mtime : &c.atime) = timespec_to_ns(&ts[k]);
    }
    if (!c.mask)
        return 0;
    if (!inode_owner_or_capable(t, i)) {
        if (!both_now)
            return -EPERM;
        r = inode_permission(t, i, MAY_WRITE);
        if (r < 0)
            return r;
    }
    return apply(t, p, &c);
}

int vfs_truncate(struct task *t, const struct path *p, int64_t size)
{
    struct inode *i = p->dentry->inode;
    int r;

    if (S_ISDIR(i->mode))
        return -EISDIR;
    if (!S_ISREG(i->mode) || size < 0)
        return -EINVAL;
    r = path_want_write(p);
    if (r == 0)
        r = inode_permission(t, i, MAY_WRITE);
    if (r == 0 && __atomic_load_n(&i->deny_write, __ATOMIC_RELAXED))
        r = -ETXTBSY;
    if (r == 0)
        r = regular_truncate(t, i, size);
    if (r == 0)
        notify_dentry(p->dentry, IN_MODIFY);
    return r;
}

int vfs_ftruncate(struct task *t, struct file *f, int64_t size)
{
    int r;

    if (size < 0 || !file_writable(f) || !f->ops->truncate)
        return -EINVAL;
    r = f->ops->truncate(t, f, size);
    if (r == 0)
        notify_file(f, IN_MODIFY);
    return r;
}

int vfs_fallocate(struct task *t, struct file *f, int mode, int64_t offset, int64_t size)
{
    int64_t end;

    if (offset < 0 || size <= 0)
        return -EINVAL;
    if (!file_writable(f))
        return -EBADF;
    if ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (__builtin_add_overflow(offset, size, &end))
        return -EFBIG;
    if (f->inode && S_ISDIR(f->inode->mode))
        return -EISDIR;
    if (f->inode && S_ISFIFO(f->inode->mode))
        return -ESPIPE;
    if (!f->ops->fallocate)
        return pipe_of(f) ? -ESPIPE : -ENODEV;
    return f->ops->fallocate(t, f, mode, offset, size);
}

int vfs_statfs(struct task *t, const struct path *p, struct statfs *ret)
{
    struct super *s = p->dentry->super;
    unsigned flags = p->mount ? p->mount->flags : 0;
    int r;

    (void)t;
    memset(ret, 0, sizeof(*ret));
    ret->f_type = (__fsword_t)s->type->magic;
    ret->f_bsize = ret->f_frsize = 4096;
    ret->f_namelen = NAME_MAX;
    memcpy(&ret->f_fsid, &s->dev, sizeof(ret->f_fsid));
    r = s->ops && s->ops->statfs ? s->ops->statfs(s, p->dentry, ret) : 0;
    ret->f_flags =
        (__fsword_t)(0x20 /* ST_VALID */ |
                     (flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME)));
    if (s->flags & SUPER_RDONLY)
        ret->f_flags |= MS_RDONLY;
    if (flags & MS_RELATIME)
        ret->f_flags |= 0x1000;
    return r;
}
