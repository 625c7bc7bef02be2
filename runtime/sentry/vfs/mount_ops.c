/*
 * mount(2), umount2(2), pivot_root(2). Propagation types are kept and shown, but events are not
 * propagated: namespaces of one container are copies that go their own ways.
 */
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOUNT_FLAGS =
        MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME
};
static const unsigned long propagation_flags = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

static int g_peer_groups;

static struct mntns *ns_of(struct task *t)
{
    return t->ns->mnt;
}

static bool may_mount(struct task *t)
{
    return cred_capable_in(t->cred, ns_of(t)->userns, CAP_SYS_ADMIN);
}

static unsigned mount_flags(unsigned long flags)
{
    unsigned f = (unsigned)flags & MOUNT_FLAGS;

    if (!(flags & (MS_NOATIME | MS_STRICTATIME)))
        f |= MS_RELATIME;
    return f;
}

/* Places a detached tree (its root's reference is taken over) on `at`. */
static int attach_tree(struct task *t, struct mount *m, const struct path *at)
{
    struct mntns *ns = ns_of(t);
    struct path top = *at;
    struct list gone = LIST_INIT(gone);
    int r = 0;

    if (S_ISDIR(m->root->inode->mode) != S_ISDIR(at->dentry->inode->mode))
        r = -ENOTDIR;
    mutex_lock(&g_tree_lock);
    mount_descend_locked(&top);
    if (r == 0 && (!top.mount->ns || top.dentry->unlinked))
        r = top.mount->ns ? -ENOENT : -EINVAL;
    if (r == 0 && ns->n_mounts >= MOUNTS_MAX)
        r = -ENOSPC;
    if (r == 0) {
        struct mount *c;

        mount_link_locked(ns, m, &top);
        list_for_each_entry (c, &m->children, child_link)
            mount_enter_tree_locked(ns, c);
    } else {
        mount_detach_tree_locked(m, &gone);
    }
    mutex_unlock(&g_tree_lock);
    mount_release_list(&gone);
    if (r == 0)
        waitq_wake(&ns->changed, POLLERR | POLLPRI);
    return r;
}

static int do_bind(struct task *t, const char *source, const struct path *at, unsigned long flags)
{
    struct path from;
    struct mount *m;
    int r = path_lookup(t, AT_FDCWD, source, WALK_FOLLOW, &from);

    if (r < 0)
        return r;
    if (from.mount->propagation == PROPAGATE_UNBINDABLE || !from.mount->ns) {
        path_put(&from);
        return -EINVAL;
    }
    mutex_lock(&g_tree_lock);
    m = mount_clone_tree_locked(from.mount, from.dentry, flags & MS_REC);
    mutex_unlock(&g_tree_lock);
    path_put(&from);
    return m ? attach_tree(t, m, at) : -ENOMEM;
}

static int do_new(struct task *t, const char *type, const char *source, const struct path *at,
                  unsigned long flags, const char *options)
{
    const struct fs_type *fs = fs_type_find(type);
    struct mount_args args = {.source = source[0] ? source : "none",
                              .options = options && options[0] ? options : NULL,
                              .flags = (unsigned)flags};
    struct mount *m;
    struct super *s;
    int r;

    if (!fs || !fs->mount)
        return -ENODEV;
    if (t->cred->userns && !fs->userns)
        return -EPERM;
    r = fs->mount(t, fs, &args, &s);
    if (r < 0)
        return r;
    m = mount_new(s, s->root, mount_flags(flags) | (t->cred->userns ? MS_NODEV | MS_NOSUID : 0U),
                  args.source);
    super_put(s);
    return m ? attach_tree(t, m, at) : -ENOMEM;
}

static int do_remount(struct path *at, unsigned long flags, const char *options)
{
    struct super *s = at->mount->super;
    int r = 0;

    if (!path_is_mountpoint(at))
        return -EINVAL;
    if (!(flags & MS_BIND)) {
        if (s->ops && s->ops->remount)
            r = s->ops->remount(s, flags & MS_RDONLY ? SUPER_RDONLY : 0,
                                options && options[0] ? options : NULL);
        if (r < 0)
            return r;
    }
    __atomic_store_n(&at->mount->flags, mount_flags(flags), __ATOMIC_RELAXED);
    return 0;
}

