#pragma once
/* File locks: POSIX record locks (owner: descriptor table), OFD locks and flock (owner: file). */
#include "runtime/sentry/vfs/inode.h"

struct record_lock {
    int type;           /* F_RDLCK, F_WRLCK, F_UNLCK */
    int64_t start, end; /* inclusive; INT64_MAX: to the end of the file, wherever that is */
    int pid;            /* of the owner; -1: OFD */
};

enum { FILE_LOCKS_MAX = 16384 }; /* per file */

/* F_SETLK, F_SETLKW: 0, -EAGAIN, -EDEADLK, -ENOLCK, -ERESTARTSYS. */
int record_lock_set(struct file *f, const void *owner, const struct record_lock *l, bool wait);
/* F_GETLK: *l becomes the lock that is in the way, or its type F_UNLCK. */
void record_lock_test(struct file *f, const void *owner, struct record_lock *l);
/* flock(2); operation without LOCK_NB: LOCK_SH, LOCK_EX, LOCK_UN. 0, -EWOULDBLOCK, -ERESTARTSYS. */
int flock_set(struct task *t, struct file *f, int operation, bool wait);
