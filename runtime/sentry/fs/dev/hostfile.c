/*
 * Standard streams that the container was given: host pipes, sockets, files. Their descriptions are
 * shared with processes outside (a pipeline's other members, a shim), so no flag of theirs is
 * changed; instead every operation is one that does not block: RWF_NOWAIT where the host knows it
 * for this kind of file, else poll(2) first and no more than PIPE_BUF bytes at a time.
 *
 * Threats: what a guest can do here is read and write the very bytes it was given the descriptor
 * for; ioctls are not passed on.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHUNK = 16384, SAFE_CHUNK = 4096 };

struct hostfile { /* immutable but for nowait */
    struct inode inode;
    int fd;
    mode_t mode;
    bool no_nowait; /* the host refused RWF_NOWAIT once; atomic */
};

static struct hostfile *hostfile_of(const struct file *f)
{
    return container_of(f->inode, struct hostfile, inode);
}

/* Errors of the host that mean something to the guest. */
static ssize_t translate(int e)
{
    switch (e) {
    case EAGAIN:
    case EPIPE:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ECONNRESET:
    case EINTR:
        return e == EINTR ? -EAGAIN : -e;
    default:
        return -EIO;
    }
}

/* ---- streams --------------------------------------------------------------------------------- */
static bool host_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, 0) > 0;
}

static bool unsupported(struct hostfile *h)
{
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return false;
    __atomic_store_n(&h->no_nowait, true, __ATOMIC_RELAXED);
    return true;
}

/* Reads what is there: bytes, 0 at the end, -EAGAIN. */
static ssize_t read_now(struct hostfile *h, void *data, size_t size)
{
    struct iovec iov = {data, size};
    ssize_t r;

    if (S_ISSOCK(h->mode)) {
        r = recv(h->fd, data, size, MSG_DONTWAIT);
        return r < 0 ? translate(errno) : r;
    }
    if (!__atomic_load_n(&h->no_nowait, __ATOMIC_RELAXED)) {
        r = preadv2(h->fd, &iov, 1, -1, RWF_NOWAIT);
        if (r >= 0)
            return r;
        if (!unsupported(h))
            return translate(errno);
    }
    if (!host_ready(h->fd, POLLIN))
        return -EAGAIN;
    r = read(h->fd, data, size);
    return r < 0 ? translate(errno) : r;
}

/* Writes what fits: bytes, -EAGAIN, -EPIPE. */
static ssize_t write_now(struct hostfile *h, const void *data, size_t size)
{
    struct iovec iov = {(void *)data, size};
    ssize_t r;

    if (S_ISSOCK(h->mode)) {
        r = send(h->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return r < 0 ? translate(errno) : r;
    }
    if (!__atomic_load_n(&h->no_nowait, __ATOMIC_RELAXED)) {
        r = pwritev2(h->fd, &iov, 1, -1, RWF_NOWAIT);
        if (r >= 0)
            return r;
        if (!unsupported(h))
            return translate(errno);
    }
    if (!host_ready(h->fd, POLLOUT))
        return -EAGAIN;
    r = write(h->fd, data, MIN(size, (size_t)SAFE_CHUNK));
    return r < 0 ? translate(errno) : r;
}

static int wait_for(struct hostfile *h, short events)
{
    struct pollfd p = {.fd = h->fd, .events = events};

    return wait_host_fds(&p, 1, DEADLINE_NONE);
}

static ssize_t stream_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct hostfile *h = hostfile_of(f);
    char chunk[CHUNK];
    size_t n = MIN(u->left, sizeof(chunk));
    ssize_t r;

    (void)t;
    (void)pos;
    if (!n)
        return 0;
    while ((r = read_now(h, chunk, n)) == -EAGAIN && !file_nonblock(f)) {
        r = wait_for(h, POLLIN);
        if (r < 0)
            return r;
    }
    return r > 0 ? uio_copy_to(u, chunk, (size_t)r) : r;
}

