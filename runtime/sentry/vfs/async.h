#pragma once
/*
 * Signals for readiness (O_ASYNC; fcntl(2): F_SETOWN, F_SETSIG): a watch of an open file, which
 * hangs on the queues and host descriptors that the file's poll operation names, and sends its
 * owner a signal for what its type lists in file_ops.async. Sent before the call that causes it
 * returns, or by a thread of its own if no task's call does.
 */
#include "runtime/sentry/vfs/file.h"

struct async; /* of one open file; made when first wanted */

/* O_ASYNC comes or goes, by descriptor fd, which signals tell. 0 or -ENOMEM. Types without
 * file_ops.async are not watched. */
int async_set(struct task *t, struct file *f, int fd, bool on);
/* A write by the current task found no room, or not for all: the next room is told. */
void async_full(struct file *f);
/* f's last reference is gone, f->ops->release has not run yet. Call it if f->async. */
void async_forget(struct file *f);

/* type: F_OWNER_*; id 0: nobody from now on. 0, -EINVAL, -ESRCH, -ENOMEM. */
int async_set_owner(struct task *t, struct file *f, int type, int id);
/* The owner as t sees it: *ret_id is 0 if there is none (any more). */
void async_owner(struct task *t, struct file *f, int *ret_type, int *ret_id);
/* The same with one number: a group's is negative. */
int async_set_owner_id(struct task *t, struct file *f, int id);
int async_owner_id(struct task *t, struct file *f);
/* 0: SIGIO. 0, -EINVAL, -ENOMEM. */
int async_set_signal(struct file *f, uint64_t sig);
int async_signal(const struct file *f);

/* dnotify: a signal for what happens in directory f (DN_*); 0: no more. 0, -ENOTDIR, -ENOSPC,
 * -ENOMEM. */
int async_watch_dir(struct task *t, struct file *f, int fd, uint32_t events);
void async_dir_changed(struct async *a); /* by the watch */

/* Something is to be sent. */
extern uint32_t g_async_pending; /* atomic */
void async_flush_slow(void);
/* Sends it; nothing is locked. */
static inline void async_flush(void)
{
    if (__builtin_expect(__atomic_load_n(&g_async_pending, __ATOMIC_ACQUIRE), 0))
        async_flush_slow();
}
