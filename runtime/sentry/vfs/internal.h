#pragma once
/* Between the files of vfs/ only. */
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/mount.h"
#include "runtime/sentry/vfs/path.h"

/* In dentry->ref.n: nobody finds this dentry any more; the last put frees it. */
#define DENTRY_UNCACHED 0x80000000U

/* ---- dentry.c: g_tree_lock held where the name says _locked ---- */
struct dentry *dentry_find_locked(struct dentry *dir, const char *name, size_t len, uint64_t hash);
uint64_t dentry_hash(const struct dentry *dir, const char *name, size_t len);
/* A new hashed-in child with one reference; NULL: out of memory. d->inode is not set. */
struct dentry *dentry_alloc(struct dentry *dir, const char *name, size_t len);
void dentry_free_unused(struct dentry *d); /* one that was never hashed */
void dentry_hash_in_locked(struct dentry *d, uint64_t hash);
/* Looks name up in dir, in the cache or by the file system; dir->inode->dir_lock held. A reference.
 * The result may be negative. */
int dentry_lookup_locked_dir(struct task *t, struct dentry *dir, const char *name, size_t len,
                             struct dentry **ret);
/* After a successful rename in the file system. */
void dentry_move(struct dentry *old, struct dentry *target, bool exchange);
bool dentry_is_ancestor_locked(const struct dentry *a, const struct dentry *d);
/* Drops all cached dentries of a superblock that nobody holds. */
void dentry_shrink_super(struct super *s);

/* ---- mount.c ---- */
extern struct hashmap g_mount_hash;
struct mount *mount_find_locked(const struct mount *parent, const struct dentry *mountpoint);
/* The topmost thing mounted on p, p itself if there is none. No references. */
static inline void mount_descend_locked(struct path *p)
{
    while (p->dentry->n_mounts) {
        struct mount *m = mount_find_locked(p->mount, p->dentry);

        if (!m)
            break;
        p->mount = m;
        p->dentry = m->root;
    }
}
void mount_get_path_locked(const struct path *p);
/* Detaches m and what is below it; references that the tree held are put by the caller through
 * `gone` after unlocking. */
void mount_detach_tree_locked(struct mount *m, struct list *gone);
void mount_release_list(struct list *gone);
struct mount *mount_new(struct super *s, struct dentry *root, unsigned flags, const char *source);
void mount_link_locked(struct mntns *ns, struct mount *m, const struct path *at);
void mount_place_locked(struct mount *m, const struct path *at);
struct dentry *mount_unhook_locked(struct mount *m);
void mount_enter_ns_locked(struct mntns *ns, struct mount *m);
void mount_enter_tree_locked(struct mntns *ns, struct mount *m);
struct mntns *mntns_new(struct mount *root); /* takes over root */
/* A copy of the tree at `root` of m (recursive or not), not linked to a namespace. */
struct mount *mount_clone_tree_locked(struct mount *m, struct dentry *root, bool recursive);

/* ---- walk.c ---- */
enum last_type { LAST_NORMAL, LAST_DOT, LAST_DOTDOT, LAST_ROOT };
struct last_name {
    enum last_type type;
    bool slash; /* something like "name/" */
    size_t len;
    char name[NAME_MAX + 1];
};
/* Everything but the last component; with WALK_FOLLOW a symbolic link at the end is followed, as
 * open(O_CREAT) wants it. */
int path_lookup_parent(struct task *t, int dirfd, const char *name, unsigned flags,
                       struct path *ret, struct last_name *ret_last);
int path_lookup_parent_at(struct task *t, const struct path *base, const char *name, unsigned flags,
                          struct path *ret, struct last_name *ret_last);
void task_root(struct task *t, struct path *ret); /* with references */
void task_cwd(struct task *t, struct path *ret);

/* ---- permission.c ---- */
uint32_t task_fsuid(const struct task *t);
uint32_t task_fsgid(const struct task *t);
bool task_capable(const struct task *t, int cap); /* t NULL: the kernel itself, yes */
bool task_in_group(const struct task *t, uint32_t gid);
bool inode_capable(const struct task *t, const struct inode *i, int cap);
int inode_permission_generic(const struct task *t, const struct inode *i, int mask);
int may_create(struct task *t, const struct path *dir, struct dentry *d);
int may_delete(struct task *t, struct inode *dir, struct dentry *victim, bool is_dir);
uint32_t task_umask(const struct task *t);
void inode_new_owner(struct task *t, struct inode *dir, struct inode_new *what);
/* ops->make with owner, umask and what the directory hands down. dir_lock is held; the permission
 * was checked. */
int inode_make(struct task *t, struct inode *dir, struct dentry *d, struct inode_new *what);

/* ---- file.c ---- */
/* NULL: out of memory, or over the sandbox's limit. */
struct file *file_alloc(const struct file_ops *ops, unsigned flags);
int file_open_inode(struct task *t, struct file *f);

/* ---- locks ---- */
void file_locks_closed(struct file *f); /* flock and OFD locks of f */
void posix_locks_release(struct file *f, const void *owner);
extern unsigned g_anonymous_locks; /* atomic: how many files without an inode have locks */
/* May f have locks? */
static inline bool file_has_locks(const struct file *f)
{
    if (f->flags & O_PATH)
        return false;
    return f->inode ? __atomic_load_n(&f->inode->locks, __ATOMIC_ACQUIRE) != NULL
                    : __atomic_load_n(&g_anonymous_locks, __ATOMIC_RELAXED) != 0;
}
int fd_close_range_of(struct task *t, struct fdtable *ft, unsigned first, unsigned last,
                      bool only_cloexec);
void lock_table_free(struct lock_table *lt);
