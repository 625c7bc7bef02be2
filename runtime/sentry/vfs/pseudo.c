/*
 * Pseudo file systems by tables (pseudo.h). A node is made at each lookup that the dentry cache
 * does not answer; the cache keeps what tables name, and asks `valid` about what lookups found.
 */
#include "runtime/sentry/vfs/pseudo.h"

#include "runtime/sentry/vfs/internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_MAX = 65536 };

static const struct inode_ops pseudo_ops, pseudo_dynamic_ops;
static const struct file_ops pseudo_file_ops, pseudo_dir_ops;

static const struct pseudo_entry *dynamic_row(const struct pseudo_entry *dir, unsigned *ret_n)
{
    const struct pseudo_entry *e = dir->entries;
    unsigned n = 0;

    if (e)
        for (; e->name || e->dynamic; e++, n++)
            if (!e->name)
                break;
    *ret_n = n;
    if (dir->dynamic)
        return dir;
    return e && e->dynamic && !e->name ? e : NULL;
}

static const struct pseudo_dynamic *dynamic_of(const struct pseudo_node *n)
{
    unsigned count;
    const struct pseudo_entry *e = dynamic_row(n->row, &count);

    return e ? e->dynamic : NULL;
}

static struct inode *node_new(struct super *s, const struct pseudo_found *f)
{
    struct pseudo_node *n = calloc(1, sizeof(*n));
    uint32_t mode = f->mode ? f->mode : f->row->mode;
    const struct file_ops *fops = f->row->fops;
    unsigned count;

    if (!n)
        return NULL;
    if (!fops && S_ISREG(mode))
        fops = &pseudo_file_ops;
    if (!fops && S_ISDIR(mode))
        fops = &pseudo_dir_ops;
    inode_init(&n->inode, s,
               S_ISDIR(mode) && dynamic_row(f->row, &count) ? &pseudo_dynamic_ops : &pseudo_ops,
               fops, f->ino ? f->ino : inode_next_ino(), mode, f->uid, f->gid);
    n->inode.rdev = f->row->rdev;
    n->inode.size = f->row->size;
    n->row = f->row;
    n->object = f->object;
    n->object_ops = f->object_ops;
    n->number = f->row->number ? f->row->number : f->number;
    return &n->inode;
}

static void inherit(const struct pseudo_node *dir, struct pseudo_found *f)
{
    f->object_ops = dir->object_ops;
    f->object = dir->object;
    if (f->object && f->object_ops && f->object_ops->get)
        f->object = f->object_ops->get(f->object);
}

static void found_put(const struct pseudo_found *f)
{
    if (f->object && f->object_ops && f->object_ops->put)
        f->object_ops->put(f->object);
}

static int add(struct pseudo_node *dir, struct dentry *d, struct pseudo_found *f, bool found)
{
    struct inode *i;

    if (f->inherit)
        inherit(dir, f);
    i = node_new(dir->inode.super, f);
    if (!i) {
        found_put(f);
        return -ENOMEM;
    }
    pseudo_node_of(i)->found = found;
    dentry_set_inode(d, i);
    return 0;
}

static int pseudo_lookup(struct task *t, struct inode *i, struct dentry *d)
{
    struct pseudo_node *dir = pseudo_node_of(i);
    const struct pseudo_dynamic *dyn = dynamic_of(dir);
    const struct pseudo_entry *e = dir->row->entries;
    struct pseudo_found f = {0};
    int r;

    if (!S_ISDIR(i->mode))
        return -ENOTDIR;
    for (; e && e->name; e++)
        if (strcmp(e->name, d->name) == 0) {
            f = (struct pseudo_found){.row = e, .inherit = true, .number = dir->number};
            f.uid = i->uid;
            f.gid = i->gid;
            return add(dir, d, &f, false);
        }
    if (!dyn)
        return 0;
    r = dyn->lookup(t, dir, d->name, &f);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? r : add(dir, d, &f, true);
}

