/*
 * The sentry's side of the hand-over: who may run is one word in the slot. Spinning is limited to
 * where it can win: the peer runs on another CPU, and the guest's calls have followed each other
 * closely of late.
 */
#include "runtime/guard.h"
#include "runtime/platform/internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SPIN_NS = 30000,
    GAP_MAX_NS = 100000,   /* what one long computation counts for at most */
    GAP_SPIN_NS = 24000,   /* longer than this on average: don't spin */
    GAP_BUSY_NS = 10000,   /* the same where others want the processor */
    PREEMPTED_NS = 15000,  /* a look at the clock that took longer: another thread ran here */
    BUSY_FOR_NS = 3000000, /* how long that counts */
    SAME_CPU_MAX = 16,     /* hand-overs on one CPU before the sentry's thread moves elsewhere */
    STEER_MIN_NS = 200000,
    STEER_MAX_NS = 200000000,
};

#define ENDING_NS 1000000000ULL /* plat_ending */

static atomic_uint ticks_per_us;     /* of the time stamp counter; measured once */
static uint64_t base_ns, base_ticks; /* when that was; immutable then */
static _Atomic(uint64_t) busy_until; /* time stamp: a spinning thread was preempted of late */

static uint64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

void turn_init(void)
{
    uint64_t n0, t0, n1, t1;

    if (atomic_load(&ticks_per_us))
        return;
    n0 = now_ns();
    t0 = read_tsc();
    do {
        n1 = now_ns();
    } while (n1 - n0 < 20000);
    t1 = read_tsc();
    base_ns = n0;
    base_ticks = t0;
    atomic_store(&ticks_per_us, (unsigned)((t1 - t0) * 1000 / (n1 - n0)) + 1);
}

static uint64_t ticks(uint64_t ns)
{
    return ns * atomic_load_explicit(&ticks_per_us, memory_order_relaxed) / 1000;
}

/* By all the time since the start: exact where the above is rounded. */
uint64_t turn_ns_since(uint64_t stamp)
{
    uint64_t ticks_now = read_tsc(), ns = now_ns() - base_ns, all = ticks_now - base_ticks;

    if (stamp > ticks_now || stamp < base_ticks || !all)
        return 0;
    return (uint64_t)((double)(ticks_now - stamp) * (double)ns / (double)all);
}

uint32_t turn_spin_ticks(void)
{
    return (uint32_t)ticks(SPIN_NS);
}

static long futex(uint32_t *word, int op, uint32_t val)
{
    return syscall(SYS_futex, word, op, val, NULL, NULL, 0);
}

static bool is_dead(const struct plat_thread *th)
{
    return atomic_load_explicit(&th->space->dead, memory_order_acquire);
}

/* An ending thread's patience is limited: what it waits for may be hostile. */
static void sleep_on_turn(struct plat_thread *th)
{
    uint64_t end = th->ending && GUARDED(LATE_ANSWERS) ? now_ns() + ENDING_NS : 0, now;
    struct timespec left;
    struct slot *s = th->slot;

    /* Any other value is hostile, and ends the wait too. */
    while (__atomic_load_n(&s->turn, __ATOMIC_SEQ_CST) == TURN_STUB && !is_dead(th)) {
        if (!end) {
            (void)futex(&s->turn, FUTEX_WAIT, TURN_STUB);
            continue;
        }
        now = now_ns();
        th->deaf = now >= end;
        if (th->deaf)
            return;
        left.tv_sec = (time_t)((end - now) / 1000000000);
        left.tv_nsec = (long)((end - now) % 1000000000);
        (void)syscall(SYS_futex, &s->turn, FUTEX_WAIT, TURN_STUB, &left, NULL, 0);
    }
}

int futex_wake_all(uint32_t *word)
{
    return (int)futex(word, FUTEX_WAKE, 0x7fffffff);
}

void turn_post(struct plat_thread *th, uint32_t command)
{
    struct slot *s = th->slot;

    s->command = command;
    s->n_ops = th->n_ops;
    s->op_index = 0;
    th->n_ops = 0;
    th->mapped.n_ops = 0;
    th->data_used = 0;
    th->copies_queued = false;
    if (th->n_tags) {
        atomic_fetch_sub(&th->space->tags_under_way, (int)th->n_tags);
        th->n_tags = 0;
    }
    __atomic_store_n(&s->sentry_cpu, current_cpu(), __ATOMIC_RELAXED);
    __atomic_store_n(&s->turn, TURN_STUB, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->stub_sleeps, __ATOMIC_SEQ_CST))
        (void)futex(&s->turn, FUTEX_WAKE, 1);
}

/*
 * A spinning thread costs nothing where its processor would be idle, and there it spares a wake-up
 * across processors (17-60 us). Where others wait for the processor, it takes from them what it
 * gains. Being preempted while spinning tells the two apart.
 */
