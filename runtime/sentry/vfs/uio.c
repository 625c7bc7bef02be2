/* Segments of guest memory, or a kernel buffer, as source or destination (uio.h). */
#include "runtime/sentry/uio.h"

#include "common/cleanup.h"
#include "runtime/sentry/mm/mm.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void uio_init_guest(struct uio *u, struct task *t, gaddr_t base, uint64_t size)
{
    u->task = t;
    u->iov = &u->one;
    u->n_iov = 1;
    u->at = 0;
    u->offset = 0;
    u->left = size > UIO_MAX_BYTES ? UIO_MAX_BYTES : size;
    u->kernel = NULL;
    u->one = (struct giovec){.base = base, .size = u->left};
}

void uio_init_kernel(struct uio *u, void *data, size_t size)
{
    uio_init_guest(u, NULL, 0, size);
    u->kernel = data;
}

/* Total length; the sum is clamped as Linux does it, a single negative length is an error. */
static int measure(struct uio *u)
{
    uint64_t total = 0;
    unsigned i;

    for (i = 0; i < u->n_iov; i++) {
        if (u->iov[i].size > INT64_MAX)
            return -EINVAL;
        if (u->iov[i].size > UIO_MAX_BYTES - total)
            u->iov[i].size = UIO_MAX_BYTES - total;
        total += u->iov[i].size;
    }
    u->left = total;
    return 0;
}

int uio_init_guest_iov(struct uio *u, struct task *t, gaddr_t iov, uint64_t n)
{
    int r;

    if (n > UIO_MAX_SEGMENTS)
        return -EINVAL;
    *u = (struct uio){.task = t, .n_iov = (unsigned)n, .iov = u->inline_iov};
    if (n > UIO_INLINE_SEGMENTS) {
        u->iov = malloc(n * sizeof(*u->iov));
        if (!u->iov)
            return -ENOMEM;
    }
    r = n ? copy_in(t, u->iov, iov, n * sizeof(*u->iov)) : 0;
    if (r == 0)
        r = measure(u);
    if (r < 0)
        uio_fini(u);
    return r;
}

void uio_fini(struct uio *u)
{
    if (u->iov != u->inline_iov && u->iov != &u->one)
        free(u->iov);
    u->iov = &u->one;
}

void uio_skip(struct uio *u, size_t size)
{
    u->left -= size;
    if (u->kernel) {
        u->kernel += size;
        return;
    }
    u->offset += size;
    while (u->at < u->n_iov && u->offset >= u->iov[u->at].size) {
        u->offset -= u->iov[u->at].size;
        u->at++;
    }
}

enum direction { TO, FROM, ZERO };

static int move_segment(struct uio *u, enum direction d, char *data, size_t n)
{
    gaddr_t addr = u->iov[u->at].base + u->offset;

    return d == FROM ? copy_in(u->task, data, addr, n) : copy_out(u->task, addr, data, n);
}

/* Where a whole segment faults, its good pages still count: moved page by page up to the bad one.
 */
static size_t move_pages(struct uio *u, enum direction d, char *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        gaddr_t addr = u->iov[u->at].base + u->offset;
        size_t part = 4096 - (addr & 4095);

        if (part > n - done)
            part = n - done;
        if (move_segment(u, d, data + done, part) < 0)
            break;
        done += part;
        uio_skip(u, part);
    }
    return done;
}

static ssize_t move(struct uio *u, enum direction d, void *data, size_t size)
{
    size_t done = 0;

    if (size > u->left)
        size = (size_t)u->left;
    while (done < size) {
        size_t n;

        while (u->at < u->n_iov && u->offset >= u->iov[u->at].size) { /* empty segments */
            u->offset = 0;
            u->at++;
        }
        if (u->at >= u->n_iov)
            break;
        n = u->iov[u->at].size - u->offset;
        if (n > size - done)
            n = size - done;
        if (move_segment(u, d, (char *)data + done, n) < 0) {
            done += move_pages(u, d, (char *)data + done, n);
            break;
        }
        done += n;
        uio_skip(u, n);
    }
    return done || !size ? (ssize_t)done : -EFAULT;
}

ssize_t uio_copy_to(struct uio *u, const void *data, size_t size)
{
    if (!u->kernel)
        return move(u, TO, (void *)(uintptr_t)data, size); /* TO only reads data */
    if (size > u->left)
        size = (size_t)u->left;
    memcpy(u->kernel, data, size);
    uio_skip(u, size);
    return (ssize_t)size;
}

ssize_t uio_copy_from(struct uio *u, void *data, size_t size)
{
    if (!u->kernel)
        return move(u, FROM, data, size);
    if (size > u->left)
        size = (size_t)u->left;
    memcpy(data, u->kernel, size);
    uio_skip(u, size);
    return (ssize_t)size;
}

ssize_t uio_zero(struct uio *u, size_t size)
{
    static const char zeros[4096];
    size_t done = 0;

    if (size > u->left)
        size = (size_t)u->left;
    while (done < size) {
        ssize_t n = uio_copy_to(u, zeros, MIN(size - done, sizeof(zeros)));

        if (n <= 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
    }
    return (ssize_t)done;
}
