#pragma once
/* What system calls do to names and attributes. Names are kernel strings; all checks included. */
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/path.h"

/* mode: with type for mknod (S_IFREG, FIFO, SOCK, CHR, BLK); the umask is applied here. */
int vfs_mknod(struct task *t, int dirfd, const char *name, uint32_t mode, uint64_t rdev);
int vfs_mkdir(struct task *t, int dirfd, const char *name, uint32_t mode);
int vfs_symlink(struct task *t, const char *target, int dirfd, const char *name);
int vfs_link(struct task *t, int old_dirfd, const char *old_name, int new_dirfd,
             const char *new_name, int flags /* AT_EMPTY_PATH, AT_SYMLINK_FOLLOW */);
int vfs_unlink(struct task *t, int dirfd, const char *name);
int vfs_rmdir(struct task *t, int dirfd, const char *name);
int vfs_rename(struct task *t, int old_dirfd, const char *old_name, int new_dirfd,
               const char *new_name, unsigned flags);

/* On a path that was looked up. `c` has what is asked for; set-id bits are dropped as chown(2)
 * says.
 */
int vfs_chmod(struct task *t, const struct path *p, uint32_t mode);
int vfs_chown(struct task *t, const struct path *p, uint32_t uid, uint32_t gid); /* -1: as it is */
/* times: {atime, mtime}; tv_nsec may be UTIME_NOW or UTIME_OMIT. NULL: both now. */
int vfs_utimes(struct task *t, const struct path *p, const struct timespec *times);
int vfs_truncate(struct task *t, const struct path *p, int64_t size);
int vfs_ftruncate(struct task *t, struct file *f, int64_t size);
int vfs_fallocate(struct task *t, struct file *f, int mode, int64_t offset, int64_t size);
int vfs_statfs(struct task *t, const struct path *p, struct statfs *ret);

/* xattr(7), with the rules of each name space. */
ssize_t vfs_getxattr(struct task *t, struct inode *i, const char *name, void *value, size_t size);
int vfs_setxattr(struct task *t, const struct path *p, const char *name, const void *value,
                 size_t size, int flags);
ssize_t vfs_listxattr(struct task *t, struct inode *i, char *names, size_t size);
int vfs_removexattr(struct task *t, const struct path *p, const char *name);
