/*
 * Calls on descriptors that the sentry lent (slot.h): executed by the host on the stub's own
 * descriptor, as long as its generation is the sentry's.
 */
#include "runtime/platform/filter.h"
#include "runtime/platform/stub/stub.h"

enum { K_MSG_DONTWAIT = 0x40, K_MSG_NOSIGNAL = 0x4000 };

/* Ours for the guest's descriptor, or -1. */
static int lent_fd(const struct area *a, uint64_t guest, struct lent **ret)
{
    struct lent *l;
    uint64_t ours;
    uint32_t generation;

    guest = (uint32_t)guest;
    if (guest >= LENT_MAX)
        return -1;
    l = lent_at(a, guest);
    generation = __atomic_load_n(&l->generation, __ATOMIC_SEQ_CST);
    ours = __atomic_load_n(&proc_of(a)->donated[guest], __ATOMIC_RELAXED);
    *ret = l;
    return generation && ours >> 32 == generation ? (int)(uint32_t)ours : -1;
}

static bool is_file(const struct lent *l)
{
    return l->flags & LENT_FILE;
}

/* Whoever takes a descriptor back waits until nobody is between these two; in between it is looked
 * at once more. */
static void enter(struct lent *l)
{
    (void)__atomic_fetch_add(&l->busy, 1, __ATOMIC_SEQ_CST);
}

static void leave(struct lent *l)
{
    (void)__atomic_fetch_sub(&l->busy, 1, __ATOMIC_RELEASE);
}

static void note(const struct lent *l, uint64_t *stamp, long r)
{
    if (r > 0 && (l->flags & LENT_TIMES))
        __atomic_store_n(stamp, read_tsc(), __ATOMIC_RELAXED);
}

/* A file that the sentry lent, at an explicit offset. Whatever goes wrong is the sentry's to say.
 */
static int file_pread(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r;

    if (fd < 0 || !is_file(l))
        return 0;
    r = SYS4(__NR_pread64, fd, args[1], args[2], args[3]);
    note(l, &l->read, r);
    *ret = (uint64_t)r;
    return r >= 0;
}

/* lseek to an absolute place or from the current one. */
static int file_lseek(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int64_t to = (int64_t)args[1];
    uint32_t whence = (uint32_t)args[2];

    if (lent_fd(a, args[0], &l) < 0 || !(l->flags & LENT_POS) || whence > 1)
        return 0;
    enter(l);
    if (whence == 1 && __builtin_add_overflow(to, l->pos, &to))
        to = -1;
    if (lent_fd(a, args[0], &l) < 0)
        to = -1;
    if (to >= 0)
        l->pos = to;
    leave(l);
    *ret = (uint64_t)to;
    return to >= 0;
}

/* read at its position, which is lent to processes of one thread only. */
static int file_read(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r = -1;

    if (fd < 0 || !(l->flags & LENT_POS))
        return 0;
    enter(l);
    if (lent_fd(a, args[0], &l) == fd) {
        r = SYS4(__NR_pread64, fd, args[1], args[2], l->pos);
        if (r > 0)
            l->pos += r;
        note(l, &l->read, r);
    }
    leave(l);
    *ret = (uint64_t)r;
    return r >= 0;
}

/* Within the file only: that it grows is the sentry's to know. */
static long write_within(const struct area *a, struct lent *l, int fd, const uint64_t args[6],
                         int64_t pos)
{
    int64_t size = (int64_t)args[2];
    long r = -1;

    if (size <= 0 || pos < 0 || pos >= l->limit || size > l->limit - pos)
        return -1;
    if (lent_fd(a, args[0], &l) == fd) {
        r = SYS4(__NR_pwrite64, fd, args[1], args[2], pos);
        note(l, &l->written, r);
    }
    return r;
}

static int file_pwrite(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r;

    if (fd < 0 || !(l->flags & LENT_WRITE))
        return 0;
    enter(l);
    r = write_within(a, l, fd, args, (int64_t)args[3]);
    leave(l);
    *ret = (uint64_t)r;
    return r >= 0;
}

