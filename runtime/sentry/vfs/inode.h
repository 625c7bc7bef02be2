#pragma once
/*
 * What a file system is made of: superblocks, inodes, directory entries.
 *
 * Ownership: a dentry holds its parent and its inode; an inode holds its superblock's private state
 * alive through `super`. Dentries that nobody holds stay cached (LRU bound) unless the superblock
 * says otherwise. A file system may keep its own tree (tmpfs) or none (gofer, proc): dentries are
 * only a cache of what `lookup` answered.
 *
 * Locks: g_tree_lock (dentry cache and mount tree; short, never held over an op) is above no other
 * lock than waitq. inode->dir_lock is held over lookup, make, link, unlink, rmdir, rename of that
 * directory and may be slept under; two directories are locked under g_rename_lock, the
 * ancestor first, else by address. inode->lock (attributes) is below dir_lock and above
 * g_tree_lock.
 */
#include "common/hashmap.h"
#include "common/list.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"
#include "runtime/sentry/time/time.h"
#include "runtime/sentry/uio.h"
#include "runtime/sentry/vfs/file.h"

#include <sys/vfs.h>

struct buf;
struct cred;
struct dir_list;
struct fs_type;
struct lock_table;
struct mount_args;
struct pipe;
struct super;

/* ---- attributes -------------------------------------------------------------------------------*/
/* What stat and statx tell. */
struct attr {
    uint32_t mode, uid, gid, nlink;
    uint64_t ino, dev, rdev, size, blocks;
    uint32_t blksize;
    nsec_t atime, mtime, ctime, btime; /* btime 0: unknown */
};

enum attr_mask {
    ATTR_MODE = 1,
    ATTR_UID = 2,
    ATTR_GID = 4,
    ATTR_SIZE = 8,
    ATTR_ATIME = 16,
    ATTR_MTIME = 32,
    ATTR_CTIME = 64,
    ATTR_ATIME_NOW = 128, /* together with ATTR_ATIME: the time is "now" */
    ATTR_MTIME_NOW = 256,
};

struct attr_change {
    unsigned mask;
    uint32_t mode, uid, gid; /* mode: permission bits only */
    int64_t size;
    nsec_t atime, mtime, ctime;
};

/* What is to be made by inode_ops.make and .tmpfile. */
struct inode_new {
    uint32_t mode; /* type and permissions; umask applied by acl_new_mode() */
    uint32_t uid, gid;
    uint64_t rdev;
    const char *target; /* symlinks */
};

/* ---- operations -------------------------------------------------------------------------------*/
/* All may sleep. NULL: the error that is named, or a generic default. None is called without the
 * permission checks having been made. */
struct inode_ops {
    /* Directories; dir->dir_lock is held. lookup fills a fresh dentry: dentry_set_inode(d, inode)
     * (takes over the reference) and returns 0, or returns 0 without (then d is negative, and
     * cached as such unless super->flags has SUPER_NO_NEGATIVE), or -errno. */
    int (*lookup)(struct task *t, struct inode *dir, struct dentry *d); /* NULL: -ENOTDIR */
    /* Is what the cache says about d (perhaps negative) still true? dir_lock is not held; called at
     * every use, if not NULL, for entries *of dir*. */
    bool (*revalidate)(struct task *t, struct inode *dir, struct dentry *d);
    /* mkdir, mknod, symlink, create(O_CREAT): d is negative; dentry_set_inode on success. */
    int (*make)(struct task *t, struct inode *dir, struct dentry *d,
                const struct inode_new *what); /* NULL: -EPERM */
    int (*link)(struct task *t, struct inode *dir, struct dentry *d, struct inode *target);
    int (*unlink)(struct task *t, struct inode *dir, struct dentry *d);
    int (*rmdir)(struct task *t, struct inode *dir, struct dentry *d);
    /* flags: RENAME_*; new_d may be negative. The caller moves the dentries afterwards. */
    int (*rename)(struct task *t, struct inode *old_dir, struct dentry *old_d,
                  struct inode *new_dir, struct dentry *new_d, unsigned flags);
    int (*tmpfile)(struct task *t, struct inode *dir, const struct inode_new *what,
                   struct inode **ret); /* NULL: -EOPNOTSUPP */
    /* The whole directory without "." and "..": for directories that use dir_file_ops. A new
     * reference; see dirlist.h. */
    int (*list)(struct task *t, struct inode *dir, struct dir_list **ret);

