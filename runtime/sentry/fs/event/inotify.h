#pragma once
/*
 * inotify's side towards the file system: whoever changes something tells it here. Cheap while
 * nobody watches anything. Callable with no lock held but directory locks; never sleeps.
 */
#include <stdbool.h>
#include <stdint.h>

struct file;
struct inode;

extern uint32_t g_inotify_watches; /* atomic: how many watches exist */

void inotify_notify_slow(struct inode *inode, uint32_t mask, const char *name, uint32_t cookie);

/* Something happened to `inode` (name NULL) or to the entry `name` of directory `inode`. mask:
 * IN_*, with IN_ISDIR if the object is a directory, and IN_EXCL_UNLINK if
 * its name is gone. */
static inline void inotify_notify(struct inode *inode, uint32_t mask, const char *name,
                                  uint32_t cookie)
{
    if (__atomic_load_n(&g_inotify_watches, __ATOMIC_RELAXED))
        inotify_notify_slow(inode, mask, name, cookie);
}

/* A number that ties IN_MOVED_FROM to IN_MOVED_TO. */
uint32_t inotify_cookie(void);
/* The last name and the last user of inode are gone: its watches end (IN_IGNORED). */
void inotify_inode_gone(struct inode *inode);
/* One of the users of an inode without names is about to leave: the same if only watches remain. */
void inotify_user_gone(struct inode *inode);

/* ---- for the system calls ---------------------------------------------------------------------
 */
/* Also shown in /proc/sys/fs/inotify. */
enum {
    INOTIFY_QUEUE_MAX = 16384,
    INOTIFY_INSTANCES_MAX = 1024, /* of the sandbox */
    INOTIFY_WATCHES_MAX = 65536   /* of the sandbox */
};

int inotify_new(unsigned flags, struct file **ret);
/* Watch descriptor, or -EINVAL (f is no inotify), -ENOSPC, -EEXIST, -ENOMEM. */
int inotify_add(struct file *f, struct inode *inode, uint32_t mask);
int inotify_remove(struct file *f, int wd);

/* ---- dnotify (fcntl's F_NOTIFY), by vfs/async.c -----------------------------------------------
 */
/* Something got another name in the same directory; no bit of inotify's. */
#define DNOTIFY_RENAMED 0x00100000U
struct async;
struct watch;
/* Watches directory i until something of mask (IN_*) happens, with IN_ONESHOT, or on; *at is the
 * watch from now on, or more is added to it. 0, -ENOSPC, -ENOMEM. */
int dnotify_add(struct watch **at, struct inode *i, uint32_t mask, struct async *a);
void dnotify_remove(struct watch **at); /* NULL there: nothing to do */
