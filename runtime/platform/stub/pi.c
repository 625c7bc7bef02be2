/*
 * Locks with priority inheritance (FUTEX_LOCK_PI and its kin): the word is ours to keep, over the
 * host's plain futexes. The host's own would compare words with its numbers of threads. Nobody
 * inherits a priority: guests' are recorded, no more. An owner that never was is waited for, where
 * Linux says ESRCH.
 */
#include "runtime/platform/stub/stub.h"

enum { LOCK = 6, UNLOCK, TRYLOCK, LOCK2 = 13 };
enum { WAIT_BITSET = 9, REALTIME = 0x100 };
#define WAITERS 0x80000000U
#define OWNER   0x3fffffffU

static uint32_t command(uint64_t op)
{
    return (uint32_t)op & ~(uint32_t)(K_FUTEX_PRIVATE | REALTIME);
}

bool pi_is(uint64_t op)
{
    uint32_t cmd = command(op);

    return (cmd >= LOCK && cmd <= TRYLOCK) || cmd == LOCK2;
}

/* Sleeps until the word is no longer `word`, or somebody unlocks. */
static long sleep_on(struct slot *s, uint64_t at, uint64_t op, uint32_t word, uint64_t timeout)
{
    uint64_t clock = command(op) == LOCK ? REALTIME : op & REALTIME;
    long r;

    do {
        r = stub_futex(s, at, WAIT_BITSET | clock | (op & K_FUTEX_PRIVATE), word, timeout, 0, ~0U,
                       __NR_futex);
    } while (r == -E_INTR && !__atomic_load_n(&s->intr, __ATOMIC_RELAXED));
    return r;
}

/* Who slept does not know of the others that do, so it takes the word as one with waiters. */
static long lock(struct slot *s, uint64_t at, uint64_t op, uint64_t timeout)
{
    uint32_t tid = (uint32_t)s->id.tid, slept = 0, now, want;
    long word = stub_cmpxchg(at, 0, 0), r;

    while (word >= 0) {
        now = (uint32_t)word;
        if ((now & OWNER) == tid)
            return -E_DEADLK;
        if ((now & OWNER) && command(op) == TRYLOCK)
            return -E_AGAIN;
        want = now & OWNER ? now | WAITERS : now | tid | slept;
        if (want != now) {
            word = stub_cmpxchg(at, now, want);
            if (word != (long)now)
                continue;
        }
        if (!(now & OWNER))
            return 0;
        r = sleep_on(s, at, op, want, timeout);
        if (r < 0 && r != -E_AGAIN)
            return r;
        if (r == 0)
            slept = WAITERS;
        word = stub_cmpxchg(at, 0, 0);
    }
    return word;
}

static long unlock(const struct slot *s, uint64_t at, uint64_t op)
{
    uint32_t tid = (uint32_t)s->id.tid;
    long word = stub_cmpxchg(at, tid, 0), was;

    if (word == (long)tid)
        return 0;
    while (word >= 0 && ((uint32_t)word & OWNER) == tid) {
        was = stub_cmpxchg(at, (uint32_t)word, 0);
        if (was == word) {
            (void)SYS3(__NR_futex, at, K_FUTEX_WAKE | (op & K_FUTEX_PRIVATE), 1);
            return 0;
        }
        word = was;
    }
    return word < 0 ? word : -E_PERM;
}

long pi_call(struct slot *s, const uint64_t args[6])
{
    if (args[0] & 3)
        return -E_INVAL;
    if (command(args[1]) == UNLOCK)
        return unlock(s, args[0], args[1]);
    return lock(s, args[0], args[1], command(args[1]) == TRYLOCK ? 0 : args[3]);
}
