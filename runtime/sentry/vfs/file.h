#pragma once
/*
 * Open files and descriptors. A struct file is what open(2) makes (POSIX: open file description);
 * descriptors in tables refer to it. Types implement struct file_ops; core wrappers (vfs_read ...)
 * own the NULL-op defaults, access-mode checks and length clamps: a type never repeats them.
 */
#include "common/list.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"
#include "runtime/sentry/uio.h"
#include "runtime/sentry/wait.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

struct file;
struct inode;
struct dentry;
struct mount;
struct task;
struct poll_table;
struct cred;
struct pid;
struct async;

struct path {
    struct mount *mount;
    struct dentry *dentry;
};

/* readdir: give one entry; false = no room, stop before this one. */
struct dir_emitter {
    bool (*emit)(struct dir_emitter *d, const char *name, size_t name_len, uint64_t ino,
                 unsigned type, uint64_t next_pos);
};

/* What mmap maps: a host descriptor that the file keeps open, or anonymous memory (fd -1:
 * /dev/zero). */
struct mmap_backing {
    int fd;
    uint64_t offset; /* of the host descriptor for offset 0 of the file: usually 0 */
    int max_prot;    /* PROT_* that mprotect may later reach */
};

struct file_ops {
    /* All may sleep; none is called with a lock held but file->pos_lock where `pos` is &file->pos.
     */
    ssize_t (*read)(struct task *t, struct file *f, struct uio *u, int64_t *pos);
    ssize_t (*write)(struct task *t, struct file *f, struct uio *u, int64_t *pos);
    int64_t (*seek)(struct task *t, struct file *f, int64_t offset, int whence); /* NULL: -ESPIPE */
    int (*iterate)(struct task *t, struct file *f, struct dir_emitter *d);       /* from f->pos */
    /* Current POLL* events; if pt is not NULL also poll_wait/poll_host on what will change them.
     * NULL: always readable and writable. */
    uint32_t (*poll)(struct task *t, struct file *f, struct poll_table *pt);
    long (*ioctl)(struct task *t, struct file *f, unsigned cmd, gaddr_t arg); /* NULL: -ENOTTY */
    int (*mmap)(struct task *t, struct file *f, int prot, int flags, uint64_t offset, uint64_t size,
                struct mmap_backing *ret);                        /* NULL: -ENODEV */
    int (*fsync)(struct task *t, struct file *f, bool data_only); /* NULL: -EINVAL */
    int (*fallocate)(struct task *t, struct file *f, int mode, int64_t offset, int64_t size);
    int (*truncate)(struct task *t, struct file *f, int64_t size);
    int (*set_flags)(struct task *t, struct file *f, unsigned flags); /* F_SETFL beyond f->flags */
    void (*flush)(struct task *t, struct file *f); /* each close(2) of a descriptor (POSIX locks) */
    void (*release)(struct file *f);               /* last reference is gone; may have no task */
    void (*show_fdinfo)(struct file *f,
                        void *buf /* struct buf */); /* extra lines of /proc/PID/fdinfo */
    /* O_ASYNC raises signals for these POLL* events (POLLPRI: SIGURG, by an owner alone); 0: for
     * none. */
    uint32_t async;
    /* The group that gets them if nobody was named: a reference, or NULL (who sets O_ASYNC). */
    struct pid *(*async_owner)(struct file *f);
    const char *name; /* "anon_inode:[eventfd]", "socket:[%lu]", NULL: by path */
};

struct file {
    struct ref ref;
    unsigned flags; /* O_* incl. access mode; O_APPEND, O_NONBLOCK.. change by F_SETFL. atomic */
    const struct file_ops *ops;
    struct path path;    /* holds references; both NULL for anonymous files */
    struct inode *inode; /* never NULL for files by path; may be NULL for anonymous ones */
    void *private;       /* the type's own */
    struct mutex pos_lock;
    int64_t pos;       /* guarded by pos_lock */
    struct mutex lock; /* guards the following */
    struct list epoll_items;
    struct async *async; /* F_SETOWN, F_SETSIG, O_ASYNC (async.h); or NULL; atomic, set once */
    uint64_t ino;        /* of anonymous files: for stat and socket:[N] */
    uint16_t reads;      /* since it was last lent: a hint (lend.h) */
    uint8_t lent_often;  /* up to a bound; a hint too */
    int host_fd;         /* a host descriptor behind it that may be donated for reading, or -1 */
    bool inode_opened, counts_writer, denies_write; /* to be undone at the end; immutable */
};

