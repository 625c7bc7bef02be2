/*
 * Copy-up: what is to be changed gets an inode in the upper layer first, at the same place; its
 * parents before it. Files get there complete (an unnamed file, then a link), data only if it will
 * be kept: chmod, chown and utimes leave it below.
 *
 * Reads lower files with the kernel's rights: whoever may write a file need not be allowed to read
 * it.
 */
#include "runtime/sentry/fs/overlay/overlay.h"

#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

enum { COPY_CHUNK = 131072, XATTR_VALUE_MAX = 65536, XATTR_NAMES_MAX = 65536 };

static int copy_range(struct inode *from, struct inode *to, char *buf)
{
    int64_t pos = 0, size = __atomic_load_n(&from->size, __ATOMIC_ACQUIRE);

    while (pos < size) {
        struct uio u;
        ssize_t n, m;

        uio_init_kernel(&u, buf, MIN((size_t)(size - pos), (size_t)COPY_CHUNK));
        n = from->ops->read(from, &u, pos);
        if (n <= 0)
            return n < 0 ? (int)n : 0;
        uio_init_kernel(&u, buf, (size_t)n);
        m = to->ops->write(to, &u, pos);
        if (m < n)
            return m < 0 ? (int)m : -ENOSPC;
        pos += n;
    }
    return 0;
}

static int copy_data(struct task *t, struct inode *from, struct inode *to)
{
    struct file f = {.flags = O_RDONLY, .inode = from, .host_fd = -1};
    char *buf = malloc(COPY_CHUNK);
    int r = buf ? 0 : -ENOMEM;

    if (r == 0 && from->ops->open)
        r = from->ops->open(t, from, &f);
    if (r == 0) {
        mutex_lock(&to->io_lock);
        r = copy_range(from, to, buf);
        mutex_unlock(&to->io_lock);
        if (from->ops->close)
            from->ops->close(from, &f);
    }
    free(buf);
    return r;
}

static int copy_xattrs(struct inode *from, struct inode *to)
{
    CLEANUP(free_ptr) char *names = malloc(XATTR_NAMES_MAX), *value = malloc(XATTR_VALUE_MAX);
    ssize_t n, size;
    const char *p;

    if (!names || !value)
        return -ENOMEM;
    if (!from->ops->listxattr || !to->ops->setxattr)
        return 0;
    n = from->ops->listxattr(from, names, XATTR_NAMES_MAX);
    for (p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        if (strncmp(p, OVL_PREFIX, strlen(OVL_PREFIX)) == 0)
            continue;
        size = from->ops->getxattr(from, p, value, XATTR_VALUE_MAX);
        if (size >= 0 && to->ops->setxattr(to, p, value, (size_t)size, 0) < 0)
            return -ENOSPC;
    }
    return 0;
}

static int copy_attrs(struct task *t, struct inode *from, struct inode *to)
{
    struct attr_change c = {.mask = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME};
    struct attr a;
    int r = inode_getattr(t, from, &a);

    if (r < 0)
        return r;
    c.mode = a.mode & 07777;
    c.uid = a.uid;
    c.gid = a.gid;
    c.atime = a.atime;
    c.mtime = a.mtime;
    return to->ops->setattr ? to->ops->setattr(t, to, &c) : 0;
}

static int describe(struct task *t, struct inode *lower, struct inode_new *what, char *target)
{
    ssize_t n;

    *what = (struct inode_new){
        .mode = lower->mode, .uid = lower->uid, .gid = lower->gid, .rdev = lower->rdev};
    if (!S_ISLNK(lower->mode))
        return 0;
    n = inode_readlink(t, lower, target, PATH_MAX - 1);
    if (n < 0)
        return (int)n;
    target[n] = '\0';
    what->target = target;
    return 0;
}

/* The new upper inode, complete but for its name. Directories, links and nodes are made in place.
 */
static int make_regular(struct task *t, struct ovl_node *n, struct inode *up_dir, const char *name,
                        const struct inode_new *what, enum ovl_copy how, struct inode **ret)
{
    struct inode *lower = n->lower[0], *i;
    struct dentry d;
    int r = up_dir->ops->tmpfile(t, up_dir, what, &i);

    if (r < 0)
        return r;
    if (how == OVL_DATA)
        r = copy_data(t, lower, i);
    else if (how == OVL_META && lower->size)
        r = i->ops->setxattr(i, OVL_METACOPY, "", 0, 0);
    if (r == 0)
        r = i->ops->setxattr(i, OVL_ORIGIN, &n->inode.ino, sizeof(n->inode.ino), 0);
    if (r == 0)
        r = copy_xattrs(lower, i);
    if (r == 0)
        r = copy_attrs(t, lower, i);
    if (r == 0) {
        ovl_name_init(&d, up_dir, name);
        mutex_lock(&up_dir->dir_lock);
        r = up_dir->ops->link(t, up_dir, &d, i);
        mutex_unlock(&up_dir->dir_lock);
        inode_put(d.inode);
    }
    if (r < 0) {
        inode_put(i);
        return r;
    }
    *ret = i;
    return 0;
}

