/* Inodes and superblocks: the generic part. */
#include "runtime/sentry/vfs/inode.h"

#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

static uint64_t g_next_ino = 1, g_next_dev = 1;

const struct file_ops inode_no_fops = {.name = NULL};

static const struct file_ops *default_fops(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return &regular_file_ops;
    case S_IFDIR:
        return &dir_file_ops;
    default:
        return &inode_no_fops;
    }
}

void inode_init(struct inode *i, struct super *s, const struct inode_ops *ops,
                const struct file_ops *fops, uint64_t ino, uint32_t mode, uint32_t uid,
                uint32_t gid)
{
    memset(i, 0, sizeof(*i));
    ref_init(&i->ref);
    i->super = super_get(s);
    i->ops = ops;
    i->fops = fops ? fops : default_fops(mode);
    i->ino = ino;
    i->mode = mode;
    i->uid = uid;
    i->gid = gid;
    i->nlink = S_ISDIR(mode) ? 2 : 1;
    i->atime = i->mtime = i->ctime = i->btime = time_realtime();
}

void inode_fini(struct inode *i)
{
    free(i->link);
    lock_table_free(i->locks);
    super_put(i->super);
}

struct inode *inode_get(struct inode *i)
{
    ref_get(&i->ref);
    return i;
}

void inode_put(struct inode *i)
{
    if (!i)
        return;
    if (i->notify && i->nlink == 0)
        inotify_user_gone(i);
    if (!ref_put(&i->ref))
        return;
    if (i->notify || i->notify_mask)
        inotify_inode_gone(i);
    i->ops->evict(i);
}

uint64_t inode_next_ino(void)
{
    return __atomic_fetch_add(&g_next_ino, 1, __ATOMIC_RELAXED);
}

void inode_grew(struct inode *i, int64_t end)
{
    int64_t size = __atomic_load_n(&i->size, __ATOMIC_RELAXED);

    while (end > size && !__atomic_compare_exchange_n(&i->size, &size, end, true, __ATOMIC_RELEASE,
                                                      __ATOMIC_RELAXED)) {
    }
}

int inode_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    if (__atomic_load_n(&i->lent_times, __ATOMIC_RELAXED))
        lend_note_use(i);
    if (i->ops->getattr)
        return i->ops->getattr(t, i, ret);
    inode_fill_attr(i, ret);
    return 0;
}

void inode_fill_attr(struct inode *i, struct attr *ret)
{
    mutex_lock(&i->lock);
    *ret = (struct attr){.mode = i->mode,
                         .uid = i->uid,
                         .gid = i->gid,
                         .nlink = i->nlink,
                         .ino = i->ino,
                         .dev = i->super->dev,
                         .rdev = i->rdev,
                         .size = (uint64_t)__atomic_load_n(&i->size, __ATOMIC_RELAXED),
                         .blocks = i->blocks,
                         .blksize = 4096,
                         .atime = i->atime,
                         .mtime = i->mtime,
                         .ctime = i->ctime,
                         .btime = i->btime};
    mutex_unlock(&i->lock);
}

ssize_t inode_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
    const char *link = __atomic_load_n(&i->link, __ATOMIC_ACQUIRE);
    size_t len;

    if (!link)
        return S_ISLNK(i->mode) && i->ops->readlink ? i->ops->readlink(t, i, buf, size) : -EINVAL;
    len = strlen(link);
    if (len > size)
        len = size;
    memcpy(buf, link, len);
    return (ssize_t)len;
}

void inode_set_link(struct inode *i, const char *target, size_t len)
{
    char *copy = strndup(target, len), *none = NULL;

    if (!__atomic_compare_exchange_n(&i->link, &none, copy, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        free(copy);
}

void inode_touch(struct inode *i, unsigned mask)
{
    inode_touch_at(i, mask, time_realtime());
}

void inode_written_at(struct inode *i, nsec_t when)
{
    if (when > i->ctime)
        inode_touch_at(i, ATTR_MTIME | ATTR_CTIME, when);
}

void inode_touch_at(struct inode *i, unsigned mask, nsec_t now)
{
    mutex_lock(&i->lock);
    if (mask & ATTR_ATIME)
        i->atime = now;
    if (mask & ATTR_MTIME)
        i->mtime = now;
    if (mask & ATTR_CTIME)
        i->ctime = now;
    mutex_unlock(&i->lock);
    if (i->ops && i->ops->touched)
        i->ops->touched(i, mask, now);
}

void inode_apply(struct inode *i, const struct attr_change *c)
{
    nsec_t now = time_realtime();

    mutex_lock(&i->lock);
    if (c->mask & ATTR_MODE)
        i->mode = (i->mode & S_IFMT) | (c->mode & 07777);
    if (c->mask & ATTR_UID)
        i->uid = c->uid;
    if (c->mask & ATTR_GID)
        i->gid = c->gid;
    if (c->mask & ATTR_ATIME)
        i->atime = c->mask & ATTR_ATIME_NOW ? now : c->atime;
    if (c->mask & ATTR_MTIME)
        i->mtime = c->mask & ATTR_MTIME_NOW ? now : c->mtime;
    i->ctime = c->mask & ATTR_CTIME ? c->ctime : now;
    mutex_unlock(&i->lock);
}

struct super *super_new(const struct fs_type *type, const struct super_ops *ops, void *private)
{
    struct super *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    ref_init(&s->ref);
    s->type = type;
    s->ops = ops;
    s->private = private;
    s->dev = makedev(0, 64 + __atomic_fetch_add(&g_next_dev, 1, __ATOMIC_RELAXED));
    return s;
}

struct super *super_get(struct super *s)
{
    ref_get(&s->ref);
    return s;
}

void super_put(struct super *s)
{
    if (!s || !ref_put(&s->ref))
        return;
    if (s->ops && s->ops->put)
        s->ops->put(s);
    free(s);
}

/* Mounts and open files count as users; the last one lets the root go, and with it the tree. */
void super_user_get(struct super *s)
{
    (void)__atomic_add_fetch(&s->n_users, 1, __ATOMIC_RELAXED);
    super_get(s);
}

void super_user_put(struct super *s)
{
    if (__atomic_sub_fetch(&s->n_users, 1, __ATOMIC_ACQ_REL) == 0) {
        dentry_shrink_super(s);
        dentry_put(s->root);
        s->root = NULL;
    }
    super_put(s);
}

#define X(name) extern const struct fs_type name##_fs_type __attribute__((weak));
#include "runtime/sentry/vfs/fs_types.def"
#undef X

/* Types that are not linked in (unit tests) are NULL. */
static const struct fs_type *const g_types[] = {
#define X(name) &name##_fs_type,
#include "runtime/sentry/vfs/fs_types.def"
#undef X
};

const struct fs_type *fs_type_next(unsigned *index)
{
    while (*index < ARRAY_SIZE(g_types)) {
        const struct fs_type *f = g_types[(*index)++];

        if (f)
            return f;
    }
    return NULL;
}

const struct fs_type *fs_type_find(const char *name)
{
    const struct fs_type *f;
    unsigned i = 0;

    while ((f = fs_type_next(&i)))
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}
