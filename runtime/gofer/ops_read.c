/* Requests that change nothing: walk, stat, open, readlink, statfs, getxattr, listxattr, connect.
 */
#include "common/cleanup.h"
#include "runtime/gofer/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    OPEN_FLAGS =
        O_ACCMODE | O_APPEND | O_DIRECTORY | O_TRUNC | O_NOATIME | O_DIRECT | O_SYNC | O_NONBLOCK
};

/* Puts the link's target behind the attributes, if there is room. */
static void add_link_target(struct gofer_ctx *c, int dirfd, const char *name)
{
    size_t used = c->reply->data_len, room = MIN(c->out_max - used, (size_t)PATH_MAX);
    ssize_t n = readlinkat(dirfd, name, c->out + used, room);

    if (n <= 0 || (size_t)n >= room)
        return;
    c->reply->data_len += (uint32_t)n;
    c->reply->more = 1;
}

/* With a link's target, if the client has room for one. */
int gofer_op_stat(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = gofer_resolve(c, c->path);
    int r = fd < 0 ? fd : gofer_attr_at(fd, "", &c->reply->attr);

    if (r == 0 && S_ISLNK(c->reply->attr.mode) && c->request->reply_max >= PATH_MAX)
        add_link_target(c, fd, "");
    return r;
}

/* What may be opened, by type: 0 or -errno. Adds flags that it must be opened with. */
static int check_type(const struct gofer_ctx *c, uint32_t mode, int *flags)
{
    bool writes = (*flags & O_ACCMODE) != O_RDONLY || (*flags & O_TRUNC);

    if (S_ISLNK(mode))
        return -ELOOP;
    if (S_ISDIR(mode)) {
        *flags |= O_DIRECTORY;
        return writes ? -EISDIR : 0;
    }
    if (*flags & O_DIRECTORY)
        return -ENOTDIR;
    if (S_ISSOCK(mode))
        return -ENXIO;
    if ((S_ISCHR(mode) || S_ISBLK(mode)) && !c->mount->devices)
        return -EPERM;
    if (!S_ISREG(mode))
        *flags |= O_NONBLOCK;
    if (writes && c->mount->readonly && !S_ISFIFO(mode))
        return -EROFS;
    return 0;
}

int gofer_op_open(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = -1;
    int flags = (int)c->request->flags & OPEN_FLAGS, r;

    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    fd = gofer_resolve(c, c->path);
    if (fd < 0)
        return fd;
    r = gofer_attr_at(fd, "", &c->reply->attr);
    if (r == 0)
        r = check_type(c, c->reply->attr.mode, &flags);
    if (r < 0)
        return r;
    /* The very inode that was looked at is opened, whatever the name means by now. */
    c->fd = gofer_reopen(c, fd, flags);
    if (c->fd >= 0 && (flags & O_TRUNC))
        (void)gofer_attr_at(c->fd, "", &c->reply->attr);
    if (c->fd >= 0 && (flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY)
        gofer_open_ahead_of(c);
    return c->fd < 0 ? c->fd : 0;
}

int gofer_op_readlink(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = gofer_resolve(c, c->path);
    ssize_t n;

    if (fd < 0)
        return fd;
    n = readlinkat(fd, "", c->out, MIN(c->out_max, (size_t)PATH_MAX));
    if (n < 0)
        return errno == ENOENT ? -EINVAL : -errno;
    c->reply->data_len = (uint32_t)n;
    return 0;
}

int gofer_op_statfs(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = gofer_resolve(c, c->path);
    struct gofer_statfs out;
    struct statfs f;

    if (fd < 0)
        return fd;
    if (fstatfs(fd, &f) < 0)
        return -errno;
    out = (struct gofer_statfs){
        .type = (uint64_t)f.f_type,
        .bsize = (uint64_t)f.f_bsize,
        .blocks = f.f_blocks,
        .bfree = f.f_bfree,
        .bavail = f.f_bavail,
        .files = f.f_files,
        .ffree = f.f_ffree,
        .namelen = (uint64_t)f.f_namelen,
        .frsize = (uint64_t)f.f_frsize,
        .flags = (uint64_t)f.f_flags,
    };
    memcpy(c->out, &out, sizeof(out));
    c->reply->data_len = sizeof(out);
    return 0;
}

/* What a guest may list and change. */
static bool user_name(const char *name)
{
    return strncmp(name, "user.", 5) == 0 && name[5];
}

/* Extended attributes hang on regular files and directories only; others have none that are for
 * guests. */
static int open_for_xattr(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = gofer_resolve(c, c->path);
    int r;

    if (fd < 0)
        return fd;
    r = gofer_attr_at(fd, "", &c->reply->attr);
    if (r < 0)
        return r;
    if (!S_ISREG(c->reply->attr.mode) && !S_ISDIR(c->reply->attr.mode))
        return -EOPNOTSUPP;
    return gofer_reopen(c, fd, O_RDONLY | O_NONBLOCK);
}

int gofer_op_xget(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = -1;
    ssize_t n;

    if (!gofer_xattr_readable(c->path2))
        return -EOPNOTSUPP;
    fd = open_for_xattr(c);
    if (fd < 0)
        return fd == -EOPNOTSUPP ? -ENODATA : fd;
    n = fgetxattr(fd, c->path2, c->out, MIN(c->out_max, (size_t)GOFER_XATTR_MAX));
    if (n < 0)
        return -errno;
    c->reply->data_len = (uint32_t)n;
    return 0;
}

int gofer_op_xlist(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = open_for_xattr(c);
    char names[GOFER_XATTR_MAX];
    ssize_t n;

    if (fd < 0)
        return fd == -EOPNOTSUPP ? 0 : fd;
    n = flistxattr(fd, names, sizeof(names));
    if (n < 0)
        return -errno;
    for (ssize_t at = 0; at < n;) {
        size_t size = strnlen(names + at, (size_t)(n - at)) + 1;

        if (user_name(names + at) && c->reply->data_len + size <= c->out_max) {
            memcpy(c->out + c->reply->data_len, names + at, size);
            c->reply->data_len += (uint32_t)size;
        }
        at += (ssize_t)size;
    }
    return 0;
}

int gofer_op_xset(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = -1;

    if (!user_name(c->path2))
        return -EOPNOTSUPP;
    fd = open_for_xattr(c);
    if (fd < 0)
        return fd == -EOPNOTSUPP ? -EPERM : fd;
    if (fsetxattr(fd, c->path2, c->data, c->request->data_len,
                  (int)c->request->flags & (XATTR_CREATE | XATTR_REPLACE)) < 0)
        return -errno;
    return 0;
}

int gofer_op_xremove(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = -1;

    if (!user_name(c->path2))
        return -EOPNOTSUPP;
    fd = open_for_xattr(c);
    if (fd < 0)
        return fd == -EOPNOTSUPP ? -EPERM : fd;
    return fremovexattr(fd, c->path2) < 0 ? -errno : 0;
}

int gofer_op_connect(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dirfd = -1;
    CLEANUP(close_fd) int sock = -1;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int type = (int)c->request->flags;
    const char *name;

    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -EPROTOTYPE;
    dirfd = gofer_resolve_parent(c, c->path, &name);
    if (dirfd < 0)
        return dirfd;
    if (strlen(name) + 2 >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "./%s", name);
    sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* connect(2) knows names only, so the directory becomes ours for a moment. Should the name be a
     * link by now, it leads nowhere but to this container's own mounts: the gofer's root holds
     * nothing else. */
    if (sock < 0 || fchdir(dirfd) < 0)
        return -errno;
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    c->fd = TAKE_FD(sock);
    return 0;
}
