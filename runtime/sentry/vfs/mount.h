#pragma once
/* Mounts and mount namespaces. All guarded by g_tree_lock unless noted. */
#include "runtime/sentry/vfs/inode.h"

#include <sys/mount.h>

struct container;
struct userns;

enum mount_propagation {
    PROPAGATE_PRIVATE,
    PROPAGATE_SHARED,
    PROPAGATE_SLAVE,
    PROPAGATE_UNBINDABLE
};

struct mount {
    struct ref ref;
    struct mntns *ns;                 /* no reference; NULL once detached */
    struct mount *parent;             /* itself for the root of a namespace or a detached tree */
    struct dentry *mountpoint, *root; /* references; mountpoint is in parent */
    struct super *super;              /* reference */
    unsigned flags; /* MS_RDONLY|NOSUID|NODEV|NOEXEC|NOATIME|NODIRATIME|RELATIME */
    int id;
    char *source; /* as in /proc/mounts */
    enum mount_propagation propagation;
    int peer_group;                            /* of shared and slave mounts */
    struct hash_node node;                     /* by (parent, mountpoint) */
    struct list children, child_link, ns_link; /* ns_link: in mntns->mounts, in order of mounting */
};

struct mntns {
    struct ref ref;
    struct mount *root; /* reference */
    struct list mounts;
    unsigned n_mounts;
    uint64_t ino;
    uint64_t event; /* counts changes: poll on /proc/PID/mounts; atomic */
    struct waitq changed;
    struct userns *userns; /* owner, reference; NULL: the initial one */
};

struct mount *mount_get(struct mount *m);
void mount_put(struct mount *m);
void path_get(const struct path *p);
void path_put(struct path *p); /* accepts an empty path; clears it */

enum { MOUNTS_MAX = 4096 }; /* per namespace */
struct mntns *mntns_get(struct mntns *ns);
void mntns_put(struct mntns *ns);
/* Whose capabilities rule ns (a reference is taken). A clone begins with its original's. */
void mntns_set_userns(struct mntns *ns, struct userns *userns);
/* A copy for unshare/clone(CLONE_NEWNS): fs's root and cwd are moved to the same place in the copy.
 * NULL: out of memory. */
struct mntns *mntns_clone(struct mntns *ns, struct path *root, struct path *cwd);

bool path_is_mountpoint(const struct path *p); /* p is the root of its mount */
/* Effective read-only state: -EROFS or 0. */
int path_want_write(const struct path *p);

/* mount(2) and friends; capability checks included. */
int vfs_mount(struct task *t, const char *source, const char *target, const char *type,
              unsigned long flags, const char *options);
int vfs_umount(struct task *t, const char *target, int flags);
int vfs_pivot_root(struct task *t, const char *new_root, const char *put_old);
/* Attaches a superblock (reference taken over) at `at`; no checks. */
int mount_attach(struct mntns *ns, const struct path *at, struct super *s, struct dentry *root,
                 unsigned flags, const char *source, struct mount **ret);

/* /proc/PID/mounts, mountinfo, mountstats of a namespace as seen from `root`. */
enum mounts_format { MOUNTS_PLAIN, MOUNTS_INFO, MOUNTS_STATS };
int mounts_show(struct mntns *ns, const struct path *root, enum mounts_format format,
                struct buf *out);