/* All of data, unless the file is non-blocking. Bytes or -errno if none went out. */
static ssize_t write_all(struct hostfile *h, const struct file *f, const char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t r = write_now(h, data + done, size - done);

        if (r == -EAGAIN && !file_nonblock(f)) {
            r = wait_for(h, POLLOUT);
            if (r == 0)
                continue;
        }
        if (r < 0)
            return done ? (ssize_t)done : r;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static ssize_t stream_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct hostfile *h = hostfile_of(f);
    char chunk[CHUNK];
    ssize_t done = 0;

    (void)pos;
    while (u->left) {
        ssize_t n = uio_copy_from(u, chunk, MIN(u->left, sizeof(chunk)));
        ssize_t r = n > 0 ? write_all(h, f, chunk, (size_t)n) : -EFAULT;

        if (r == -EPIPE)
            pipe_signal(t);
        if (r < 0)
            return done ? done : r;
        done += r;
        if (r < n)
            break;
    }
    return done;
}

static uint32_t stream_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct hostfile *h = hostfile_of(f);
    uint32_t wanted = (file_readable(f) ? POLLIN | POLLRDNORM | POLLPRI | POLLRDHUP : 0) |
                      (file_writable(f) ? POLLOUT | POLLWRNORM : 0);
    struct pollfd p = {.fd = h->fd, .events = (short)wanted};

    (void)t;
    poll_host(pt, h->fd, wanted);
    return poll(&p, 1, 0) > 0 ? (uint32_t)(uint16_t)p.revents & ~(uint32_t)POLLNVAL : 0;
}

static long stream_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    struct hostfile *h = hostfile_of(f);
    int n;

    if (cmd != FIONREAD)
        return -ENOTTY;
    if (ioctl(h->fd, FIONREAD, &n) < 0)
        return -ENOTTY;
    return copy_out(t, arg, &n, sizeof(n));
}

/* ---- regular files --------------------------------------------------------------------------- */
/* The position is the host description's, shared with those outside, unless the call gives one. */
static ssize_t plain_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct hostfile *h = hostfile_of(f);
    char chunk[CHUNK];
    ssize_t done = 0;

    (void)t;
    while (u->left) {
        size_t n = MIN(u->left, sizeof(chunk));
        ssize_t r = pos == &f->pos ? read(h->fd, chunk, n) : pread(h->fd, chunk, n, *pos);

        if (r < 0)
            return done ? done : translate(errno);
        if (r == 0 || uio_copy_to(u, chunk, (size_t)r) != r)
            return done || r == 0 ? done : -EFAULT;
        done += r;
        *pos += r;
        if ((size_t)r < n)
            break;
    }
    return done;
}

static ssize_t plain_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct hostfile *h = hostfile_of(f);
    char chunk[CHUNK];
    ssize_t done = 0;

    (void)t;
    while (u->left) {
        ssize_t n = uio_copy_from(u, chunk, MIN(u->left, sizeof(chunk)));
        ssize_t r;

        if (n <= 0)
            return done ? done : -EFAULT;
        r = pos == &f->pos ? write(h->fd, chunk, (size_t)n) : pwrite(h->fd, chunk, (size_t)n, *pos);
        if (r < 0)
            return done ? done : translate(errno);
        done += r;
        *pos += r;
        if (r < n)
            break;
    }
    return done;
}

static int64_t plain_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    int64_t r = lseek(hostfile_of(f)->fd, offset, whence);

    (void)t;
    if (r >= 0)
        f->pos = r;
    return r < 0 ? -errno : r;
}

static int plain_mmap(struct task *t, struct file *f, int prot, int flags, uint64_t offset,
                      uint64_t size, struct mmap_backing *ret)
{
    (void)t;
    (void)prot;
    (void)flags;
    (void)offset;
    (void)size;
    *ret = (struct mmap_backing){.fd = hostfile_of(f)->fd,
                                 .max_prot = PROT_READ | (file_writable(f) ? PROT_WRITE : 0)};
    return 0;
}

