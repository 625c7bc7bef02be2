/* Extended attributes: twelve calls, three ways to name the file. */
#include "runtime/sentry/syscalls/sys_file.h"

#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

/* By descriptor, or by name with or without following a link at the end. */
enum by { BY_NAME, BY_LINK, BY_FD };

static int find(struct task *t, uint64_t arg, enum by by, struct path *ret)
{
    if (by == BY_FD) {
        AUTO_FILE f = fd_get(t, (int)arg);

        if (!f)
            return -EBADF;
        if (!f->path.dentry)
            return -EOPNOTSUPP;
        *ret = f->path;
        path_get(ret);
        return 0;
    }
    return user_path(t, AT_FDCWD, arg, by == BY_NAME ? WALK_FOLLOW : 0, ret);
}

static int copy_in_name(struct task *t, char name[XATTR_NAME_MAX + 1], gaddr_t addr)
{
    ssize_t n = copy_in_string(t, name, addr, XATTR_NAME_MAX + 1);

    if (n == -ENAMETOOLONG || n == 0)
        return -ERANGE;
    return n < 0 ? (int)n : 0;
}

static long do_set(struct task *t, const struct sysargs *a, enum by by)
{
    CLEANUP(free_ptr) char *value = NULL;
    char name[XATTR_NAME_MAX + 1];
    AUTO_PATH p = {0};
    uint64_t size = a->v[3];
    int r;

    if ((unsigned)a->v[4] & ~(unsigned)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    r = copy_in_name(t, name, a->v[1]);
    if (r < 0)
        return r;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    value = malloc(size + 1);
    if (!value)
        return -ENOMEM;
    if (size && copy_in(t, value, a->v[2], size) < 0)
        return -EFAULT;
    r = find(t, a->v[0], by, &p);
    return r < 0 ? r : vfs_setxattr(t, &p, name, value, size, (int)a->v[4]);
}

static long do_get(struct task *t, const struct sysargs *a, enum by by)
{
    CLEANUP(free_ptr) char *value = NULL;
    char name[XATTR_NAME_MAX + 1];
    AUTO_PATH p = {0};
    uint64_t size = MIN(a->v[3], (uint64_t)XATTR_SIZE_MAX);
    long r = copy_in_name(t, name, a->v[1]);

    if (r == 0)
        r = find(t, a->v[0], by, &p);
    if (r < 0)
        return r;
    value = malloc(size + 1);
    if (!value)
        return -ENOMEM;
    r = vfs_getxattr(t, p.dentry->inode, name, value, size);
    if (r > 0 && size && copy_out(t, a->v[2], value, (size_t)r) < 0)
        return -EFAULT;
    return r;
}

static long do_list(struct task *t, const struct sysargs *a, enum by by)
{
    CLEANUP(free_ptr) char *names = NULL;
    AUTO_PATH p = {0};
    uint64_t size = MIN(a->v[2], (uint64_t)XATTR_LIST_MAX);
    long r = find(t, a->v[0], by, &p);

    if (r < 0)
        return r;
    names = malloc(size + 1);
    if (!names)
        return -ENOMEM;
    r = vfs_listxattr(t, p.dentry->inode, names, size);
    if (r > 0 && size && copy_out(t, a->v[1], names, (size_t)r) < 0)
        return -EFAULT;
    return r;
}

static long do_remove(struct task *t, const struct sysargs *a, enum by by)
{
    char name[XATTR_NAME_MAX + 1];
    AUTO_PATH p = {0};
    int r = copy_in_name(t, name, a->v[1]);

    if (r == 0)
        r = find(t, a->v[0], by, &p);
    return r < 0 ? r : vfs_removexattr(t, &p, name);
}

#define FAMILY(name, fn)                                                                           \
    long sys_##name(struct task *t, const struct sysargs *a)                                       \
    {                                                                                              \
        return fn(t, a, BY_NAME);                                                                  \
    }                                                                                              \
    long sys_l##name(struct task *t, const struct sysargs *a)                                      \
    {                                                                                              \
        return fn(t, a, BY_LINK);                                                                  \
    }                                                                                              \
    long sys_f##name(struct task *t, const struct sysargs *a)                                      \
    {                                                                                              \
        return fn(t, a, BY_FD);                                                                    \
    }

FAMILY(setxattr, do_set)
FAMILY(getxattr, do_get)
FAMILY(listxattr, do_list)
FAMILY(removexattr, do_remove)
