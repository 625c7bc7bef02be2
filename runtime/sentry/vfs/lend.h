#pragma once
/*
 * Descriptors whose reads the guest's own host process does (platform.h, plat_lend): regular files
 * opened for reading, whose data a mapping would hand over anyway. A file is lent once it has been
 * read some times, to a process whose tasks all share memory and descriptors.
 *
 * With the position lent too, whoever else uses the descriptor takes it back first; so that is done
 * for files that this one descriptor of this one task refers to.
 */
#include <stdbool.h>

struct file;
struct inode;
struct lends; /* what a table of descriptors has lent */
struct task;

/* The current task has read from f by descriptor fd; with_pos: at its position. */
void lend_consider(struct task *t, struct lends **lends, int fd, struct file *f, bool with_pos);
/* A call of its own is going to use fd: its position comes back. */
void lends_touch(struct lends *l, int fd);
/* fd is about to mean something else. t: the current task, or NULL. */
void lends_drop(struct task *t, struct lends *l, int fd);
void lends_drop_all(struct task *t, struct lends *l);
/* The table is going to be copied or shared: positions come back. */
void lends_positions(struct lends *l);
void lends_free(struct lends *l);
/* Its flags have changed. */
void lend_recall_file(const struct file *f);
/* Nobody goes on reading the inode's data (copy-up: it is somewhere else from now on), or, NULL,
 * anybody's (somebody wants to be told of reads). */
void lend_recall(const struct inode *i);
