/*
 * Calls that the host executes for the guest as they are. All futex operations without priority
 * inheritance, or a word would have two queues.
 */
#include "runtime/platform/stub/stub.h"

static bool futex_is_native(uint64_t op)
{
    uint32_t cmd = (uint32_t)op & ~0x180U;

    return cmd < 6 ? cmd != 2 : cmd == 9 || cmd == 10;
}

/* A file that the sentry donated, at an explicit offset. Whatever goes wrong is the sentry's to
 * say. */
static int native_pread(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    uint32_t guest = (uint32_t)args[0], fd;
    long r;

    if (guest >= DONATED_MAX)
        return 0;
    fd = __atomic_load_n(&proc_of(a)->donated[guest], __ATOMIC_RELAXED);
    if (!fd)
        return 0;
    r = SYS4(__NR_pread64, fd - 1, args[1], args[2], args[3]);
    if (r < 0)
        return 0;
    *ret = (uint64_t)r;
    return 1;
}

long op_donate(const struct area *a, const struct slot_op *op)
{
    struct stub_proc *p = proc_of(a);
    int32_t fds[2];

    if (op->a[0] >= DONATED_MAX || fds_take(p, op->tag, fds) != 1)
        return -E_INVAL;
    (void)op_revoke(a, op);
    __atomic_store_n(&p->donated[op->a[0]], (uint16_t)(fds[0] + 1), __ATOMIC_RELEASE);
    return 0;
}

long op_revoke(const struct area *a, const struct slot_op *op)
{
    struct stub_proc *p = proc_of(a);
    uint16_t fd;

    if (op->a[0] >= DONATED_MAX)
        return -E_INVAL;
    fd = __atomic_exchange_n(&p->donated[op->a[0]], 0, __ATOMIC_ACQ_REL);
    if (fd)
        fds_close(fd - 1);
    return 0;
}

int native_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    struct slot *s = slot_of(a);
    long r;

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
    if (nr != __NR_futex || !futex_is_native(args[1]))
        return 0;
    /* A wait that was broken off for no reason of the sentry's goes on. */
    s->waits = 1;
    do {
        r = stub_futex(s, args[0], args[1], args[2], args[3], args[4], args[5]);
    } while (r == -E_INTR && !__atomic_load_n(&s->intr, __ATOMIC_RELAXED));
    s->waits = 0;
    if (r == -E_INTR)
        return -1;
    *ret = (uint64_t)r;
    return 1;
}
