#pragma once
/*
 * Overlay: one writable tree (upper, a tmpfs) over read-only ones (lower). A node refers to the
 * real inodes that make it up and to its place (parent, name), which is where a copy-up puts it.
 *
 * Kept in the upper layer, as overlayfs keeps it: a whiteout is a character device 0:0; a directory
 * that hides the lower ones has trusted.overlay.opaque=y; a file whose data is still below has
 * trusted.overlay.metacopy; what was copied up remembers its number in trusted.overlay.origin.
 */
#include "runtime/sentry/vfs/dirlist.h"
#include "runtime/sentry/vfs/inode.h"

#define OVL_OPAQUE   "trusted.overlay.opaque"
#define OVL_METACOPY "trusted.overlay.metacopy"
#define OVL_ORIGIN   "trusted.overlay.origin"
#define OVL_PREFIX   "trusted.overlay."

enum { OVL_LAYERS_MAX = 128 };
/* Numbers of files that only the upper layer has. */
#define OVL_UPPER_INO (1ULL << 48)

struct overlay {
    struct super *upper_super;   /* user reference, or NULL: read-only */
    struct super **lower_supers; /* user references */
    unsigned n_lower_supers;
    struct mutex lock;    /* guards places and `nodes` */
    struct hashmap nodes; /* non-directories by their real inode; weak */
    char *shown;          /* mount options */
};

struct ovl_node {
    struct inode inode;
    struct mutex copy_lock; /* serialises copy-up */
    struct inode *upper;    /* reference; set once, atomically */
    bool metacopy;          /* upper has no data yet; under copy_lock, read atomically */
    struct inode **lower;   /* references, immutable; directories: all that are merged */
    unsigned n_lower;
    struct ovl_node *parent; /* reference, NULL for the root; overlay.lock */
    char *name;              /* overlay.lock */
    struct hash_node node;
    const struct inode *key; /* in overlay.nodes, or NULL */
    struct dir_list *list;   /* merged content; dir_lock */
};

static inline struct ovl_node *ovl_node(struct inode *i)
{
    return container_of(i, struct ovl_node, inode);
}
static inline struct overlay *ovl_of(const struct inode *i)
{
    return i->super->private;
}
static inline struct inode *ovl_upper(const struct ovl_node *n)
{
    return __atomic_load_n(&n->upper, __ATOMIC_ACQUIRE);
}
/* Where attributes are. */
static inline struct inode *ovl_real(const struct ovl_node *n)
{
    struct inode *u = ovl_upper(n);

    return u ? u : n->lower[0];
}
/* Where data is. */
static inline struct inode *ovl_data(const struct ovl_node *n)
{
    struct inode *u = ovl_upper(n);

    return u && !__atomic_load_n(&n->metacopy, __ATOMIC_ACQUIRE) ? u : n->lower[0];
}

/* lookup.c */
int ovl_real_lookup(struct task *t, struct inode *dir, const char *name, struct inode **ret);
bool ovl_is_whiteout(const struct inode *i);
/* Takes over upper, lower (array and references). */
int ovl_node_new(struct super *s, struct ovl_node *parent, const char *name, struct inode *upper,
                 struct inode **lower, unsigned n_lower, struct inode **ret);
int ovl_lookup(struct task *t, struct inode *dir, struct dentry *d);
/* Is `name` in a lower layer of dir (and must be whited out when removed)? */
bool ovl_in_lower(struct task *t, struct ovl_node *dir, const char *name);
void ovl_sync(struct ovl_node *n); /* the fields from the real inode */
void ovl_place(struct ovl_node *n, struct ovl_node *parent, const char *name);
void ovl_evict(struct inode *i);
int ovl_list(struct task *t, struct inode *dir, struct dir_list **ret);
void ovl_forget_list(struct ovl_node *dir);

/* A dentry that only carries a name to a real file system's op. */
void ovl_name_init(struct dentry *d, struct inode *dir, const char *name);

/* copyup.c */
enum ovl_copy { OVL_META, OVL_DATA, OVL_NO_DATA /* it is about to be truncated to 0 */ };
int ovl_copy_up(struct task *t, struct ovl_node *n, enum ovl_copy how);

/* dir.c */
int ovl_make(struct task *t, struct inode *dir, struct dentry *d, const struct inode_new *what);
int ovl_link(struct task *t, struct inode *dir, struct dentry *d, struct inode *target);
int ovl_unlink(struct task *t, struct inode *dir, struct dentry *d);
int ovl_rmdir(struct task *t, struct inode *dir, struct dentry *d);
int ovl_rename(struct task *t, struct inode *old_dir, struct dentry *old_d, struct inode *new_dir,
               struct dentry *new_d, unsigned flags);
int ovl_tmpfile(struct task *t, struct inode *dir, const struct inode_new *what,
                struct inode **ret);

/* file.c */
extern const struct inode_ops ovl_ops;
extern const struct fs_type overlay_fs_type;

/* super.c: a merged tree; references to the roots are taken. upper NULL: read-only. */
int overlay_super_new(struct dentry *upper, struct dentry *const *lower, unsigned n_lower,
                      const char *shown, struct super **ret);
