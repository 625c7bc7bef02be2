/* From file to file without the guest in between: sendfile, copy_file_range, splice, tee, vmsplice;
 * and memfd_create. Bytes go through one bounce buffer. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/vfs/poll.h"
#include "runtime/sentry/vfs/setup.h"

#include <linux/memfd.h>
#include <string.h>

enum { CHUNK = 65536 };

static int copy_in_pos(struct task *t, gaddr_t addr, int64_t *pos)
{
    if (copy_in(t, pos, addr, sizeof(*pos)) < 0)
        return -EFAULT;
    return *pos < 0 ? -EINVAL : 0;
}

/* One direction of a copy: at an explicit position or at the file's own. */
struct end {
    struct file *f;
    int64_t pos;
    bool explicit; /* pos is the guest's, else f->pos */
};

static ssize_t read_end(struct task *t, struct end *e, char *buf, size_t size)
{
    struct uio u;

    uio_init_kernel(&u, buf, size);
    return vfs_read(t, e->f, &u, e->f->ops->seek ? &e->pos : NULL);
}

static ssize_t write_end(struct task *t, struct end *e, char *buf, size_t size)
{
    struct uio u;
    size_t done = 0;

    while (done < size) { /* a blocking socket may take it piece by piece */
        ssize_t n;

        uio_init_kernel(&u, buf + done, size - done);
        n = vfs_write(t, e->f, &u, e->f->ops->seek ? &e->pos : NULL);
        if (n <= 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        if (file_nonblock(e->f))
            break;
    }
    return (ssize_t)done;
}

static void begin(struct task *t, struct end *e)
{
    if (!e->explicit && e->f->ops->seek)
        e->pos = vfs_seek(t, e->f, 0, SEEK_CUR);
}

static void finish(struct task *t, struct end *e)
{
    if (!e->explicit && e->f->ops->seek)
        (void)vfs_seek(t, e->f, e->pos, SEEK_SET);
}

static long copy_loop(struct task *t, struct end *in, struct end *out, uint64_t size)
{
    CLEANUP(free_ptr) char *buf = malloc(CHUNK);
    uint64_t done = 0;
    long r = buf ? 0 : -ENOMEM;

    begin(t, in);
    begin(t, out);
    while (r == 0 && done < size) {
        int64_t before = in->pos;
        ssize_t n = read_end(t, in, buf, (size_t)MIN(size - done, (uint64_t)CHUNK)), w;

        if (n <= 0) {
            r = n;
            break;
        }
        w = write_end(t, out, buf, (size_t)n);
        in->pos = before + (w > 0 ? w : 0); /* what was not written was not read */
        if (w <= 0) {
            r = w;
            break;
        }
        done += (uint64_t)w;
        if (w < n)
            break;
    }
    finish(t, in);
    finish(t, out);
    return done ? (long)done : r;
}

/* Does no range of `size` bytes start at pos? */
static bool beyond(int64_t pos, uint64_t size)
{
    return size > INT64_MAX || pos > INT64_MAX - (int64_t)size;
}

long sys_sendfile(struct task *t, const struct sysargs *a)
{
    AUTO_FILE out = fd_get(t, (int)a->v[0]);
    AUTO_FILE in = fd_get(t, (int)a->v[1]);
    struct end from = {.f = in, .explicit = a->v[2] != 0}, to = {.f = out};
    long n;

    if (!in || !out || !file_readable(in) || !file_writable(out))
        return -EBADF;
    n = from.explicit ? copy_in_pos(t, a->v[2], &from.pos) : 0;
    if (n < 0)
        return n;
    if (!in->ops->seek)
        return from.explicit ? -ESPIPE : -EINVAL;
    if (!in->ops->read || (in->inode && S_ISDIR(in->inode->mode)) || (out->flags & O_APPEND) ||
        beyond(from.explicit ? from.pos : 0, a->v[3]))
        return -EINVAL;
    n = copy_loop(t, &from, &to, MIN(a->v[3], UIO_MAX_BYTES));
    if (n >= 0 && from.explicit && copy_out(t, a->v[2], &from.pos, sizeof(from.pos)) < 0)
        return -EFAULT;
    fd_was_sent(t, (int)a->v[1], in);
    return n;
}

static int check_regular(const struct file *f)
{
    if (!f->inode || !S_ISREG(f->inode->mode))
        return f->inode && S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
    return 0;
}

long sys_copy_file_range(struct task *t, const struct sysargs *a)
{
    AUTO_FILE in = fd_get(t, (int)a->v[0]);
    AUTO_FILE out = fd_get(t, (int)a->v[2]);
    struct end from = {.f = in, .explicit = a->v[1] != 0};
    struct end to = {.f = out, .explicit = a->v[3] != 0};
    uint64_t size = MIN(a->v[4], UIO_MAX_BYTES);
    int64_t at_in, at_out;
    long r;

    if (!in || !out)
        return -EBADF;
    if (a->v[5])
        return -EINVAL;
    if ((from.explicit && (r = copy_in_pos(t, a->v[1], &from.pos)) < 0) ||
        (to.explicit && (r = copy_in_pos(t, a->v[3], &to.pos)) < 0))
        return r;
    r = check_regular(in);
    if (r == 0)
        r = check_regular(out);
    if (r < 0)
        return r;
    if (!file_readable(in) || !file_writable(out) || (out->flags & O_APPEND))
        return -EBADF;
    at_in = from.explicit ? from.pos : in->pos;
    at_out = to.explicit ? to.pos : out->pos;
    if (in->inode == out->inode && at_in < at_out + (int64_t)size &&
        at_out < at_in + (int64_t)size && size)
        return -EINVAL;
    r = copy_loop(t, &from, &to, size);
    if (r >= 0 && from.explicit && copy_out(t, a->v[1], &from.pos, sizeof(from.pos)) < 0)
        return -EFAULT;
    if (r >= 0 && to.explicit && copy_out(t, a->v[3], &to.pos, sizeof(to.pos)) < 0)
        return -EFAULT;
    return r;
}

/* ---- splice -----------------------------------------------------------------------------------*/
enum { SPLICE_KNOWN = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT };

/* Bytes that can be looked at in p, waiting for them; 0 at its end. */
static ssize_t peek_wait(struct task *t, struct file *f, char *buf, size_t size, bool nonblock)
{
    for (;;) {
        ssize_t n = pipe_peek(pipe_of(f), buf, size, 0);
        int r;

        if (n != -EAGAIN || nonblock)
            return n;
        r = vfs_wait(t, f, POLLIN, DEADLINE_NONE);
        if (r < 0)
            return r;
    }
}

static ssize_t give_wait(struct task *t, struct file *f, const char *buf, size_t size,
                         bool nonblock)
{
    for (;;) {
        ssize_t n = pipe_give(pipe_of(f), buf, size);
        int r;

        if (n == -EPIPE)
            pipe_signal(t);
        if (n != -EAGAIN || nonblock)
            return n;
        r = vfs_wait(t, f, POLLOUT, DEADLINE_NONE);
        if (r < 0)
            return r;
    }
}

static int room_wait(struct task *t, struct file *f, bool nonblock)
{
    while (!pipe_room(pipe_of(f))) {
        int r = nonblock ? -EAGAIN : vfs_wait(t, f, POLLOUT, DEADLINE_NONE);

        if (r < 0)
            return r;
        if (vfs_poll(t, f, NULL) & POLLERR)
            break; /* no readers: giving will say EPIPE */
    }
    return 0;
}

static long splice_chunk(struct task *t, struct end *in, struct end *out, char *buf, size_t size,
                         bool nonblock)
{
    struct pipe *from = pipe_of(in->f), *to = pipe_of(out->f);
    ssize_t n, w;
    int r;

    if (to) {
        r = room_wait(t, out->f, nonblock || file_nonblock(out->f));
        if (r < 0)
            return r;
        if (pipe_room(to))
            size = MIN(size, pipe_room(to));
    }
    n = from ? peek_wait(t, in->f, buf, size, nonblock || file_nonblock(in->f))
             : read_end(t, in, buf, size);
    if (n <= 0)
        return n;
    if (!to) {
        w = write_end(t, out, buf, (size_t)n);
    } else {
        ssize_t part = 0;

        for (w = 0; w < n && part >= 0; w += part > 0 ? part : 0) {
            /* what was read from a file is gone from there: it must get in */
            part = give_wait(t, out->f, buf + w, (size_t)(n - w), from && nonblock);
            if (from && part > 0 && part < n - w) {
                w += part;
                break;
            }
        }
        if (!w)
            w = part;
    }
    if (from && w > 0)
        pipe_consume(from, (size_t)w);
    return w;
}

static long splice_loop(struct task *t, struct end *in, struct end *out, uint64_t size,
                        bool nonblock)
{
    CLEANUP(free_ptr) char *buf = malloc(CHUNK);
    uint64_t done = 0;
    long n = buf ? 0 : -ENOMEM;

    if (!buf)
        return n;
    begin(t, in);
    begin(t, out);
    while (done < size) {
        /* waits only for the first bytes */
        n = splice_chunk(t, in, out, buf, (size_t)MIN(size - done, (uint64_t)CHUNK),
                         nonblock || done);
        if (n <= 0)
            break;
        done += (uint64_t)n;
        if (!pipe_of(in->f) && !in->f->ops->seek)
            break; /* a socket gives what it has */
    }
    finish(t, in);
    finish(t, out);
    return done ? (long)done : n;
}

static long splice_offset(struct task *t, struct end *e, gaddr_t addr)
{
    if (!addr)
        return 0;
    if (pipe_of(e->f) || !e->f->ops->seek)
        return -ESPIPE;
    e->explicit = true;
    return copy_in_pos(t, addr, &e->pos);
}

long sys_splice(struct task *t, const struct sysargs *a)
{
    AUTO_FILE in = fd_get(t, (int)a->v[0]);
    AUTO_FILE out = fd_get(t, (int)a->v[2]);
    struct end from = {.f = in}, to = {.f = out};
    unsigned flags = (unsigned)a->v[5];
    long r;

    if (flags & ~(unsigned)SPLICE_KNOWN)
        return -EINVAL;
    if (!a->v[4])
        return 0;
    if (!in || !out || !file_readable(in) || !file_writable(out))
        return -EBADF;
    r = splice_offset(t, &from, a->v[1]);
    if (r == 0)
        r = splice_offset(t, &to, a->v[3]);
    if (r < 0)
        return r;
    if ((!pipe_of(in) && !pipe_of(out)) || (pipe_of(in) && pipe_of(in) == pipe_of(out)) ||
        (!pipe_of(out) && (out->flags & O_APPEND)) || beyond(from.pos, a->v[4]) ||
        beyond(to.pos, a->v[4]))
        return -EINVAL;
    r = splice_loop(t, &from, &to, MIN(a->v[4], UIO_MAX_BYTES), flags & SPLICE_F_NONBLOCK);
    if (r > 0 && from.explicit && copy_out(t, a->v[1], &from.pos, sizeof(from.pos)) < 0)
        return -EFAULT;
    if (r > 0 && to.explicit && copy_out(t, a->v[3], &to.pos, sizeof(to.pos)) < 0)
        return -EFAULT;
    return r;
}

long sys_tee(struct task *t, const struct sysargs *a)
{
    AUTO_FILE in = fd_get(t, (int)a->v[0]);
    AUTO_FILE out = fd_get(t, (int)a->v[1]);
    bool nonblock = a->v[3] & SPLICE_F_NONBLOCK;
    CLEANUP(free_ptr) char *buf = NULL;
    ssize_t n;
    int r;

    if (a->v[3] & ~(uint64_t)SPLICE_KNOWN)
        return -EINVAL;
    if (!a->v[2])
        return 0;
    if (!in || !out || !file_readable(in) || !file_writable(out))
        return -EBADF;
    if (!pipe_of(in) || !pipe_of(out) || pipe_of(in) == pipe_of(out))
        return -EINVAL;
    buf = malloc(CHUNK);
    if (!buf)
        return -ENOMEM;
    r = room_wait(t, out, nonblock || file_nonblock(out));
    if (r < 0)
        return r;
    n = peek_wait(t, in, buf, (size_t)MIN(a->v[2], (uint64_t)CHUNK), nonblock || file_nonblock(in));
    return n <= 0 ? n : give_wait(t, out, buf, (size_t)n, nonblock);
}

long sys_vmsplice(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    struct uio u;
    long r;

    if (a->v[3] & ~(uint64_t)SPLICE_KNOWN)
        return -EINVAL;
    if (!f || !pipe_of(f))
        return -EBADF;
    r = uio_init_guest_iov(&u, t, a->v[1], a->v[2]);
    if (r < 0)
        return r;
    if ((a->v[3] & SPLICE_F_NONBLOCK) &&
        !(file_writable(f) ? pipe_room(pipe_of(f)) : pipe_available(pipe_of(f))))
        r = -EAGAIN;
    else
        r = file_writable(f) ? vfs_write(t, f, &u, NULL) : vfs_read(t, f, &u, NULL);
    uio_fini(&u);
    return r;
}

/* ---- memfd ------------------------------------------------------------------------------------*/
long sys_memfd_create(struct task *t, const struct sysargs *a)
{
    enum { NAME = 249, NOEXEC_SEAL = 8, EXEC = 16 };
    unsigned flags = (unsigned)a->v[1];
    char name[NAME + 8] = "memfd:";
    struct file *f;
    ssize_t n;
    int r;

    if (flags & MFD_HUGETLB)
        return -ENOSYS;
    if ((flags & ~(unsigned)(MFD_CLOEXEC | MFD_ALLOW_SEALING | NOEXEC_SEAL | EXEC)) ||
        (flags & (NOEXEC_SEAL | EXEC)) == (NOEXEC_SEAL | EXEC))
        return -EINVAL;
    n = copy_in_string(t, name + 6, a->v[0], NAME + 1);
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    r = shmem_file_new(0, flags, name, &f);
    return r < 0 ? r : install_file(t, f, flags & MFD_CLOEXEC);
}
