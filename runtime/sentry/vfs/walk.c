/*
 * From names to dentries (path_resolution(7), openat2(2)).
 *
 * A walk runs under g_tree_lock without taking references as long as the cache answers: one lock
 * and one unlock for a whole path. When a file system has to be asked (a missing name, a link not
 * yet read, revalidation), the position is referenced, the lock dropped, and the walk goes on from
 * there. Symbolic links are expanded on a stack of names, never by recursion.
 */
#include "runtime/guard.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct frame {
    const char *rest;
    char *owned; /* to be freed with the frame */
};

struct walk {
    struct task *t;
    struct path root, at; /* valid while g_tree_lock is held, or held below */
    struct path held;     /* references that keep `at` alive while unlocked */
    bool root_held, slash, unlocked_once;
    unsigned flags, links, depth;
    struct last_name *last; /* NULL: the last component is looked up too */
    struct frame frames[SYMLINKS_MAX + 2];
};

static void walk_unlock(struct walk *w)
{
    struct path old = w->held;

    w->held = w->at;
    mount_get_path_locked(&w->held);
    if (!w->root_held) {
        mount_get_path_locked(&w->root);
        w->root_held = true;
    }
    mutex_unlock(&g_tree_lock);
    path_put(&old);
}

static void walk_lock(struct walk *w)
{
    (void)w;
    mutex_lock(&g_tree_lock);
}

static void walk_fini(struct walk *w)
{
    path_put(&w->held);
    if (w->root_held)
        path_put(&w->root);
    while (w->depth)
        free(w->frames[--w->depth].owned);
}

static bool same(const struct path *a, const struct path *b)
{
    return a->mount == b->mount && a->dentry == b->dentry;
}

static int go_up(struct walk *w)
{
    struct path p = w->at;

    for (;;) {
        if (same(&p, &w->root) && GUARDED(WALK_ROOT)) {
            if (w->flags & WALK_BENEATH)
                return -EXDEV;
            break;
        }
        if (p.dentry != p.mount->root) {
            p.dentry = p.dentry->parent;
            break;
        }
        if (p.mount->parent == p.mount)
            break;
        p.dentry = p.mount->mountpoint;
        p.mount = p.mount->parent;
    }
    mount_descend_locked(&p);
    if ((w->flags & WALK_NO_XDEV) && p.mount != w->at.mount)
        return -EXDEV;
    w->at = p;
    return 0;
}

/* Leaves the lock for the file system. On success held.dentry is the child and is referenced. */
static int lookup_slow(struct walk *w, const char *name, size_t len, struct dentry **ret)
{
    struct dentry *dir = w->at.dentry, *d = NULL;
    struct inode *i = dir->inode;
    uint64_t hash = dentry_hash(dir, name, len);
    int r;

    if (w->flags & WALK_CACHED)
        return -EAGAIN;
    d = dentry_find_locked(dir, name, len, hash);
    if (d)
        ref_get(&d->ref);
    walk_unlock(w);
    if (d && (!i->ops->revalidate || i->ops->revalidate(w->t, i, d))) {
        r = 0;
    } else {
        if (d) {
            dentry_drop(d);
            dentry_put(d);
        }
        mutex_lock(&i->dir_lock);
        r = dentry_lookup_locked_dir(w->t, dir, name, len, &d);
        mutex_unlock(&i->dir_lock);
    }
    if (r == 0) {
        dentry_put(w->held.dentry);
        w->held.dentry = d;
        *ret = d;
    }
    walk_lock(w);
    return r;
}

static int may_search(struct walk *w)
{
    struct inode *i = w->at.dentry->inode;
    int r;

    if (!S_ISDIR(i->mode))
        return -ENOTDIR;
    if (!i->ops->permission && !__atomic_load_n(&i->acl, __ATOMIC_RELAXED))
        return inode_permission_generic(w->t, i, MAY_EXEC);
    inode_get(i);
    walk_unlock(w);
    r = inode_permission(w->t, i, MAY_EXEC);
    inode_put(i);
    walk_lock(w);
    return r;
}

static int push(struct walk *w, char *target)
{
    if (!target)
        return -ENOMEM;
    if (!target[0]) {
        free(target);
        return -ENOENT;
    }
    if (target[0] == '/') {
        if (w->flags & WALK_BENEATH) {
            free(target);
            return -EXDEV;
        }
        if ((w->flags & WALK_NO_XDEV) && w->root.mount != w->at.mount) {
            free(target);
            return -EXDEV;
        }
        w->at = w->root;
    }
    w->frames[w->depth++] = (struct frame){.rest = target, .owned = target};
    return 0;
}

