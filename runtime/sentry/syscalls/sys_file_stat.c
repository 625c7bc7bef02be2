/* Telling about files: stat in all shapes, access, readlink, statfs. */
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/task/userns.h"

#include <linux/stat.h>
#include <string.h>
#include <sys/sysmacros.h>

static void to_guest_ids(struct task *t, struct attr *a)
{
    if (!t->cred->userns)
        return;
    a->uid = uid_from_kernel(t->cred->userns, a->uid);
    a->gid = gid_from_kernel(t->cred->userns, a->gid);
}

static long put_stat(struct task *t, gaddr_t addr, struct attr *a)
{
    struct stat st;

    to_guest_ids(t, a);
    attr_to_stat(a, &st);
    return copy_out(t, addr, &st, sizeof(st));
}

static int attr_of_fd(struct task *t, int fd, struct attr *a)
{
    AUTO_FILE f = fd_get_any(t, fd);

    return f ? vfs_file_attr(t, f, a) : -EBADF;
}

/* ret_mount (may be NULL): id of the mount, and whether it is its root. */
static int attr_at(struct task *t, int dirfd, gaddr_t name, int flags, struct attr *a,
                   int *ret_mount, bool *ret_is_root)
{
    char path[PATH_MAX];
    struct path p;
    int r = 0;

    path[0] = '\0';
    if (name || !(flags & AT_EMPTY_PATH))
        r = copy_in_path(t, path, name, flags & AT_EMPTY_PATH);
    if (r < 0)
        return r;
    if (!path[0] && dirfd != AT_FDCWD && !ret_mount)
        return attr_of_fd(t, dirfd, a);
    r = path_lookup(t, dirfd, path, walk_of_at(flags), &p);
    if (r == -ENOTDIR && !path[0]) /* a pipe, a socket: no path */
        return attr_of_fd(t, dirfd, a);
    if (r < 0)
        return r;
    r = inode_getattr(t, p.dentry->inode, a);
    if (ret_mount) {
        *ret_mount = p.mount ? p.mount->id : 0;
        *ret_is_root = path_is_mountpoint(&p);
    }
    path_put(&p);
    return r;
}

static long stat_at(struct task *t, int dirfd, gaddr_t name, gaddr_t out, int flags)
{
    struct attr a;
    int r = attr_at(t, dirfd, name, flags, &a, NULL, NULL);

    return r < 0 ? r : put_stat(t, out, &a);
}

long sys_stat(struct task *t, const struct sysargs *a)
{
    return stat_at(t, AT_FDCWD, a->v[0], a->v[1], 0);
}

long sys_lstat(struct task *t, const struct sysargs *a)
{
    return stat_at(t, AT_FDCWD, a->v[0], a->v[1], AT_SYMLINK_NOFOLLOW);
}

long sys_fstat(struct task *t, const struct sysargs *a)
{
    struct attr attr;
    int r = attr_of_fd(t, (int)a->v[0], &attr);

    return r < 0 ? r : put_stat(t, a->v[1], &attr);
}

long sys_newfstatat(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[3];

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    return stat_at(t, (int)a->v[0], a->v[1], a->v[2], flags);
}

static struct statx_timestamp to_statx_time(nsec_t ns)
{
    struct timespec ts = ns_to_timespec(ns);

    if (ts.tv_nsec < 0) {
        ts.tv_sec--;
        ts.tv_nsec += NSEC_PER_SEC;
    }
    return (struct statx_timestamp){.tv_sec = ts.tv_sec, .tv_nsec = (uint32_t)ts.tv_nsec};
}

static void to_statx(const struct attr *a, int mount, bool is_root, struct statx *x)
{
    *x = (struct statx){.stx_mask = STATX_BASIC_STATS | (a->btime ? STATX_BTIME : 0) | 0x1000,
                        .stx_blksize = a->blksize,
                        .stx_attributes = is_root ? 0x2000 : 0,
                        .stx_attributes_mask = 0x2000, /* STATX_ATTR_MOUNT_ROOT */
                        .stx_nlink = a->nlink,
                        .stx_uid = a->uid,
                        .stx_gid = a->gid,
                        .stx_mode = (uint16_t)a->mode,
                        .stx_ino = a->ino,
                        .stx_size = a->size,
                        .stx_blocks = a->blocks,
                        .stx_atime = to_statx_time(a->atime),
                        .stx_mtime = to_statx_time(a->mtime),
                        .stx_ctime = to_statx_time(a->ctime),
                        .stx_btime = to_statx_time(a->btime),
                        .stx_rdev_major = major(a->rdev),
                        .stx_rdev_minor = minor(a->rdev),
                        .stx_dev_major = major(a->dev),
                        .stx_dev_minor = minor(a->dev)};
    /* stx_mnt_id: behind stx_dev_minor, not in older headers */
    memcpy((char *)x + 0x90, &(uint64_t){(uint64_t)mount}, 8);
}

long sys_statx(struct task *t, const struct sysargs *a)
{
    const int known =
        AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000 /* AT_STATX_SYNC_TYPE */;
    int flags = (int)a->v[2], mount = 0, r;
    bool is_root = false;
    struct statx x;
    struct attr attr;

    if ((flags & ~known) || (flags & 0x6000) == 0x6000 || (a->v[3] & 0x80000000U))
        return -EINVAL;
    r = attr_at(t, (int)a->v[0], a->v[1], flags, &attr, &mount, &is_root);
    if (r < 0)
        return r;
    to_guest_ids(t, &attr);
    to_statx(&attr, mount, is_root, &x);
    return copy_out(t, a->v[4], &x, sizeof(x));
}

