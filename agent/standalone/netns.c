#include "agent/standalone/netns.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/vfs.h>

int netns_enter(struct netns_scope *s, int fd, struct error *err)
{
    s->home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (s->home_fd < 0)
        return error_errno(err, -errno, "open own network namespace");
    if ((fd >= 0 ? setns(fd, CLONE_NEWNET) : unshare(CLONE_NEWNET)) < 0) {
        int r = -errno;

        close_fd(&s->home_fd);
        return error_errno(err, r, "enter network namespace");
    }
    return 0;
}

void netns_leave(struct netns_scope *s)
{
    if (s->home_fd < 0)
        return;
    if (setns(s->home_fd, CLONE_NEWNET) < 0) {
        log_error("return to own network namespace: %m");
        abort();
    }
    close_fd(&s->home_fd);
}

int netns_create(const char *path, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    struct netns_scope scope;
    int r;

    netns_remove(path);
    fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0)
        return error_errno(err, -errno, "create '%s'", path);
    r = netns_enter(&scope, -1, err);
    if (r < 0)
        return r;
    if (mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        r = error_errno(err, -errno, "mount network namespace at '%s'", path);
    netns_leave(&scope);
    return r;
}

void netns_remove(const char *path)
{
    while (umount2(path, MNT_DETACH) == 0)
        continue;
    (void)unlink(path);
}

int netns_open(const char *path, int *ret_fd, struct error *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct statfs st;

    if (fd < 0)
        return error_errno(err, -errno, "open '%s'", path);
    if (fstatfs(fd, &st) < 0 || st.f_type != NSFS_MAGIC)
        return error_set(err, -ENOENT, "'%s' is no network namespace", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
