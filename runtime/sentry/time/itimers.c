/*
 * Interval timers and the watch over RLIMIT_CPU (setitimer(2), getrlimit(2)). Each is a ktimer;
 * expiry sends a signal from the timer thread.
 */
#include "runtime/sentry/time/timers_internal.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>

/* Behind the three of setitimer: the watch over RLIMIT_CPU. */
enum { ITIMERS = 3, CPU_WATCH = ITIMERS, ITIMERS_ALL };

struct itimer {
    struct ktimer timer;
    struct cpu_clock cpu;
    struct process *process; /* not counted: timers_process_exit disarms before it goes */
    nsec_t interval;
    int signal;
};

static void itimer_fire(struct ktimer *k)
{
    struct itimer *i = container_of(k, struct itimer, timer);
    struct l_siginfo info = {.signo = i->signal, .code = SI_KERNEL};

    mutex_lock(&g_timers_lock);
    if (!cpu_clock_due(k, i->process, &i->cpu)) {
        mutex_unlock(&g_timers_lock);
        return;
    }
    if (i->cpu.kind)
        (void)cpu_clock_arm(k, i->process, &i->cpu, i->interval ? i->cpu.target + i->interval : 0);
    else if (i->interval)
        (void)ktimer_arm(k, deadline_after(MAX(i->interval, INTERVAL_MIN)));
    mutex_unlock(&g_timers_lock);
    (void)signal_send_process(i->process, i->signal, &info);
}

/* The next second of use after `used`, unless the limit was set anew meanwhile. */
static rlim_t soft_limit_grows(struct process *p, rlim_t from, nsec_t used)
{
    rlim_t to = (rlim_t)(used / NSEC_PER_SEC) + 1, now;

    mutex_lock(&g_tasks_lock);
    if (p->rlimits[RLIMIT_CPU].rlim_cur == from)
        p->rlimits[RLIMIT_CPU].rlim_cur = MIN(to, p->rlimits[RLIMIT_CPU].rlim_max);
    now = p->rlimits[RLIMIT_CPU].rlim_cur;
    mutex_unlock(&g_tasks_lock);
    return now;
}

/* RLIMIT_CPU (getrlimit(2)): SIGXCPU at the soft limit, which then grows by a second, SIGKILL at
 * the hard one. Looks again when the process may have used up what is left on all processors. */
static void cpu_watch_fire(struct ktimer *k)
{
    struct itimer *i = container_of(k, struct itimer, timer);
    struct process *p = i->process;
    struct rlimit l = p->rlimits[RLIMIT_CPU];
    struct l_siginfo info = {.code = SI_KERNEL};
    struct rusage ru;
    nsec_t used, left;
    int sig = 0;

    mutex_lock(&g_tasks_lock);
    process_usage_locked(p, &ru);
    mutex_unlock(&g_tasks_lock);
    used = timeval_to_ns(&ru.ru_utime) + timeval_to_ns(&ru.ru_stime);
    if (l.rlim_max != RLIM_INFINITY && used >= (nsec_t)l.rlim_max * NSEC_PER_SEC)
        sig = SIGKILL;
    else if (l.rlim_cur != RLIM_INFINITY && used >= (nsec_t)l.rlim_cur * NSEC_PER_SEC)
        sig = SIGXCPU;
    if (sig == SIGXCPU)
        l.rlim_cur = soft_limit_grows(p, l.rlim_cur, used);
    left = ((nsec_t)MIN(l.rlim_cur, l.rlim_max) * NSEC_PER_SEC - used) /
           (nsec_t)MAX(g_sentry.host_cpus, 1U);
    mutex_lock(&g_timers_lock);
    if (i->interval && l.rlim_cur != RLIM_INFINITY)
        (void)ktimer_arm(k, deadline_after(MAX(left, CPU_LOOK)));
    mutex_unlock(&g_timers_lock);
    if (sig) {
        info.signo = sig;
        (void)signal_send_process(p, sig, &info);
    }
}

static struct itimer *itimers_of(struct process *p)
{
    static const int signals[ITIMERS] = {SIGALRM, SIGVTALRM, SIGPROF};
    struct itimer *all = p->itimers;

    if (all)
        return all;
    all = calloc(ITIMERS_ALL, sizeof(*all));
    for (int i = 0; all && i < ITIMERS_ALL; i++) {
        all[i].process = p;
        all[i].signal = i < ITIMERS ? signals[i] : SIGXCPU;
        all[i].cpu.kind = i == ITIMER_VIRTUAL ? CPU_USER : i == ITIMER_PROF ? CPU_ALL : CPU_NO;
        ktimer_init(&all[i].timer, i < ITIMERS ? itimer_fire : cpu_watch_fire);
    }
    p->itimers = all;
    return all;
}