static bool pseudo_revalidate(struct task *t, struct inode *i, struct dentry *d)
{
    const struct pseudo_dynamic *dyn = dynamic_of(pseudo_node_of(i));
    struct pseudo_node *n;

    if (!d->inode)
        return !dyn;
    n = pseudo_node_of(d->inode);
    if (!n->found)
        return true;
    return dyn && dyn->valid && dyn->valid(t, n);
}

static ssize_t pseudo_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
    struct pseudo_node *n = pseudo_node_of(i);

    return n->row->readlink ? n->row->readlink(t, n, buf, size) : -EINVAL;
}

static int pseudo_follow(struct task *t, struct inode *i, struct path *ret)
{
    struct pseudo_node *n = pseudo_node_of(i);

    return n->row->follow ? n->row->follow(t, n, ret) : -EOPNOTSUPP;
}

static int pseudo_getattr(struct task *t, struct inode *i, struct attr *a)
{
    struct pseudo_node *n = pseudo_node_of(i);

    inode_fill_attr(i, a);
    if (n->row->attr)
        n->row->attr(t, n, a);
    return 0;
}

static int pseudo_setattr(struct task *t, struct inode *i, const struct attr_change *c)
{
    (void)t;
    if (c->mask & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME))
        inode_apply(i, c);
    return 0; /* sizes: truncating a file that is made when read changes nothing */
}

static int pseudo_permission(struct task *t, struct inode *i, int mask)
{
    struct pseudo_node *n = pseudo_node_of(i);
    struct inode shown;
    struct attr a;

    if (n->row->permission)
        return n->row->permission(t, n, mask);
    if (!n->row->attr)
        return inode_permission_generic(t, i, mask);
    inode_fill_attr(i, &a);
    n->row->attr(t, n, &a);
    memset(&shown, 0, sizeof(shown));
    shown.mode = a.mode;
    shown.uid = a.uid;
    shown.gid = a.gid;
    return inode_permission_generic(t, &shown, mask);
}

static int pseudo_open(struct task *t, struct inode *i, struct file *f)
{
    struct pseudo_node *n = pseudo_node_of(i);

    return n->row->open ? n->row->open(t, n, f) : 0;
}

static void pseudo_evict(struct inode *i)
{
    struct pseudo_node *n = pseudo_node_of(i);

    if (n->object && n->object_ops && n->object_ops->put)
        n->object_ops->put(n->object);
    inode_fini(i);
    free(n);
}

#define PSEUDO_COMMON                                                                              \
    .lookup = pseudo_lookup, .readlink = pseudo_readlink, .follow = pseudo_follow,                 \
    .getattr = pseudo_getattr, .setattr = pseudo_setattr, .permission = pseudo_permission,         \
    .open = pseudo_open, .evict = pseudo_evict
static const struct inode_ops pseudo_ops = {PSEUDO_COMMON};
static const struct inode_ops pseudo_dynamic_ops = {PSEUDO_COMMON, .revalidate = pseudo_revalidate};

/* ---- files: file->private is the text being read ----------------------------------------------*/
static int fill(struct task *t, struct file *f)
{
    struct pseudo_node *n = pseudo_node_of_file(f);
    struct buf *b = f->private;
    int r;

    if (!n->row->show)
        return -EINVAL;
    if (!b) {
        b = calloc(1, sizeof(*b));
        if (!b)
            return -ENOMEM;
        f->private = b;
    }
    b->size = 0;
    r = n->row->show(t, n, b);
    if (r < 0) {
        buf_fini(b);
        free(b);
        f->private = NULL;
    }
    return r;
}

static ssize_t pseudo_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    const struct buf *b;
    ssize_t n = 0;

    mutex_lock(&f->lock);
    if (*pos == 0 || !f->private)
        n = fill(t, f);
    b = f->private;
    if (n >= 0) {
        n = 0;
        if (b && *pos < (int64_t)b->size && u->left)
            n = uio_copy_to(u, b->data + *pos, MIN(b->size - (size_t)*pos, (size_t)u->left));
    }
    mutex_unlock(&f->lock);
    if (n > 0)
        *pos += n;
    return n;
}

