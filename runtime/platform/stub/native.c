/*
 * Calls that the host executes for the guest as they are. All futex operations, or a word would
 * have two queues; those with priority inheritance are pi.c's.
 */
#include "runtime/platform/filter.h"
#include "runtime/platform/stub/stub.h"

enum { K_MSG_DONTWAIT = 0x40, K_MSG_NOSIGNAL = 0x4000 };

static bool futex_is_native(uint64_t op)
{
    uint32_t cmd = (uint32_t)op & ~0x180U;

    return cmd < 6 ? cmd != 2 : cmd == 9 || cmd == 10;
}

bool native_is_futex(uint64_t nr)
{
    return nr == __NR_futex || nr == NR_FUTEX_WAITV;
}

/* Ours for the guest's descriptor, or -1. */
static int lent_fd(const struct area *a, uint64_t guest, struct lent **ret)
{
    struct lent *l;
    uint64_t ours;
    uint32_t generation;

    guest = (uint32_t)guest;
    if (guest >= LENT_MAX)
        return -1;
    l = (struct lent *)(a->base + SLOTS_OFF + LENT_OFF) + guest;
    generation = __atomic_load_n(&l->generation, __ATOMIC_SEQ_CST);
    ours = __atomic_load_n(&proc_of(a)->donated[guest], __ATOMIC_RELAXED);
    *ret = l;
    return generation && ours >> 32 == generation ? (int)(uint32_t)ours : -1;
}

/* A file that the sentry lent, at an explicit offset. Whatever goes wrong is the sentry's to say.
 */
static int native_pread(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r = fd < 0 ? -1 : SYS4(__NR_pread64, fd, args[1], args[2], args[3]);

    *ret = (uint64_t)r;
    return r >= 0;
}

/* lseek to an absolute place or from the current one. */
static int native_lseek(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int64_t to = (int64_t)args[1];
    uint32_t whence = (uint32_t)args[2];

    if (lent_fd(a, args[0], &l) < 0 || !(l->flags & LENT_POS) || whence > 1)
        return 0;
    __atomic_store_n(&l->busy, 1, __ATOMIC_SEQ_CST);
    if (whence == 1 && __builtin_add_overflow(to, l->pos, &to))
        to = -1;
    if (lent_fd(a, args[0], &l) < 0)
        to = -1;
    if (to >= 0)
        l->pos = to;
    __atomic_store_n(&l->busy, 0, __ATOMIC_RELEASE);
    *ret = (uint64_t)to;
    return to >= 0;
}

/* The same at its position, which is lent to processes of one thread only. Who takes it back waits
 * for `busy` after that. */
static int native_read(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    struct lent *l;
    int fd = lent_fd(a, args[0], &l);
    long r = -1;

    if (fd < 0 || !(l->flags & LENT_POS))
        return 0;
    __atomic_store_n(&l->busy, 1, __ATOMIC_SEQ_CST);
    if (lent_fd(a, args[0], &l) == fd) {
        r = SYS4(__NR_pread64, fd, args[1], args[2], l->pos);
        if (r > 0)
            l->pos += r;
    }
    __atomic_store_n(&l->busy, 0, __ATOMIC_RELEASE);
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

static int native_stream(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    switch (nr) {
    case __NR_read:
        return native_recv(a, args, 0, ret);
    case __NR_recvfrom:
        return args[4] ? 0 : native_recv(a, args, (uint32_t)args[3], ret);
    case __NR_write:
        return native_send(a, args, 0, ret);
    case __NR_sendto:
        return args[4] ? 0 : native_send(a, args, (uint32_t)args[3], ret);
    default:
        return 0;
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

static int native_futex(struct slot *s, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    bool pi = nr == __NR_futex && pi_is(args[1]);
    long r;

    if (!native_is_futex(nr) || (nr == __NR_futex && !pi && !futex_is_native(args[1])))
        return 0;
    /* A wait that was broken off for no reason of the sentry's goes on. */
    s->waits = 1;
    do {
        r = pi ? pi_call(s, args)
               : stub_futex(s, args[0], args[1], args[2], args[3], args[4], args[5], nr);
    } while (r == -E_INTR && !__atomic_load_n(&s->intr, __ATOMIC_RELAXED));
    s->waits = 0;
    if (r == -E_INTR)
        return -1;
    *ret = (uint64_t)r;
    return 1;
}

int native_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    struct slot *s = slot_of(a);

    if (nr == __NR_sched_yield) {
        *ret = (uint64_t)SYS1(__NR_sched_yield, 0);
        return 1;
    }
    if (local_is(nr)) {
        uint64_t r0;

        if (!local_call(a, nr, args, &r0))
            return 0;
        *ret = r0;
        return 1;
    }
    if (nr == __NR_pread64)
        return native_pread(a, args, ret);
    if (nr == __NR_lseek)
        return native_lseek(a, args, ret);
    if (nr == __NR_read && native_read(a, args, ret))
        return 1;
    if (nr == __NR_read || nr == __NR_write || nr == __NR_sendto || nr == __NR_recvfrom)
        return native_stream(a, nr, args, ret);
    return native_futex(s, nr, args, ret);
}
