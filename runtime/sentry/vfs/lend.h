#pragma once
/*
 * Descriptors whose calls the guest's own host process does (platform.h, plat_lend): reads of
 * regular files, whose data a mapping would hand over anyway; with the direct data plane, writes
 * within them, and stream sockets. A file is lent once it has been used some times, to a process
 * whose tasks all share memory and descriptors.
 *
 * Whatever a write looks at in the sentry makes a file come back: its size, set-id bits, flags of
 * its description, a limit of the process's, watches. Times are noted by the stub.
 *
 * With the position lent too, whoever else uses the descriptor takes it back first; so that is done
 * for files that this one descriptor of this one task refers to.
 */
#include <stdbool.h>

struct file;
struct inode;
struct lends; /* what a table of descriptors has lent */
struct task;

bool lend_possible(const struct file *f);
/* The current task has used f by descriptor fd; with_pos: at its position. */
void lend_consider(struct task *t, struct lends **lends, int fd, struct file *f, bool with_pos);
/* A call of its own is going to use fd: its position comes back. */
void lends_touch(struct lends *l, int fd);
/* fd is about to mean something else. t: the current task, or NULL. */
void lends_drop(struct task *t, struct lends *l, int fd);
void lends_drop_all(struct task *t, struct lends *l);
/* The table is going to be copied or shared: positions come back. */
void lends_positions(struct lends *l);
/* f was opened as fd, or read to its end. What follows that often is answered by the stub
 * meanwhile: fstat, close, a read at the end, or (LEND_DATA; true: so it is) one from the start of
 * a small file. */
enum lend_what { LEND_OPENED, LEND_AT_END, LEND_DATA };
bool lend_known(struct task *t, struct lends **lends, int fd, struct file *f, enum lend_what want);
void lends_free(struct lends *l);
/* The stub may answer for the watch of fd in an epoll that t alone can use; neither number changes
 * its meaning without lends_drop. */
void lend_watch(struct task *t, struct lends **lends, int epfd, int fd, bool watched);
/* i's times are going to be looked at. */
void lend_note_use(const struct inode *i);
/* Its flags have changed. */
void lend_recall_file(const struct file *f);
/* Nobody goes on reading the inode's data (copy-up: it is somewhere else from now on), or, NULL,
 * anybody's (somebody wants to be told of reads). */
void lend_recall(const struct inode *i);