static int make_other(struct task *t, struct ovl_node *n, struct inode *up_dir, const char *name,
                      const struct inode_new *what, struct inode **ret)
{
    struct dentry d;
    int r;

    ovl_name_init(&d, up_dir, name);
    mutex_lock(&up_dir->dir_lock);
    r = up_dir->ops->make(t, up_dir, &d, what);
    mutex_unlock(&up_dir->dir_lock);
    if (r < 0)
        return r;
    r = d.inode->ops->setxattr(d.inode, OVL_ORIGIN, &n->inode.ino, sizeof(n->inode.ino), 0);
    if (r == 0)
        r = copy_xattrs(n->lower[0], d.inode);
    if (r == 0)
        r = copy_attrs(t, n->lower[0], d.inode);
    (void)r; /* it is there, with less than all of its attributes */
    *ret = d.inode;
    return 0;
}

static int copy_one(struct task *t, struct ovl_node *n, struct ovl_node *parent, const char *name,
                    enum ovl_copy how)
{
    struct inode *up_dir = ovl_upper(parent), *made = NULL, *lower = n->lower[0];
    struct overlay *o = ovl_of(&n->inode);
    char target[PATH_MAX];
    struct inode_new what;
    int r = describe(t, lower, &what, target);

    if (r < 0)
        return r;
    if (S_ISREG(lower->mode))
        r = make_regular(t, n, up_dir, name, &what, how, &made);
    else
        r = make_other(t, n, up_dir, name, &what, &made);
    if (r < 0)
        return r;
    __atomic_store_n(&n->metacopy, S_ISREG(lower->mode) && how == OVL_META && lower->size,
                     __ATOMIC_RELEASE);
    mutex_lock(&o->lock);
    if (n->key) { /* found by its upper inode from now on */
        (void)hashmap_remove(&o->nodes, &n->node);
        n->key = NULL;
        if (hashmap_add(&o->nodes, &n->node,
                        (uint64_t)(uintptr_t)made * 0x9e3779b97f4a7c15ULL >> 8) == 0)
            n->key = made;
    }
    mutex_unlock(&o->lock);
    __atomic_store_n(&n->upper, made, __ATOMIC_RELEASE);
    ovl_sync(n);
    return 0;
}

/* Data of a file that has only its attributes above. */
static int fill_data(struct task *t, struct ovl_node *n, enum ovl_copy how)
{
    struct inode *upper = ovl_upper(n);
    struct attr a;
    struct attr_change c = {.mask = ATTR_MTIME | ATTR_ATIME};
    int r = inode_getattr(t, upper, &a);

    if (r == 0 && how == OVL_DATA)
        r = copy_data(t, n->lower[0], upper);
    if (r < 0) {
        struct attr_change none = {.mask = ATTR_SIZE, .size = 0};

        (void)upper->ops->setattr(t, upper, &none);
        return r;
    }
    c.atime = a.atime;
    c.mtime = a.mtime;
    (void)upper->ops->setattr(t, upper, &c);
    (void)upper->ops->removexattr(upper, OVL_METACOPY);
    __atomic_store_n(&n->metacopy, false, __ATOMIC_RELEASE);
    ovl_sync(n);
    return 0;
}

/* One node whose parent is up already. */
static int copy_up_here(struct task *t, struct ovl_node *n, enum ovl_copy how)
{
    struct overlay *o = ovl_of(&n->inode);
    char name[NAME_MAX + 1];
    struct ovl_node *parent;
    int r = 0;

    mutex_lock(&n->copy_lock);
    if (!ovl_upper(n)) {
        mutex_lock(&o->lock);
        parent = n->parent;
        (void)strcpy(name, n->name); /* names were checked against NAME_MAX when they came in */
        inode_get(&parent->inode);
        mutex_unlock(&o->lock);
        r = copy_one(t, n, parent, name, how);
        inode_put(&parent->inode);
    } else if (how != OVL_META && n->metacopy) {
        r = fill_data(t, n, how);
    }
    mutex_unlock(&n->copy_lock);
    return r;
}

/* The topmost ancestor of n that is not up yet (perhaps n itself), with a reference. */
static struct ovl_node *next_to_copy(struct overlay *o, struct ovl_node *n)
{
    struct ovl_node *p;

    mutex_lock(&o->lock);
    for (p = n; p->parent && !ovl_upper(p->parent); p = p->parent) {
    }
    inode_get(&p->inode);
    mutex_unlock(&o->lock);
    return p;
}

int ovl_copy_up(struct task *t, struct ovl_node *n, enum ovl_copy how)
{
    struct overlay *o = ovl_of(&n->inode);
    int r = 0;

    if (!o->upper_super)
        return -EROFS;
    if (ovl_upper(n) && (how == OVL_META || !__atomic_load_n(&n->metacopy, __ATOMIC_ACQUIRE)))
        return 0;
    while (r == 0 && !ovl_upper(n)) {
        struct ovl_node *p = next_to_copy(o, n);

        r = copy_up_here(t, p, p == n ? how : OVL_META);
        inode_put(&p->inode);
    }
    if (r == 0)
        r = copy_up_here(t, n, how);
    lend_recall(&n->inode);
    return r;
}
