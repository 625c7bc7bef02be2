/* CPU time as the clock of timers, and what interval and POSIX timers share. */
#include "runtime/sentry/time/timers_internal.h"

#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"

struct mutex g_timers_lock = MUTEX_INIT;

nsec_t timeval_to_ns(const struct timeval *tv)
{
    return tv->tv_sec > INT64_MAX / NSEC_PER_SEC - 1
               ? INT64_MAX / 2
               : tv->tv_sec * NSEC_PER_SEC + tv->tv_usec * 1000;
}

nsec_t cpu_clock_now(struct process *p, const struct cpu_clock *c)
{
    struct rusage u;
    nsec_t now;

    mutex_lock(&g_tasks_lock);
    if (c->kind == CPU_THREAD) {
        now = task_cpu(c->thread);
        mutex_unlock(&g_tasks_lock);
        return now;
    }
    process_usage_locked(p, &u);
    mutex_unlock(&g_tasks_lock);
    return timeval_to_ns(&u.ru_utime) + (c->kind == CPU_ALL ? timeval_to_ns(&u.ru_stime) : 0);
}

/* When to look for `left` of CPU time to have passed. */
int cpu_clock_later(struct ktimer *k, struct cpu_clock *c, nsec_t now)
{
    bool thread = c->kind == CPU_THREAD;
    nsec_t cpus = thread ? 1 : (nsec_t)MAX(g_sentry.host_cpus, 1U);
    nsec_t wait = MAX((c->target - now) / cpus, CPU_NEAR), most = thread ? CPU_LOOK : CPU_PAUSE;

    c->pause = now == c->seen ? MIN(2 * MAX(c->pause, wait), MAX(most, wait)) : wait;
    c->seen = now;
    return ktimer_arm(k, deadline_after(c->pause));
}

int cpu_clock_arm(struct ktimer *k, struct process *p, struct cpu_clock *c, nsec_t target)
{
    nsec_t now = cpu_clock_now(p, c);

    c->target = target;
    c->seen = -1;
    c->pause = 0;
    return target ? cpu_clock_later(k, c, now) : ktimer_arm(k, DEADLINE_NONE);
}

/* The thread itself is asked, if its guest code runs: it will say (timers_thread_cpu). */
static bool thread_asked(const struct cpu_clock *c)
{
    bool asked;

    if (c->kind != CPU_THREAD)
        return false;
    mutex_lock(&g_tasks_lock);
    asked = task_cpu_ask(c->thread);
    mutex_unlock(&g_tasks_lock);
    return asked;
}

/* A timer of CPU time fired: has it come? Otherwise it is armed anew. g_timers_lock held. */
bool cpu_clock_due(struct ktimer *k, struct process *p, struct cpu_clock *c)
{
    nsec_t now;

    if (c->kind == CPU_NO)
        return true;
    if (c->target && thread_asked(c))
        return false;
    now = cpu_clock_now(p, c);
    if (!c->target || now >= c->target)
        return c->target;
    (void)cpu_clock_later(k, c, now);
    return false;
}

nsec_t cpu_clock_left(struct ktimer *k, struct process *p, const struct cpu_clock *c)
{
    nsec_t deadline = ktimer_deadline(k), left;

    if (c->kind)
        return c->target ? MAX(c->target - cpu_clock_now(p, c), (nsec_t)1) : 0;
    if (deadline == DEADLINE_NONE)
        return 0;
    left = deadline - time_monotonic();
    return left > 0 ? left : 1;
}
