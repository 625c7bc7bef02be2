#pragma once
/* Opening /proc/PID/fd/N of files that no path leads to. */
#include "runtime/sentry/vfs/inode.h"

/* A path to f, an anonymous file: stat shows f; opening it gives another file on the same pipe, and
 * is ENXIO for anything else. 0, -ENOMEM. */
int reopen_path(struct file *f, struct path *ret);
