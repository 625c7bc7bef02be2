/* Changing directories of writable gofer mounts: written through at once. dir_lock is held. */
#include "runtime/sentry/fs/gofer/goferfs.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* After a change: what was remembered of the directory is wrong now. */
static void changed(struct inode *dir)
{
    gofer_forget_dir(gofer_node(dir));
    inode_touch(dir, ATTR_MTIME | ATTR_CTIME);
}

static void adjust_nlink(struct inode *i, int by)
{
    lend_recall(i);
    mutex_lock(&i->lock);
    if (by > 0 || i->nlink)
        i->nlink = (uint32_t)((int)i->nlink + by);
    i->ctime = time_realtime();
    mutex_unlock(&i->lock);
}

static int make(struct goferfs *fs, const char *path, const struct inode_new *w,
                struct gofer_attr *a, int *ret_fd)
{
    uint32_t perm = w->mode & 07777;

    switch (w->mode & S_IFMT) {
    case S_IFREG:
        *ret_fd = gofer_create(fs->g, fs->mount, path, O_RDWR, perm, w->uid, w->gid, a);
        return *ret_fd < 0 ? *ret_fd : 0;
    case S_IFDIR:
        return gofer_mkdir(fs->g, fs->mount, path, perm, w->uid, w->gid, a);
    case S_IFLNK:
        return gofer_symlink(fs->g, fs->mount, w->target, path, w->uid, w->gid, a);
    default:
        return gofer_mknod(fs->g, fs->mount, path, w->mode, w->uid, w->gid, a);
    }
}

int gofer_dir_make(struct task *t, struct inode *dir, struct dentry *d,
                   const struct inode_new *what)
{
    struct goferfs *fs = goferfs_of(dir);
    CLEANUP(close_fd) int fd = -1;
    char path[GOFER_PATH_MAX];
    struct gofer_attr a;
    struct inode *i;
    int r = gofer_path(gofer_node(dir), d->name, path);

    (void)t;
    if (r == 0)
        r = make(fs, path, what, &a, &fd);
    if (r < 0)
        return r;
    changed(dir);
    r = gofer_node_new(dir->super, gofer_node(dir), d->name, &a, &i);
    if (r < 0)
        return r;
    if (fd >= 0)
        gofer_fds_adopt(gofer_node(i), TAKE_FD(fd));
    if (S_ISDIR(a.mode))
        adjust_nlink(dir, 1);
    dentry_set_inode(d, i);
    return 0;
}

int gofer_dir_link(struct task *t, struct inode *dir, struct dentry *d, struct inode *target)
{
    struct goferfs *fs = goferfs_of(dir);
    struct gofer_node *n = gofer_node(target);
    char from[GOFER_PATH_MAX], to[GOFER_PATH_MAX];
    struct gofer_attr a;
    int r = gofer_path(n, NULL, from);

    (void)t;
    if (r == 0)
        r = gofer_path(gofer_node(dir), d->name, to);
    if (r == 0)
        r = gofer_link(fs->g, fs->mount, from, to, &a);
    if (r < 0)
        return r;
    gofer_store_attr(target, &a);
    mutex_lock(&fs->lock);
    if (!n->is_linked)
        n->is_linked = hashmap_add(&fs->linked, &n->linked, n->host_ino) == 0;
    mutex_unlock(&fs->lock);
    changed(dir);
    dentry_set_inode(d, inode_get(target));
    return 0;
}

int gofer_dir_unlink(struct task *t, struct inode *dir, struct dentry *d)
{
    struct goferfs *fs = goferfs_of(dir);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(dir), d->name, path);

    (void)t;
    if (r == 0)
        r = gofer_unlink(fs->g, fs->mount, path);
    if (r < 0)
        return r;
    adjust_nlink(d->inode, -1);
    gofer_unplace(gofer_node(d->inode), d->name, gofer_node(dir));
    changed(dir);
    return 0;
}

int gofer_dir_rmdir(struct task *t, struct inode *dir, struct dentry *d)
{
    struct goferfs *fs = goferfs_of(dir);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(dir), d->name, path);

    (void)t;
    if (r == 0)
        r = gofer_rmdir(fs->g, fs->mount, path);
    if (r < 0)
        return r;
    mutex_lock(&d->inode->lock);
    d->inode->nlink = 0;
    mutex_unlock(&d->inode->lock);
    gofer_unplace(gofer_node(d->inode), d->name, gofer_node(dir));
    adjust_nlink(dir, -1);
    changed(dir);
    return 0;
}

int gofer_dir_rename(struct task *t, struct inode *old_dir, struct dentry *old_d,
                     struct inode *new_dir, struct dentry *new_d, unsigned flags)
{
    struct goferfs *fs = goferfs_of(old_dir);
    struct gofer_node *od = gofer_node(old_dir), *nd = gofer_node(new_dir);
    char from[GOFER_PATH_MAX], to[GOFER_PATH_MAX];
    struct inode *moved = old_d->inode, *target = new_d->inode;
    int r;

    (void)t;
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    r = gofer_path(od, old_d->name, from);
    if (r == 0)
        r = gofer_path(nd, new_d->name, to);
    if (r == 0)
        r = gofer_rename(fs->g, fs->mount, from, to, flags);
    if (r < 0)
        return r;
    if (target && (flags & RENAME_EXCHANGE)) {
        gofer_place(gofer_node(target), od, strdup(old_d->name));
    } else if (target) {
        gofer_unplace(gofer_node(target), new_d->name, nd);
        adjust_nlink(target, S_ISDIR(target->mode) ? -(int)target->nlink : -1);
    }
    gofer_place(gofer_node(moved), nd, strdup(new_d->name));
    if (S_ISDIR(moved->mode) && old_dir != new_dir && !(flags & RENAME_EXCHANGE)) {
        adjust_nlink(old_dir, -1);
        adjust_nlink(new_dir, 1);
    }
    changed(old_dir);
    changed(new_dir);
    return 0;
}