static int plain_fsync(struct task *t, struct file *f, bool data_only)
{
    int fd = hostfile_of(f)->fd;

    (void)t;
    return (data_only ? fdatasync(fd) : fsync(fd)) < 0 ? -EIO : 0;
}

static int plain_truncate(struct task *t, struct file *f, int64_t size)
{
    (void)t;
    return ftruncate(hostfile_of(f)->fd, size) < 0 ? -EINVAL : 0;
}

static const struct file_ops stream_ops = {.read = stream_read,
                                           .write = stream_write,
                                           .poll = stream_poll,
                                           .ioctl = stream_ioctl,
                                           .name = "pipe:[%lu]"};
static const struct file_ops plain_ops = {.read = plain_read,
                                          .write = plain_write,
                                          .seek = plain_seek,
                                          .mmap = plain_mmap,
                                          .fsync = plain_fsync,
                                          .truncate = plain_truncate};

/* ---- inodes ---------------------------------------------------------------------------------- */
static int host_getattr(struct task *t, struct inode *i, struct attr *ret)
{
    struct hostfile *h = container_of(i, struct hostfile, inode);
    struct stat st;

    (void)t;
    if (fstat(h->fd, &st) < 0)
        return -EIO;
    /* Owners are host ids, which mean nothing inside: root's. */
    *ret = (struct attr){.mode = st.st_mode,
                         .nlink = (uint32_t)st.st_nlink,
                         .ino = st.st_ino,
                         .dev = i->super->dev,
                         .size = (uint64_t)st.st_size,
                         .blocks = (uint64_t)st.st_blocks,
                         .blksize = (uint32_t)st.st_blksize,
                         .atime = timespec_to_ns(&st.st_atim),
                         .mtime = timespec_to_ns(&st.st_mtim),
                         .ctime = timespec_to_ns(&st.st_ctim)};
    return 0;
}

/* Also for /dev/stdout and /proc/self/fd/N: another file on the same host description. What the
 * description can't do fails there. */
static int host_open(struct task *t, struct inode *i, struct file *f)
{
    (void)t;
    f->ino = i->ino; /* for its name, pipe:[N] */
    return 0;
}

static int host_permission(struct task *t, struct inode *i, int mask)
{
    (void)t;
    (void)i;
    return mask & MAY_EXEC ? -EACCES : 0;
}

static void host_evict(struct inode *i)
{
    struct hostfile *h = container_of(i, struct hostfile, inode);

    (void)close(h->fd);
    inode_fini(i);
    free(h);
}

static const struct inode_ops host_inode_ops = {
    .getattr = host_getattr, .open = host_open, .permission = host_permission, .evict = host_evict};

static struct super *host_super(void)
{
    static const struct fs_type type = {.name = "pipefs", .magic = 0x50495045};
    static const struct super_ops ops;
    static struct mutex lock = MUTEX_INIT;
    static struct super *super; /* guarded by lock; kept */

    mutex_lock(&lock);
    if (!super)
        super = super_new(&type, &ops, NULL);
    mutex_unlock(&lock);
    return super;
}

int hostfile_new(struct task *t, int host_fd, struct file **ret)
{
    int flags = fcntl(host_fd, F_GETFL), r;
    struct super *super = host_super();
    struct hostfile *h;
    struct stat st;

    if (flags < 0 || fstat(host_fd, &st) < 0)
        return -EBADF;
    h = calloc(1, sizeof(*h));
    if (!h || !super) {
        free(h);
        return -ENOMEM;
    }
    h->fd = -1; /* ours only once nothing can fail */
    h->mode = st.st_mode;
    inode_init(&h->inode, super, &host_inode_ops, S_ISREG(st.st_mode) ? &plain_ops : &stream_ops,
               inode_next_ino(), (S_ISREG(st.st_mode) ? S_IFREG : S_IFIFO) | 0600, 0, 0);
    r = vfs_open_anonymous(t, &h->inode, "stream", (unsigned)flags & O_ACCMODE, ret);
    if (r == 0)
        h->fd = host_fd;
    return r;
}
