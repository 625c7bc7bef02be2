/*
 * Paths to anonymous files, made when somebody follows /proc/PID/fd/N to one. The inode keeps the
 * file, so that `cmd | sh -c 'cat /dev/stdin'` opens the pipe it was given.
 */
#include "runtime/sentry/fs/proc/reopen.h"

#include "runtime/sentry/fs/pipe/pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reopen {
    struct inode inode;
    struct file *file; /* reference */
};

static struct reopen *reopen_of(struct inode *i)
{
    return container_of(i, struct reopen, inode);
}

static int reopen_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    struct stat st;
    int r = vfs_stat_file(t, reopen_of(i)->file, &st);

    if (r < 0)
        return r;
    *ret = (struct attr){.mode = st.st_mode,
                         .nlink = (uint32_t)st.st_nlink,
                         .ino = st.st_ino,
                         .dev = st.st_dev,
                         .size = (uint64_t)st.st_size,
                         .blksize = (uint32_t)st.st_blksize};
    return 0;
}

static int reopen_open(struct task *t, struct inode *i, struct file *f)
{
    struct pipe *p = pipe_of(reopen_of(i)->file);

    (void)t;
    return p ? pipe_attach(p, f) : -ENXIO;
}

static int reopen_permission(struct task *t, struct inode *i, int mask)
{
    (void)t;
    (void)i;
    return mask & MAY_EXEC ? -EACCES : 0;
}

static void reopen_evict(struct inode *i)
{
    file_put(reopen_of(i)->file);
    inode_fini(i);
    free(reopen_of(i));
}

static const struct inode_ops reopen_ops = {.getattr = reopen_getattr,
                                            .open = reopen_open,
                                            .permission = reopen_permission,
                                            .evict = reopen_evict};

/* Never used: opening replaces it. That it is there tells the core that this is no named fifo. */
static const struct file_ops reopen_file_ops = {.name = "anon_inode"};

static struct super *anonymous_super(void)
{
    static const struct fs_type type = {.name = "anon_inodefs", .magic = 0x09041934};
    static const struct super_ops ops;
    static struct mutex lock = MUTEX_INIT;
    static struct super *super; /* guarded by lock; kept */

    mutex_lock(&lock);
    if (!super)
        super = super_new(&type, &ops, NULL);
    mutex_unlock(&lock);
    return super;
}

int reopen_path(struct file *f, struct path *ret)
{
    struct super *super = anonymous_super();
    struct reopen *o = super ? calloc(1, sizeof(*o)) : NULL;
    struct dentry *d;

    if (!o)
        return -ENOMEM;
    o->file = file_get(f);
    inode_init(&o->inode, super, &reopen_ops, &reopen_file_ops, inode_next_ino(), S_IFIFO | 0600, 0,
               0);
    d = dentry_new_anonymous(super, &o->inode, "anon");
    if (!d)
        return -ENOMEM;
    *ret = (struct path){.mount = NULL, .dentry = d};
    return 0;
}
