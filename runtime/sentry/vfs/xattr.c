/* Extended attributes: who may do what in which name space (xattr(7)). */
#include "runtime/sentry/vfs/acl.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"
#include "runtime/sentry/vfs/notify.h"
#include "runtime/sentry/vfs/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int check_user(struct task *t, struct inode *i, bool write)
{
    if (!S_ISREG(i->mode) && !S_ISDIR(i->mode))
        return write ? -EPERM : -ENODATA;
    if (write && S_ISDIR(i->mode) && (i->mode & S_ISVTX) && !inode_owner_or_capable(t, i))
        return -EPERM;
    return inode_permission(t, i, write ? MAY_WRITE : MAY_READ);
}

static int check_name(struct task *t, struct inode *i, const char *name, bool write)
{
    if (begins(name, "user."))
        return name[5] ? check_user(t, i, write) : -EINVAL;
    if (begins(name, "trusted.")) {
        if (!name[8])
            return -EINVAL;
        return task_capable(t, CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
    }
    if (begins(name, "security.")) {
        int cap = strcmp(name, "security.capability") == 0 ? CAP_SETFCAP : CAP_SYS_ADMIN;

        return !write || inode_capable(t, i, cap) ? 0 : -EPERM;
    }
    return -EOPNOTSUPP;
}

ssize_t vfs_getxattr(struct task *t, struct inode *i, const char *name, void *value, size_t size)
{
    ssize_t r;

    if (acl_is_name(name))
        return acl_getxattr(t, i, name, value, size);
    r = check_name(t, i, name, false);
    if (r < 0)
        return r;
    return i->ops->getxattr ? i->ops->getxattr(i, name, value, size) : -EOPNOTSUPP;
}

static int set_plain(struct task *t, struct inode *i, const char *name, const void *value,
                     size_t size, int flags)
{
    int r = check_name(t, i, name, true);

    if (r < 0)
        return r;
    return i->ops->setxattr ? i->ops->setxattr(i, name, value, size, flags) : -EOPNOTSUPP;
}

static int remove_plain(struct task *t, struct inode *i, const char *name)
{
    int r = check_name(t, i, name, true);

    if (r < 0)
        return r;
    return i->ops->removexattr ? i->ops->removexattr(i, name) : -EOPNOTSUPP;
}

int vfs_setxattr(struct task *t, const struct path *p, const char *name, const void *value,
                 size_t size, int flags)
{
    struct inode *i = p->dentry->inode;
    int r;

    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    r = path_want_write(p);
    if (r == 0 && acl_is_name(name))
        r = acl_setxattr(t, i, name, value, size);
    else if (r == 0)
        r = set_plain(t, i, name, value, size, flags);
    lend_recall(p->dentry->inode); /* what fstat says may have changed */
    if (r == 0)
        notify_dentry(p->dentry, IN_ATTRIB);
    return r;
}

int vfs_removexattr(struct task *t, const struct path *p, const char *name)
{
    struct inode *i = p->dentry->inode;
    int r = path_want_write(p);

    if (r == 0)
        r = acl_is_name(name) ? acl_setxattr(t, i, name, NULL, 0) : remove_plain(t, i, name);
    lend_recall(p->dentry->inode); /* what fstat says may have changed */
    if (r == 0)
        notify_dentry(p->dentry, IN_ATTRIB);
    return r;
}

ssize_t vfs_listxattr(struct task *t, struct inode *i, char *names, size_t size)
{
    ssize_t n = i->ops->listxattr ? i->ops->listxattr(i, names, size) : 0;
    char *p, *next;

    if (n <= 0 || !size || task_capable(t, CAP_SYS_ADMIN))
        return n;
    for (p = names; p < names + n; p = next) { /* trusted ones are not for everybody */
        next = p + strlen(p) + 1;
        if (begins(p, "trusted.")) {
            memmove(p, next, (size_t)(names + n - next));
            n -= next - p;
            next = p;
        }
    }
    return n;
}