static void set_propagation_locked(struct mount *m, unsigned long flags)
{
    struct mount *c;

    if (flags & MS_SHARED) {
        m->propagation = PROPAGATE_SHARED;
        if (!m->peer_group)
            m->peer_group = ++g_peer_groups;
    } else if (flags & MS_SLAVE) {
        m->propagation = m->peer_group ? PROPAGATE_SLAVE : PROPAGATE_PRIVATE;
    } else {
        m->propagation = flags & MS_UNBINDABLE ? PROPAGATE_UNBINDABLE : PROPAGATE_PRIVATE;
        m->peer_group = 0;
    }
    if (flags & MS_REC)
        list_for_each_entry (c, &m->children, child_link)
            set_propagation_locked(c, flags);
}

static int do_propagation(const struct path *at, unsigned long flags)
{
    unsigned long kind = flags & propagation_flags;

    if (!path_is_mountpoint(at) || (kind & (kind - 1)) ||
        (flags & ~(propagation_flags | MS_REC | MS_SILENT)))
        return -EINVAL;
    mutex_lock(&g_tree_lock);
    set_propagation_locked(at->mount, flags);
    mutex_unlock(&g_tree_lock);
    return 0;
}

static bool is_below_locked(const struct mount *m, const struct mount *top)
{
    for (;; m = m->parent) {
        if (m == top)
            return true;
        if (m->parent == m)
            return false;
    }
}

static int do_move(struct task *t, const char *source, const struct path *at)
{
    struct dentry *old = NULL;
    struct path from, top = *at;
    int r = path_lookup(t, AT_FDCWD, source, WALK_FOLLOW, &from);

    if (r < 0)
        return r;
    mutex_lock(&g_tree_lock);
    mount_descend_locked(&top);
    if (!path_is_mountpoint(&from) || from.mount->parent == from.mount || !top.mount->ns)
        r = -EINVAL;
    else if (is_below_locked(top.mount, from.mount))
        r = -ELOOP;
    else if (S_ISDIR(from.dentry->inode->mode) != S_ISDIR(top.dentry->inode->mode))
        r = -ENOTDIR;
    if (r == 0) {
        struct mount *m = from.mount;

        old = mount_unhook_locked(m);
        list_remove(&m->ns_link);
        m->ns->n_mounts--;
        mount_link_locked(ns_of(t), m, &top);
    }
    mutex_unlock(&g_tree_lock);
    dentry_put(old);
    path_put(&from);
    return r;
}

int vfs_mount(struct task *t, const char *source, const char *target, const char *type,
              unsigned long flags, const char *options)
{
    struct path at;
    int r;

    if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
        flags &= ~(unsigned long)MS_MGC_MSK;
    if (!may_mount(t))
        return -EPERM;
    r = path_lookup(t, AT_FDCWD, target, WALK_FOLLOW, &at);
    if (r < 0)
        return r;
    if (flags & MS_REMOUNT)
        r = do_remount(&at, flags, options);
    else if (flags & MS_BIND)
        r = do_bind(t, source, &at, flags);
    else if (flags & propagation_flags)
        r = do_propagation(&at, flags);
    else if (flags & MS_MOVE)
        r = do_move(t, source, &at);
    else
        r = do_new(t, type, source, &at, flags, options);
    path_put(&at);
    return r;
}

/* Also what lies over the walk's end itself is unmounted, where no name led across it: "." after
 * pivot_root(".", "."). What the walk held goes to *walked then. */
static void topmost_locked(struct path *at, struct path *walked)
{
    struct path top = *at;

    mount_descend_locked(&top);
    if (top.mount == at->mount)
        return;
    *walked = *at;
    *at = top;
    mount_get_path_locked(at);
}

