/* Nodes of a gofer mount: places, attributes, xattrs, links. */
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t shown_ino(const struct goferfs *fs, const struct gofer_attr *a)
{
    /* A bind mount may span host devices: keep their numbers apart. */
    return a->dev == fs->root_dev ? a->ino : a->ino ^ (a->dev * 0x9e3779b97f4a7c15ULL) << 20;
}

void gofer_store_attr(struct inode *i, const struct gofer_attr *a)
{
    mutex_lock(&i->lock);
    i->mode = a->mode;
    i->uid = a->uid;
    i->gid = a->gid;
    i->nlink = a->nlink;
    i->blocks = a->blocks;
    i->atime = a->atime;
    i->mtime = a->mtime;
    i->ctime = a->ctime;
    i->btime = a->btime;
    mutex_unlock(&i->lock);
    __atomic_store_n(&i->size, (int64_t)a->size, __ATOMIC_RELEASE);
}

/* A live node of the same host file, with a reference: two names must be one inode. */
static struct inode *find_linked(struct goferfs *fs, struct gofer_node *parent, const char *name,
                                 const struct gofer_attr *a)
{
    struct hash_node *h;
    struct inode *found = NULL;

    mutex_lock(&fs->lock);
    for (h = hashmap_first(&fs->linked, a->ino); h; h = hashmap_next_same(h)) {
        struct gofer_node *n = hash_entry(h, struct gofer_node, linked);

        if (n->host_ino == a->ino && n->host_dev == a->dev &&
            (n->inode.mode & S_IFMT) == (a->mode & S_IFMT) && ref_get_unless_zero(&n->inode.ref)) {
            found = &n->inode;
            break;
        }
    }
    mutex_unlock(&fs->lock);
    if (found && gofer_node(found)->gone)
        gofer_place(gofer_node(found), parent, strdup(name));
    return found;
}

int gofer_node_new(struct super *s, struct gofer_node *parent, const char *name,
                   const struct gofer_attr *a, struct inode **ret)
{
    struct goferfs *fs = s->private;
    bool linked = a->nlink > 1 && !S_ISDIR(a->mode);
    struct gofer_node *n;

    if (linked && (*ret = find_linked(fs, parent, name, a))) {
        gofer_store_attr(*ret, a);
        return 0;
    }
    n = calloc(1, sizeof(*n));
    if (n)
        n->name = strdup(name);
    if (!n || !n->name) {
        free(n);
        return -ENOMEM;
    }
    inode_init(&n->inode, s, fs->exclusive ? &gofer_ops : &gofer_shared_ops, NULL, shown_ino(fs, a),
               a->mode, a->uid, a->gid);
    n->inode.rdev = a->rdev;
    gofer_store_attr(&n->inode, a);
    n->host_ino = a->ino;
    n->host_dev = a->dev;
    n->parent = parent;
    if (parent)
        inode_get(&parent->inode);
    gofer_fds_init(n);
    if (linked) {
        mutex_lock(&fs->lock);
        n->is_linked = hashmap_add(&fs->linked, &n->linked, a->ino) == 0;
        mutex_unlock(&fs->lock);
    }
    *ret = &n->inode;
    return 0;
}

static void gofer_evict(struct inode *i)
{
    struct gofer_node *n = gofer_node(i), *parent = n->parent;
    struct goferfs *fs = goferfs_of(i);

    if (n->is_linked) {
        mutex_lock(&fs->lock);
        (void)hashmap_remove(&fs->linked, &n->linked);
        mutex_unlock(&fs->lock);
    }
    gofer_forget_dir(n);
    gofer_fds_close(n);
    free(n->name);
    inode_fini(i);
    free(n);
    if (parent)
        inode_put(&parent->inode);
}

int gofer_path(struct gofer_node *n, const char *name, char buf[GOFER_PATH_MAX])
{
    struct goferfs *fs = goferfs_of(&n->inode);
    size_t at = GOFER_PATH_MAX - 1, len;
    int r = 0;

    buf[at] = '\0';
    if (name) {
        len = strlen(name);
        at -= len;
        memcpy(buf + at, name, len);
    }
    mutex_lock(&fs->lock);
    for (; n->parent; n = n->parent) {
        len = strlen(n->name);
        if (n->gone)
            r = -ENOENT;
        else if (at < len + 2)
            r = -ENAMETOOLONG;
        if (r < 0)
            break;
        if (buf[at])
            buf[--at] = '/';
        at -= len;
        memcpy(buf + at, n->name, len);
    }
    mutex_unlock(&fs->lock);
    memmove(buf, buf + at, GOFER_PATH_MAX - at);
    return r;
}

