/* Overlay: changes of directories. The overlay directory's dir_lock is held by the caller; those of
 * the upper directories are taken here, below it. */
#include "runtime/sentry/fs/overlay/overlay.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void changed(struct ovl_node *dir)
{
    ovl_forget_list(dir);
    ovl_sync(dir);
}

/* An op on a name of the upper directory; *ret_inode (may be NULL) gets what d came to refer to. */
static int upper_remove(struct task *t, struct inode *up, const char *name, bool is_dir)
{
    struct dentry d;
    int r;

    ovl_name_init(&d, up, name);
    mutex_lock(&up->dir_lock);
    r = up->ops->lookup(t, up, &d);
    if (r == 0)
        r = !d.inode ? -ENOENT : is_dir ? up->ops->rmdir(t, up, &d) : up->ops->unlink(t, up, &d);
    mutex_unlock(&up->dir_lock);
    inode_put(d.inode);
    return r;
}

static int upper_make(struct task *t, struct inode *up, const char *name,
                      const struct inode_new *what, struct inode **ret)
{
    struct dentry d;
    int r;

    ovl_name_init(&d, up, name);
    mutex_lock(&up->dir_lock);
    r = up->ops->make(t, up, &d, what);
    mutex_unlock(&up->dir_lock);
    if (r < 0)
        return r;
    if (ret)
        *ret = d.inode;
    else
        inode_put(d.inode);
    return 0;
}

static int make_whiteout(struct task *t, struct inode *up, const char *name)
{
    const struct inode_new w = {.mode = S_IFCHR};

    return upper_make(t, up, name, &w, NULL);
}

/* Removes a whiteout that hides a lower name; true if there was one. */
static bool clear_whiteout(struct task *t, struct inode *up, const char *name)
{
    struct inode *i;
    bool is;

    if (ovl_real_lookup(t, up, name, &i) < 0 || !i)
        return false;
    is = ovl_is_whiteout(i);
    inode_put(i);
    if (is)
        (void)upper_remove(t, up, name, false);
    return is;
}

int ovl_make(struct task *t, struct inode *i, struct dentry *d, const struct inode_new *what)
{
    struct ovl_node *dir = ovl_node(i);
    struct inode *up, *upper = NULL, *made;
    bool hid;
    int r = ovl_copy_up(t, dir, OVL_META);

    if (r < 0)
        return r;
    up = ovl_upper(dir);
    hid = clear_whiteout(t, up, d->name);
    r = upper_make(t, up, d->name, what, &upper);
    if (r == 0 && hid && S_ISDIR(what->mode))
        r = upper->ops->setxattr(upper, OVL_OPAQUE, "y", 1, 0);
    if (r < 0) {
        inode_put(upper);
        if (hid)
            (void)make_whiteout(t, up, d->name);
        return r;
    }
    r = ovl_node_new(i->super, dir, d->name, upper, NULL, 0, &made);
    changed(dir);
    if (r == 0)
        dentry_set_inode(d, made);
    return r;
}

int ovl_tmpfile(struct task *t, struct inode *i, const struct inode_new *what, struct inode **ret)
{
    struct ovl_node *dir = ovl_node(i);
    struct inode *up, *upper;
    int r = ovl_copy_up(t, dir, OVL_META);

    if (r < 0)
        return r;
    up = ovl_upper(dir);
    r = up->ops->tmpfile(t, up, what, &upper);
    return r < 0 ? r : ovl_node_new(i->super, dir, "#tmpfile", upper, NULL, 0, ret);
}

int ovl_link(struct task *t, struct inode *i, struct dentry *d, struct inode *target)
{
    struct ovl_node *dir = ovl_node(i), *n = ovl_node(target);
    struct dentry real;
    struct inode *up;
    bool hid;
    int r = ovl_copy_up(t, dir, OVL_META);

    if (r == 0)
        r = ovl_copy_up(t, n, OVL_DATA);
    if (r < 0)
        return r;
    up = ovl_upper(dir);
    hid = clear_whiteout(t, up, d->name);
    ovl_name_init(&real, up, d->name);
    mutex_lock(&up->dir_lock);
    r = up->ops->link(t, up, &real, ovl_upper(n));
    mutex_unlock(&up->dir_lock);
    inode_put(real.inode);
    if (r < 0) {
        if (hid)
            (void)make_whiteout(t, up, d->name);
        return r;
    }
    changed(dir);
    ovl_sync(n);
    dentry_set_inode(d, inode_get(target));
    return 0;
}

