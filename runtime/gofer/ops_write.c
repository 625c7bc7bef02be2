/* Requests that change a mount. The table refused them already on read-only ones. */
#include "common/cleanup.h"
#include "runtime/gofer/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum {
    CREATE_FLAGS = O_ACCMODE | O_APPEND | O_NOATIME | O_DIRECT | O_SYNC | O_NONBLOCK,
    PERMISSIONS = 07777,
};

static int chmod_path_fd(struct gofer_ctx *c, int path_fd, uint32_t mode)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "%d", path_fd);
    /* By way of /proc/self/fd: an O_PATH descriptor has no other handle for it before Linux 6.6. */
    return fchmodat(c->server->proc_fd, name, mode & PERMISSIONS, 0) < 0 ? -errno : 0;
}

/*
 * Owner, mode and attributes of something just made. Never by name: another user of a shared volume
 * may have put a link there. And what is there may be a file of somebody else's by now, which must
 * not get another owner: ours is of our type, and nobody can have made a second name for it that
 * lasts.
 */
static int finish_new(struct gofer_ctx *c, int dirfd, const char *name, uint32_t type)
{
    CLEANUP(close_fd) int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct gofer_attr a;
    int r = fd < 0 ? -errno : gofer_attr_at(fd, "", &a);

    if (r < 0)
        return r;
    if ((a.mode & S_IFMT) != type || (type != S_IFDIR && a.nlink != 1))
        return -EAGAIN;
    if (fchownat(fd, "", c->request->uid, c->request->gid, AT_EMPTY_PATH) < 0)
        return -errno;
    /* Changing the owner takes set-id bits away, so they come last. */
    if (type != S_IFLNK)
        r = chmod_path_fd(c, fd, c->request->mode);
    return r < 0 ? r : gofer_attr_at(fd, "", &c->reply->attr);
}

int gofer_op_create(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dirfd = -1;
    CLEANUP(close_fd) int fd = -1;
    int flags = (int)c->request->flags & CREATE_FLAGS, r = 0;
    const char *name;

    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd == -EBUSY ? -EEXIST : dirfd;
    fd = openat(dirfd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                c->request->mode & 0700);
    if (fd < 0)
        return -errno;
    if (fchown(fd, c->request->uid, c->request->gid) < 0 ||
        fchmod(fd, c->request->mode & PERMISSIONS) < 0)
        r = -errno;
    if (r == 0)
        r = gofer_attr_at(fd, "", &c->reply->attr);
    if (r < 0) {
        (void)unlinkat(dirfd, name, 0);
        return r;
    }
    c->fd = TAKE_FD(fd);
    return 0;
}

int gofer_op_mkdir(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dirfd = -1;
    const char *name;
    int r;

    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd == -EBUSY ? -EEXIST : dirfd;
    if (mkdirat(dirfd, name, c->request->mode & 0700) < 0)
        return -errno;
    r = finish_new(c, dirfd, name, S_IFDIR);
    if (r < 0)
        (void)unlinkat(dirfd, name, AT_REMOVEDIR);
    return r;
}

int gofer_op_mknod(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dirfd = -1;
    uint32_t type = c->request->mode & S_IFMT;
    const char *name;
    int r;

    if (type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR)
        return -EPERM;
    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd == -EBUSY ? -EEXIST : dirfd;
    /* The only "device" that is ever made is 0:0, an overlay's whiteout, which nobody can open. */
    if (mknodat(dirfd, name, type | (c->request->mode & 0700), 0) < 0)
        return -errno;
    r = finish_new(c, dirfd, name, type);
    if (r < 0)
        (void)unlinkat(dirfd, name, 0);
    return r;
}

int gofer_op_symlink(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dirfd = -1;
    const char *name;
    int r;

    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd == -EBUSY ? -EEXIST : dirfd;
    if (symlinkat(c->path2, dirfd, name) < 0)
        return -errno;
    r = finish_new(c, dirfd, name, S_IFLNK);
    if (r < 0)
        (void)unlinkat(dirfd, name, 0);
    return r;
}

int gofer_op_link(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int from = -1;
    CLEANUP(close_fd) int to = -1;
    const char *from_name, *to_name;

    from = gofer_resolve_parent(c, c->path, &from_name);
    if (from < 0)
        return from == -EBUSY ? -EPERM : from;
    to = gofer_resolve_parent(c, c->path2, &to_name);
    if (to < 0)
        return to == -EBUSY ? -EEXIST : to;
    if (linkat(from, from_name, to, to_name, 0) < 0)
        return -errno;
    return gofer_attr_at(to, to_name, &c->reply->attr);
}

static int remove_name(struct gofer_ctx *c, int flags)
{
    CLEANUP(close_fd) int dirfd = -1;
    const char *name;

    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd;
    return unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
}

int gofer_op_unlink(struct gofer_ctx *c)
{
    return remove_name(c, 0);
}

