/*
 * Permission checks (path_resolution(7), credentials(7)). A task of NULL is the kernel itself and
 * may do everything. Fields of inodes are read without their lock: a check that races with chmod
 * has two right answers.
 */
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/acl.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>

uint32_t task_fsuid(const struct task *t)
{
    return t ? t->cred->fsuid : 0;
}

uint32_t task_fsgid(const struct task *t)
{
    return t ? t->cred->fsgid : 0;
}

bool task_capable(const struct task *t, int cap)
{
    return !t || cred_capable(t->cred, cap);
}

bool task_in_group(const struct task *t, uint32_t gid)
{
    return t ? cred_in_group(t->cred, gid) : gid == 0;
}

uint32_t task_umask(const struct task *t)
{
    return t ? __atomic_load_n(&t->fs->umask, __ATOMIC_RELAXED) : 0;
}

/* A capability held in a child user namespace counts for inodes whose owner and group are mapped
 * there. */
bool inode_capable(const struct task *t, const struct inode *i, int cap)
{
    const struct cred *c;

    if (!t)
        return true;
    c = t->cred;
    if (!(c->effective & CAP_BIT(cap)))
        return false;
    if (!c->userns)
        return true;
    return idmap_from_kernel(&c->userns->uids, i->uid) != ID_INVALID &&
           idmap_from_kernel(&c->userns->gids, i->gid) != ID_INVALID;
}

static bool capable_override(const struct task *t, const struct inode *i, int mask)
{
    if (S_ISDIR(i->mode)) {
        if (!(mask & MAY_WRITE) && inode_capable(t, i, CAP_DAC_READ_SEARCH))
            return true;
        return inode_capable(t, i, CAP_DAC_OVERRIDE);
    }
    if (mask == MAY_READ && inode_capable(t, i, CAP_DAC_READ_SEARCH))
        return true;
    /* Root may execute only what somebody may. */
    return (!(mask & MAY_EXEC) || (i->mode & 0111)) && inode_capable(t, i, CAP_DAC_OVERRIDE);
}

int inode_permission_generic(const struct task *t, const struct inode *i, int mask)
{
    uint32_t mode = i->mode;

    if (!t)
        return 0;
    if (i->uid == t->cred->fsuid) {
        mode >>= 6;
    } else if (__builtin_expect(__atomic_load_n(&i->acl, __ATOMIC_RELAXED) & ACL_HAS_ACCESS, 0) &&
               (mode & 070)) {
        int r = acl_permission(t, i, mask);

        if (r != -EAGAIN)
            return r == -EACCES && capable_override(t, i, mask) ? 0 : r;
    } else if ((((mode >> 3) ^ mode) & (uint32_t)mask) && cred_in_group(t->cred, i->gid)) {
        mode >>= 3;
    }
    if ((mode & (uint32_t)mask & 7) == (uint32_t)mask)
        return 0;
    return capable_override(t, i, mask) ? 0 : -EACCES;
}

int inode_permission(struct task *t, struct inode *i, int mask)
{
    if (i->ops->permission)
        return i->ops->permission(t, i, mask);
    return inode_permission_generic(t, i, mask);
}

bool inode_owner_or_capable(struct task *t, const struct inode *i)
{
    return task_fsuid(t) == i->uid || inode_capable(t, i, CAP_FOWNER);
}

int may_create(struct task *t, const struct path *dir, struct dentry *d)
{
    int r;

    if (d->inode)
        return -EEXIST;
    r = path_want_write(dir);
    if (r < 0)
        return r;
    if (dir->dentry->inode->nlink == 0)
        return -ENOENT; /* the directory was removed */
    return inode_permission(t, dir->dentry->inode, MAY_WRITE | MAY_EXEC);
}

int may_delete(struct task *t, struct inode *dir, struct dentry *victim, bool is_dir)
{
    struct inode *i = victim->inode;
    int r;

    if (!i)
        return -ENOENT;
    r = inode_permission(t, dir, MAY_WRITE | MAY_EXEC);
    if (r < 0)
        return r;
    if ((dir->mode & S_ISVTX) && task_fsuid(t) != i->uid && task_fsuid(t) != dir->uid &&
        !inode_capable(t, i, CAP_FOWNER))
        return -EPERM;
    if (is_dir) {
        if (!S_ISDIR(i->mode))
            return -ENOTDIR;
    } else if (S_ISDIR(i->mode)) {
        return -EISDIR;
    }
    return __atomic_load_n(&victim->n_mounts, __ATOMIC_RELAXED) ? -EBUSY : 0;
}

void inode_new_owner(struct task *t, struct inode *dir, struct inode_new *what)
{
    what->uid = task_fsuid(t);
    what->gid = task_fsgid(t);
    if (!(dir->mode & S_ISGID))
        return;
    what->gid = dir->gid;
    if (S_ISDIR(what->mode))
        what->mode |= S_ISGID;
    else if ((what->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
             !task_in_group(t, dir->gid) && !inode_capable(t, dir, CAP_FSETID))
        what->mode &= ~(uint32_t)S_ISGID;
}

int inode_make(struct task *t, struct inode *dir, struct dentry *d, struct inode_new *what)
{
    int r;

    if (!dir->ops->make)
        return -EPERM;
    inode_new_owner(t, dir, what);
    if (!S_ISLNK(what->mode))
        acl_new_mode(t, dir, what);
    r = dir->ops->make(t, dir, d, what);
    return r == 0 && dir->acl ? acl_inherit(dir, d->inode) : r;
}