/* Takes over name (NULL: out of memory; the node then has no place). */
void gofer_place(struct gofer_node *n, struct gofer_node *parent, char *name)
{
    struct goferfs *fs = goferfs_of(&n->inode);
    struct gofer_node *old_parent;
    char *old_name = NULL;

    inode_get(&parent->inode);
    mutex_lock(&fs->lock);
    old_parent = n->parent;
    n->parent = parent;
    if (name) {
        old_name = n->name;
        n->name = name;
    }
    n->gone = !name;
    mutex_unlock(&fs->lock);
    free(old_name);
    if (old_parent)
        inode_put(&old_parent->inode);
}

void gofer_unplace(struct gofer_node *n, const char *name, struct gofer_node *parent)
{
    struct goferfs *fs = goferfs_of(&n->inode);

    mutex_lock(&fs->lock);
    if (n->parent == parent && strcmp(n->name, name) == 0)
        n->gone = true;
    mutex_unlock(&fs->lock);
}

int gofer_refresh(struct inode *i)
{
    struct gofer_node *n = gofer_node(i);
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    struct gofer_attr a;
    int r = gofer_path(n, NULL, path);

    if (r == 0)
        r = gofer_stat(fs->g, fs->mount, path, &a, NULL);
    if (r == 0 && (a.ino != n->host_ino || (a.mode & S_IFMT) != (i->mode & S_IFMT)))
        r = -ENOENT;
    if (r == 0)
        gofer_store_attr(i, &a);
    return r;
}

static void stat_fd(struct inode *i, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    mutex_lock(&i->lock);
    i->nlink = (uint32_t)st.st_nlink;
    i->blocks = (uint64_t)st.st_blocks;
    i->atime = timespec_to_ns(&st.st_atim);
    i->mtime = timespec_to_ns(&st.st_mtim);
    i->ctime = timespec_to_ns(&st.st_ctim);
    mutex_unlock(&i->lock);
    __atomic_store_n(&i->size, st.st_size, __ATOMIC_RELEASE);
}

static int gofer_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    struct gofer_node *n = gofer_node(i);

    (void)t;
    if (!goferfs_of(i)->exclusive || n->wfd >= 0) {
        int fd = n->wfd >= 0 ? n->wfd : n->fd;

        if (n->users && fd >= 0)
            stat_fd(i, fd);
        else if (!goferfs_of(i)->exclusive)
            (void)gofer_refresh(i); /* what was known, if it is gone */
    }
    inode_fill_attr(i, ret);
    return 0;
}

static void to_wire(const struct attr_change *c, struct gofer_setattr *set)
{
    static const struct {
        unsigned from, to;
    } bits[] = {{ATTR_MODE, GOFER_SET_MODE},   {ATTR_UID, GOFER_SET_UID},
                {ATTR_GID, GOFER_SET_GID},     {ATTR_SIZE, GOFER_SET_SIZE},
                {ATTR_ATIME, GOFER_SET_ATIME}, {ATTR_MTIME, GOFER_SET_MTIME}};
    size_t k;

    *set = (struct gofer_setattr){.mode = c->mode,
                                  .uid = c->uid,
                                  .gid = c->gid,
                                  .size = (uint64_t)c->size,
                                  .atime = c->atime,
                                  .mtime = c->mtime};
    for (k = 0; k < ARRAY_SIZE(bits); k++)
        if (c->mask & bits[k].from)
            set->mask |= bits[k].to;
    if ((c->mask & ATTR_ATIME) && (c->mask & ATTR_ATIME_NOW))
        set->mask = (set->mask & ~(uint32_t)GOFER_SET_ATIME) | GOFER_SET_ATIME_NOW;
    if ((c->mask & ATTR_MTIME) && (c->mask & ATTR_MTIME_NOW))
        set->mask = (set->mask & ~(uint32_t)GOFER_SET_MTIME) | GOFER_SET_MTIME_NOW;
}

