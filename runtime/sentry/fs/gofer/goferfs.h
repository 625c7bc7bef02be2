#pragma once
/*
 * Host files, by way of the gofer. A node knows its place as (parent, name), so that its path for
 * the gofer follows renames of whatever is above it.
 *
 * "Exclusive" mounts are changed by nobody but us: attributes, missing names and whole directories
 * are remembered. On others every use of a name asks the gofer again.
 */
#include "runtime/gofer/client.h"
#include "runtime/sentry/vfs/dirlist.h"
#include "runtime/sentry/vfs/inode.h"

enum {
    GOFERFS_IDLE_FDS = 512,    /* descriptors kept for files that nobody has open */
    GOFERFS_DIR_MAX = 8192,    /* entries of a directory that is remembered with attributes */
    GOFERFS_KNOWN_MAX = 65536, /* of all such directories together */
};

/* In which order the files of a directory are opened (ahead.c). */
enum gofer_order { GOFER_UNORDERED, GOFER_LISTED, GOFER_NUMBERED };

struct goferfs {
    struct gofer *g; /* reference */
    uint32_t mount;
    bool exclusive, readonly;
    uint64_t root_dev;
    struct mutex lock;      /* guards places (parent, name) and the next */
    struct hashmap linked;  /* nodes with several names, by inode number; weak */
    enum gofer_order order; /* of late; atomic */
    unsigned vain_guesses;  /* since an opened file had waited; ahead.c's lock */
};

enum { GOFER_DIR_START = UINT32_MAX }; /* before the first entry */

/* A remembered directory. */
struct gofer_known {
    struct hash_node node;
    struct gofer_attr attr;
    const char *name; /* in gofer_dir.list */
};

struct gofer_dir {
    struct dir_list *list;
    bool attrs;                /* known[].attr is complete; otherwise the type only */
    unsigned asked;            /* for attributes of its entries */
    struct gofer_known *known; /* NULL: too large to keep */
    struct hashmap names;
    /* ahead.c */
    enum gofer_order order;
    bool opened; /* a file of it, since it was listed */
    unsigned last_opened, listed_run, numbered_run, planned;
};

struct gofer_node {
    struct inode inode;
    struct gofer_node *parent; /* reference, NULL: the root; goferfs.lock */
    char *name;                /* goferfs.lock */
    bool gone;                 /* the name is no longer ours; goferfs.lock */
    bool no_caps;              /* known to have no file capabilities; atomic */
    bool is_linked;            /* in goferfs.linked */
    struct hash_node linked;
    uint64_t host_ino, host_dev;
    /* Directories: dir_lock. */
    struct gofer_dir *dir;
    unsigned misses, next_read; /* lookups that asked the gofer since the content changed; how many
                                   must have before the directory is read */
    /* Descriptors: g_fds_lock; they don't change while users > 0, but from -1. */
    int fd, wfd; /* read-only; read and write */
    unsigned users;
    struct list idle;
};

static inline struct gofer_node *gofer_node(struct inode *i)
{
    return container_of(i, struct gofer_node, inode);
}
static inline struct goferfs *goferfs_of(const struct inode *i)
{
    return i->super->private;
}

extern const struct fs_type goferfs_type;
/* The tree of mount number `mount`. root->mode may be that of a regular file. 0 or -errno. */
int goferfs_super_new(struct gofer *g, uint32_t mount, bool exclusive, bool readonly,
                      struct super **ret);

/* node.c */
extern const struct inode_ops gofer_ops, gofer_shared_ops;
int gofer_node_new(struct super *s, struct gofer_node *parent, const char *name,
                   const struct gofer_attr *a, struct inode **ret);
void gofer_store_attr(struct inode *i, const struct gofer_attr *a);
/* Path for the gofer; name (may be NULL) is appended. 0, -ENOENT (unlinked), -ENAMETOOLONG. */
int gofer_path(struct gofer_node *n, const char *name, char buf[GOFER_PATH_MAX]);
int gofer_refresh(struct inode *i);
void gofer_place(struct gofer_node *n, struct gofer_node *parent, char *name);
void gofer_unplace(struct gofer_node *n, const char *name, struct gofer_node *parent);

/* data.c */
void gofer_fds_init(struct gofer_node *n);
void gofer_fds_close(struct gofer_node *n);
void gofer_fds_adopt(struct gofer_node *n, int wfd); /* of a file just created */
int gofer_file_open(struct task *t, struct inode *i, struct file *f);
void gofer_file_close(struct inode *i, struct file *f);
ssize_t gofer_read(struct inode *i, struct uio *u, int64_t pos);
ssize_t gofer_write(struct inode *i, struct uio *u, int64_t pos);
int gofer_data_fd(struct inode *i, bool writable);
int gofer_fallocate(struct inode *i, int mode, int64_t offset, int64_t size);
int64_t gofer_seek_data(struct inode *i, int64_t offset, int whence);
int gofer_fsync(struct inode *i, bool data_only);
int gofer_truncate_fd(struct gofer_node *n, int64_t size);

/* dir.c */
void gofer_forget_dir(struct gofer_node *n); /* dir_lock held or nobody else there */
int gofer_dir_lookup(struct task *t, struct inode *dir, struct dentry *d);
bool gofer_dir_revalidate(struct task *t, struct inode *dir, struct dentry *d);
int gofer_dir_list(struct task *t, struct inode *dir, struct dir_list **ret);

/* The remembered entry of that name, or NULL. dir_lock held. */
const struct gofer_known *gofer_dir_known(const struct gofer_dir *d, const char *name, size_t len);

/* ahead.c: opens for reading on an unchanging mount, maybe others with it. */
int gofer_ahead_open(struct gofer_node *n, const char *path, struct gofer_attr *ret);
void gofer_ahead_drop(struct goferfs *fs);
/* dir, of an unchanging mount, was listed: maybe its files are opened next. dir_lock held. */
void gofer_ahead_listed(struct gofer_node *dir);

/* change.c */
int gofer_dir_make(struct task *t, struct inode *dir, struct dentry *d,
                   const struct inode_new *what);
int gofer_dir_link(struct task *t, struct inode *dir, struct dentry *d, struct inode *target);
int gofer_dir_unlink(struct task *t, struct inode *dir, struct dentry *d);
int gofer_dir_rmdir(struct task *t, struct inode *dir, struct dentry *d);
int gofer_dir_rename(struct task *t, struct inode *old_dir, struct dentry *old_d,
                     struct inode *new_dir, struct dentry *new_d, unsigned flags);
