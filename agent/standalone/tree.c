#include "agent/standalone/tree.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { DEPTH_MAX = 512 };

static int open_how(int fd, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve};
    long r;

    do
        r = syscall(SYS_openat2, fd, path, &how, sizeof(how));
    while (r < 0 && (errno == EAGAIN || errno == EINTR));
    return r < 0 ? -errno : (int)r;
}

int open_in_root(int root_fd, const char *path, int flags)
{
    return open_how(root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int open_beneath(int root_fd, const char *path, int flags)
{
    return open_how(root_fd, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int remove_at(int dirfd, const char *name, dev_t device, unsigned depth);

static int remove_children(int dirfd, const char *name, dev_t device, unsigned depth)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct dirent *d;
    int r = 0;

    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return -ENOMEM;
    }
    while (r == 0 && (d = readdir(dir)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            r = remove_at(fd, d->d_name, device, depth + 1);
    return r;
}

/* Another file system (a volume still mounted) ends the descent: EBUSY, never its contents. */
static int remove_at(int dirfd, const char *name, dev_t device, unsigned depth)
{
    struct stat st;
    int r;

    if (depth > DEPTH_MAX)
        return -ELOOP;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (st.st_dev != device)
        return -EBUSY;
    if (S_ISDIR(st.st_mode)) {
        r = remove_children(dirfd, name, device, depth);
        if (r < 0)
            return r;
    }
    return unlinkat(dirfd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT
               ? -errno
               : 0;
}

int tree_remove(int dirfd, const char *name, struct error *err)
{
    struct stat st;
    int r;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "remove '%s'", name);
    r = remove_at(dirfd, name, st.st_dev, 0);
    return r < 0 ? error_errno(err, r, "remove '%s'", name) : 0;
}