static ssize_t pseudo_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct pseudo_node *node = pseudo_node_of_file(f);
    CLEANUP(free_ptr) char *data = NULL;
    ssize_t n;

    if (!node->row->store)
        return -EINVAL;
    if (u->left >= STORE_MAX)
        return -EINVAL;
    data = malloc(u->left + 1);
    if (!data)
        return -ENOMEM;
    n = u->left ? uio_copy_from(u, data, (size_t)u->left) : 0;
    if (n < 0)
        return n;
    data[n] = '\0';
    n = node->row->store(t, node, data, (size_t)n);
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t pseudo_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    (void)t;
    if (whence == SEEK_CUR)
        offset += f->pos;
    else if (whence == SEEK_END && !S_ISREG(f->inode->mode))
        offset += __atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);
    else if (whence != SEEK_SET)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->pos = offset;
    return offset;
}

static int pseudo_truncate(struct task *t, struct file *f, int64_t size)
{
    (void)t;
    (void)f;
    (void)size;
    return 0;
}

static void pseudo_release(struct file *f)
{
    struct buf *b = f->private;

    if (b)
        buf_fini(b);
    free(b);
}

static const struct file_ops pseudo_file_ops = {
    .read = pseudo_read,
    .write = pseudo_write,
    .seek = pseudo_seek,
    .truncate = pseudo_truncate,
    .release = pseudo_release,
};

/* ---- directories: "." "..", the rows, then what is dynamic ------------------------------------*/
struct iterate_state {
    struct dir_emitter *d;
    struct file *f;
    int64_t base;
};

static bool emit_dynamic(void *arg, const char *name, unsigned type, uint64_t ino, int64_t next_pos)
{
    struct iterate_state *s = arg;

    if (!s->d->emit(s->d, name, strlen(name), ino ? ino : 1, type, (uint64_t)(s->base + next_pos)))
        return false;
    s->f->pos = s->base + next_pos;
    return true;
}

static int pseudo_iterate(struct task *t, struct file *f, struct dir_emitter *d)
{
    struct pseudo_node *dir = pseudo_node_of_file(f);
    struct iterate_state s = {.d = d, .f = f};
    const struct pseudo_entry *dyn;
    unsigned n;
    int64_t pos;

    dyn = dynamic_row(dir->row, &n);
    s.base = (int64_t)n + 2;
    for (; f->pos < 2; f->pos++)
        if (!d->emit(d, "..", (size_t)f->pos + 1, f->inode->ino, DT_DIR, (uint64_t)f->pos + 1))
            return 0;
    for (; f->pos < s.base; f->pos++) {
        const struct pseudo_entry *e = &dir->row->entries[f->pos - 2];

        if (!d->emit(d, e->name, strlen(e->name), (uint64_t)(f->pos + 1), IFTODT(e->mode),
                     (uint64_t)f->pos + 1))
            return 0;
    }
    if (!dyn || !dyn->dynamic->iterate)
        return 0;
    pos = f->pos - s.base;
    return dyn->dynamic->iterate(t, dir, &pos, emit_dynamic, &s);
}

static int64_t pseudo_dir_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    return pseudo_seek(t, f, offset, whence == SEEK_END ? SEEK_SET : whence); /* of size 0 */
}

static const struct file_ops pseudo_dir_ops = {
    .iterate = pseudo_iterate,
    .seek = pseudo_dir_seek,
};

int pseudo_super_new(const struct fs_type *type, const struct super_ops *ops,
                     const struct pseudo_entry *root, void *object,
                     const struct pseudo_object_ops *object_ops, unsigned flags, void *private,
                     struct super **ret)
{
    struct super *s = super_new(type, ops, private);
    struct pseudo_found f = {.row = root, .object = object, .object_ops = object_ops, .ino = 1};
    struct inode *i;

    if (!s)
        return -ENOMEM;
    s->flags = flags;
    i = node_new(s, &f);
    s->root = i ? dentry_new_root(s, i) : NULL;
    if (!s->root) {
        s->ops = NULL; /* private stays the caller's */
        super_put(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}
