#pragma once
/*
 * The sentry's end of the gofer connection. Thread-safe: any number of sentry threads may call at
 * once, and are served one after the other. Errors are negative errno as the
 * guest should see them; -EIO if the gofer is gone. Paths are relative to the mount's root: no
 * leading "/", no "." or ".."; "" is the root itself. Nothing here follows a symbolic link; a link
 * in the middle of a path gives -ELOOP. Descriptors that are returned are close-on-exec.
 */
#include "runtime/gofer/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gofer;

/* Takes over sock (closed with the last reference, and on failure). One reference, or NULL if out
 * of memory. */
struct gofer *gofer_new(int sock);
struct gofer *gofer_get(struct gofer *g);
void gofer_put(struct gofer *g); /* NULL: nothing */
/* For poll(2), with no events: POLLHUP says that the gofer is gone. Not to be read or closed. */
int gofer_hangup_fd(const struct gofer *g);

/* link (room for PATH_MAX; NULL: not wanted): a symbolic link's target, "" for other files. */
int gofer_stat(struct gofer *g, uint32_t mount, const char *path, struct gofer_attr *ret_attr,
               char *link);

/*
 * open(2) of what exists: access mode, O_APPEND, O_DIRECTORY, O_TRUNC, O_NOATIME, O_DIRECT, O_SYNC,
 * O_NONBLOCK count, all else is refused or ignored. Regular files and directories, and fifos
 * (always opened O_NONBLOCK; without it in flags, sleeping is the caller's business); sockets
 * -ENXIO, devices -EPERM unless the mount was granted devices, links -ELOOP. ret_attr may be NULL.
 * Returns the descriptor.
 */
int gofer_open(struct gofer *g, uint32_t mount, const char *path, int flags,
               struct gofer_attr *ret_attr);
/* A file that was opened ahead. */
struct gofer_opened {
    struct gofer_attr attr;
    int fd;
};
/* As gofer_open for reading, and files of the same directory with it: names, each with its NUL, at
 * most GOFER_AHEAD_MAX of them (names_size bytes in all). *ret_n of more[] were opened. */
int gofer_open_ahead(struct gofer *g, uint32_t mount, const char *path, const char *names,
                     size_t names_size, struct gofer_attr *ret_attr,
                     struct gofer_opened more[GOFER_AHEAD_MAX], unsigned *ret_n);
/* The same, without waiting for it. -EBUSY: one is under way; other requests may follow it. */
int gofer_open_begin(struct gofer *g, uint32_t mount, const void *owner, const char *path,
                     const char *names, size_t names_size);
/* Waits for what was begun by owner, if anything was: how many of more[] were opened, path the
 * first; none if path was not. */
unsigned gofer_open_end(struct gofer *g, const void *owner,
                        struct gofer_opened more[1 + GOFER_AHEAD_MAX]);
/* Length of the target (not NUL-terminated if it fills size). */
ssize_t gofer_readlink(struct gofer *g, uint32_t mount, const char *path, char *target,
                       size_t size);

/* Calls fn for entries from *cookie (0: from the start) on; "." and ".." are not among them.
 * Handles one batch (up to some hundred entries) and stores where to go on; *ret_end says that this
 * was the last. fn returns 0, or anything else to stop: then that is returned and *cookie names the
 * entry that fn refused. An entry whose attr->mode is 0 vanished while it was listed: skip it, or
 * stat again. flags: GOFER_READDIR_*. */
typedef int gofer_dirent_fn(void *arg, const char *name, const struct gofer_attr *attr,
                            uint64_t next_cookie);
int gofer_readdir(struct gofer *g, uint32_t mount, const char *path, unsigned flags,
                  uint64_t *cookie, gofer_dirent_fn *fn, void *arg, bool *ret_end);

/* A new regular file (O_EXCL), opened with flags (access mode, O_APPEND, ...); mode is not masked
 * by any umask. Returns the descriptor. */
int gofer_create(struct gofer *g, uint32_t mount, const char *path, int flags, mode_t mode,
                 uid_t uid, gid_t gid, struct gofer_attr *ret_attr);
int gofer_mkdir(struct gofer *g, uint32_t mount, const char *path, mode_t mode, uid_t uid,
                gid_t gid, struct gofer_attr *ret_attr);
/* A fifo or socket (type in mode); everything else, but a character device 0:0 (whiteout), is
 * -EPERM. */
int gofer_mknod(struct gofer *g, uint32_t mount, const char *path, mode_t mode, uid_t uid,
                gid_t gid, struct gofer_attr *ret_attr);
int gofer_symlink(struct gofer *g, uint32_t mount, const char *target, const char *path, uid_t uid,
                  gid_t gid, struct gofer_attr *ret_attr);
int gofer_link(struct gofer *g, uint32_t mount, const char *from, const char *to,
               struct gofer_attr *ret_attr);
int gofer_unlink(struct gofer *g, uint32_t mount, const char *path);
int gofer_rmdir(struct gofer *g, uint32_t mount, const char *path);
/* flags of renameat2(2): 0, RENAME_NOREPLACE, RENAME_EXCHANGE. Within one mount. */
int gofer_rename(struct gofer *g, uint32_t mount, const char *from, const char *to, unsigned flags);
/* Of the file itself, never of a link's target. ret_attr (may be NULL): afterwards. */
int gofer_setattr(struct gofer *g, uint32_t mount, const char *path,
                  const struct gofer_setattr *set, struct gofer_attr *ret_attr);
int gofer_statfs(struct gofer *g, uint32_t mount, const char *path, struct gofer_statfs *ret);

/* As getxattr(2) and friends (size 0 asks for the size), on regular files and directories; names
 * of "user." only unless the mount says otherwise: the rest is -EOPNOTSUPP or not listed. */
ssize_t gofer_getxattr(struct gofer *g, uint32_t mount, const char *path, const char *name,
                       void *value, size_t size);
int gofer_setxattr(struct gofer *g, uint32_t mount, const char *path, const char *name,
                   const void *value, size_t size, int flags);
ssize_t gofer_listxattr(struct gofer *g, uint32_t mount, const char *path, char *names,
                        size_t size);
int gofer_removexattr(struct gofer *g, uint32_t mount, const char *path, const char *name);

/* A connected unix socket (type SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET) to a socket file on a
 * bind mount; -ECONNREFUSED where the mount does not allow it. Returns the descriptor. */
int gofer_connect(struct gofer *g, uint32_t mount, const char *path, int type);

/* A fresh, empty, named file in the container's scratch directory, opened O_RDWR: for the data of
 * large files of the upper layer, so that the disk's accounting sees it. *ret_number names it for
 * gofer_scratch_drop (closing the descriptor does not remove it). -ENOSYS if the container has no
 * scratch directory. Returns the descriptor. */
int gofer_scratch(struct gofer *g, uint64_t *ret_number);
int gofer_scratch_drop(struct gofer *g, uint64_t number);