static uint64_t gap_limit(uint64_t now)
{
    uint64_t until = atomic_load_explicit(&busy_until, memory_order_relaxed);

    return ticks((int64_t)(until - now) > 0 ? GAP_BUSY_NS : GAP_SPIN_NS);
}

static bool spin(struct plat_thread *th, uint64_t start)
{
    struct slot *s = th->slot;
    uint32_t cpu = current_cpu();
    uint64_t limit = ticks(SPIN_NS), last = start, now;

    if (th->gap > gap_limit(start))
        return false;
    while (__atomic_load_n(&s->turn, __ATOMIC_ACQUIRE) == TURN_STUB) {
        if (__atomic_load_n(&s->stub_cpu, __ATOMIC_RELAXED) == cpu)
            return false;
        now = read_tsc();
        if (now - last > ticks(PREEMPTED_NS))
            atomic_store_explicit(&busy_until, now + ticks(BUSY_FOR_NS), memory_order_relaxed);
        if (now - start > limit)
            return false;
        last = now;
        cpu_relax();
    }
    return true;
}

/*
 * Both threads on one CPU take turns by context switches (4 us a call), and the scheduler leaves
 * them there: each sleeps when the other wakes it. So the sentry's thread goes to another CPU, from
 * where a spinning peer answers in a tenth of that. If it is back soon, the other CPUs are wanted
 * by others: it tries less and less often.
 */
static bool steer(struct plat_thread *th)
{
    uint64_t now = read_tsc(), since = now - th->steered_at;
    cpu_set_t all, others;

    if (th->gap > ticks(GAP_SPIN_NS) || ++th->same_cpu < SAME_CPU_MAX || since < th->steer_wait)
        return false;
    if (sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) < 2)
        return false;
    others = all;
    CPU_CLR(current_cpu(), &others);
    if (sched_setaffinity(0, sizeof(others), &others) < 0)
        return false;
    (void)sched_setaffinity(0, sizeof(all), &all);
    th->steer_wait = since < 16 * th->steer_wait ? 2 * th->steer_wait : ticks(STEER_MIN_NS);
    if (th->steer_wait > ticks(STEER_MAX_NS))
        th->steer_wait = ticks(STEER_MAX_NS);
    if (th->steer_wait < ticks(STEER_MIN_NS))
        th->steer_wait = ticks(STEER_MIN_NS);
    th->steered_at = now;
    th->same_cpu = 0;
    __atomic_store_n(&th->slot->sentry_cpu, current_cpu(), __ATOMIC_RELAXED);
    return true;
}

static bool shares_cpu(const struct plat_thread *th)
{
    return __atomic_load_n(&th->slot->stub_cpu, __ATOMIC_RELAXED) == current_cpu();
}

/* Up to when the stub says that it was done, not to when we noticed: a slow wake-up is no reason
 * not to spin. */
static void note_gap(struct plat_thread *th, uint64_t start)
{
    uint64_t max = ticks(GAP_MAX_NS), all = read_tsc() - start;
    uint64_t gap = __atomic_load_n(&th->slot->given, __ATOMIC_RELAXED) - (uint32_t)start;

    gap = all > UINT32_MAX ? all : (uint32_t)gap;
    if (gap > all) /* a clock that is not the same everywhere, or a lie */
        gap = all;
    if (gap > max)
        gap = max;
    th->gap += (gap >> 3) - (th->gap >> 3);
}

static bool wait_event(struct plat_thread *th)
{
    struct slot *s = th->slot;
    uint64_t start = read_tsc();

    if (!shares_cpu(th))
        th->same_cpu = 0;
    else if (steer(th))
        start = read_tsc();
    if (!spin(th, start)) {
        __atomic_store_n(&s->sentry_sleeps, 1, __ATOMIC_SEQ_CST);
        sleep_on_turn(th);
        __atomic_store_n(&s->sentry_sleeps, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&s->sentry_cpu, current_cpu(), __ATOMIC_RELAXED);
    }
    note_gap(th, start);
    return !is_dead(th) && !th->deaf;
}

uint32_t turn_wait(struct plat_thread *th)
{
    bool alive = wait_event(th);

    atomic_store(&th->waits, false);
    if (!alive)
        return 0;
    return __atomic_load_n(&th->slot->event, __ATOMIC_RELAXED);
}

uint32_t turn_exchange(struct plat_thread *th, uint32_t command)
{
    if (is_dead(th) || th->deaf)
        return 0;
    atomic_fetch_add_explicit(&th->n_waits, 1, memory_order_relaxed);
    atomic_store(&th->waits, true);
    turn_post(th, command);
    return turn_wait(th);
}
