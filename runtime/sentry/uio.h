#pragma once
/*
 * Where the bytes of a read or write go or come from: segments of the current task's guest memory,
 * or one buffer of the sentry's (sendfile, splice, execve, core). Handlers see only uio_*; a guest
 * address is never dereferenced.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct task;
typedef uint64_t gaddr_t; /* an address in a guest; only copy_* and uio_* turn it into bytes */

struct giovec {
    gaddr_t base;
    uint64_t size;
};

enum { UIO_INLINE_SEGMENTS = 8, UIO_MAX_SEGMENTS = 1024 };
#define UIO_MAX_BYTES 0x7ffff000ULL /* MAX_RW_COUNT */

struct uio {
    struct task *task;  /* whose memory; NULL: kernel buffer */
    struct giovec *iov; /* segments; iov[0] is `one` for plain read/write */
    unsigned n_iov, at; /* current segment */
    uint64_t offset;    /* in the current segment */
    uint64_t left;      /* bytes that may still be moved */
    char *kernel;       /* kernel buffer, if task is NULL */
    struct giovec one, inline_iov[UIO_INLINE_SEGMENTS];
};

/* One guest buffer. Size is clamped to UIO_MAX_BYTES. */
void uio_init_guest(struct uio *u, struct task *t, gaddr_t base, uint64_t size);
void uio_init_kernel(struct uio *u, void *data, size_t size);
/* Reads a struct iovec array of the guest: 0, -EINVAL (count, negative total), -EFAULT, -ENOMEM. */
int uio_init_guest_iov(struct uio *u, struct task *t, gaddr_t iov, uint64_t n);
void uio_fini(struct uio *u);

/* Copy size bytes (<= u->left) out to / in from the described memory and advance. Returns bytes
 * moved (short at a bad page) or -EFAULT if none could be. */
ssize_t uio_copy_to(struct uio *u, const void *data, size_t size);
ssize_t uio_copy_from(struct uio *u, void *data, size_t size);
ssize_t uio_zero(struct uio *u, size_t size);
void uio_skip(struct uio *u, size_t size);
