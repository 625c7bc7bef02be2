/* Extended attributes in memory: a short list, bounded per inode. The names' rules (who may set
 * what) are vfs/xattr.c's. */
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/vfs/acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static struct tmpfs_xattr **find(struct tmpfs_inode *ti, const char *name)
{
    struct tmpfs_xattr **p = &ti->xattrs;

    while (*p && strcmp((*p)->name, name) != 0)
        p = &(*p)->next;
    return p;
}

ssize_t tmpfs_getxattr(struct inode *i, const char *name, void *value, size_t size)
{
    struct tmpfs_xattr *x;
    ssize_t r = -ENODATA;

    mutex_lock(&i->lock);
    x = *find(tmpfs_inode(i), name);
    if (x) {
        r = (ssize_t)x->size;
        if (size && size < x->size)
            r = -ERANGE;
        else if (size)
            memcpy(value, x->value, x->size);
    }
    mutex_unlock(&i->lock);
    return r;
}

static void drop_locked(struct tmpfs_inode *ti, struct tmpfs_xattr **p)
{
    struct tmpfs_xattr *x = *p;

    *p = x->next;
    ti->xattr_size -= strlen(x->name) + x->size;
    free(x->value);
    free(x);
}

static int add_locked(struct tmpfs_inode *ti, const char *name, const void *value, size_t size)
{
    size_t len = strlen(name);
    struct tmpfs_xattr *x;

    if (ti->xattr_size + len + size > TMPFS_XATTR_TOTAL)
        return -ENOSPC;
    x = malloc(sizeof(*x) + len + 1);
    if (!x)
        return -ENOMEM;
    x->value = malloc(size + 1);
    if (!x->value) {
        free(x);
        return -ENOMEM;
    }
    memcpy(x->name, name, len + 1);
    memcpy(x->value, value, size);
    x->size = size;
    x->next = ti->xattrs;
    ti->xattrs = x;
    ti->xattr_size += len + size;
    return 0;
}

int tmpfs_setxattr(struct inode *i, const char *name, const void *value, size_t size, int flags)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    struct tmpfs_xattr **p;
    int r = 0;

    mutex_lock(&i->lock);
    p = find(ti, name);
    if (*p && (flags & XATTR_CREATE))
        r = -EEXIST;
    else if (!*p && (flags & XATTR_REPLACE))
        r = -ENODATA;
    if (r == 0 && *p)
        drop_locked(ti, p);
    if (r == 0)
        r = add_locked(ti, name, value, size);
    if (r == 0) {
        i->ctime = time_realtime();
        acl_stored(i, name, size);
    }
    mutex_unlock(&i->lock);
    return r;
}

ssize_t tmpfs_listxattr(struct inode *i, char *names, size_t size)
{
    struct tmpfs_xattr *x;
    size_t used = 0;

    mutex_lock(&i->lock);
    for (x = tmpfs_inode(i)->xattrs; x; x = x->next) {
        size_t n = strlen(x->name) + 1;

        if (size && used + n > size) {
            mutex_unlock(&i->lock);
            return -ERANGE;
        }
        if (size)
            memcpy(names + used, x->name, n);
        used += n;
    }
    mutex_unlock(&i->lock);
    return (ssize_t)used;
}

int tmpfs_removexattr(struct inode *i, const char *name)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    struct tmpfs_xattr **p;
    int r = -ENODATA;

    mutex_lock(&i->lock);
    p = find(ti, name);
    if (*p) {
        drop_locked(ti, p);
        i->ctime = time_realtime();
        acl_stored(i, name, 0);
        r = 0;
    }
    mutex_unlock(&i->lock);
    return r;
}

void tmpfs_xattr_free(struct tmpfs_inode *ti)
{
    while (ti->xattrs)
        drop_locked(ti, &ti->xattrs);
}
