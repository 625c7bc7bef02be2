#pragma once
/*
 * tmpfs: files in sentry memory. A file's bytes are one heap block while small; from TMPFS_SMALL
 * on, and from the first mapping on, a memfd of their own (what a stub maps must hold one file's
 * data only). Every page and inode is charged to the superblock's limits before it is made.
 */
#include "runtime/sentry/vfs/dirlist.h"
#include "runtime/sentry/vfs/inode.h"

struct gofer;

enum { TMPFS_HEAP_MAX = 16 << 20 }; /* of one superblock with scratch files */
enum { TMPFS_SMALL = 65536, TMPFS_PAGE = 4096, TMPFS_XATTR_TOTAL = 131072 };

struct tmpfs {
    uint64_t max_pages, max_inodes;   /* 0: no limit */
    uint64_t used_pages, used_inodes; /* atomic */
    uint64_t next_ino;                /* atomic */
    uint32_t root_mode, root_uid, root_gid;
    bool default_size; /* not shown in mount options */
    /* Not NULL: in place of memfds, scratch files on the container's disk (the writable layer of a
     * root file system): no memory, and the host counts them. Small files, too, once many are. */
    struct gofer *gofer;
    uint64_t heap; /* atomic: bytes of small files */
};

struct tmpfs_dirent {
    struct hash_node node;
    struct list link; /* order of creation */
    struct inode *inode;
    unsigned len;
    char name[];
};

struct tmpfs_xattr {
    struct tmpfs_xattr *next;
    size_t size;
    char *value;
    char name[];
};

struct tmpfs_inode {
    struct inode inode;
    /* Directories: dir_lock. */
    struct hashmap names;
    struct list entries;
    struct dir_list *list; /* cached content, dropped at each change */
    /* Regular files: data_lock. memfd is set once, atomically. */
    struct mutex data_lock;
    char *data;
    size_t capacity;
    int memfd;
    uint64_t scratch; /* number of the scratch file that memfd is, 0: none */
    uint64_t pages;   /* charged */
    bool maybe_sparse;
    /* inode.lock */
    struct tmpfs_xattr *xattrs;
    size_t xattr_size;
};

static inline struct tmpfs_inode *tmpfs_inode(struct inode *i)
{
    return container_of(i, struct tmpfs_inode, inode);
}
static inline struct tmpfs *tmpfs_of(const struct inode *i)
{
    return i->super->private;
}

/* A superblock without mount(2): overlay's upper layer. 0, -ENOMEM, -EINVAL (options). */
int tmpfs_super_new(const char *options, uint64_t max_bytes, struct super **ret);
/* What tmpfs mounts without size= may hold; set by the integrator from the container's memory. */
void tmpfs_set_default_limit(uint64_t bytes);
/* Before the first file: data goes to g's scratch files (gofer_scratch), if it has any. */
void tmpfs_use_scratch(struct super *s, struct gofer *g);

/* inode.c */
int tmpfs_inode_new(struct super *s, const struct inode_new *what, struct inode **ret);
extern const struct inode_ops tmpfs_ops;

/* data.c; see inode_ops */
ssize_t tmpfs_read(struct inode *i, struct uio *u, int64_t pos);
ssize_t tmpfs_write(struct inode *i, struct uio *u, int64_t pos);
int tmpfs_data_fd(struct inode *i, bool writable);
int tmpfs_fallocate(struct inode *i, int mode, int64_t offset, int64_t size);
int64_t tmpfs_seek_data(struct inode *i, int64_t offset, int whence);
int tmpfs_resize(struct inode *i, int64_t size);
void tmpfs_data_free(struct tmpfs_inode *ti);
uint64_t tmpfs_pages(struct inode *i); /* as they are now: maps may have added some */

/* dir.c */
int tmpfs_lookup(struct task *t, struct inode *dir, struct dentry *d);
int tmpfs_make(struct task *t, struct inode *dir, struct dentry *d, const struct inode_new *what);
int tmpfs_link(struct task *t, struct inode *dir, struct dentry *d, struct inode *target);
int tmpfs_unlink(struct task *t, struct inode *dir, struct dentry *d);
int tmpfs_rmdir(struct task *t, struct inode *dir, struct dentry *d);
int tmpfs_rename(struct task *t, struct inode *old_dir, struct dentry *old_d, struct inode *new_dir,
                 struct dentry *new_d, unsigned flags);
int tmpfs_list(struct task *t, struct inode *dir, struct dir_list **ret);
void tmpfs_dir_free(struct tmpfs_inode *ti);

/* xattr.c */
ssize_t tmpfs_getxattr(struct inode *i, const char *name, void *value, size_t size);
int tmpfs_setxattr(struct inode *i, const char *name, const void *value, size_t size, int flags);
ssize_t tmpfs_listxattr(struct inode *i, char *names, size_t size);
int tmpfs_removexattr(struct inode *i, const char *name);
void tmpfs_xattr_free(struct tmpfs_inode *ti);

/* Charges pages; -ENOSPC. */
int tmpfs_charge(struct tmpfs *s, uint64_t pages);
void tmpfs_uncharge(struct tmpfs *s, uint64_t pages);
