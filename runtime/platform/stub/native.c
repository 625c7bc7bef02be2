/*
 * Calls that the host executes for the guest as they are. All futex operations, or a word would
 * have two queues; those with priority inheritance are pi.c's.
 */
#include "runtime/platform/stub/stub.h"

static bool futex_is_native(uint64_t op)
{
    uint32_t cmd = (uint32_t)op & ~0x180U;

    return cmd < 6 ? cmd != 2 : cmd == 9 || cmd == 10;
}

bool native_is_futex(uint64_t nr)
{
    return nr == __NR_futex || nr == NR_FUTEX_WAITV;
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
    return lent_call(a, nr, args, ret) ? 1 : native_futex(s, nr, args, ret);
}
