/*
 * Resolving paths beneath a mount's root. openat2 does the confinement (RESOLVE_BENEATH, no
 * symbolic or magic links); the check of the path's form comes first because parent and name are
 * split here.
 */
#include "common/cleanup.h"
#include "runtime/gofer/ops.h"
#include "runtime/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool gofer_path_ok(const char *path)
{
    const char *p = path;

    if (!*p)
        return true;
    for (;;) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > NAME_MAX || (n == 1 && p[0] == '.') ||
            (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!p[n])
            return true;
        p += n + 1;
    }
}

bool gofer_is_hidden(const struct gofer_ctx *c, const char *dir, const char *name)
{
    const struct gofer_server *s = c->server;

    return s->hidden && !*dir && c->mount == &s->mounts[0] && strcmp(name, s->hidden) == 0;
}

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd;

    if (!GUARDED(GOFER_LINKS))
        how = (struct open_how){.flags = (uint64_t)(flags | O_CLOEXEC)};

    /* The kernel gives EAGAIN when a rename raced with the walk and it could not prove that it
     * stayed beneath. */
    for (int tries = 0; tries < 64; tries++) {
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd < 0 ? -errno : fd;
}

int gofer_resolve(const struct gofer_ctx *c, const char *path)
{
    size_t hidden = c->server->hidden ? strlen(c->server->hidden) : 0;
    int fd;

    if (!*path) {
        fd = fcntl(c->mount->root, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    if (hidden && c->mount == &c->server->mounts[0] &&
        strncmp(path, c->server->hidden, hidden) == 0 && (path[hidden] == 0 || path[hidden] == '/'))
        return -ENOENT;
    /* RESOLVE_NO_SYMLINKS fails for a link as last component too, but not with O_PATH|O_NOFOLLOW.
     */
    return open_beneath(c->mount->root, path, O_PATH);
}

int gofer_resolve_parent(const struct gofer_ctx *c, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char parent[GOFER_PATH_MAX];

    if (!*path)
        return -EBUSY;
    if (!slash) {
        *ret_name = path;
        if (gofer_is_hidden(c, "", path))
            return -EPERM;
        return gofer_resolve(c, "");
    }
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = 0;
    *ret_name = slash + 1;
    return gofer_resolve(c, parent);
}

int gofer_reopen(const struct gofer_ctx *c, int path_fd, int flags)
{
    char name[16];
    int fd;

    (void)snprintf(name, sizeof(name), "%d", path_fd);
    fd = openat(c->server->proc_fd, name, flags | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

static int64_t nanoseconds(const struct statx_timestamp *t)
{
    if (t->tv_sec > INT64_MAX / 1000000000 - 1)
        return INT64_MAX;
    if (t->tv_sec < INT64_MIN / 1000000000 + 1)
        return INT64_MIN;
    return t->tv_sec * 1000000000 + t->tv_nsec;
}

int gofer_attr_at(int dirfd, const char *name, struct gofer_attr *ret)
{
    struct statx x;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);

    if (statx(dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
        return -errno;
    *ret = (struct gofer_attr){
        .mode = x.stx_mode,
        .uid = x.stx_uid,
        .gid = x.stx_gid,
        .nlink = x.stx_nlink,
        .ino = x.stx_ino,
        .dev = makedev(x.stx_dev_major, x.stx_dev_minor),
        .rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
        .size = x.stx_size,
        .blocks = x.stx_blocks,
        .atime = nanoseconds(&x.stx_atime),
        .mtime = nanoseconds(&x.stx_mtime),
        .ctime = nanoseconds(&x.stx_ctime),
        .btime = x.stx_mask & STATX_BTIME ? nanoseconds(&x.stx_btime) : 0,
        .blksize = x.stx_blksize,
    };
    return 0;
}