/* The name goes: from the upper layer if it is there, and by a whiteout if it is below. */
static int remove_name(struct task *t, struct ovl_node *dir, const char *name, bool in_upper,
                       bool is_dir)
{
    struct inode *up = ovl_upper(dir);
    bool lower = ovl_in_lower(t, dir, name);
    int r = in_upper ? upper_remove(t, up, name, is_dir) : 0;

    if (r == 0 && lower)
        r = make_whiteout(t, up, name);
    return r;
}

int ovl_unlink(struct task *t, struct inode *i, struct dentry *d)
{
    struct ovl_node *dir = ovl_node(i), *n = ovl_node(d->inode);
    int r = ovl_copy_up(t, dir, OVL_META);

    if (r == 0)
        r = remove_name(t, dir, d->name, ovl_upper(n) != NULL, false);
    if (r < 0)
        return r;
    changed(dir);
    if (ovl_upper(n)) {
        ovl_sync(n);
    } else {
        lend_recall(&n->inode);
        mutex_lock(&n->inode.lock);
        if (n->inode.nlink)
            n->inode.nlink--;
        mutex_unlock(&n->inode.lock);
    }
    return 0;
}

/* An empty merged directory may still hold whiteouts above. */
static int clear_whiteouts(struct task *t, struct inode *up)
{
    struct dir_list *l;
    unsigned k;
    int r;

    mutex_lock(&up->dir_lock);
    r = up->ops->list(t, up, &l);
    mutex_unlock(&up->dir_lock);
    for (k = 0; r == 0 && k < l->n; k++)
        r = clear_whiteout(t, up, dir_list_name(l, k)) ? 0 : -ENOTEMPTY;
    if (r == 0 || r == -ENOTEMPTY)
        dir_list_put(l);
    return r;
}

static int empty_dir(struct task *t, struct ovl_node *n)
{
    struct dir_list *l;
    unsigned count;
    int r;

    mutex_lock(&n->inode.dir_lock);
    r = ovl_list(t, &n->inode, &l);
    mutex_unlock(&n->inode.dir_lock);
    if (r < 0)
        return r;
    count = l->n;
    dir_list_put(l);
    if (count)
        return -ENOTEMPTY;
    return ovl_upper(n) ? clear_whiteouts(t, ovl_upper(n)) : 0;
}

static void mark_dead(struct ovl_node *n)
{
    mutex_lock(&n->inode.lock);
    n->inode.nlink = 0;
    mutex_unlock(&n->inode.lock);
}

int ovl_rmdir(struct task *t, struct inode *i, struct dentry *d)
{
    struct ovl_node *dir = ovl_node(i), *n = ovl_node(d->inode);
    int r = ovl_copy_up(t, dir, OVL_META);

    if (r == 0)
        r = empty_dir(t, n);
    if (r == 0)
        r = remove_name(t, dir, d->name, ovl_upper(n) != NULL, true);
    if (r < 0)
        return r;
    changed(dir);
    mark_dead(n);
    return 0;
}

static void lock_two(struct inode *a, struct inode *b)
{
    mutex_lock(a < b ? &a->dir_lock : &b->dir_lock);
    if (a != b)
        mutex_lock(a < b ? &b->dir_lock : &a->dir_lock);
}

static void unlock_two(struct inode *a, struct inode *b)
{
    mutex_unlock(&a->dir_lock);
    if (a != b)
        mutex_unlock(&b->dir_lock);
}

