#pragma once
/* Pipes and what splice(2) and its kin need of them. */
#include "runtime/sentry/vfs/file.h"

struct pipe;

enum { PIPE_ATOMIC = 4096, PIPE_DEFAULT_SIZE = 65536, PIPE_MAX_SIZE = 1048576 };

/* A new pipe: read end and write end, each with one reference. flags: O_NONBLOCK, O_DIRECT. */
int pipe_new(unsigned flags, struct file **ret_read, struct file **ret_write);

/* Opens a fifo on f, a file being opened (f->flags are final, nobody else sees f yet): sets f->ops
 * and f->private. *slot is the inode's pipe pointer (NULL at first), guarded by this module. Blocks
 * for the other side as open(2) says. 0, -ENXIO, -ERESTARTSYS, -ENOMEM. */
int fifo_open(struct task *t, struct file *f, struct pipe **slot);

/* Opens another file on p, never blocking: for /proc/PID/fd/N. 0. */
int pipe_attach(struct pipe *p, struct file *f);

/* The pipe behind a file (either end, fifos too), or NULL if f is no pipe. Borrowed from f. */
struct pipe *pipe_of(const struct file *f);

/*
 * Moving bytes for splice and tee: these look at the pipe as its readers and writers do, without
 * copying through the guest. None blocks; callers wait with vfs_wait(f, POLLIN or POLLOUT).
 */
/* Looks at up to size bytes, skip bytes from the oldest one on, and copies them to data. Bytes;
 * 0: end of file (no writers left); -EAGAIN: nothing there yet. Packets are not told apart. */
ssize_t pipe_peek(struct pipe *p, void *data, size_t size, size_t skip);
/* Drops the oldest bytes, after a peek of as many by the same caller. */
void pipe_consume(struct pipe *p, size_t size);
/* Appends up to size bytes: bytes taken (may be fewer), -EAGAIN if full, -EPIPE (no signal sent)
 * if nobody reads. */
ssize_t pipe_give(struct pipe *p, const void *data, size_t size);
/* Bytes that are there / room for more. */
size_t pipe_available(struct pipe *p);
size_t pipe_room(struct pipe *p);
/* Sends SIGPIPE to the current task: what write paths do besides returning -EPIPE. */
void pipe_signal(struct task *t);

/* fcntl F_GETPIPE_SZ and F_SETPIPE_SZ: bytes, -EBADF (no pipe), -EBUSY, -EPERM, -EINVAL, -ENOMEM.
 */
long pipe_get_size(struct file *f);
long pipe_set_size(struct task *t, struct file *f, uint64_t size);
