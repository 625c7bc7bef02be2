/* membarrier(2): registration, and that what it says holds. */
#include "t.h"
#include <linux/membarrier.h>
#include <stdatomic.h>

enum { TURNS = 500 };

static volatile int x, y, seen_by_other;
static atomic_int turn, done;

static long barrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

static void commands(void)
{
    SECTION("commands");
    TRUTH("the common ones", (barrier(MEMBARRIER_CMD_QUERY) & 0x7f) == 0x7f);
    R(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 8, 0));
    R(barrier(3));
    R(barrier(MEMBARRIER_CMD_GLOBAL));
    R(barrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED));
    R(barrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED));
    R(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
    R(barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
    R(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
    R(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE));
    R(barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE));
    R(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE));
    CHILD("a fork is registered, too", _exit(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0));
}

/* The fast side: a store and a load, ordered by the other's barrier only. */
static void *fast(void *arg)
{
    for (int i = 1; i <= TURNS; i++) {
        while (atomic_load(&turn) < i)
            (void)sched_yield();
        x = 1;
        atomic_signal_fence(memory_order_seq_cst);
        seen_by_other = y;
        atomic_store(&done, i);
    }
    return arg;
}

static void ordering(void)
{
    int violated = 0, seen;
    pthread_t t;

    SECTION("ordering");
    MUST(pthread_create(&t, NULL, fast, NULL));
    for (int i = 1; i <= TURNS; i++) {
        x = y = 0;
        atomic_store(&turn, i);
        y = 1;
        (void)barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        seen = x;
        while (atomic_load(&done) < i)
            (void)sched_yield();
        violated += !seen && !seen_by_other;
    }
    (void)pthread_join(t, NULL);
    R(violated);
}

int main(void)
{
    commands();
    ordering();
    return 0;
}