    /* Symbolic links: target without NUL into buf; its length. */
    ssize_t (*readlink)(struct task *t, struct inode *link, char *buf, size_t size);
    /* Magic links (/proc/PID/fd/N): where it leads, with references. Tried before readlink. */
    int (*follow)(struct task *t, struct inode *link, struct path *ret);

    /* Regular files that use regular_file_ops: data at a position. Length, mode and seals have been
     * checked. read: 0 at the end. write: grows inode->size by inode_grew(). */
    ssize_t (*read)(struct inode *i, struct uio *u, int64_t pos);
    ssize_t (*write)(struct inode *i, struct uio *u, int64_t pos);
    /* Host descriptor of the data for mmap (owned by the inode, valid while a file is open on it);
     * writable: it will be mapped shared and writable. NULL: -ENODEV. */
    int (*data_fd)(struct inode *i, bool writable);
    int (*fallocate)(struct inode *i, int mode, int64_t offset, int64_t size);
    int64_t (*seek_data)(struct inode *i, int64_t offset, int whence); /* SEEK_DATA, SEEK_HOLE */
    int (*fsync)(struct inode *i, bool data_only);                     /* NULL: 0 */

    /* NULL: from the inode's fields. */
    int (*getattr)(struct task *t, struct inode *i, struct attr *ret);
    /* Some times became `now`, in the fields already. NULL: there is no other place for them. */
    void (*touched)(struct inode *i, unsigned mask, nsec_t now);
    /* Applies the change and stores it in the fields. NULL: fields only; size: -EINVAL. */
    int (*setattr)(struct task *t, struct inode *i, const struct attr_change *c);
    /* xattrs; names are whole ("user.x"), size 0 asks for the size. NULL: -EOPNOTSUPP. */
    ssize_t (*getxattr)(struct inode *i, const char *name, void *value, size_t size);
    int (*setxattr)(struct inode *i, const char *name, const void *value, size_t size, int flags);
    ssize_t (*listxattr)(struct inode *i, char *names, size_t size);
    int (*removexattr)(struct inode *i, const char *name);

    /* A file is being opened: f->ops (from inode->fops), flags, path and inode are set; may replace
     * f->ops and f->private. On failure f->ops->release is not called. For fifos and devices the
     * core calls fs/pipe's fifo_open and fs/dev's dev_open instead. */
    int (*open)(struct task *t, struct inode *i, struct file *f);
    void (*close)(struct inode *i, struct file *f); /* after f->ops->release; pairs with open */
    int (*permission)(struct task *t, struct inode *i, int mask); /* instead of the generic check */
    int (*connect)(struct inode *i, int type); /* host socket file: a connected descriptor */
    void (*evict)(struct inode *i);            /* last reference gone: frees i (after inode_fini) */
};

struct super_ops {
    int (*statfs)(struct super *s, struct dentry *d, struct statfs *ret);
    int (*remount)(struct super *s, unsigned flags, const char *options); /* NULL: flags only */
    void (*show_options)(struct super *s, struct buf *out);               /* ",size=64k" */
    int (*sync)(struct super *s);
    void (*put)(struct super *s); /* free private state */
};

