/* open(2), openat2(2), and what execve opens. */
#include "runtime/sentry/vfs/acl.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/notify.h"
#include "runtime/sentry/vfs/regular.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { OPEN_RETRIES = 8 };

static int access_mask(unsigned flags)
{
    static const int by_mode[] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE};
    int mask = by_mode[flags & O_ACCMODE];

    return flags & O_TRUNC ? mask | MAY_WRITE : mask;
}

static int may_open(struct task *t, const struct path *p, unsigned flags)
{
    struct inode *i = p->dentry->inode;
    int mask = access_mask(flags), r;

    switch (i->mode & S_IFMT) {
    case S_IFLNK:
        return -ELOOP;
    case S_IFDIR:
        if (mask & MAY_WRITE)
            return -EISDIR;
        if (flags & O_DIRECT)
            return -EINVAL;
        break;
    case S_IFCHR:
    case S_IFBLK:
        if ((p->mount && (p->mount->flags & MS_NODEV)) || (i->super->flags & SUPER_NO_DEV))
            return -EACCES;
        break;
    case S_IFREG:
        r = mask & MAY_WRITE ? path_want_write(p) : 0;
        if (r < 0)
            return r;
        break;
    }
    r = inode_permission(t, i, mask);
    if (r < 0)
        return r;
    return (flags & O_NOATIME) && !inode_owner_or_capable(t, i) ? -EPERM : 0;
}

/* Flags that only matter while opening are not kept. */
static unsigned kept_flags(unsigned flags)
{
    return flags & ~(unsigned)(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC);
}

static int open_found(struct task *t, const struct path *p, unsigned flags, bool created,
                      struct file **ret)
{
    struct file *f;
    int r = 0;

    if (!(flags & O_PATH) && !created)
        r = may_open(t, p, flags);
    if (r < 0)
        return r;
    r = vfs_open_path(t, p, kept_flags(flags), &f);
    if (r < 0)
        return r;
    if ((flags & O_TRUNC) && !created && S_ISREG(f->inode->mode) && !(flags & O_PATH)) {
        r = regular_truncate(t, f->inode, 0);
        if (r < 0) {
            file_put(f);
            return r;
        }
        notify_file(f, IN_MODIFY);
    }
    if (!(flags & O_PATH))
        notify_file(f, IN_OPEN);
    *ret = f;
    return 0;
}

static int open_existing(struct task *t, int dirfd, const char *name, const struct open_how_k *how,
                         struct file **ret)
{
    unsigned walk = how->resolve;
    struct path p;
    int r;

    if (!(how->flags & O_NOFOLLOW))
        walk |= WALK_FOLLOW;
    if (how->flags & O_DIRECTORY)
        walk |= WALK_DIRECTORY;
    r = path_lookup(t, dirfd, name, walk, &p);
    if (r < 0)
        return r;
    r = open_found(t, &p, how->flags, false, ret);
    path_put(&p);
    return r;
}

static int open_tmpfile(struct task *t, int dirfd, const char *name, const struct open_how_k *how,
                        struct file **ret)
{
    struct inode_new what = {.mode = S_IFREG | (how->mode & 07777)};
    struct path dir, p = {0};
    struct inode *i = NULL;
    int r;

    if (!(how->flags & O_WRONLY) && !(how->flags & O_RDWR))
        return -EINVAL;
    r = path_lookup(t, dirfd, name, WALK_FOLLOW | WALK_DIRECTORY | how->resolve, &dir);
    if (r < 0)
        return r;
    r = path_want_write(&dir);
    if (r == 0)
        r = inode_permission(t, dir.dentry->inode, MAY_WRITE | MAY_EXEC);
    if (r == 0)
        r = dir.dentry->inode->ops->tmpfile ? 0 : -EOPNOTSUPP;
    if (r == 0) {
        inode_new_owner(t, dir.dentry->inode, &what);
        acl_new_mode(t, dir.dentry->inode, &what);
        r = dir.dentry->inode->ops->tmpfile(t, dir.dentry->inode, &what, &i);
    }
    if (r == 0)
        r = acl_inherit(dir.dentry->inode, i);
    if (r == 0) {
        char label[32];

        (void)snprintf(label, sizeof(label), "#%llu", (unsigned long long)i->ino);
        i->linkable = !(how->flags & O_EXCL);
        p.dentry = dentry_new_anonymous(i->super, i, label);
        p.mount = mount_get(dir.mount);
        r = p.dentry ? 0 : -ENOMEM;
    }
    if (r == 0) {
        p.dentry->unlinked = true;
        r = open_found(t, &p, how->flags & ~(unsigned)O_DIRECTORY, true, ret);
    }
    path_put(&p);
    path_put(&dir);
    return r;
}

/* dir->dir_lock is held. The entry was looked up and is missing. */
static int create_locked(struct task *t, const struct path *dir, struct dentry *d,
                         const struct open_how_k *how)
{
    struct inode *i = dir->dentry->inode;
    struct inode_new what = {.mode = S_IFREG | (how->mode & 07777)};
    int r = may_create(t, dir, d);

    if (r < 0)
        return r;
    return inode_make(t, i, d, &what);
}

