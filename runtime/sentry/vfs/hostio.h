#pragma once
/* Moving bytes between a host descriptor (regular file or memfd) and a uio, by bounce buffer. */
#include "runtime/sentry/uio.h"

/* At most size (<= u->left) bytes at pos. Bytes (short at the end of the file or a bad page), -EIO,
 * -EFAULT. */
ssize_t hostio_read(int fd, struct uio *u, int64_t pos, uint64_t size);
/* Bytes, or -ENOSPC, -EDQUOT, -EFBIG, -EIO, -EFAULT. */
ssize_t hostio_write(int fd, struct uio *u, int64_t pos, uint64_t size);
int hostio_write_all(int fd, const char *data, size_t size, int64_t pos);
/* A descriptor of the sentry's own process that a guest's call has opened: guests do not get the
 * last ones, which it takes to serve `exec`, `kill` and `state`. The descriptor, or closes it and
 * gives -ENFILE. Negative values stay what they are. */
int hostio_admit(int fd);
