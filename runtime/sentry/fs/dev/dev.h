#pragma once
/* Device nodes and the standard streams that containers are given. */
#include "runtime/sentry/vfs/file.h"

/* Opens device rdev on f, a file being opened: sets f->ops and f->private. 0, -ENXIO (no such
 * device), or what the device's open says. */
int dev_open(struct task *t, struct file *f, mode_t type, dev_t rdev);

/* Wraps an inherited host descriptor (takes it over on success): pipe, socket, regular file, null
 * device. Access mode is what the host says. The host description's flags are not touched: others
 * may share it. The process must ignore SIGPIPE. t may be NULL. */
int hostfile_new(struct task *t, int host_fd, struct file **ret);

/* What every container's /dev has. The file system type "devtmpfs" is a tmpfs with these in it. */
struct dev_node {
    const char *name;
    mode_t mode; /* with S_IFCHR, or S_IFLNK, S_IFDIR */
    unsigned major, minor;
    const char *target; /* of a link */
};
extern const struct dev_node g_dev_nodes[];
extern const unsigned g_n_dev_nodes;