static int file_write(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r;

    if (fd < 0 || (l->flags & (LENT_WRITE | LENT_POS)) != (LENT_WRITE | LENT_POS))
        return 0;
    enter(l);
    r = write_within(a, l, fd, args, l->pos);
    if (r > 0)
        l->pos += r;
    leave(l);
    *ret = (uint64_t)r;
    return r >= 0;
}

/*
 * Stream sockets: what is there, or what fits. To wait, and to raise SIGPIPE, is the sentry's;
 * other errors are told here, for a socket tells them once.
 */
static int stream_done(const struct lent *l, long r, uint64_t *ret)
{
    *ret = (uint64_t)r;
    if (r == -E_INTR || r == -E_PIPE)
        return 0;
    return r != -E_AGAIN || (l->flags & LENT_SEND);
}

static int native_recv(const struct area *a, const uint64_t args[6], uint64_t flags, uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);

    if (fd < 0 || !(l->flags & LENT_RECV) || !args[2] || (flags & ~(uint64_t)K_MSG_DONTWAIT))
        return 0;
    return stream_done(l, sys6(__NR_recvfrom, (uint64_t)fd, args[1], args[2], K_MSG_DONTWAIT, 0, 0),
                       ret);
}

static int native_send(const struct area *a, const uint64_t args[6], uint64_t flags, uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);

    if (fd < 0 || !(l->flags & LENT_SEND) || !args[2] ||
        (flags & ~(uint64_t)(K_MSG_DONTWAIT | K_MSG_NOSIGNAL)))
        return 0;
    return stream_done(l, sys6(__NR_sendto, (uint64_t)fd, args[1], args[2], STUB_SEND_FLAGS, 0, 0),
                       ret);
}

/* Of several buffers. Without flags: the host's socket never waits, and SIGPIPE is ignored. */
static int native_vector(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);

    if (fd < 0 || !(l->flags & (nr == __NR_readv ? LENT_RECV : LENT_SEND)) || !args[2])
        return 0;
    return stream_done(l, SYS3(nr, fd, args[1], args[2]), ret);
}

int lent_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    switch (nr) {
    case __NR_pread64:
        return file_pread(a, args, ret);
    case __NR_pwrite64:
        return file_pwrite(a, args, ret);
    case __NR_lseek:
        return file_lseek(a, args, ret);
    case __NR_read:
        return file_read(a, args, ret) || native_recv(a, args, 0, ret) ||
               told_call(a, nr, args, ret);
    case __NR_write:
        return file_write(a, args, ret) || native_send(a, args, 0, ret);
    case __NR_readv:
    case __NR_writev:
        return native_vector(a, nr, args, ret);
    case __NR_recvfrom:
        return args[4] ? 0 : native_recv(a, args, (uint32_t)args[3], ret);
    case __NR_sendto:
        return args[4] ? 0 : native_send(a, args, (uint32_t)args[3], ret);
    default:
        return told_call(a, nr, args, ret);
    }
}

/* Never fails: then the calls go to the sentry, as before. */
long op_donate(const struct area *a, const struct slot_op *op)
{
    struct stub_proc *p = proc_of(a);
    int32_t fds[2];

    if (op->a[0] >= LENT_MAX || fds_take(p, op->tag, fds) != 1)
        return 0;
    (void)op_revoke(a, op);
    __atomic_store_n(&p->donated[op->a[0]], op->a[1] << 32 | (uint32_t)fds[0], __ATOMIC_RELEASE);
    return 0;
}

long op_revoke(const struct area *a, const struct slot_op *op)
{
    struct stub_proc *p = proc_of(a);
    uint64_t ours;

    if (op->a[0] >= LENT_MAX)
        return 0;
    ours = __atomic_exchange_n(&p->donated[op->a[0]], 0, __ATOMIC_ACQ_REL);
    if (ours)
        fds_close((int32_t)(uint32_t)ours);
    return 0;
}
