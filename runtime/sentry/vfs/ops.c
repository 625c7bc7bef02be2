/* Making, linking, removing, renaming. */
#include "runtime/sentry/vfs/ops.h"

#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The parent of name, and its (negative or positive) entry, with the parent's dir_lock held. */
struct place {
    struct path dir;
    struct last_name last;
    struct dentry *d;
};

static void place_put(struct place *p)
{
    mutex_unlock(&p->dir.dentry->inode->dir_lock);
    dentry_put(p->d);
    path_put(&p->dir);
}

static int place_enter(struct task *t, struct place *p)
{
    int r;

    mutex_lock(&p->dir.dentry->inode->dir_lock);
    r = dentry_lookup_locked_dir(t, p->dir.dentry, p->last.name, p->last.len, &p->d);
    if (r < 0) {
        mutex_unlock(&p->dir.dentry->inode->dir_lock);
        path_put(&p->dir);
    }
    return r;
}

/* For what is to be made: "." , ".." and "/" exist. slash_ok: a directory is to be made. */
static int place_new(struct task *t, int dirfd, const char *name, bool slash_ok, struct place *p)
{
    int r;

    p->d = NULL;
    r = path_lookup_parent(t, dirfd, name, 0, &p->dir, &p->last);
    if (r < 0)
        return r;
    if (p->last.type != LAST_NORMAL) {
        path_put(&p->dir);
        return -EEXIST;
    }
    r = place_enter(t, p);
    if (r < 0)
        return r;
    r = may_create(t, &p->dir, p->d);
    if (r == 0 && p->last.slash && !slash_ok)
        r = -ENOENT;
    if (r < 0)
        place_put(p);
    return r;
}

static int make(struct task *t, struct place *p, struct inode_new *what)
{
    struct inode *dir = p->dir.dentry->inode;
    int r;

    r = inode_make(t, dir, p->d, what);
    if (r == 0)
        inotify_notify(dir, IN_CREATE | (S_ISDIR(what->mode) ? IN_ISDIR : 0), p->last.name, 0);
    return r;
}