/* ---- access -----------------------------------------------------------------------------------*/
/* With the real ids, as access(2) wants it: capabilities only if the real user is root. */
static struct cred *real_cred(struct task *t)
{
    struct cred *c = cred_copy(t->cred);

    if (!c)
        return NULL;
    c->fsuid = c->uid;
    c->fsgid = c->gid;
    c->effective = uid_from_kernel(c->userns, c->uid) == 0 ? c->permitted : 0;
    return c;
}

static void swap_cred(struct task *t, struct cred **c)
{
    struct cred *old;

    mutex_lock(&g_tasks_lock);
    old = t->cred;
    __atomic_store_n(&t->cred, *c, __ATOMIC_RELEASE);
    mutex_unlock(&g_tasks_lock);
    *c = old;
}

static long check_access(struct task *t, const struct path *p, int mode)
{
    struct inode *i = p->dentry->inode;
    int r;

    if ((mode & X_OK) && S_ISREG(i->mode) && p->mount && (p->mount->flags & MS_NOEXEC))
        return -EACCES;
    r = mode ? inode_permission(t, i, mode) : 0;
    if (r == 0 && (mode & W_OK) && (S_ISREG(i->mode) || S_ISDIR(i->mode) || S_ISLNK(i->mode)))
        r = path_want_write(p);
    return r;
}

static long access_at(struct task *t, int dirfd, gaddr_t name, int mode, int flags)
{
    const struct cred *own = t->cred;
    struct cred *other = NULL;
    struct path p;
    long r;

    if (mode & ~7)
        return -EINVAL;
    if (!(flags & AT_EACCESS) &&
        (own->uid != own->fsuid || own->gid != own->fsgid ||
         own->effective != (uid_from_kernel(own->userns, own->uid) == 0 ? own->permitted : 0))) {
        other = real_cred(t);
        if (!other)
            return -ENOMEM;
        swap_cred(t, &other);
    }
    r = user_path(t, dirfd, name, walk_of_at(flags), &p);
    if (r == 0) {
        r = check_access(t, &p, mode);
        path_put(&p);
    }
    if (other) {
        swap_cred(t, &other);
        cred_put(other);
    }
    return r;
}

long sys_access(struct task *t, const struct sysargs *a)
{
    return access_at(t, AT_FDCWD, a->v[0], (int)a->v[1], 0);
}

long sys_faccessat(struct task *t, const struct sysargs *a)
{
    return access_at(t, (int)a->v[0], a->v[1], (int)a->v[2], 0);
}

long sys_faccessat2(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[3];

    if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return access_at(t, (int)a->v[0], a->v[1], (int)a->v[2], flags);
}

/* ---- readlink, statfs -------------------------------------------------------------------------*/
static long readlink_at(struct task *t, int dirfd, gaddr_t name, gaddr_t buf, int size)
{
    char path[PATH_MAX];
    struct path p;
    ssize_t n;
    int r;

    if (size <= 0)
        return -EINVAL;
    r = copy_in_path(t, path, name, true);
    if (r < 0)
        return r;
    if (!path[0] && dirfd == AT_FDCWD)
        return -ENOENT;
    r = path_lookup(t, dirfd, path, path[0] ? 0 : WALK_EMPTY, &p);
    if (r < 0)
        return r;
    if (!S_ISLNK(p.dentry->inode->mode))
        n = path[0] ? -EINVAL : -ENOENT;
    else
        n = MIN(inode_readlink(t, p.dentry->inode, path, sizeof(path)), (ssize_t)size);
    path_put(&p);
    if (n > 0 && copy_out(t, buf, path, (size_t)n) < 0)
        return -EFAULT;
    return n;
}

long sys_readlink(struct task *t, const struct sysargs *a)
{
    return readlink_at(t, AT_FDCWD, a->v[0], a->v[1], (int)a->v[2]);
}

long sys_readlinkat(struct task *t, const struct sysargs *a)
{
    return readlink_at(t, (int)a->v[0], a->v[1], a->v[2], (int)a->v[3]);
}

static long put_statfs(struct task *t, const struct path *p, gaddr_t out)
{
    struct statfs st;
    int r = vfs_statfs(t, p, &st);

    return r < 0 ? r : copy_out(t, out, &st, sizeof(st));
}

long sys_statfs(struct task *t, const struct sysargs *a)
{
    AUTO_PATH p = {0};
    int r = user_path(t, AT_FDCWD, a->v[0], WALK_FOLLOW, &p);

    return r < 0 ? r : put_statfs(t, &p, a->v[1]);
}

/* Pipes and sockets live on file systems that nobody mounts. */
static long statfs_anonymous(struct task *t, const struct file *f, gaddr_t out)
{
    struct statfs st = {.f_type = 0x09041934, .f_bsize = 4096, .f_frsize = 4096, .f_namelen = 255};
    const char *name = f->ops->name ? f->ops->name : "";

    if (strncmp(name, "pipe", 4) == 0)
        st.f_type = 0x50495045;
    else if (strncmp(name, "socket", 6) == 0)
        st.f_type = 0x534F434B;
    return copy_out(t, out, &st, sizeof(st));
}

long sys_fstatfs(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get_any(t, (int)a->v[0]);

    if (!f)
        return -EBADF;
    return f->path.dentry ? put_statfs(t, &f->path, a->v[1]) : statfs_anonymous(t, f, a->v[1]);
}
