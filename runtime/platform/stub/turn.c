/*
 * The stub's side of the hand-over. Spinning on the CPU that the sentry needs would only delay it:
 * so it is not done where the sentry last ran here. Otherwise a wake-up costs more than a short
 * spin.
 */
#include "runtime/platform/stub/stub.h"

void turn_give(struct slot *s, uint32_t event)
{
    s->event = event | (s->changed ? EV_CHANGED : 0);
    s->changed = 0;
    s->given = (uint32_t)read_tsc();
    s->stub_cpu = current_cpu();
    __atomic_store_n(&s->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->sentry_sleeps, __ATOMIC_SEQ_CST))
        (void)SYS3(__NR_futex, &s->turn, K_FUTEX_WAKE, 1);
}

static bool spin(struct slot *s)
{
    uint64_t end = 0;
    uint32_t cpu = current_cpu();

    while (__atomic_load_n(&s->turn, __ATOMIC_ACQUIRE) != TURN_STUB) {
        uint32_t theirs = __atomic_load_n(&s->sentry_cpu, __ATOMIC_RELAXED);

        if (theirs == cpu || theirs == CPU_NONE)
            return false;
        if (!end)
            end = read_tsc() + s->spin_ticks;
        else if (read_tsc() > end)
            return false;
        cpu_relax();
    }
    return true;
}

void turn_wait(struct slot *s)
{
    if (spin(s))
        return;
    __atomic_store_n(&s->stub_sleeps, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&s->turn, __ATOMIC_SEQ_CST) != TURN_STUB)
        (void)SYS4(__NR_futex, &s->turn, K_FUTEX_WAIT, TURN_SENTRY, 0);
    __atomic_store_n(&s->stub_sleeps, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&s->stub_cpu, current_cpu(), __ATOMIC_RELAXED);
}
