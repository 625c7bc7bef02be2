#pragma once
/*
 * File events for inotify: what the VFS reports, and to whom: to the watches on an object's inode
 * and to those on the directory that its name is in. Costs one load while nobody watches anything.
 */
#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/vfs/inode.h"

#include <sys/inotify.h>

void notify_dentry_slow(struct dentry *d, uint32_t mask);
static inline void notify_dentry(struct dentry *d, uint32_t mask)
{
    if (__atomic_load_n(&g_inotify_watches, __ATOMIC_RELAXED))
        notify_dentry_slow(d, mask);
}
static inline void notify_file(struct file *f, uint32_t mask)
{
    if (f->path.dentry && f->inode)
        notify_dentry(f->path.dentry, mask);
}