static struct timeval to_timeval(nsec_t ns)
{
    return (struct timeval){.tv_sec = ns / NSEC_PER_SEC,
                            .tv_usec = (ns % NSEC_PER_SEC + 999) / 1000 % 1000000};
}

/* Sets and/or reads; -ENOMEM. */
static int itimer_exchange(struct process *p, int which, const nsec_t *value,
                           const nsec_t *interval, nsec_t *ret_left, nsec_t *ret_interval)
{
    struct itimer *all;
    int r = 0;

    mutex_lock(&g_timers_lock);
    all = itimers_of(p);
    if (!all) {
        mutex_unlock(&g_timers_lock);
        return -ENOMEM;
    }
    *ret_left = cpu_clock_left(&all[which].timer, p, &all[which].cpu);
    *ret_interval = all[which].interval;
    if (value) {
        all[which].interval = *interval;
        if (all[which].cpu.kind)
            r = cpu_clock_arm(&all[which].timer, p, &all[which].cpu,
                              *value ? cpu_clock_now(p, &all[which].cpu) + *value : 0);
        else
            r = ktimer_arm(&all[which].timer, *value ? deadline_after(*value) : DEADLINE_NONE);
    }
    mutex_unlock(&g_timers_lock);
    return r;
}

static long put_itimer(struct task *t, gaddr_t at, nsec_t left, nsec_t interval)
{
    const struct itimerval v = {.it_interval = to_timeval(interval), .it_value = to_timeval(left)};

    return at ? copy_out(t, at, &v, sizeof(v)) : 0;
}

long sys_getitimer(struct task *t, const struct sysargs *a)
{
    nsec_t left, interval;
    int r;

    if (a->v[0] >= ITIMERS)
        return -EINVAL;
    r = itimer_exchange(t->process, (int)a->v[0], NULL, NULL, &left, &interval);
    return r < 0 ? r : put_itimer(t, a->v[1], left, interval);
}

static bool timeval_ok(const struct timeval *tv)
{
    return tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < 1000000;
}

long sys_setitimer(struct task *t, const struct sysargs *a)
{
    struct itimerval in = {0};
    nsec_t value, interval, left, old;
    int r;

    if (a->v[0] >= ITIMERS)
        return -EINVAL;
    if (a->v[1] && copy_in(t, &in, a->v[1], sizeof(in)) < 0)
        return -EFAULT;
    if (!timeval_ok(&in.it_value) || !timeval_ok(&in.it_interval))
        return -EINVAL;
    value = timeval_to_ns(&in.it_value);
    interval = timeval_to_ns(&in.it_interval);
    r = itimer_exchange(t->process, (int)a->v[0], &value, &interval, &left, &old);
    return r < 0 ? r : put_itimer(t, a->v[2], left, old);
}

long sys_alarm(struct task *t, const struct sysargs *a)
{
    nsec_t value = (nsec_t)(uint32_t)a->v[0] * NSEC_PER_SEC, interval = 0, left, old;
    int r = itimer_exchange(t->process, ITIMER_REAL, &value, &interval, &left, &old);

    if (r < 0)
        return 0;
    return (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC ? (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC
                                                    : (left ? 1 : 0);
}

void timers_cpu_limit(struct process *p)
{
    struct itimer *all;

    if (p->rlimits[RLIMIT_CPU].rlim_cur == RLIM_INFINITY)
        return;
    mutex_lock(&g_timers_lock);
    all = itimers_of(p);
    if (all) {
        all[CPU_WATCH].interval = 1; /* until the process ends */
        (void)ktimer_arm(&all[CPU_WATCH].timer, deadline_after(CPU_LOOK));
    }
    mutex_unlock(&g_timers_lock);
}

void timers_process_exit(struct process *p)
{
    struct itimer *all;

    timers_process_exec(p);
    mutex_lock(&g_timers_lock);
    all = p->itimers;
    p->itimers = NULL;
    for (int i = 0; all && i < ITIMERS_ALL; i++)
        all[i].interval = all[i].cpu.target = 0;
    mutex_unlock(&g_timers_lock);
    for (int i = 0; all && i < ITIMERS_ALL; i++)
        (void)ktimer_cancel_sync(&all[i].timer);
    free(all);
}
