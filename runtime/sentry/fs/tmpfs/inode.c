/* tmpfs: inodes and their attributes. */
#include "runtime/sentry/fs/tmpfs/tmpfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int tmpfs_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    (void)t;
    if (S_ISREG(i->mode) && tmpfs_inode(i)->maybe_sparse)
        (void)tmpfs_pages(i);
    inode_fill_attr(i, ret);
    return 0;
}

static int tmpfs_setattr(struct task *t, struct inode *i, const struct attr_change *c)
{
    (void)t;
    if (c->mask & ATTR_SIZE) {
        int r = S_ISREG(i->mode) ? tmpfs_resize(i, c->size) : -EINVAL;

        if (r < 0)
            return r;
    }
    inode_apply(i, c);
    return 0;
}

static int tmpfs_tmpfile(struct task *t, struct inode *dir, const struct inode_new *what,
                         struct inode **ret)
{
    int r = tmpfs_inode_new(dir->super, what, ret);

    (void)t;
    if (r == 0)
        (*ret)->nlink = 0;
    return r;
}

static ssize_t tmpfs_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
    (void)t;
    (void)i;
    (void)buf;
    (void)size;
    return -EINVAL; /* targets are kept in inode->link from the start */
}

static void tmpfs_evict(struct inode *i)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    struct tmpfs *s = tmpfs_of(i);

    if (S_ISDIR(i->mode))
        tmpfs_dir_free(ti);
    tmpfs_data_free(ti);
    tmpfs_xattr_free(ti);
    (void)__atomic_sub_fetch(&s->used_inodes, 1, __ATOMIC_RELAXED);
    inode_fini(i);
    free(ti);
}

const struct inode_ops tmpfs_ops = {
    .lookup = tmpfs_lookup,
    .make = tmpfs_make,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rmdir = tmpfs_rmdir,
    .rename = tmpfs_rename,
    .tmpfile = tmpfs_tmpfile,
    .list = tmpfs_list,
    .readlink = tmpfs_readlink,
    .read = tmpfs_read,
    .write = tmpfs_write,
    .data_fd = tmpfs_data_fd,
    .fallocate = tmpfs_fallocate,
    .seek_data = tmpfs_seek_data,
    .getattr = tmpfs_getattr,
    .setattr = tmpfs_setattr,
    .getxattr = tmpfs_getxattr,
    .setxattr = tmpfs_setxattr,
    .listxattr = tmpfs_listxattr,
    .removexattr = tmpfs_removexattr,
    .evict = tmpfs_evict,
};

int tmpfs_inode_new(struct super *s, const struct inode_new *what, struct inode **ret)
{
    struct tmpfs *fs = s->private;
    struct tmpfs_inode *ti;
    uint64_t n = __atomic_add_fetch(&fs->used_inodes, 1, __ATOMIC_RELAXED);

    if (fs->max_inodes && n > fs->max_inodes) {
        (void)__atomic_sub_fetch(&fs->used_inodes, 1, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    ti = calloc(1, sizeof(*ti));
    if (!ti) {
        (void)__atomic_sub_fetch(&fs->used_inodes, 1, __ATOMIC_RELAXED);
        return -ENOMEM;
    }
    inode_init(&ti->inode, s, &tmpfs_ops, NULL,
               __atomic_add_fetch(&fs->next_ino, 1, __ATOMIC_RELAXED), what->mode, what->uid,
               what->gid);
    ti->inode.rdev = what->rdev;
    ti->memfd = -1;
    if (S_ISDIR(what->mode))
        ti->inode.size = 40; /* two entries, as on Linux */
    list_init(&ti->entries);
    if (what->target) {
        ti->inode.link = strdup(what->target);
        ti->inode.size = (int64_t)strlen(what->target);
        if (!ti->inode.link) {
            tmpfs_evict(&ti->inode);
            return -ENOMEM;
        }
    }
    *ret = &ti->inode;
    return 0;
}