static int open_entry(struct task *t, const struct path *dir, const struct last_name *last,
                      const struct open_how_k *how, struct file **ret)
{
    struct path p = {.mount = dir->mount};
    struct inode *i = dir->dentry->inode;
    bool created = false;
    int r;

    mutex_lock(&i->dir_lock);
    r = dentry_lookup_locked_dir(t, dir->dentry, last->name, last->len, &p.dentry);
    if (r == 0 && !p.dentry->inode) {
        r = create_locked(t, dir, p.dentry, how);
        created = r == 0;
    } else if (r == 0 && (how->flags & O_EXCL)) {
        r = -EEXIST;
    }
    mutex_unlock(&i->dir_lock);
    if (!p.dentry)
        return r;
    mount_get(p.mount);
    if (created) {
        inotify_notify(i, IN_CREATE, last->name, 0);
    } else if (r == 0) {
        struct path top;

        mutex_lock(&g_tree_lock);
        top = p;
        mount_descend_locked(&top);
        mount_get_path_locked(&top);
        mutex_unlock(&g_tree_lock);
        path_put(&p);
        p = top;
        if (S_ISLNK(p.dentry->inode->mode))
            r = how->flags & O_NOFOLLOW ? -ELOOP : -EAGAIN; /* appeared just now: walk again */
        else if (S_ISDIR(p.dentry->inode->mode))
            r = -EISDIR;
    }
    if (r == 0)
        r = open_found(t, &p, how->flags, created, ret);
    path_put(&p);
    return r;
}

static int open_create(struct task *t, int dirfd, const char *name, const struct open_how_k *how,
                       struct file **ret)
{
    unsigned walk = how->resolve;
    struct last_name last;
    struct path dir;
    int r;

    if (!(how->flags & (O_NOFOLLOW | O_EXCL)))
        walk |= WALK_FOLLOW;
    r = path_lookup_parent(t, dirfd, name, walk, &dir, &last);
    if (r < 0)
        return r;
    if (last.type == LAST_ROOT && !S_ISDIR(dir.dentry->inode->mode))
        r = how->flags & O_EXCL ? -EEXIST : open_found(t, &dir, how->flags, false, ret);
    else if (last.type != LAST_NORMAL || last.slash)
        r = -EISDIR;
    else
        r = open_entry(t, &dir, &last, how, ret);
    path_put(&dir);
    return r;
}

int vfs_open(struct task *t, int dirfd, const char *name, const struct open_how_k *how,
             struct file **ret)
{
    struct open_how_k h = *how;
    unsigned tries = 0;
    int r;

    if (h.flags & O_PATH)
        h.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if ((h.flags & O_TMPFILE) == O_TMPFILE)
        return open_tmpfile(t, dirfd, name, &h, ret);
    if (!(h.flags & O_CREAT))
        return open_existing(t, dirfd, name, &h, ret);
    if (h.flags & O_DIRECTORY)
        return -EINVAL;
    do {
        r = open_create(t, dirfd, name, &h, ret);
    } while (r == -EAGAIN && ++tries < OPEN_RETRIES);
    return r == -EAGAIN ? -ELOOP : r;
}

/* ---- execve -----------------------------------------------------------------------------------*/
static int deny_writers(struct file *f)
{
    struct inode *i = f->inode;

    (void)__atomic_add_fetch(&i->deny_write, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&i->writers, __ATOMIC_SEQ_CST)) {
        (void)__atomic_sub_fetch(&i->deny_write, 1, __ATOMIC_RELAXED);
        return -ETXTBSY;
    }
    f->denies_write = true;
    return 0;
}

int vfs_open_exec(struct task *t, int dirfd, const char *name, int flags, struct file **ret,
                  uint32_t *ret_uid, uint32_t *ret_gid)
{
    unsigned walk = flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW;
    struct inode *i;
    struct path p;
    struct file *f;
    int r;

    if (flags & AT_EMPTY_PATH)
        walk |= WALK_EMPTY;
    r = path_lookup(t, dirfd, name, walk, &p);
    if (r < 0)
        return r;
    i = p.dentry->inode;
    if (S_ISLNK(i->mode))
        r = -ELOOP;
    else if (!S_ISREG(i->mode) || (p.mount && (p.mount->flags & MS_NOEXEC)) ||
             (i->super->flags & SUPER_NO_EXEC))
        r = -EACCES;
    else
        r = inode_permission(t, i, MAY_EXEC);
    if (r == 0)
        r = vfs_open_path(t, &p, O_RDONLY, &f);
    if (r == 0 && (r = deny_writers(f)) < 0)
        file_put(f);
    if (r == 0) {
        bool setid = !p.mount || !(p.mount->flags & MS_NOSUID);

        *ret_uid = setid && (i->mode & S_ISUID) ? i->uid : UINT32_MAX;
        *ret_gid =
            setid && (i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ? i->gid : UINT32_MAX;
        *ret = f;
    }
    path_put(&p);
    return r;
}

ssize_t vfs_read_exec(struct file *f, void *data, size_t size, int64_t pos)
{
    struct uio u;
    size_t done = 0;

    if (!f->inode || !f->inode->ops->read)
        return -ENOEXEC;
    while (done < size) {
        ssize_t n;

        uio_init_kernel(&u, (char *)data + done, size - done);
        n = f->inode->ops->read(f->inode, &u, pos + (int64_t)done);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t vfs_file_caps(struct file *f, void *data, size_t size)
{
    struct inode *i = f->inode;

    if (!i || !i->ops->getxattr)
        return -EOPNOTSUPP;
    return i->ops->getxattr(i, "security.capability", data, size);
}
