#pragma once
/*
 * Names. `name` arguments are kernel strings (at most PATH_MAX with NUL); dirfd may be AT_FDCWD.
 * Results in `struct path` carry references (path_put).
 */
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/mount.h"

#include <limits.h>

struct fs_context;

enum walk_flags {
    WALK_FOLLOW = 1,      /* a symbolic link at the end is followed */
    WALK_DIRECTORY = 2,   /* the result must be a directory */
    WALK_EMPTY = 4,       /* "" is dirfd itself (AT_EMPTY_PATH) */
    WALK_NO_SYMLINKS = 8, /* RESOLVE_* of openat2 */
    WALK_NO_MAGIC = 16,
    WALK_NO_XDEV = 32,
    WALK_BENEATH = 64,
    WALK_IN_ROOT = 128,
    WALK_CACHED = 256,
};
enum { SYMLINKS_MAX = 40 };

int path_lookup(struct task *t, int dirfd, const char *name, unsigned flags, struct path *ret);
/* From a given directory, e.g. the container's root with no task's cwd. */
int path_lookup_at(struct task *t, const struct path *base, const char *name, unsigned flags,
                   struct path *ret);

/* The absolute name of p as seen from root: bytes without NUL, -ENAMETOOLONG, -ENOENT never (then
 * " (deleted)" is appended if `deleted`). Outside of root: "(unreachable)" before it. */
ssize_t path_name(const struct path *p, const struct path *root, bool deleted, char *buf,
                  size_t size);
/* The task's own view (getcwd, /proc/PID/fd): by its root. Anonymous files: their ops->name. */
ssize_t task_path_name(struct task *t, const struct path *p, char *buf, size_t size);
ssize_t file_name(struct task *t, struct file *f, char *buf, size_t size);

/* Sets fs->root or fs->cwd (slot) under both locks that readers may hold; takes over p's references
 * and leaves the old ones in *p. */
void vfs_set_fs_path(struct fs_context *fs, struct path *slot, struct path *p);
void vfs_fs_paths(struct task *t, struct path *ret_root, struct path *ret_cwd); /* references */

struct open_how_k {
    unsigned flags; /* O_* */
    uint32_t mode;
    unsigned resolve; /* WALK_NO_SYMLINKS ... */
};
int vfs_open(struct task *t, int dirfd, const char *name, const struct open_how_k *how,
             struct file **ret);

/* ---- unix sockets in the file system ----------------------------------------------------------
 * bind: makes the node (mode 0777 & ~umask) and hangs `socket` on inode->socket. A reference to the
 * inode is returned; the socket clears inode->socket (under inode->lock) when it closes.
 * -EADDRINUSE if the name exists. */
int vfs_bind_socket(struct task *t, const char *name, void *socket, struct path *ret);
/* connect, sendto: the socket file (follows links, needs write permission): -ECONNREFUSED if it is
 * no socket. The caller looks at inode->socket under inode->lock; if it is NULL and
 * inode->ops->connect exists, that gives a host descriptor connected to a server on the host. */
int vfs_find_socket(struct task *t, const char *name, struct path *ret);
