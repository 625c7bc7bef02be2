/* Mounts: objects, the hash by mountpoint, attaching and detaching. Policy is in mount_ops.c. */
#include "runtime/sentry/vfs/mount.h"

#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct hashmap g_mount_hash = HASHMAP_INIT;
static int g_next_mount_id = 20;

static uint64_t mount_hash(const struct mount *parent, const struct dentry *d)
{
    uint64_t h = (uint64_t)(uintptr_t)parent * 0x9e3779b97f4a7c15ULL;

    return (h ^ (uint64_t)(uintptr_t)d) * 0xff51afd7ed558ccdULL;
}

struct mount *mount_find_locked(const struct mount *parent, const struct dentry *mountpoint)
{
    struct hash_node *n = hashmap_first(&g_mount_hash, mount_hash(parent, mountpoint));

    for (; n; n = hashmap_next_same(n)) {
        struct mount *m = hash_entry(n, struct mount, node);

        if (m->parent == parent && m->mountpoint == mountpoint)
            return m;
    }
    return NULL;
}

struct mount *mount_new(struct super *s, struct dentry *root, unsigned flags, const char *source)
{
    struct mount *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->source = strdup(source);
    if (!m->source) {
        free(m);
        return NULL;
    }
    ref_init(&m->ref);
    m->parent = m;
    m->super = s;
    super_user_get(s);
    m->root = dentry_get(root);
    m->flags = flags;
    m->id = __atomic_fetch_add(&g_next_mount_id, 1, __ATOMIC_RELAXED);
    list_init(&m->children);
    list_init(&m->child_link);
    list_init(&m->ns_link);
    return m;
}

struct mount *mount_get(struct mount *m)
{
    ref_get(&m->ref);
    return m;
}

/* A mount that is in a tree is referenced by it, so the last put finds it detached. */
void mount_put(struct mount *m)
{
    if (!m || !ref_put(&m->ref))
        return;
    dentry_put(m->mountpoint);
    dentry_put(m->root);
    super_user_put(m->super);
    free(m->source);
    free(m);
}

void mount_get_path_locked(const struct path *p)
{
    if (p->mount)
        ref_get(&p->mount->ref);
    if (p->dentry)
        ref_get(&p->dentry->ref);
}

void path_get(const struct path *p)
{
    mount_get_path_locked(p);
}

void path_put(struct path *p)
{
    dentry_put(p->dentry);
    mount_put(p->mount);
    *p = (struct path){0};
}

void mount_place_locked(struct mount *m, const struct path *at)
{
    m->parent = at->mount;
    m->mountpoint = dentry_get(at->dentry);
    at->dentry->n_mounts++;
    (void)hashmap_add(&g_mount_hash, &m->node, mount_hash(m->parent, m->mountpoint));
    list_append(&at->mount->children, &m->child_link);
}

/* The tree's reference is taken over from the caller. */
void mount_link_locked(struct mntns *ns, struct mount *m, const struct path *at)
{
    mount_place_locked(m, at);
    mount_enter_ns_locked(ns, m);
}

void mount_enter_ns_locked(struct mntns *ns, struct mount *m)
{
    m->ns = ns;
    list_append(&ns->mounts, &m->ns_link);
    ns->n_mounts++;
    (void)__atomic_add_fetch(&ns->event, 1, __ATOMIC_RELAXED);
}

/* Takes m out of its parent; it keeps its namespace membership. The mountpoint's reference goes to
 * the caller. */
struct dentry *mount_unhook_locked(struct mount *m)
{
    struct dentry *d = m->mountpoint;

    if (!d)
        return NULL;
    (void)hashmap_remove(&g_mount_hash, &m->node);
    list_remove(&m->child_link);
    d->n_mounts--;
    m->mountpoint = NULL;
    m->parent = m;
    return d;
}

void mount_detach_tree_locked(struct mount *m, struct list *gone)
{
    struct mount *c;

    while ((c = list_first(&m->children, struct mount, child_link)))
        mount_detach_tree_locked(c, gone); /* depth is bounded by MOUNTS_MAX */
    if (m->mountpoint) {
        (void)hashmap_remove(&g_mount_hash, &m->node);
        list_remove(&m->child_link);
        m->mountpoint->n_mounts--;
        /* stays referenced until the mount is freed, but leads nowhere */
    }
    m->parent = m;
    if (m->ns) {
        list_remove(&m->ns_link);
        m->ns->n_mounts--;
        (void)__atomic_add_fetch(&m->ns->event, 1, __ATOMIC_RELAXED);
        m->ns = NULL;
    }
    list_append(gone, &m->ns_link);
}

void mount_release_list(struct list *gone)
{
    struct mount *m;

    while ((m = list_first(gone, struct mount, ns_link))) {
        list_remove(&m->ns_link);
        mount_put(m);
    }
}

int mount_attach(struct mntns *ns, const struct path *at, struct super *s, struct dentry *root,
                 unsigned flags, const char *source, struct mount **ret)
{
    struct mount *m = mount_new(s, root, flags, source);

    super_put(s);
    if (!m)
        return -ENOMEM;
    mutex_lock(&g_tree_lock);
    if (ns->n_mounts >= MOUNTS_MAX) {
        mutex_unlock(&g_tree_lock);
        mount_put(m);
        return -ENOSPC;
    }
    mount_link_locked(ns, m, at);
    mutex_unlock(&g_tree_lock);
    if (ret)
        *ret = m;
    return 0;
}

/* Copies one mount, not its place. */
static struct mount *clone_one(struct mount *m, struct dentry *root)
{
    struct mount *c = mount_new(m->super, root, m->flags, m->source);

    if (c) {
        c->propagation = m->propagation;
        c->peer_group = m->peer_group;
    }
    return c;
}

static bool clone_children_locked(struct mount *from, struct mount *to, struct dentry *root)
{
    struct mount *m, *c;

    list_for_each_entry (m, &from->children, child_link) {
        if (!dentry_is_ancestor_locked(root, m->mountpoint) ||
            m->propagation == PROPAGATE_UNBINDABLE)
            continue;
        c = clone_one(m, m->root);
        if (!c)
            return false;
        mount_place_locked(c, &(struct path){.mount = to, .dentry = m->mountpoint});
        if (!clone_children_locked(m, c, m->root))
            return false;
    }
    return true;
}

struct mount *mount_clone_tree_locked(struct mount *m, struct dentry *root, bool recursive)
{
    struct mount *c = clone_one(m, root);
    struct list gone = LIST_INIT(gone);

    if (!c || !recursive || clone_children_locked(m, c, root))
        return c;
    /* Out of memory half-way: nothing of the copy was visible. Its mounts are freed by the caller's
     * unlock path being impossible here, so put them without touching shared counts under lock. */
    mount_detach_tree_locked(c, &gone);
    mutex_unlock(&g_tree_lock);
    mount_release_list(&gone);
    mutex_lock(&g_tree_lock);
    return NULL;
}

bool path_is_mountpoint(const struct path *p)
{
    return p->mount && p->dentry == p->mount->root;
}

int path_want_write(const struct path *p)
{
    if (!p->mount)
        return 0;
    if ((__atomic_load_n(&p->mount->flags, __ATOMIC_RELAXED) & MS_RDONLY) ||
        (p->mount->super->flags & SUPER_RDONLY))
        return -EROFS;
    return 0;
}