int vfs_mknod(struct task *t, int dirfd, const char *name, uint32_t mode, uint64_t rdev)
{
    struct inode_new what = {.mode = mode, .rdev = rdev};
    struct place p;
    int r;

    switch (mode & S_IFMT) {
    case 0:
        what.mode |= S_IFREG;
        break;
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    case S_IFCHR:
    case S_IFBLK:
        /* 0:0 is a whiteout, harmless */
        if (!task_capable(t, CAP_MKNOD) && !(S_ISCHR(mode) && rdev == 0))
            return -EPERM;
        break;
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    if (!S_ISCHR(mode) && !S_ISBLK(mode))
        what.rdev = 0;
    r = place_new(t, dirfd, name, false, &p);
    if (r < 0)
        return r;
    r = make(t, &p, &what);
    place_put(&p);
    return r;
}

int vfs_mkdir(struct task *t, int dirfd, const char *name, uint32_t mode)
{
    struct inode_new what = {.mode = S_IFDIR | (mode & 01777)};
    struct place p;
    int r = place_new(t, dirfd, name, true, &p);

    if (r < 0)
        return r;
    r = make(t, &p, &what);
    place_put(&p);
    return r;
}

int vfs_symlink(struct task *t, const char *target, int dirfd, const char *name)
{
    struct inode_new what = {.mode = S_IFLNK | 0777, .target = target};
    struct place p;
    int r;

    if (!target[0])
        return -ENOENT;
    r = place_new(t, dirfd, name, false, &p);
    if (r < 0)
        return r;
    r = make(t, &p, &what);
    place_put(&p);
    return r;
}

/* fs.protected_hardlinks: what belongs to others only if it is an ordinary file that one may read
 * and write, without set-id bits. */
static bool may_link_others(struct task *t, struct inode *i)
{
    if (inode_owner_or_capable(t, i))
        return true;
    if (!S_ISREG(i->mode) || (i->mode & S_ISUID) ||
        (i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        return false;
    return inode_permission(t, i, MAY_READ | MAY_WRITE) == 0;
}

static int may_link(struct task *t, const struct path *old)
{
    struct inode *i = old->dentry->inode;

    if (S_ISDIR(i->mode))
        return -EPERM;
    if (i->nlink == 0 && !i->linkable)
        return -ENOENT;
    return may_link_others(t, i) ? 0 : -EPERM;
}

int vfs_link(struct task *t, int old_dirfd, const char *old_name, int new_dirfd,
             const char *new_name, int flags)
{
    unsigned walk = flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0;
    struct path old;
    struct inode *dir;
    struct place p;
    int r;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if ((flags & AT_EMPTY_PATH) && !old_name[0]) {
        if (!task_capable(t, CAP_DAC_READ_SEARCH))
            return -ENOENT;
        walk |= WALK_EMPTY;
    }
    r = path_lookup(t, old_dirfd, old_name, walk, &old);
    if (r < 0)
        return r;
    r = place_new(t, new_dirfd, new_name, false, &p);
    if (r < 0) {
        path_put(&old);
        return r;
    }
    dir = p.dir.dentry->inode;
    if (old.mount != p.dir.mount || old.dentry->super != dir->super)
        r = -EXDEV;
    else
        r = may_link(t, &old);
    if (r == 0)
        r = dir->ops->link ? dir->ops->link(t, dir, p.d, old.dentry->inode) : -EPERM;
    if (r == 0) {
        old.dentry->inode->linkable = false;
        notify_dentry(old.dentry, IN_ATTRIB);
        inotify_notify(dir, IN_CREATE, p.last.name, 0);
    }
    place_put(&p);
    path_put(&old);
    return r;
}

static void removed(struct inode *dir, struct dentry *d, const char *name, bool is_dir)
{
    struct inode *i = inode_get(d->inode);

    d->unlinked = true;
    dentry_drop(d); /* who hears of it does not find it any more */
    inotify_notify(dir, IN_DELETE | (is_dir ? IN_ISDIR : 0), name, 0);
    if (!is_dir)
        inotify_notify(i, IN_ATTRIB, NULL, 0); /* of links, as on Linux also when none is left */
    if (i->nlink == 0)
        inotify_notify(i, IN_DELETE_SELF, NULL, 0);
    inode_put(i);
}

static int remove_entry(struct task *t, int dirfd, const char *name, bool is_dir)
{
    struct inode *dir;
    struct place p = {0};
    int r = path_lookup_parent(t, dirfd, name, 0, &p.dir, &p.last);

    if (r < 0)
        return r;
    if (p.last.type != LAST_NORMAL) {
        path_put(&p.dir);
        if (!is_dir)
            return -EISDIR;
        return p.last.type == LAST_DOT ? -EINVAL : p.last.type == LAST_ROOT ? -EBUSY : -ENOTEMPTY;
    }
    r = place_enter(t, &p);
    if (r < 0)
        return r;
    dir = p.dir.dentry->inode;
    if (!p.d->inode)
        r = -ENOENT;
    else if (!is_dir && p.last.slash)
        r = S_ISDIR(p.d->inode->mode) ? -EISDIR : -ENOTDIR;
    if (r == 0)
        r = path_want_write(&p.dir);
    if (r == 0)
        r = may_delete(t, dir, p.d, is_dir);
    if (r == 0 && is_dir)
        r = dir->ops->rmdir ? dir->ops->rmdir(t, dir, p.d) : -EPERM;
    else if (r == 0)
        r = dir->ops->unlink ? dir->ops->unlink(t, dir, p.d) : -EPERM;
    if (r == 0)
        removed(dir, p.d, p.last.name, is_dir);
    place_put(&p);
    return r;
}

int vfs_unlink(struct task *t, int dirfd, const char *name)
{
    return remove_entry(t, dirfd, name, false);
}

int vfs_rmdir(struct task *t, int dirfd, const char *name)
{
    return remove_entry(t, dirfd, name, true);
}

/* ---- rename -----------------------------------------------------------------------------------*/
static struct mutex g_rename_lock = MUTEX_INIT;

struct renaming {
    struct task *t;
    struct path old_dir, new_dir;
    struct last_name old_last, new_last;
    struct dentry *old, *new;
    unsigned flags;
};

static bool is_ancestor(const struct dentry *a, const struct dentry *d)
{
    bool r;

    mutex_lock(&g_tree_lock);
    r = dentry_is_ancestor_locked(a, d);
    mutex_unlock(&g_tree_lock);
    return r;
}

/* The ancestor first, as rmdir of an overlay's directory takes parent and child; who is above whom
 * cannot change under g_rename_lock. */
static void lock_dirs(struct renaming *n)
{
    struct inode *a = n->old_dir.dentry->inode, *b = n->new_dir.dentry->inode;
    bool a_first;

    if (a == b) {
        mutex_lock(&a->dir_lock);
        return;
    }
    mutex_lock(&g_rename_lock);
    a_first = is_ancestor(n->old_dir.dentry, n->new_dir.dentry) ||
              (a < b && !is_ancestor(n->new_dir.dentry, n->old_dir.dentry));
    mutex_lock(a_first ? &a->dir_lock : &b->dir_lock);
    mutex_lock(a_first ? &b->dir_lock : &a->dir_lock);
}

static void unlock_dirs(struct renaming *n)
{
    struct inode *a = n->old_dir.dentry->inode, *b = n->new_dir.dentry->inode;

    mutex_unlock(&a->dir_lock);
    if (a == b)
        return;
    mutex_unlock(&b->dir_lock);
    mutex_unlock(&g_rename_lock);
}

static int check_loops(struct renaming *n)
{
    int r = 0;

    mutex_lock(&g_tree_lock);
    if (dentry_is_ancestor_locked(n->old, n->new_dir.dentry))
        r = -EINVAL; /* into itself */
    else if (dentry_is_ancestor_locked(n->new, n->old_dir.dentry))
        r = n->flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
    mutex_unlock(&g_tree_lock);
    return r;
}

static int check_target(struct renaming *n)
{
    bool old_dir = S_ISDIR(n->old->inode->mode);
    struct inode *to = n->new_dir.dentry->inode;

    if (!n->new->inode)
        return n->flags & RENAME_EXCHANGE ? -ENOENT : may_create(n->t, &n->new_dir, n->new);
    if (n->flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (n->flags & RENAME_EXCHANGE)
        return may_delete(n->t, to, n->new, S_ISDIR(n->new->inode->mode));
    return may_delete(n->t, to, n->new, old_dir);
}

static int check_rename(struct renaming *n)
{
    struct inode *from = n->old_dir.dentry->inode, *to = n->new_dir.dentry->inode;
    bool old_dir, new_dir;
    int r;

    if (!n->old->inode)
        return -ENOENT;
    old_dir = S_ISDIR(n->old->inode->mode);
    new_dir = n->new->inode &&S_ISDIR(n->new->inode->mode);
    if (!old_dir && n->old_last.slash)
        return -ENOTDIR;
    if (n->new_last.slash && !old_dir && !(n->flags & RENAME_EXCHANGE))
        return -ENOTDIR;
    if (n->new_last.slash && (n->flags & RENAME_EXCHANGE) && !new_dir)
        return -ENOTDIR;
    r = check_loops(n);
    if (r == 0)
        r = path_want_write(&n->old_dir);
    if (r == 0)
        r = may_delete(n->t, from, n->old, old_dir);
    if (r == 0)
        r = check_target(n);
    /* ".." of a moved directory changes: it must be writable itself */
    if (r == 0 && old_dir && from != to)
        r = inode_permission(n->t, n->old->inode, MAY_WRITE);
    if (r == 0 && new_dir && from != to && (n->flags & RENAME_EXCHANGE))
        r = inode_permission(n->t, n->new->inode, MAY_WRITE);
    return r;
}

static void renamed(struct renaming *n)
{
    struct inode *from = n->old_dir.dentry->inode, *to = n->new_dir.dentry->inode;
    bool is_dir = S_ISDIR(n->old->inode->mode), exchange = n->flags & RENAME_EXCHANGE;
    uint32_t dir_bit = is_dir ? IN_ISDIR : 0, cookie = inotify_cookie();

    inotify_notify(from, IN_MOVED_FROM | dir_bit, n->old_last.name, cookie);
    inotify_notify(to, IN_MOVED_TO | dir_bit, n->new_last.name, cookie);
    if (from == to)
        inotify_notify(from, DNOTIFY_RENAMED | dir_bit, n->old_last.name, 0);
    inotify_notify(n->old->inode, IN_MOVE_SELF, NULL, 0);
    if (n->new->inode && !exchange) {
        n->new->unlinked = true;
        inotify_notify(n->new->inode, n->new->inode->nlink ? IN_ATTRIB : IN_DELETE_SELF, NULL, 0);
    }
    dentry_move(n->old, n->new, exchange);
}

static int rename_locked(struct renaming *n)
{
    struct inode *from = n->old_dir.dentry->inode, *to = n->new_dir.dentry->inode;
    int r = dentry_lookup_locked_dir(n->t, n->old_dir.dentry, n->old_last.name, n->old_last.len,
                                     &n->old);

    if (r == 0)
        r = dentry_lookup_locked_dir(n->t, n->new_dir.dentry, n->new_last.name, n->new_last.len,
                                     &n->new);
    if (r == 0)
        r = check_rename(n);
    if (r < 0)
        return r;
    if (n->old->inode == n->new->inode) /* the same file: nothing happens */
        return 0;
    r = from->ops->rename ? from->ops->rename(n->t, from, n->old, to, n->new, n->flags) : -EPERM;
    if (r == 0)
        renamed(n);
    return r;
}

int vfs_rename(struct task *t, int old_dirfd, const char *old_name, int new_dirfd,
               const char *new_name, unsigned flags)
{
    struct renaming n = {.t = t, .flags = flags};
    int r;

    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
        ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))))
        return -EINVAL;
    if ((flags & RENAME_WHITEOUT) && !task_capable(t, CAP_MKNOD))
        return -EPERM;
    r = path_lookup_parent(t, old_dirfd, old_name, 0, &n.old_dir, &n.old_last);
    if (r < 0)
        return r;
    r = path_lookup_parent(t, new_dirfd, new_name, 0, &n.new_dir, &n.new_last);
    if (r < 0) {
        path_put(&n.old_dir);
        return r;
    }
    if (n.old_dir.mount != n.new_dir.mount) {
        r = -EXDEV;
    } else if (n.old_last.type != LAST_NORMAL) {
        r = -EBUSY;
    } else if (n.new_last.type != LAST_NORMAL) {
        r = flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    } else {
        lock_dirs(&n);
        r = rename_locked(&n);
        unlock_dirs(&n);
    }
    dentry_put(n.old);
    dentry_put(n.new);
    path_put(&n.old_dir);
    path_put(&n.new_dir);
    return r;
}

