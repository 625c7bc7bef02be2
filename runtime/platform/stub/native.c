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

int native_call(struct slot *s, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    long r;

    if (nr == __NR_sched_yield) {
        *ret = (uint64_t)SYS1(__NR_sched_yield, 0);
        return 1;
    }
    if (nr != __NR_futex || !futex_is_native(args[1]))
        return 0;
    /* A wait that was broken off for no reason of the sentry's goes on. */
    do {
        r = stub_futex(s, args[0], args[1], args[2], args[3], args[4], args[5]);
    } while (r == -E_INTR && !__atomic_load_n(&s->intr, __ATOMIC_RELAXED));
    if (r == -E_INTR)
        return -1;
    *ret = (uint64_t)r;
    return 1;
}
