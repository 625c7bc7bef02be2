#pragma once
/* Directory trees that may hold hostile names and links: nothing here follows a symbolic link. */
#include "common/error.h"

#include <sys/types.h>

/* Removes name below dirfd with all below it, staying on one file system; absent is fine. */
int tree_remove(int dirfd, const char *name, struct error *err);
/* Opens a path below root_fd: links resolve inside root, never out of it. fd or -errno. */
int open_in_root(int root_fd, const char *path, int flags);
/* The same, but no link at all on the way. */
int open_beneath(int root_fd, const char *path, int flags);