static int gofer_set(struct task *t, struct inode *i, const struct attr_change *c)
{
    struct goferfs *fs = goferfs_of(i);
    struct gofer_setattr set;
    struct gofer_attr a;
    char path[GOFER_PATH_MAX];
    int r;

    (void)t;
    if ((c->mask & ATTR_SIZE) && gofer_truncate_fd(gofer_node(i), c->size) == 0) {
        __atomic_store_n(&i->size, c->size, __ATOMIC_RELEASE);
        inode_touch(i, ATTR_MTIME | ATTR_CTIME);
        return 0; /* sizes change alone */
    }
    r = gofer_path(gofer_node(i), NULL, path);
    if (r == -ENOENT && !(c->mask & ATTR_SIZE)) {
        inode_apply(i, c); /* unlinked, only we can see it */
        return 0;
    }
    to_wire(c, &set);
    if (r == 0)
        r = gofer_setattr(fs->g, fs->mount, path, &set, &a);
    if (r == 0)
        gofer_store_attr(i, &a);
    return r;
}

static ssize_t gofer_node_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    ssize_t n = gofer_path(gofer_node(i), NULL, path);

    (void)t;
    if (n == 0)
        n = gofer_readlink(fs->g, fs->mount, path, buf, size);
    if (n > 0 && (size_t)n < size)
        inode_set_link(i, buf, (size_t)n);
    return n;
}

/* ---- xattrs: passed through -------------------------------------------------------------------*/
/* Every execve asks for this one. */
#define CAPABILITY "security.capability"

static ssize_t gofer_xget(struct inode *i, const char *name, void *value, size_t size)
{
    struct goferfs *fs = goferfs_of(i);
    bool unchanging = fs->exclusive && fs->readonly, caps = strcmp(name, CAPABILITY) == 0;
    char path[GOFER_PATH_MAX];
    ssize_t n;

    if (!gofer_xattr_readable(name))
        return -EOPNOTSUPP;
    if (caps && __atomic_load_n(&gofer_node(i)->no_caps, __ATOMIC_RELAXED))
        return -ENODATA;
    n = gofer_path(gofer_node(i), NULL, path);
    if (n == 0)
        n = gofer_getxattr(fs->g, fs->mount, path, name, value, size);
    if (n == -ENODATA && caps && unchanging)
        __atomic_store_n(&gofer_node(i)->no_caps, true, __ATOMIC_RELAXED);
    return n;
}

static int gofer_xset(struct inode *i, const char *name, const void *value, size_t size, int flags)
{
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(i), NULL, path);

    return r < 0 ? r : gofer_setxattr(fs->g, fs->mount, path, name, value, size, flags);
}

static ssize_t gofer_xlist(struct inode *i, char *names, size_t size)
{
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(i), NULL, path);

    return r < 0 ? r : gofer_listxattr(fs->g, fs->mount, path, names, size);
}

static int gofer_xremove(struct inode *i, const char *name)
{
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(i), NULL, path);

    return r < 0 ? r : gofer_removexattr(fs->g, fs->mount, path, name);
}

static int gofer_node_connect(struct inode *i, int type)
{
    struct goferfs *fs = goferfs_of(i);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(i), NULL, path);

    return r < 0 ? r : gofer_connect(fs->g, fs->mount, path, type);
}

#define GOFER_NODE_OPS                                                                             \
    .lookup = gofer_dir_lookup, .make = gofer_dir_make, .link = gofer_dir_link,                    \
    .unlink = gofer_dir_unlink, .rmdir = gofer_dir_rmdir, .rename = gofer_dir_rename,              \
    .list = gofer_dir_list, .readlink = gofer_node_readlink, .read = gofer_read,                   \
    .write = gofer_write, .data_fd = gofer_data_fd, .fallocate = gofer_fallocate,                  \
    .seek_data = gofer_seek_data, .fsync = gofer_fsync, .getattr = gofer_getattr,                  \
    .setattr = gofer_set, .getxattr = gofer_xget, .setxattr = gofer_xset,                          \
    .listxattr = gofer_xlist, .removexattr = gofer_xremove, .open = gofer_file_open,               \
    .close = gofer_file_close, .connect = gofer_node_connect, .evict = gofer_evict

const struct inode_ops gofer_ops = {GOFER_NODE_OPS};
/* Others change these files too. */
const struct inode_ops gofer_shared_ops = {GOFER_NODE_OPS, .revalidate = gofer_dir_revalidate};
