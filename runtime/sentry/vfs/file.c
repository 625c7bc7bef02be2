/* Open files: life, and what opening an inode sets up. */
#include "runtime/sentry/vfs/file.h"
#include "runtime/sentry/vfs/setup.h"

#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/vfs/async.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"
#include "runtime/sentry/vfs/notify.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t g_next_anonymous_ino = 1000;

static const struct file_ops path_only_ops = {.name = NULL}; /* O_PATH */

/* Open files of the whole sandbox: they are the sentry's memory, and guests can make them without
 * end (descriptors of many processes, descriptors in flight). */
static unsigned g_files, g_files_max = FILES_MIN; /* atomic */
enum { FILES_RESERVED = 256 };                    /* for `exec` into a sandbox that has them all */

void file_limit_raise(uint64_t memory)
{
    uint64_t n = memory ? MIN(MAX(memory / FILES_PER_MEMORY, FILES_MIN), FILES_MAX) : FILES_MAX;

    if (n > __atomic_load_n(&g_files_max, __ATOMIC_RELAXED))
        __atomic_store_n(&g_files_max, (unsigned)n, __ATOMIC_RELAXED);
}

static void dealloc(struct file *f)
{
    (void)__atomic_sub_fetch(&g_files, 1, __ATOMIC_RELAXED);
    free(f);
}

struct file *file_alloc(const struct file_ops *ops, unsigned flags)
{
    unsigned max = __atomic_load_n(&g_files_max, __ATOMIC_RELAXED);
    struct file *f = NULL;

    if (!serves_guest())
        max += FILES_RESERVED;
    if (__atomic_add_fetch(&g_files, 1, __ATOMIC_RELAXED) <= max)
        f = calloc(1, sizeof(*f));
    if (!f) {
        (void)__atomic_sub_fetch(&g_files, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    ref_init(&f->ref);
    f->ops = ops;
    f->flags = flags;
    f->host_fd = -1;
    list_init(&f->epoll_items);
    return f;
}

int file_new(const struct file_ops *ops, unsigned flags, void *private, struct file **ret)
{
    struct file *f = file_alloc(ops, flags);

    if (!f)
        return -ENOMEM;
    f->private = private;
    f->ino = __atomic_fetch_add(&g_next_anonymous_ino, 1, __ATOMIC_RELAXED);
    *ret = f;
    return 0;
}

struct file *file_get(struct file *f)
{
    ref_get(&f->ref);
    return f;
}

/* What opening counted on the inode. */
static void file_uncount(struct file *f)
{
    if (f->counts_writer)
        (void)__atomic_sub_fetch(&f->inode->writers, 1, __ATOMIC_RELAXED);
    if (f->denies_write)
        (void)__atomic_sub_fetch(&f->inode->deny_write, 1, __ATOMIC_RELAXED);
}

static void file_free(struct file *f)
{
    struct inode *i = f->inode;

    if (!list_empty(&f->epoll_items))
        epoll_forget_file(f);
    if (f->async)
        async_forget(f);
    if (i && !(f->flags & O_PATH))
        notify_file(f, file_writable(f) ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
    if (file_has_locks(f))
        file_locks_closed(f);
    if (f->ops->release)
        f->ops->release(f);
    if (f->inode_opened && i->ops->close)
        i->ops->close(i, f);
    file_uncount(f);
    path_put(&f->path);
    dealloc(f);
}

void file_put(struct file *f)
{
    if (f && ref_put(&f->ref))
        file_free(f);
}

/* Refuses writers of what is being executed, and counts them; both sides count first and look at
 * the other's number afterwards. */
static int count_writer(struct inode *i, struct file *f)
{
    if (!file_writable(f) || !S_ISREG(i->mode))
        return 0;
    (void)__atomic_add_fetch(&i->writers, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&i->deny_write, __ATOMIC_SEQ_CST)) {
        (void)__atomic_sub_fetch(&i->writers, 1, __ATOMIC_RELAXED);
        return -ETXTBSY;
    }
    f->counts_writer = true;
    lend_recall(i); /* what is known of it may change from now on */
    return 0;
}

int file_open_inode(struct task *t, struct file *f)
{
    struct inode *i = f->inode;
    int r;

    if (f->flags & O_PATH) {
        f->ops = &path_only_ops;
        return 0;
    }
    f->ops = i->fops;
    switch (i->mode & S_IFMT) {
    case S_IFIFO:
        if (i->fops != &inode_no_fops) /* not a named fifo: a host stream that looks like one */
            break;
        return fifo_open(t, f, &i->fifo);
    case S_IFCHR:
    case S_IFBLK:
        return dev_open(t, f, i->mode & S_IFMT, i->rdev);
    case S_IFSOCK:
        return -ENXIO;
    case S_IFLNK:
        return -ELOOP;
    }
    r = count_writer(i, f);
    if (r < 0)
        return r;
    if (i->ops->open) {
        r = i->ops->open(t, i, f);
        if (r < 0) {
            file_uncount(f);
            return r;
        }
        f->inode_opened = true;
    }
    return 0;
}

int vfs_open_path(struct task *t, const struct path *p, unsigned flags, struct file **ret)
{
    struct file *f = file_alloc(NULL, flags);
    int r;

    if (!f)
        return -ENOMEM;
    f->path = *p;
    path_get(&f->path);
    f->inode = p->dentry->inode;
    r = file_open_inode(t, f);
    if (r < 0) {
        path_put(&f->path);
        dealloc(f);
        return r;
    }
    f->flags &= ~(unsigned)O_NOCTTY; /* a terminal's open has looked at it */
    *ret = f;
    return 0;
}

int vfs_open_anonymous(struct task *t, struct inode *i, const char *name, unsigned flags,
                       struct file **ret)
{
    struct path p = {.dentry = dentry_new_anonymous(i->super, i, name)};
    int r;

    if (!p.dentry)
        return -ENOMEM;
    p.dentry->unlinked = true;
    r = vfs_open_path(t, &p, flags, ret);
    if (r == 0 && (*ret)->counts_writer) { /* who made it may execute it (memfd_create, fexecve) */
        file_uncount(*ret);
        (*ret)->counts_writer = false;
    }
    path_put(&p);
    return r;
}
