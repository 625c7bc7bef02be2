/* Reading directories that give their content as a list (inode_ops.list). Positions: 0 is ".", 1 is
 * "..", then the index in the list plus 2. file->private is the list being read. */
#include "runtime/sentry/vfs/dirlist.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/regular.h"

#include <dirent.h>
#include <errno.h>

static int fetch_list(struct task *t, struct file *f)
{
    struct inode *i = f->inode;
    struct dir_list *l = NULL;
    int r;

    if (!i->ops->list)
        return -ENOTDIR;
    mutex_lock(&i->dir_lock);
    r = i->ops->list(t, i, &l);
    mutex_unlock(&i->dir_lock);
    if (r < 0)
        return r;
    dir_list_put(f->private);
    f->private = l;
    return 0;
}

static uint64_t parent_ino(const struct file *f)
{
    uint64_t ino;

    mutex_lock(&g_tree_lock);
    ino = f->path.dentry->parent->inode->ino;
    mutex_unlock(&g_tree_lock);
    return ino;
}

static int dir_iterate(struct task *t, struct file *f, struct dir_emitter *d)
{
    struct dir_list *l;
    int r;

    if (f->inode->nlink == 0)
        return -ENOENT;
    if (f->pos == 0 || !f->private) {
        r = fetch_list(t, f);
        if (r < 0)
            return r;
    }
    l = f->private;
    (void)regular_touch_atime(f, time_realtime());
    if (f->pos == 0) {
        if (!d->emit(d, ".", 1, f->inode->ino, DT_DIR, 1))
            return 0;
        f->pos = 1;
    }
    if (f->pos == 1) {
        if (!d->emit(d, "..", 2, parent_ino(f), DT_DIR, 2))
            return 0;
        f->pos = 2;
    }
    while (f->pos - 2 < (int64_t)l->n) {
        unsigned i = (unsigned)(f->pos - 2);
        const struct dir_list_entry *e = &l->entries[i];

        if (!d->emit(d, dir_list_name(l, i), e->len, e->ino, e->type, (uint64_t)f->pos + 1))
            break;
        f->pos++;
    }
    return 0;
}

static int64_t dir_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    (void)t;
    if (whence == SEEK_CUR)
        offset += f->pos;
    else if (whence != SEEK_SET)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->pos = offset;
    return offset;
}

static void dir_release(struct file *f)
{
    dir_list_put(f->private);
}

static int dir_fsync(struct task *t, struct file *f, bool data_only)
{
    (void)t;
    return f->inode->ops->fsync ? f->inode->ops->fsync(f->inode, data_only) : 0;
}

const struct file_ops dir_file_ops = {
    .iterate = dir_iterate,
    .seek = dir_seek,
    .fsync = dir_fsync,
    .release = dir_release,
};
