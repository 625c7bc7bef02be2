/* Changing attributes and sizes; writing back. */
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/task/userns.h"

#include <limits.h>
#include <string.h>
#include <utime.h>

/* ---- chmod, chown -----------------------------------------------------------------------------*/
static long chmod_at(struct task *t, int dirfd, gaddr_t name, uint32_t mode, unsigned walk)
{
    AUTO_PATH p = {0};
    int r = user_path(t, dirfd, name, walk, &p);

    return r < 0 ? r : vfs_chmod(t, &p, mode);
}

long sys_chmod(struct task *t, const struct sysargs *a)
{
    return chmod_at(t, AT_FDCWD, a->v[0], (uint32_t)a->v[1], WALK_FOLLOW);
}

long sys_fchmodat(struct task *t, const struct sysargs *a)
{
    return chmod_at(t, (int)a->v[0], a->v[1], (uint32_t)a->v[2], WALK_FOLLOW);
}

long sys_fchmodat2(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[3];

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return chmod_at(t, (int)a->v[0], a->v[1], (uint32_t)a->v[2], walk_of_at(flags));
}

/* A file's path, or why there is nothing to change: anonymous files have no attributes of theirs.
 */
static long path_of(const struct file *f, const struct path **ret)
{
    if (!f)
        return -EBADF;
    *ret = &f->path;
    return f->path.dentry ? 0 : -EPERM;
}

long sys_fchmod(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    const struct path *p;
    long r = path_of(f, &p);

    return r < 0 ? r : vfs_chmod(t, p, (uint32_t)a->v[1]);
}

static long chown_path(struct task *t, const struct path *p, uint32_t uid, uint32_t gid)
{
    const struct userns *ns = t->cred->userns;
    uint32_t kuid = uid == UINT32_MAX ? uid : uid_to_kernel(ns, uid);
    uint32_t kgid = gid == UINT32_MAX ? gid : gid_to_kernel(ns, gid);

    if ((uid != UINT32_MAX && kuid == ID_INVALID) || (gid != UINT32_MAX && kgid == ID_INVALID))
        return -EINVAL;
    return vfs_chown(t, p, kuid, kgid);
}

static long chown_at(struct task *t, int dirfd, gaddr_t name, uint64_t uid, uint64_t gid,
                     unsigned walk)
{
    AUTO_PATH p = {0};
    int r = user_path(t, dirfd, name, walk, &p);

    return r < 0 ? r : chown_path(t, &p, (uint32_t)uid, (uint32_t)gid);
}

long sys_chown(struct task *t, const struct sysargs *a)
{
    return chown_at(t, AT_FDCWD, a->v[0], a->v[1], a->v[2], WALK_FOLLOW);
}

long sys_lchown(struct task *t, const struct sysargs *a)
{
    return chown_at(t, AT_FDCWD, a->v[0], a->v[1], a->v[2], 0);
}

long sys_fchownat(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[4];

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return chown_at(t, (int)a->v[0], a->v[1], a->v[2], a->v[3], walk_of_at(flags));
}

long sys_fchown(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    const struct path *p;
    long r = path_of(f, &p);

    return r < 0 ? r : chown_path(t, p, (uint32_t)a->v[1], (uint32_t)a->v[2]);
}

long sys_umask(struct task *t, const struct sysargs *a)
{
    return __atomic_exchange_n(&t->fs->umask, (uint32_t)a->v[0] & 0777, __ATOMIC_RELAXED);
}

/* ---- times ------------------------------------------------------------------------------------*/
/* name 0: dirfd itself. */
static long utimes_at(struct task *t, int dirfd, gaddr_t name, const struct timespec *times,
                      int flags)
{
    AUTO_PATH p = {0};
    int r;

    if (name) {
        r = user_path(t, dirfd, name, walk_of_at(flags), &p);
    } else {
        AUTO_FILE f = fd_get(t, dirfd);
        const struct path *fp;

        r = (int)path_of(f, &fp);
        if (r == 0) {
            p = *fp;
            path_get(&p);
        }
    }
    return r < 0 ? r : vfs_utimes(t, &p, times);
}

long sys_utimensat(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[3];
    struct timespec ts[2];

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (a->v[2] && copy_in(t, ts, a->v[2], sizeof(ts)) < 0)
        return -EFAULT;
    if (a->v[2] && ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT)
        return 0; /* whatever it names */
    if (!a->v[1] && (int)a->v[0] == AT_FDCWD)
        return -EFAULT;
    return utimes_at(t, (int)a->v[0], a->v[1], a->v[2] ? ts : NULL, flags);
}

static long timevals_at(struct task *t, int dirfd, gaddr_t name, gaddr_t times)
{
    struct timeval tv[2];
    struct timespec ts[2];
    int k;

    if (!times)
        return utimes_at(t, dirfd, name, NULL, 0);
    if (copy_in(t, tv, times, sizeof(tv)) < 0)
        return -EFAULT;
    for (k = 0; k < 2; k++) {
        if (tv[k].tv_usec < 0 || tv[k].tv_usec >= 1000000)
            return -EINVAL;
        ts[k] = (struct timespec){.tv_sec = tv[k].tv_sec, .tv_nsec = tv[k].tv_usec * 1000};
    }
    return utimes_at(t, dirfd, name, ts, 0);
}