static int upper_rename(struct task *t, struct inode *od, const char *old, struct inode *nd,
                        const char *new, unsigned flags)
{
    struct dentry o, n;
    int r;

    ovl_name_init(&o, od, old);
    ovl_name_init(&n, nd, new);
    lock_two(od, nd);
    r = od->ops->lookup(t, od, &o);
    if (r == 0)
        r = nd->ops->lookup(t, nd, &n);
    if (r == 0)
        r = o.inode ? od->ops->rename(t, od, &o, nd, &n, flags) : -ENOENT;
    unlock_two(od, nd);
    inode_put(o.inode);
    inode_put(n.inode);
    return r;
}

/* What is moved must lie wholly in the upper layer. A directory with lower ones can't: EXDEV, as on
 * overlayfs without redirects; mv then copies. */
static int prepare_moved(struct task *t, struct ovl_node *n)
{
    if (!S_ISDIR(n->inode.mode))
        return ovl_copy_up(t, n, OVL_DATA);
    return n->n_lower ? -EXDEV : 0;
}

static int make_opaque(struct ovl_node *n)
{
    struct inode *u = ovl_upper(n);

    return S_ISDIR(n->inode.mode) ? u->ops->setxattr(u, OVL_OPAQUE, "y", 1, 0) : 0;
}

static int exchange(struct task *t, struct ovl_node *od, struct dentry *old_d, struct ovl_node *nd,
                    struct dentry *new_d)
{
    struct ovl_node *a = ovl_node(old_d->inode), *b = ovl_node(new_d->inode);
    int r = prepare_moved(t, b);

    if (r == 0)
        r = make_opaque(a);
    if (r == 0)
        r = make_opaque(b);
    if (r == 0)
        r = upper_rename(t, ovl_upper(od), old_d->name, ovl_upper(nd), new_d->name,
                         RENAME_EXCHANGE);
    if (r < 0)
        return r;
    ovl_place(a, nd, new_d->name);
    ovl_place(b, od, old_d->name);
    return 0;
}

static int replace(struct task *t, struct ovl_node *od, struct dentry *old_d, struct ovl_node *nd,
                   struct dentry *new_d)
{
    struct ovl_node *a = ovl_node(old_d->inode);
    struct ovl_node *b = new_d->inode ? ovl_node(new_d->inode) : NULL;
    bool hides = ovl_in_lower(t, nd, new_d->name), hidden = ovl_in_lower(t, od, old_d->name);
    int r = 0;

    if (b && S_ISDIR(b->inode.mode))
        r = empty_dir(t, b);
    if (r == 0 && hides)
        r = make_opaque(a);
    if (r == 0)
        r = upper_rename(t, ovl_upper(od), old_d->name, ovl_upper(nd), new_d->name, 0);
    if (r == 0 && hidden)
        r = make_whiteout(t, ovl_upper(od), old_d->name);
    if (r < 0)
        return r;
    ovl_place(a, nd, new_d->name);
    if (b && S_ISDIR(b->inode.mode)) {
        mark_dead(b);
    } else if (b && ovl_upper(b)) {
        ovl_sync(b);
    } else if (b) {
        lend_recall(&b->inode);
        mutex_lock(&b->inode.lock);
        if (b->inode.nlink)
            b->inode.nlink--;
        mutex_unlock(&b->inode.lock);
    }
    return 0;
}

int ovl_rename(struct task *t, struct inode *old_dir, struct dentry *old_d, struct inode *new_dir,
               struct dentry *new_d, unsigned flags)
{
    struct ovl_node *od = ovl_node(old_dir), *nd = ovl_node(new_dir);
    int r;

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    r = prepare_moved(t, ovl_node(old_d->inode));
    if (r == 0)
        r = ovl_copy_up(t, od, OVL_META);
    if (r == 0)
        r = ovl_copy_up(t, nd, OVL_META);
    if (r == 0)
        r = flags & RENAME_EXCHANGE ? exchange(t, od, old_d, nd, new_d)
                                    : replace(t, od, old_d, nd, new_d);
    changed(od);
    changed(nd);
    ovl_sync(ovl_node(old_d->inode));
    return r;
}
