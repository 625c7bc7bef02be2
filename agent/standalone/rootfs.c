#include "agent/standalone/rootfs.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define UPPER_LIMIT "size=50%,mode=0755"

static int make_dir(const char *parent, const char *name, char *path, size_t size,
                    struct error *err)
{
    if (snprintf(path, size, "%s/%s", parent, name) >= (int)size)
        return error_errno(err, -ENAMETOOLONG, "'%s/%s'", parent, name);
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "create '%s'", path);
    return 0;
}

static int mount_overlay(const struct image *image, const char *rw, const char *target,
                         struct error *err)
{
    /* By descriptor: the path may hold what overlay's option parser takes for its own. */
    CLEANUP(close_fd) int lower = open(image->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char upper[PATH_MAX], work[PATH_MAX], options[3 * PATH_MAX];
    int r;

    if (lower < 0)
        return error_errno(err, -errno, "open '%s'", image->root);
    r = make_dir(rw, "upper", upper, sizeof(upper), err);
    if (r == 0)
        r = make_dir(rw, "work", work, sizeof(work), err);
    if (r < 0)
        return r;
    (void)snprintf(options, sizeof(options), "lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s",
                   lower, upper, work);
    if (mount("overlay", target, "overlay", 0, options) < 0)
        return error_errno(err, -errno, "mount overlay over '%s'", image->root);
    return 0;
}

int rootfs_mount(const struct image *image, const char *bundle, struct error *err)
{
    char target[PATH_MAX], rw[PATH_MAX];
    int r = make_dir(bundle, "rootfs", target, sizeof(target), err);

    if (r == 0)
        r = make_dir(bundle, "rw", rw, sizeof(rw), err);
    if (r < 0)
        return r;
    if (!image->host && mount_overlay(image, rw, target, err) == 0)
        return 0;
    if (mount("tmpfs", rw, "tmpfs", MS_NODEV, UPPER_LIMIT) < 0)
        return error_errno(err, -errno, "mount tmpfs at '%s'", rw);
    return mount_overlay(image, rw, target, err);
}

void rootfs_unmount(const char *bundle)
{
    static const char *const points[] = {"rootfs", "rw"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", bundle, points[i]);
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            continue;
    }
}
