#pragma once
/* Whole-file and descriptor-passing helpers. */
#include "common/error.h"

#include <stddef.h>
#include <sys/types.h>

/* Reads all of path (at dirfd) up to max bytes into a fresh NUL-terminated buffer (free it).
 * -EFBIG if larger. */
int file_read_all(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size,
                  struct error *err);
/* Writes path atomically (temporary beside it, fsync, rename). */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                      struct error *err);
/* Plain write of a control file (cgroup, /proc, sysctl): open, one write, close. */
int file_write(int dirfd, const char *path, const char *data, struct error *err);
/* write(2) until all is out or an error: 0 or -errno. */
int write_full(int fd, const void *data, size_t size);
/* read(2) until size bytes or end: bytes read or -errno. */
ssize_t read_full(int fd, void *data, size_t size);
int mkdir_parents(const char *path, mode_t mode);

/* One datagram with up to n_fds descriptors (SCM_RIGHTS). 0 or -errno. */
int fd_send(int sock, const void *data, size_t size, const int *fds, size_t n_fds);
/* Receives one; surplus descriptors are closed, unfilled entries become -1. All are CLOEXEC.
 * Returns bytes (0 = peer closed) or -errno; -EMSGSIZE if truncated. */
ssize_t fd_recv(int sock, void *data, size_t size, int *fds, size_t n_fds);
