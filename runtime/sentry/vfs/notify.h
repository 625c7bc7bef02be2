#pragma once
/*
 * File events for inotify. The VFS reports; fs/inotify delivers. inode->notify_mask says whether
 * anybody listens, so that the usual case costs one load.
 */
#include "runtime/sentry/vfs/inode.h"

#include <sys/inotify.h>

/* fs/inotify: an event on `i` itself, or (name not NULL) on the entry `name` of directory `i`.
 * `cookie` links IN_MOVED_FROM and IN_MOVED_TO. is_dir adds IN_ISDIR. */
void inotify_event(struct inode *i, uint32_t mask, uint32_t cookie, const char *name, bool is_dir);
/* fs/inotify: the inode goes away for good (IN_DELETE_SELF was sent): watches are removed. */
void inotify_inode_gone(struct inode *i);

/* An event on the object d: to watches on its inode and on its parent directory. */
void notify_dentry(struct dentry *d, uint32_t mask);
void notify_file(struct file *f, uint32_t mask);
static inline void notify_dir(struct inode *dir, uint32_t mask, const char *name, bool is_dir,
                              uint32_t cookie)
{
    if (__atomic_load_n(&dir->notify_mask, __ATOMIC_RELAXED) & mask)
        inotify_event(dir, mask, cookie, name, is_dir);
}
