/* Mount namespaces. */
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>

struct mntns *mntns_new(struct mount *root)
{
    struct mntns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ref_init(&ns->ref);
    list_init(&ns->mounts);
    waitq_init(&ns->changed);
    ns->ino = 0xf0000000U + inode_next_ino();
    ns->root = root;
    return ns;
}

struct mntns *mntns_get(struct mntns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void mntns_put(struct mntns *ns)
{
    struct list gone = LIST_INIT(gone);

    if (!ns || !ref_put(&ns->ref))
        return;
    mutex_lock(&g_tree_lock);
    if (ns->root)
        mount_detach_tree_locked(ns->root, &gone);
    mutex_unlock(&g_tree_lock);
    mount_release_list(&gone);
    if (ns->userns)
        userns_put(ns->userns);
    free(ns);
}

void mntns_set_userns(struct mntns *ns, struct userns *userns)
{
    struct userns *old = ns->userns;

    ns->userns = userns ? userns_get(userns) : NULL;
    if (old)
        userns_put(old);
}

static void enter_tree_locked(struct mntns *ns, struct mount *m)
{
    struct mount *c;

    mount_enter_ns_locked(ns, m);
    list_for_each_entry (c, &m->children, child_link)
        enter_tree_locked(ns, c);
}

void mount_enter_tree_locked(struct mntns *ns, struct mount *m)
{
    enter_tree_locked(ns, m);
}

/* The copy of `p->mount` in the copied tree `b` of tree `a`. */
static struct mount *counterpart_locked(struct mount *a, struct mount *b, const struct mount *m)
{
    struct mount *ca, *cb, *found;

    if (a == m)
        return b;
    cb = list_first(&b->children, struct mount, child_link);
    list_for_each_entry (ca, &a->children, child_link) {
        if (!cb || &cb->child_link == &b->children)
            return NULL;
        if (cb->mountpoint != ca->mountpoint || cb->root != ca->root)
            continue; /* unbindable: was not copied */
        found = counterpart_locked(ca, cb, m);
        if (found)
            return found;
        cb = list_entry(cb->child_link.next, struct mount, child_link);
    }
    return NULL;
}

static struct mount *move_locked(struct mntns *from, struct mount *copy, struct path *p)
{
    struct mount *m = p->mount ? counterpart_locked(from->root, copy, p->mount) : NULL;
    struct mount *old = NULL;

    if (m) {
        old = p->mount;
        p->mount = mount_get(m);
    }
    return old;
}

struct mntns *mntns_clone(struct mntns *ns, struct path *root, struct path *cwd)
{
    struct mntns *n = mntns_new(NULL);
    struct mount *copy, *old_root, *old_cwd;

    if (!n)
        return NULL;
    mntns_set_userns(n, ns->userns);
    mutex_lock(&g_tree_lock);
    copy = mount_clone_tree_locked(ns->root, ns->root->root, true);
    if (!copy) {
        mutex_unlock(&g_tree_lock);
        mntns_put(n);
        return NULL;
    }
    n->root = copy;
    old_root = root ? move_locked(ns, copy, root) : NULL;
    old_cwd = cwd ? move_locked(ns, copy, cwd) : NULL;
    enter_tree_locked(n, copy);
    mutex_unlock(&g_tree_lock);
    mount_put(old_root);
    mount_put(old_cwd);
    return n;
}
