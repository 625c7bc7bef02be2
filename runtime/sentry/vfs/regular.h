#pragma once
/* Between regular.c and the calls that change sizes. */
#include "runtime/sentry/vfs/inode.h"

/* truncate(2) without permission checks. */
int regular_truncate(struct task *t, struct inode *i, int64_t size);
/* RLIMIT_FSIZE: 0, or -EFBIG and SIGXFSZ. */
int regular_check_size(struct task *t, int64_t size);
/* Reading it now would not move its time of access. */
bool regular_keeps_atime(const struct file *f);
/* It was read at that time. True: its time of access has changed. */
bool regular_touch_atime(struct file *f, nsec_t now);
void regular_drop_setid(struct task *t, struct inode *i);