/* ---- superblock -------------------------------------------------------------------------------*/
enum super_flags {
    SUPER_RDONLY = 1,
    SUPER_NO_NEGATIVE = 2, /* don't cache that names are missing */
    SUPER_NO_CACHE = 4,    /* drop dentries as soon as nobody holds them */
    SUPER_NO_DEV = 8,      /* device nodes don't work here, ever */
    SUPER_NO_EXEC = 16,
    SUPER_NO_ATIME = 32,       /* never updates atime */
    SUPER_ACL = 64,            /* keeps access control lists (acl.h) */
    SUPER_SIZED = 128,         /* somebody limited its size, and writes keep to that */
    SUPER_SMALL_IN_HEAP = 256, /* small files have no host descriptor before data_fd asks */
};

struct super {
    struct ref ref;
    const struct fs_type *type;
    const struct super_ops *ops;
    unsigned flags;      /* enum super_flags */
    uint64_t dev;        /* st_dev, unique */
    struct dentry *root; /* reference; dropped when the last mount goes */
    unsigned n_users;    /* mounts; atomic */
    void *private;
};

struct fs_type {
    const char *name;
    uint64_t magic; /* statfs f_type */
    bool no_dev;    /* "nodev" in /proc/filesystems */
    bool userns;    /* may be mounted with CAP_SYS_ADMIN of a child user namespace */
    /* A new (or shared, with a new reference) superblock with ->root set. */
    int (*mount)(struct task *t, const struct fs_type *type, const struct mount_args *args,
                 struct super **ret);
};
struct mount_args {
    const char *source;  /* never NULL */
    const char *options; /* "size=1m,mode=755" or NULL */
    unsigned flags;      /* MS_* */
    void *data;          /* of the container builder: for types "gofer" and "overlay" */
};
/* Types are lines of vfs/fs_types.def. */
const struct fs_type *fs_type_find(const char *name);
const struct fs_type *fs_type_next(unsigned *index); /* iteration; NULL at the end */

/* A fresh superblock with one reference and a device number; root is not set. */
struct super *super_new(const struct fs_type *type, const struct super_ops *ops, void *private);
struct super *super_get(struct super *s);
void super_put(struct super *s);
/* For mounts and kernel-internal users: the last one lets go of the root. */
void super_user_get(struct super *s);
void super_user_put(struct super *s);

/* ---- inode ------------------------------------------------------------------------------------*/
struct inode {
    struct ref ref;
    struct super *super; /* reference */
    const struct inode_ops *ops;
    const struct file_ops *fops;    /* of files opened on it: regular_file_ops, dir_file_ops, own */
    uint64_t ino, rdev;             /* immutable */
    struct mutex dir_lock, io_lock; /* io_lock: O_APPEND, truncate, size changes by write */
    struct mutex lock;              /* guards what follows unless noted */
    uint32_t mode, uid, gid, nlink; /* read without the lock; type bits are immutable */
    int64_t size;                   /* atomic */
    uint64_t blocks;
    nsec_t atime, mtime, ctime, btime;
    uint32_t seals;           /* F_SEAL_*; memfd only (sealable) */
    bool sealable, linkable;  /* linkable: an O_TMPFILE that linkat may name */
    uint32_t notify_mask;     /* atomic: union of inotify masks on it; see notify.h */
    void *notify;             /* inotify's own */
    struct pipe *fifo;        /* of a named fifo, made at first open: fs/pipe's own */
    void *socket;             /* of a socket node: the bound unix socket, or NULL; lock */
    char *link;               /* target of a symbolic link once read; immutable then */
    struct lock_table *locks; /* file locks, made at first use */
    unsigned shared_writable; /* shared mappings that may be written; kept by mm; atomic */
    unsigned writers;         /* files open for writing; atomic (ETXTBSY, leases) */
    unsigned deny_write;      /* being executed; atomic */
    unsigned acl;             /* which access control lists it has (acl.h); atomic */
    unsigned lent;            /* descriptors of it that are lent (lend.h); atomic */
    unsigned lent_times;      /* those whose use changes its times; atomic */
};

/* Initialises the generic part with one reference. fops NULL: chosen by type (regular_file_ops,
 * dir_file_ops, otherwise none). */
void inode_init(struct inode *i, struct super *s, const struct inode_ops *ops,
                const struct file_ops *fops, uint64_t ino, uint32_t mode, uint32_t uid,
                uint32_t gid);