/* ---- unix sockets -----------------------------------------------------------------------------*/
int vfs_bind_socket(struct task *t, const char *name, void *socket, struct path *ret)
{
    struct inode_new what = {.mode = S_IFSOCK | 0777};
    struct place p;
    int r = place_new(t, AT_FDCWD, name, false, &p);

    if (r < 0)
        return r == -EEXIST ? -EADDRINUSE : r;
    r = make(t, &p, &what);
    if (r == 0) {
        struct inode *i = p.d->inode;

        mutex_lock(&i->lock);
        i->socket = socket;
        mutex_unlock(&i->lock);
        ret->mount = mount_get(p.dir.mount);
        ret->dentry = dentry_get(p.d);
    }
    place_put(&p);
    return r;
}

int vfs_find_socket(struct task *t, const char *name, struct path *ret)
{
    struct path p;
    int r = path_lookup(t, AT_FDCWD, name, WALK_FOLLOW, &p);

    if (r < 0)
        return r;
    r = inode_permission(t, p.dentry->inode, MAY_WRITE);
    if (r == 0 && !S_ISSOCK(p.dentry->inode->mode))
        r = -ECONNREFUSED;
    if (r < 0) {
        path_put(&p);
        return r;
    }
    *ret = p;
    return 0;
}

/* ---- inotify ----------------------------------------------------------------------------------*/
void notify_dentry_slow(struct dentry *d, uint32_t mask)
{
    struct inode *i = d->inode, *dir = NULL;
    uint32_t dir_bit = S_ISDIR(i->mode) ? IN_ISDIR : 0, unlinked = 0;
    char name[NAME_MAX + 1];

    /* The directory hears of a file that is open and has no name any more, too. */
    mutex_lock(&g_tree_lock);
    if (d->parent && d->parent != d && d->parent->inode) {
        dir = inode_get(d->parent->inode);
        (void)snprintf(name, sizeof(name), "%s", d->name);
    }
    if (d->unlinked)
        unlinked = IN_EXCL_UNLINK;
    mutex_unlock(&g_tree_lock);
    if (dir)
        inotify_notify(dir, mask | dir_bit | unlinked, name, 0);
    inode_put(dir);
    inotify_notify(i, mask | dir_bit, NULL, 0);
}
