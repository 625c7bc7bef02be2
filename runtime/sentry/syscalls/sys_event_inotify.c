/* inotify_init, inotify_init1, inotify_add_watch, inotify_rm_watch. */
#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <sys/inotify.h>

static long init(struct task *t, unsigned flags)
{
    struct file *f;
    int r;

    if (flags & ~(unsigned)(IN_CLOEXEC | IN_NONBLOCK))
        return -EINVAL;
    r = inotify_new(flags, &f);
    return r < 0 ? r : install_file(t, f, flags & IN_CLOEXEC);
}

long sys_inotify_init(struct task *t, const struct sysargs *a)
{
    (void)a;
    return init(t, 0);
}

long sys_inotify_init1(struct task *t, const struct sysargs *a)
{
    return init(t, (unsigned)a->v[0]);
}

static long add_by_path(struct task *t, struct file *f, const char *name, uint32_t mask)
{
    unsigned flags =
        (mask & IN_DONT_FOLLOW ? 0 : WALK_FOLLOW) | (mask & IN_ONLYDIR ? WALK_DIRECTORY : 0);
    struct path path;
    long r = path_lookup(t, AT_FDCWD, name, flags, &path);

    if (r < 0)
        return r;
    r = inode_permission(t, path.dentry->inode, MAY_READ);
    if (r == 0)
        r = inotify_add(f, path.dentry->inode, mask);
    path_put(&path);
    return r;
}

long sys_inotify_add_watch(struct task *t, const struct sysargs *a)
{
    uint32_t mask = (uint32_t)a->v[2];
    char name[PATH_MAX];
    struct file *f;
    long r;

    if (!(mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_IGNORED | IN_Q_OVERFLOW)))
        return -EINVAL;
    if (mask & IN_MASK_ADD && mask & IN_MASK_CREATE)
        return -EINVAL;
    f = fd_get(t, (int)a->v[0]);
    if (!f)
        return -EBADF;
    r = copy_in_path(t, name, a->v[1], false);
    if (r >= 0)
        r = add_by_path(t, f, name, mask);
    file_put(f);
    return r;
}

long sys_inotify_rm_watch(struct task *t, const struct sysargs *a)
{
    struct file *f = fd_get(t, (int)a->v[0]);
    long r;

    if (!f)
        return -EBADF;
    r = inotify_remove(f, (int)a->v[1]);
    file_put(f);
    return r;
}