/* New anonymous file (no path): pipe, socket, eventfd ... `private` is released by ops->release. */
int file_new(const struct file_ops *ops, unsigned flags, void *private, struct file **ret);
struct file *file_get(struct file *f);
void file_put(struct file *f); /* accepts NULL */
static inline bool file_nonblock(const struct file *f)
{
    return __atomic_load_n(&f->flags, __ATOMIC_RELAXED) & O_NONBLOCK;
}
static inline bool file_readable(const struct file *f)
{
    return ((f->flags & O_ACCMODE) + 1) & 1 && !(f->flags & O_PATH); /* 3 is neither */
}
static inline bool file_writable(const struct file *f)
{
    return ((f->flags & O_ACCMODE) + 1) & 2 && !(f->flags & O_PATH);
}

ssize_t vfs_read(struct task *t, struct file *f, struct uio *u,
                 int64_t *pos); /* pos NULL: file's own */
ssize_t vfs_write(struct task *t, struct file *f, struct uio *u,
                  int64_t *pos); /* raises SIGXFSZ, not SIGPIPE */
ssize_t vfs_read_kernel(struct task *t, struct file *f, void *data, size_t size, int64_t pos);
ssize_t vfs_write_kernel(struct task *t, struct file *f, const void *data, size_t size,
                         int64_t pos);
/* lseek(2): the new position, -ESPIPE, -EINVAL, -ENXIO. */
int64_t vfs_seek(struct task *t, struct file *f, int64_t offset, int whence);
uint32_t vfs_poll(struct task *t, struct file *f, struct poll_table *pt);
int vfs_stat_file(struct task *t, struct file *f, struct stat *ret);

/* ---- descriptor tables (shared by CLONE_FILES) ------------------------------------------------
 */
struct fdtable;
struct fdtable *fdtable_new(void);
struct fdtable *fdtable_get(struct fdtable *ft);
/* Copy for fork: same files. NULL: out of memory. */
struct fdtable *fdtable_clone(struct fdtable *ft);
/* Drops a reference; the last one closes everything (t may be the exiting task). */
void fdtable_put(struct task *t, struct fdtable *ft);
void fdtable_close_on_exec(struct task *t, struct fdtable *ft);
bool fdtable_shared(const struct fdtable *ft);
/* How many tasks use it; -1: of several processes. */
int fdtable_users(const struct fdtable *ft);
/* Nothing stays lent (lend.h); `mixed`: from now on several address spaces use the table. */
void fdtable_unlend(struct task *t, struct fdtable *ft, bool mixed);
/* The table's only task is about to leave its address space. */
void fdtable_new_image(struct fdtable *ft);
/* A successful read of or write to f, by the current task's descriptor fd; with_pos: at the file's
 * position. */
void fd_was_used(struct task *t, int fd, struct file *f, bool with_pos);

/* After epoll_ctl by the current task: the next ones may be told later (lend_watch). */
void fd_watched(struct task *t, int epfd, int fd, bool watched);

/* After open, and a read to the end: what is known of f now may be told (lend_known). */
void fd_was_opened(struct task *t, int fd, struct file *f);
void fd_was_read_up(struct task *t, int fd, struct file *f);
void fd_was_sent(struct task *t, int fd, struct file *f); /* by sendfile */
/* A file was read whole by one read; told: by the host thread. */
void fd_read_whole(struct task *t, bool told);

/* Current task's table. A new reference, or NULL (-EBADF). fd_get refuses O_PATH files, _any
 * doesn't. */
struct file *fd_get(struct task *t, int fd);
struct file *fd_get_any(struct task *t, int fd);
/* Lowest free number >= min under RLIMIT_NOFILE: takes over the caller's reference on success.
 * Returns the number or -EMFILE (the caller still owns f). */
int fd_install(struct task *t, struct file *f, bool cloexec, int min);
/* dup2-like: puts f at exactly fd, closing what was there. Takes the reference on success. */
int fd_replace(struct task *t, struct file *f, int fd, bool cloexec);
int fd_close(struct task *t, int fd);
int fd_get_cloexec(struct task *t, int fd);
int fd_set_cloexec(struct task *t, int fd, bool on);
/* A number reserved for a file to come (accept, pidfd): -EMFILE. Finish with fd_fill or
 * fd_unreserve. */
int fd_reserve(struct task *t, bool cloexec, int min);
void fd_fill(struct task *t, int fd, struct file *f); /* takes the reference */
void fd_unreserve(struct task *t, int fd);
int fd_close_range(struct task *t, unsigned first, unsigned last, bool only_cloexec);
/* Iteration for /proc/PID/fd: next open number >= from of another task's table, or -1. */
int fdtable_next(struct fdtable *ft, int from);
struct file *fdtable_file(struct fdtable *ft, int fd, bool *ret_cloexec); /* reference or NULL */