/* A magic link, or a text link that is not cached. `at` is the directory it is in. */
static int follow_slow(struct walk *w, struct inode *link)
{
    char *target = NULL;
    struct path p = {0};
    ssize_t n = -EOPNOTSUPP;

    inode_get(link);
    walk_unlock(w);
    if (link->ops->follow)
        n = link->ops->follow(w->t, link, &p);
    if (n == -EOPNOTSUPP) {
        target = malloc(PATH_MAX);
        n = target ? inode_readlink(w->t, link, target, PATH_MAX - 1) : -ENOMEM;
        if (n >= 0)
            target[n] = '\0';
    }
    inode_put(link);
    if (n >= 0 && p.dentry) {
        bool xdev = p.mount != w->held.mount;

        if (w->flags & WALK_NO_MAGIC)
            n = -ELOOP;
        else if ((w->flags & (WALK_BENEATH | WALK_IN_ROOT)) || ((w->flags & WALK_NO_XDEV) && xdev))
            n = -EXDEV;
        if (n < 0) {
            path_put(&p);
        } else {
            path_put(&w->held);
            w->held = w->at = p;
        }
    }
    walk_lock(w);
    if (n < 0) {
        free(target);
        return (int)n;
    }
    return target ? push(w, target) : 0;
}

static int follow_link(struct walk *w, struct inode *link)
{
    const char *cached = __atomic_load_n(&link->link, __ATOMIC_ACQUIRE);

    if (w->flags & WALK_NO_SYMLINKS)
        return -ELOOP;
    if (++w->links > SYMLINKS_MAX)
        return -ELOOP;
    return cached ? push(w, strdup(cached)) : follow_slow(w, link);
}

static int set_last(struct walk *w, const char *name, size_t len)
{
    struct last_name *l = w->last;

    l->slash = w->slash;
    l->type = LAST_NORMAL;
    if (len == 1 && name[0] == '.')
        l->type = LAST_DOT;
    else if (len == 2 && name[0] == '.' && name[1] == '.')
        l->type = LAST_DOTDOT;
    l->len = len;
    memcpy(l->name, name, len);
    l->name[len] = '\0';
    return 0;
}

/* The name in `at`; final: nothing comes behind it. Sets *ret_done when a parent walk ends here. */
static int step(struct walk *w, const char *name, size_t len, bool final, bool *ret_done)
{
    struct path next = w->at;
    struct dentry *d;
    int r;

    if (final && w->last && !(w->flags & WALK_FOLLOW)) {
        *ret_done = true;
        return set_last(w, name, len);
    }
    if (len == 1 && name[0] == '.') {
        *ret_done = final && w->last;
        return *ret_done ? set_last(w, name, len) : 0;
    }
    if (len == 2 && name[0] == '.' && name[1] == '.') {
        *ret_done = final && w->last;
        return *ret_done ? set_last(w, name, len) : go_up(w);
    }
    d = w->at.dentry->inode->ops->revalidate
            ? NULL
            : dentry_find_locked(w->at.dentry, name, len, dentry_hash(w->at.dentry, name, len));
    if (!d) {
        r = lookup_slow(w, name, len, &d);
        if (r < 0)
            return r;
    }
    assert(d);
    d->used = true;
    if (final && w->last && !(d->inode && S_ISLNK(d->inode->mode))) {
        *ret_done = true;
        return set_last(w, name, len);
    }
    if (!d->inode)
        return -ENOENT;
    next.dentry = d;
    mount_descend_locked(&next);
    if (S_ISLNK(next.dentry->inode->mode) && (!final || w->slash || (w->flags & WALK_FOLLOW)))
        return follow_link(w, next.dentry->inode);
    if ((w->flags & WALK_NO_XDEV) && next.mount != w->at.mount)
        return -EXDEV;
    w->at = next;
    return 0;
}

static int run(struct walk *w)
{
    bool done = false;
    int r;

    while (!done) {
        struct frame *f = &w->frames[w->depth - 1];
        const char *name = f->rest, *behind, *end;
        size_t len;
        bool final;

        while (*name == '/')
            name++;
        if (!*name) {
            if (w->depth == 1)
                break;
            free(f->owned);
            w->depth--;
            continue;
        }
        end = strchrnul(name, '/');
        len = (size_t)(end - name);
        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        for (behind = end; *behind == '/';)
            behind++;
        f->rest = behind;
        r = may_search(w);
        if (r < 0)
            return r;
        final = !*behind && w->depth == 1;
        if (final && *end == '/')
            w->slash = true;
        if (!*behind && w->depth > 1) { /* the last of a link's target: what is behind the link? */
            unsigned i = w->depth - 1;

            while (i > 0 && !*w->frames[i - 1].rest)
                i--;
            final = i == 0;
            if (final && *end == '/')
                w->slash = true;
        }
        r = step(w, name, len, final, &done);
        if (r < 0)
            return r;
    }
    if (w->last && !done) { /* "/" or a magic link at the end */
        w->last->type = LAST_ROOT;
        w->last->slash = w->slash;
        w->last->len = 0;
        w->last->name[0] = '\0';
    }
    return 0;
}

