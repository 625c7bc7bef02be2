/*
 * Device nodes by number. A node that the guest makes with mknod works if its number is in the
 * table here: no device of the host is ever reached.
 */
#include "runtime/sentry/fs/dev/dev.h"

#include "common/cleanup.h"
#include "runtime/sentry/fs/dev/dev_internal.h"
#include "runtime/sentry/fs/tty/tty.h"

#include <errno.h>
#include <sys/sysmacros.h>

enum { MEM_MAJOR = 1, TTY_MAJOR = 5, PTS_MAJOR = 136, PTS_MAJORS = 8 };

static const struct device {
    unsigned major, minor;
    const struct file_ops *ops;
    int (*open)(struct task *t, struct file *f);
} devices[] = {
    {MEM_MAJOR, 3, &dev_null_ops, NULL},    {MEM_MAJOR, 5, &dev_zero_ops, NULL},
    {MEM_MAJOR, 7, &dev_full_ops, NULL},    {MEM_MAJOR, 8, &dev_random_ops, NULL},
    {MEM_MAJOR, 9, &dev_random_ops, NULL},  {TTY_MAJOR, 0, NULL, tty_open_controlling},
    {TTY_MAJOR, 1, NULL, tty_open_console}, {TTY_MAJOR, 2, NULL, ptmx_open},
};

#define CHR(name, perm, major, minor)                                                              \
    {                                                                                              \
        name, S_IFCHR | (perm), major, minor, NULL                                                 \
    }
#define LNK(name, target)                                                                          \
    {                                                                                              \
        name, S_IFLNK | 0777, 0, 0, target                                                         \
    }
#define DIR_(name, perm)                                                                           \
    {                                                                                              \
        name, S_IFDIR | (perm), 0, 0, NULL                                                         \
    }
const struct dev_node g_dev_nodes[] = {
    CHR("null", 0666, MEM_MAJOR, 3),
    CHR("zero", 0666, MEM_MAJOR, 5),
    CHR("full", 0666, MEM_MAJOR, 7),
    CHR("random", 0666, MEM_MAJOR, 8),
    CHR("urandom", 0666, MEM_MAJOR, 9),
    CHR("tty", 0666, TTY_MAJOR, 0),
    LNK("ptmx", "pts/ptmx"),
    LNK("fd", "/proc/self/fd"),
    LNK("stdin", "/proc/self/fd/0"),
    LNK("stdout", "/proc/self/fd/1"),
    LNK("stderr", "/proc/self/fd/2"),
    LNK("core", "/proc/kcore"),
    DIR_("pts", 0755),
    DIR_("shm", 01777),
    DIR_("mqueue", 01777),
};
const unsigned g_n_dev_nodes = ARRAY_SIZE(g_dev_nodes);

int dev_open(struct task *t, struct file *f, mode_t type, dev_t rdev)
{
    if (type != S_IFCHR)
        return -ENXIO;
    if (major(rdev) >= PTS_MAJOR && major(rdev) < PTS_MAJOR + PTS_MAJORS)
        return pts_open(t, f, (major(rdev) - PTS_MAJOR) << 8 | (minor(rdev) & 255));
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
        const struct device *d = &devices[i];

        if (d->major != major(rdev) || d->minor != minor(rdev))
            continue;
        f->ops = d->ops;
        return d->open ? d->open(t, f) : 0;
    }
    return -ENXIO;
}
