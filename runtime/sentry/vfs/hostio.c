/* Host file data to and from guests (hostio.h). */
#include "runtime/sentry/vfs/hostio.h"

#include "common/cleanup.h"
#include "runtime/sentry/task/namespaces.h"

#include <errno.h>
#include <limits.h>
#include <sys/resource.h>

enum { BOUNCE_SMALL = 8192, BOUNCE_BIG = 65536, RESERVED = 256 };

static int guests_share(void)
{
    static int share; /* atomic; 0: not asked yet */
    int n = __atomic_load_n(&share, __ATOMIC_RELAXED);
    struct rlimit r;

    if (n)
        return n;
    n = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < INT_MAX)
        n = MAX((int)r.rlim_cur - RESERVED, (int)r.rlim_cur / 2);
    __atomic_store_n(&share, n, __ATOMIC_RELAXED);
    return n;
}

int hostio_admit(int fd)
{
    if (fd < guests_share() || !serves_guest())
        return fd;
    (void)close(fd);
    return -ENFILE;
}

static int host_errno(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
        return -errno;
    case ETXTBSY:
    case EPERM: /* a sealed or immutable file */
        return -EPERM;
    default:
        return -EIO;
    }
}

static ssize_t read_kernel(int fd, struct uio *u, int64_t pos, uint64_t size)
{
    ssize_t n = pread(fd, u->kernel, size, pos);

    if (n < 0)
        return host_errno();
    uio_skip(u, (size_t)n);
    return n;
}

ssize_t hostio_read(int fd, struct uio *u, int64_t pos, uint64_t size)
{
    CLEANUP(free_ptr) char *big = NULL;
    char small[BOUNCE_SMALL], *buf = small;
    size_t room = sizeof(small);
    uint64_t done = 0;

    if (u->kernel)
        return read_kernel(fd, u, pos, size);
    if (size > room && (big = malloc(BOUNCE_BIG))) {
        buf = big;
        room = BOUNCE_BIG;
    }
    while (done < size) {
        size_t want = (size_t)MIN(size - done, room);
        ssize_t n = pread(fd, buf, want, pos + (int64_t)done), m;

        if (n <= 0)
            return done ? (ssize_t)done : n < 0 ? host_errno() : 0;
        m = uio_copy_to(u, buf, (size_t)n);
        if (m < 0)
            return done ? (ssize_t)done : m;
        done += (uint64_t)m;
        if (m < n || (size_t)n < want)
            break;
    }
    return (ssize_t)done;
}

int hostio_write_all(int fd, const char *data, size_t size, int64_t pos)
{
    while (size) {
        ssize_t n = pwrite(fd, data, size, pos);

        if (n <= 0)
            return n < 0 ? host_errno() : -ENOSPC;
        data += n;
        size -= (size_t)n;
        pos += n;
    }
    return 0;
}

ssize_t hostio_write(int fd, struct uio *u, int64_t pos, uint64_t size)
{
    CLEANUP(free_ptr) char *big = NULL;
    char small[BOUNCE_SMALL], *buf = small;
    size_t room = sizeof(small);
    uint64_t done = 0;

    if (size > room && (big = malloc(BOUNCE_BIG))) {
        buf = big;
        room = BOUNCE_BIG;
    }
    while (done < size) {
        size_t want = (size_t)MIN(size - done, room);
        ssize_t n = uio_copy_from(u, buf, want), w;

        if (n <= 0)
            return done ? (ssize_t)done : n;
        w = pwrite(fd, buf, (size_t)n, pos + (int64_t)done);
        if (w <= 0)
            return done ? (ssize_t)done : w < 0 ? host_errno() : -ENOSPC;
        done += (uint64_t)w;
        if (w < n || (size_t)n < want)
            break;
    }
    return (ssize_t)done;
}