long sys_utimes(struct task *t, const struct sysargs *a)
{
    return timevals_at(t, AT_FDCWD, a->v[0], a->v[1]);
}

long sys_futimesat(struct task *t, const struct sysargs *a)
{
    return timevals_at(t, (int)a->v[0], a->v[1], a->v[2]);
}

long sys_utime(struct task *t, const struct sysargs *a)
{
    struct utimbuf b;
    struct timespec ts[2] = {{0}};

    if (!a->v[1])
        return utimes_at(t, AT_FDCWD, a->v[0], NULL, 0);
    if (copy_in(t, &b, a->v[1], sizeof(b)) < 0)
        return -EFAULT;
    ts[0].tv_sec = b.actime;
    ts[1].tv_sec = b.modtime;
    return utimes_at(t, AT_FDCWD, a->v[0], ts, 0);
}

/* ---- sizes ------------------------------------------------------------------------------------*/
long sys_truncate(struct task *t, const struct sysargs *a)
{
    AUTO_PATH p = {0};
    int r = (int64_t)a->v[1] < 0 ? -EINVAL : user_path(t, AT_FDCWD, a->v[0], WALK_FOLLOW, &p);

    return r < 0 ? r : vfs_truncate(t, &p, (int64_t)a->v[1]);
}

long sys_ftruncate(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    return f ? vfs_ftruncate(t, f, (int64_t)a->v[1]) : -EBADF;
}

long sys_fallocate(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    return f ? vfs_fallocate(t, f, (int)a->v[1], (int64_t)a->v[2], (int64_t)a->v[3]) : -EBADF;
}

/* ---- writing back -----------------------------------------------------------------------------*/
static long sync_file(struct task *t, int fd, bool data_only)
{
    AUTO_FILE f = fd_get(t, fd);

    if (!f)
        return -EBADF;
    return f->ops->fsync ? f->ops->fsync(t, f, data_only) : -EINVAL;
}

long sys_fsync(struct task *t, const struct sysargs *a)
{
    return sync_file(t, (int)a->v[0], false);
}

long sys_fdatasync(struct task *t, const struct sysargs *a)
{
    return sync_file(t, (int)a->v[0], true);
}

long sys_sync_file_range(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    if (!f)
        return -EBADF;
    if ((a->v[3] & ~7ULL) || (int64_t)a->v[1] < 0 || (int64_t)a->v[2] < 0 ||
        (int64_t)(a->v[1] + a->v[2]) < 0)
        return -EINVAL;
    if (!f->inode || S_ISFIFO(f->inode->mode))
        return -ESPIPE;
    return f->ops->fsync ? f->ops->fsync(t, f, true) : -ESPIPE;
}

long sys_sync(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return 0;
}

long sys_syncfs(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    if (!f)
        return -EBADF;
    if (f->inode && f->inode->super->ops && f->inode->super->ops->sync)
        return f->inode->super->ops->sync(f->inode->super);
    return 0;
}

static long check_advice(struct task *t, int fd, bool need_read)
{
    AUTO_FILE f = fd_get(t, fd);

    if (!f || (need_read && !file_readable(f)))
        return -EBADF;
    if (!f->inode || S_ISFIFO(f->inode->mode) || S_ISSOCK(f->inode->mode))
        return need_read ? -EINVAL : -ESPIPE;
    return need_read && !S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode) ? -EINVAL : 0;
}

long sys_fadvise64(struct task *t, const struct sysargs *a)
{
    long r = check_advice(t, (int)a->v[0], false);

    if (r < 0)
        return r;
    return (int64_t)a->v[2] < 0 || (unsigned)a->v[3] > 5 ? -EINVAL : 0;
}

long sys_readahead(struct task *t, const struct sysargs *a)
{
    return check_advice(t, (int)a->v[0], true);
}

/* ---- file handles -----------------------------------------------------------------------------*/
long sys_name_to_handle_at(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return -EOPNOTSUPP;
}

long sys_open_by_handle_at(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return -EPERM;
}

/* ---- sysfs(2): numbers of file system types
 * -----------------------------------------------------*/
static long type_by_name(struct task *t, gaddr_t at)
{
    char name[PATH_MAX];
    unsigned i = 0;
    long nr = 0;
    int r = copy_in_path(t, name, at, true);

    if (r < 0)
        return r;
    for (const struct fs_type *f; (f = fs_type_next(&i)); nr++)
        if (strcmp(f->name, name) == 0)
            return nr;
    return -EINVAL;
}

static long type_by_number(struct task *t, uint64_t nr, gaddr_t to)
{
    unsigned i = 0;

    for (const struct fs_type *f; (f = fs_type_next(&i)); nr--)
        if (!nr)
            return copy_out(t, to, f->name, strlen(f->name) + 1);
    return -EINVAL;
}

long sys_sysfs(struct task *t, const struct sysargs *a)
{
    unsigned i = 0;
    long n = 0;

    switch ((int)a->v[0]) {
    case 1:
        return type_by_name(t, a->v[1]);
    case 2:
        return type_by_number(t, (unsigned)a->v[1], a->v[2]);
    case 3:
        while (fs_type_next(&i))
            n++;
        return n;
    default:
        return -EINVAL;
    }
}