int gofer_op_rmdir(struct gofer_ctx *c)
{
    return remove_name(c, AT_REMOVEDIR);
}

int gofer_op_rename(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int from = -1;
    CLEANUP(close_fd) int to = -1;
    const char *from_name, *to_name;

    if (c->request->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    from = gofer_resolve_parent(c, c->path, &from_name);
    if (from < 0)
        return from;
    to = gofer_resolve_parent(c, c->path2, &to_name);
    if (to < 0)
        return to;
    /* Not by libc: without flags it makes another call of it, which the filter does not know. */
    return syscall(SYS_renameat2, from, from_name, to, to_name, c->request->flags) < 0 ? -errno : 0;
}

static int set_size(struct gofer_ctx *c, int path_fd)
{
    CLEANUP(close_fd) int fd = -1;

    if (!S_ISREG(c->reply->attr.mode))
        return S_ISDIR(c->reply->attr.mode) ? -EISDIR : -EINVAL;
    if (c->request->set.size > INT64_MAX)
        return -EINVAL;
    fd = gofer_reopen(c, path_fd, O_WRONLY);
    if (fd < 0)
        return fd;
    return ftruncate(fd, (off_t)c->request->set.size) < 0 ? -errno : 0;
}

static int set_owner(struct gofer_ctx *c, int path_fd)
{
    const struct gofer_setattr *set = &c->request->set;
    uid_t uid = set->mask & GOFER_SET_UID ? set->uid : (uid_t)-1;
    gid_t gid = set->mask & GOFER_SET_GID ? set->gid : (gid_t)-1;

    return fchownat(path_fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_mode(struct gofer_ctx *c, int path_fd)
{
    if (S_ISLNK(c->reply->attr.mode))
        return -EOPNOTSUPP;
    return chmod_path_fd(c, path_fd, c->request->set.mode);
}

static struct timespec time_value(uint32_t mask, uint32_t set, uint32_t now, int64_t ns)
{
    struct timespec ts = {.tv_nsec = UTIME_OMIT};

    if (mask & now) {
        ts.tv_nsec = UTIME_NOW;
    } else if (mask & set) {
        ts.tv_sec = ns / 1000000000;
        ts.tv_nsec = ns % 1000000000;
        if (ts.tv_nsec < 0) {
            ts.tv_sec--;
            ts.tv_nsec += 1000000000;
        }
    }
    return ts;
}

static int set_times(struct gofer_ctx *c, int path_fd)
{
    const struct gofer_setattr *set = &c->request->set;
    struct timespec ts[2] = {
        time_value(set->mask, GOFER_SET_ATIME, GOFER_SET_ATIME_NOW, set->atime),
        time_value(set->mask, GOFER_SET_MTIME, GOFER_SET_MTIME_NOW, set->mtime),
    };

    return utimensat(path_fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int gofer_op_setattr(struct gofer_ctx *c)
{
    static const struct {
        uint32_t mask;
        int (*set)(struct gofer_ctx *, int);
    } steps[] = {
        {GOFER_SET_SIZE, set_size},
        {GOFER_SET_UID | GOFER_SET_GID, set_owner},
        {GOFER_SET_MODE, set_mode}, /* after the owner, which clears set-id bits */
        {GOFER_SET_ATIME | GOFER_SET_MTIME | GOFER_SET_ATIME_NOW | GOFER_SET_MTIME_NOW, set_times},
    };
    CLEANUP(close_fd) int fd = gofer_resolve(c, c->path);
    int r;

    if (fd < 0)
        return fd;
    r = gofer_attr_at(fd, "", &c->reply->attr);
    for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
        if (c->request->set.mask & steps[i].mask)
            r = steps[i].set(c, fd);
    return r < 0 ? r : gofer_attr_at(fd, "", &c->reply->attr);
}

static int open_scratch(struct gofer_server *s)
{
    if (s->scratch >= 0)
        return 0;
    if (s->scratch_root < 0 || !s->hidden)
        return -ENOSYS;
    if (mkdirat(s->scratch_root, s->hidden, 0700) < 0 && errno != EEXIST)
        return -errno;
    s->scratch = openat(s->scratch_root, s->hidden, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return s->scratch < 0 ? -errno : 0;
}

int gofer_op_scratch(struct gofer_ctx *c)
{
    struct gofer_server *s = c->server;
    int r = open_scratch(s);
    char name[24];

    if (r < 0)
        return r;
    if (c->request->flags & 1) {
        (void)snprintf(name, sizeof(name), "%llu", (unsigned long long)c->request->cookie);
        return unlinkat(s->scratch, name, 0) < 0 ? -errno : 0;
    }
    c->reply->cookie = ++s->next_scratch;
    (void)snprintf(name, sizeof(name), "%llu", (unsigned long long)c->reply->cookie);
    c->fd = openat(s->scratch, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOATIME,
                   0600);
    return c->fd < 0 ? -errno : 0;
}