/* g_tree_lock held; base is valid under it. Gives *ret with references; unlocks. */
static int walk_from(struct walk *w, const struct path *base, const char *name, struct path *ret)
{
    int r;

    w->at = *base;
    if (name[0] == '/') {
        if (w->flags & WALK_BENEATH) {
            mutex_unlock(&g_tree_lock);
            walk_fini(w);
            return -EXDEV;
        }
        w->at = w->root;
    }
    if (w->flags & (WALK_BENEATH | WALK_IN_ROOT))
        w->root = w->at = *base;
    w->depth = 1;
    w->frames[0] = (struct frame){.rest = name};
    r = run(w);
    if (r == 0 && (w->slash || (w->flags & WALK_DIRECTORY)) && !w->last &&
        !S_ISDIR(w->at.dentry->inode->mode))
        r = -ENOTDIR;
    if (r == 0) {
        *ret = w->at;
        mount_get_path_locked(ret);
    }
    mutex_unlock(&g_tree_lock);
    walk_fini(w);
    return r;
}

static int base_of_fd(struct task *t, int dirfd, struct path *ret)
{
    struct file *f = fd_get_any(t, dirfd);
    int r = 0;

    if (!f)
        return -EBADF;
    if (!f->path.dentry) {
        r = -ENOTDIR;
    } else {
        *ret = f->path;
        path_get(ret);
    }
    file_put(f);
    return r;
}

static int lookup(struct task *t, int dirfd, const char *name, unsigned flags,
                  struct last_name *last, struct path *ret)
{
    struct path base = {0};
    struct walk w;
    int r = 0;

    memset(&w, 0, offsetof(struct walk, frames));
    w.t = t;
    w.flags = flags;
    w.last = last;
    if (!name[0] && !(flags & WALK_EMPTY))
        return -ENOENT;
    if (dirfd != AT_FDCWD && (name[0] != '/' || (flags & (WALK_BENEATH | WALK_IN_ROOT)))) {
        r = base_of_fd(t, dirfd, &base);
        if (r < 0)
            return r;
        if (name[0] && !S_ISDIR(base.dentry->inode->mode)) {
            path_put(&base);
            return -ENOTDIR;
        }
    }
    mutex_lock(&g_tree_lock);
    /* chroot, chdir and pivot_root change these under g_tree_lock too */
    w.root = t->fs->root;
    w.held = base;
    if (!w.root.dentry) {
        mutex_unlock(&g_tree_lock);
        path_put(&base);
        return -ENOENT;
    }
    return walk_from(&w, base.dentry ? &base : &t->fs->cwd, name, ret);
}

int path_lookup(struct task *t, int dirfd, const char *name, unsigned flags, struct path *ret)
{
    return lookup(t, dirfd, name, flags, NULL, ret);
}

int path_lookup_parent(struct task *t, int dirfd, const char *name, unsigned flags,
                       struct path *ret, struct last_name *ret_last)
{
    return lookup(t, dirfd, name, flags & ~(unsigned)WALK_EMPTY, ret_last, ret);
}

static int lookup_at(struct task *t, const struct path *base, const char *name, unsigned flags,
                     struct last_name *last, struct path *ret)
{
    struct walk w;

    memset(&w, 0, offsetof(struct walk, frames));
    w.t = t;
    w.flags = flags;
    w.last = last;
    mutex_lock(&g_tree_lock);
    w.root = *base;
    return walk_from(&w, base, name, ret);
}

int path_lookup_at(struct task *t, const struct path *base, const char *name, unsigned flags,
                   struct path *ret)
{
    return lookup_at(t, base, name, flags, NULL, ret);
}

int path_lookup_parent_at(struct task *t, const struct path *base, const char *name, unsigned flags,
                          struct path *ret, struct last_name *ret_last)
{
    return lookup_at(t, base, name, flags, ret_last, ret);
}

void task_root(struct task *t, struct path *ret)
{
    mutex_lock(&g_tree_lock);
    *ret = t->fs->root;
    mount_get_path_locked(ret);
    mutex_unlock(&g_tree_lock);
}

void task_cwd(struct task *t, struct path *ret)
{
    mutex_lock(&g_tree_lock);
    *ret = t->fs->cwd;
    mount_get_path_locked(ret);
    mutex_unlock(&g_tree_lock);
}

void vfs_set_fs_path(struct fs_context *fs, struct path *slot, struct path *p)
{
    struct path old;

    mutex_lock(&fs->lock);
    mutex_lock(&g_tree_lock);
    old = *slot;
    *slot = *p;
    mutex_unlock(&g_tree_lock);
    mutex_unlock(&fs->lock);
    *p = old;
}

void vfs_fs_paths(struct task *t, struct path *ret_root, struct path *ret_cwd)
{
    task_root(t, ret_root);
    task_cwd(t, ret_cwd);
}