void inode_fini(struct inode *i); /* for ops->evict */
struct inode *inode_get(struct inode *i);
void inode_put(struct inode *i);               /* accepts NULL */
uint64_t inode_next_ino(void);                 /* unique among pseudo files */
void inode_grew(struct inode *i, int64_t end); /* size = max(size, end), atomically */
/* Stores a change in the fields (not the size). */
void inode_apply(struct inode *i, const struct attr_change *c);
void inode_fill_attr(struct inode *i, struct attr *ret); /* from the fields */
int inode_getattr(struct task *t, struct inode *i, struct attr *ret);
int vfs_file_attr(struct task *t, struct file *f, struct attr *ret); /* anonymous files too */
void attr_to_stat(const struct attr *a, struct stat *ret);
/* From the cached target or by the op. Bytes, or -EINVAL for what is no link. */
ssize_t inode_readlink(struct task *t, struct inode *i, char *buf, size_t size);
/* Remembers the target (copied): for immutable links only. */
void inode_set_link(struct inode *i, const char *target, size_t len);
void inode_touch(struct inode *i, unsigned mask); /* ATTR_ATIME|MTIME|CTIME = now */
void inode_touch_at(struct inode *i, unsigned mask, nsec_t now);
/* Its data was changed then, unless something has changed it since. */
void inode_written_at(struct inode *i, nsec_t when);
static inline bool inode_is_dir(const struct inode *i)
{
    return S_ISDIR(i->mode);
}

/* ---- dentry -----------------------------------------------------------------------------------*/
enum { DENTRY_INLINE_NAME = 40 };

struct dentry { /* guarded by g_tree_lock unless noted */
    struct ref ref;
    bool hashed; /* found by lookup; false once unlinked */
    bool on_lru;
    bool used;         /* since the LRU last looked */
    bool unlinked;     /* its name was removed */
    unsigned n_mounts; /* mounts whose mountpoint this is, in any namespace */
    struct hash_node node;
    struct list lru;
    struct list children, child_link; /* all dentries below, for invalidation */
    struct dentry *parent;            /* reference; itself for a root */
    struct inode *inode; /* reference; NULL: negative. Changes negative -> positive once */
    struct super *super; /* of the parent's inode */
    uint64_t fs_time;    /* the file system's own: when it was last validated */
    unsigned name_len;
    char *name; /* changes by rename */
    char inline_name[DENTRY_INLINE_NAME];
};

extern struct mutex g_tree_lock;

struct dentry *dentry_new_root(struct super *s, struct inode *root); /* takes over root */
/* A dentry that no name leads to (O_TMPFILE, memfd): takes over the inode reference. */
struct dentry *dentry_new_anonymous(struct super *s, struct inode *i, const char *name);
void dentry_set_inode(struct dentry *d, struct inode *i);
struct dentry *dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);
/* Forgets d and everything below it (they live on while held). */
void dentry_drop(struct dentry *d);

/* ---- permissions ------------------------------------------------------------------------------*/
enum { MAY_EXEC = 1, MAY_WRITE = 2, MAY_READ = 4 };
/* By t's fsuid, fsgid, groups and capabilities: 0, -EACCES. Read-only mounts are not looked at. */
int inode_permission(struct task *t, struct inode *i, int mask);
bool inode_owner_or_capable(struct task *t, const struct inode *i);

/* ---- files ------------------------------------------------------------------------------------*/
extern const struct file_ops regular_file_ops, dir_file_ops;
extern const struct file_ops inode_no_fops; /* of types that are opened elsewhere */
/* Opens the inode at path p (references are taken) without any permission check. */
int vfs_open_path(struct task *t, const struct path *p, unsigned flags, struct file **ret);
/* A file on an inode that no path leads to; takes over i. name for /proc/PID/fd. */
int vfs_open_anonymous(struct task *t, struct inode *i, const char *name, unsigned flags,
                       struct file **ret);