int vfs_umount(struct task *t, const char *target, int flags)
{
    const int known = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
    struct list gone = LIST_INIT(gone);
    struct path at, walked = {0};
    int r;

    if (flags & ~known)
        return -EINVAL;
    if (!may_mount(t))
        return -EPERM;
    r = path_lookup(t, AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? 0 : WALK_FOLLOW, &at);
    if (r < 0)
        return r;
    mutex_lock(&g_tree_lock);
    topmost_locked(&at, &walked);
    if (!path_is_mountpoint(&at) || at.mount->ns != ns_of(t))
        r = -EINVAL;
    else if (at.mount->parent == at.mount)
        r = -EBUSY; /* the root of the namespace */
    else if (flags & MNT_EXPIRE)
        r = -EAGAIN;
    else if (!(flags & MNT_DETACH) && (!list_empty(&at.mount->children) ||
                                       __atomic_load_n(&at.mount->ref.n, __ATOMIC_RELAXED) > 2))
        r = -EBUSY; /* others than the tree and this walk hold it */
    if (r == 0)
        mount_detach_tree_locked(at.mount, &gone);
    mutex_unlock(&g_tree_lock);
    mount_release_list(&gone);
    path_put(&at);
    path_put(&walked);
    if (r == 0)
        waitq_wake(&ns_of(t)->changed, POLLERR | POLLPRI);
    return r;
}

/* ---- pivot_root -------------------------------------------------------------------------------*/
/* Tasks whose root or working directory was the old root get the new one. Counts references that
 * are to be dropped in *drop: they are all of `old`. */
static void move_tasks(const struct path *old, const struct path *new, unsigned *drop)
{
    struct hash_node *h;

    mutex_lock(&g_tasks_lock);
    mutex_lock(&g_tree_lock);
    for (h = hashmap_next(&g_sentry.pidns->pids, NULL); h;
         h = hashmap_next(&g_sentry.pidns->pids, h)) {
        struct task *o = hash_entry(h, struct pid_nr, node)->pid->task;
        struct path *p[2];
        unsigned k;

        if (!o || !o->fs)
            continue;
        p[0] = &o->fs->root;
        p[1] = &o->fs->cwd;
        for (k = 0; k < 2; k++)
            if (p[k]->mount == old->mount && p[k]->dentry == old->dentry) {
                *p[k] = *new;
                path_get(new);
                ++*drop;
            }
    }
    mutex_unlock(&g_tree_lock);
    mutex_unlock(&g_tasks_lock);
}

static int pivot_locked(struct task *t, const struct path *new, const struct path *put_old,
                        const struct path *root, struct dentry **drop)
{
    struct mount *old_mount = root->mount, *new_mount = new->mount;
    struct path parent, onto = *put_old;
    bool was_ns_root = old_mount->parent == old_mount;

    if (!path_is_mountpoint(new) || !path_is_mountpoint(root) || new_mount->parent == new_mount ||
        new_mount->ns != ns_of(t) || old_mount->ns != ns_of(t))
        return -EINVAL;
    if (new_mount == old_mount || put_old->mount == old_mount)
        return -EBUSY;
    if (!is_below_locked(put_old->mount, new_mount) || !is_below_locked(new_mount, old_mount))
        return -EINVAL;
    parent = (struct path){.mount = old_mount->parent, .dentry = old_mount->mountpoint};
    drop[0] = mount_unhook_locked(new_mount);
    if (!was_ns_root)
        drop[1] = mount_unhook_locked(old_mount);
    /* Membership in the namespace stays; only the places change. */
    mount_descend_locked(&onto);
    mount_place_locked(old_mount, &onto);
    if (was_ns_root)
        ns_of(t)->root = new_mount; /* the namespace's reference: each mount is held by its place */
    else
        mount_place_locked(new_mount, &parent);
    return 0;
}

int vfs_pivot_root(struct task *t, const char *new_root, const char *put_old)
{
    struct dentry *drop[2] = {NULL, NULL};
    struct path new, old, root;
    unsigned n = 0;
    int r;

    if (!may_mount(t))
        return -EPERM;
    r = path_lookup(t, AT_FDCWD, new_root, WALK_FOLLOW | WALK_DIRECTORY, &new);
    if (r < 0)
        return r;
    r = path_lookup(t, AT_FDCWD, put_old, WALK_FOLLOW | WALK_DIRECTORY, &old);
    if (r < 0) {
        path_put(&new);
        return r;
    }
    task_root(t, &root);
    mutex_lock(&g_tree_lock);
    r = pivot_locked(t, &new, &old, &root, drop);
    mutex_unlock(&g_tree_lock);
    if (r == 0)
        move_tasks(&root, &new, &n);
    while (n--) {
        struct path p = root;

        path_put(&p);
    }
    dentry_put(drop[0]);
    dentry_put(drop[1]);
    path_put(&root);
    path_put(&old);
    path_put(&new);
    return r;
}
