#pragma once
/* For the integrator: a container's tree of mounts, and files that the kernel itself opens. */
#include "runtime/sentry/vfs/mount.h"
#include "runtime/sentry/vfs/path.h"

struct gofer;

/* One line of boot.h's `mounts`, decoded. */
struct mount_spec {
    const char *destination; /* absolute */
    const char *type;        /* "bind", "tmpfs", "proc", ... ; "dev" is an alias of devtmpfs */
    const char *source;      /* shown in /proc/mounts; NULL: the type */
    const char *options;     /* comma-separated: "ro,nosuid,size=64k"; NULL: none */
    uint32_t gofer_mount;    /* type bind */
    bool readonly, exclusive, file;
};

struct tree_spec {
    struct gofer *gofer; /* kept, not owned */
    bool root_readonly;
    bool root_overlay;    /* writes to the rootfs stay in sentry memory */
    bool scratch;         /* larger files of the upper layer are the gofer's scratch files */
    uint64_t upper_limit; /* bytes in the upper layer, 0: a built-in default */
    const struct mount_spec *mounts;
    unsigned n_mounts;
    const char *const *masked, *const *readonly; /* OCI maskedPaths, readonlyPaths; NULL-terminated
                                                    or NULL */
};
/* Builds the namespace of a container; t may be NULL (root's rights are used anyway). 0 or -errno;
 * *ret_failed_path (may be NULL) names the mount that failed, valid as long as spec is. */
int vfs_build_tree(struct task *t, const struct tree_spec *spec, struct mntns **ret,
                   const char **ret_failed_path);

/* A file opened for execve: permission to execute was checked, it is a regular file on a mount
 * without noexec. ret_uid/gid are the set-id owners, or -1 where there is no such bit (or the mount
 * is nosuid). Counts against writers (ETXTBSY) until the file is closed. flags: AT_EMPTY_PATH,
 * AT_SYMLINK_NOFOLLOW. */
int vfs_open_exec(struct task *t, int dirfd, const char *name, int flags, struct file **ret,
                  uint32_t *ret_uid, uint32_t *ret_gid);
/* Reads from a file into sentry memory, ignoring access modes: bytes (short only at the end). */
ssize_t vfs_read_exec(struct file *f, void *data, size_t size, int64_t pos);
/* security.capability of an executable: bytes or -ENODATA ... */
ssize_t vfs_file_caps(struct file *f, void *data, size_t size);

/* Memory files: MAP_SHARED|MAP_ANONYMOUS, SysV shm, memfd_create. `flags`: MFD_ALLOW_SEALING and
 * MFD_NOEXEC_SEAL of memfd_create(2); name is shown as "/NAME (deleted)". Opened O_RDWR. */
int shmem_file_new(uint64_t size, unsigned flags, const char *name, struct file **ret);

/* How many open files the sandbox may have: the most that any of its containers stands for, by its
 * memory limit (0: none). */
enum { FILES_MIN = 16384, FILES_MAX = 1 << 20, FILES_PER_MEMORY = 1024 };
void file_limit_raise(uint64_t memory);
