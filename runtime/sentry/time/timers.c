/*
 * Interval timers and POSIX timers (setitimer(2), timer_create(2)). Each is a ktimer; expiry sends
 * a signal from the timer thread. A POSIX timer has at most one signal queued: further expiries
 * count as overrun.
 */
#include "runtime/sentry/time/timers.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/time/timer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>

/* Behind the three of setitimer: the watch over RLIMIT_CPU. */
enum { ITIMERS = 3, CPU_WATCH = ITIMERS, ITIMERS_ALL, TIMERS_MAX = 1024 };

/* CPU time of a process, as a timer's clock: expiry is looked for when the process may have used up
 * what is left on all processors, and less and less often while it sleeps. */
struct cpu_clock {
    enum {
        CPU_NO, /* the timer goes by the wall */
        CPU_USER,
        CPU_ALL,
        CPU_THREAD, /* of `thread` alone */
    } kind;
    struct task *thread; /* reference */
    nsec_t target;       /* 0: not armed */
    nsec_t seen, pause;
};

struct itimer {
    struct ktimer timer;
    struct cpu_clock cpu;
    struct process *process; /* not counted: timers_process_exit disarms before it goes */
    nsec_t interval;
    int signal;
};

struct posix_timer {
    struct list link;      /* process->posix_timers */
    struct hash_node node; /* g_posix_timers */
    struct ktimer timer;
    struct process *process;
    struct task *target; /* SIGEV_THREAD_ID: reference */
    int id, clock, notify, signal;
    uint64_t value;
    struct cpu_clock cpu;
    nsec_t interval, due; /* due: when it should have fired (wall), on CLOCK_MONOTONIC */
    int overrun;          /* of the signal that was taken last */
};

#define CPU_LOOK     (NSEC_PER_SEC / 50)    /* no more often than this */
#define CPU_NEAR     (NSEC_PER_SEC / 1000)  /* a timer of CPU time is no more precise */
#define CPU_PAUSE    (NSEC_PER_SEC / 8)     /* and late by this at most when its process wakes up */
#define INTERVAL_MIN (NSEC_PER_SEC / 10000) /* shorter ones become overruns */

static struct mutex g_timers_lock = MUTEX_INIT;

static nsec_t from_timeval(const struct timeval *tv)
{
    return tv->tv_sec > INT64_MAX / NSEC_PER_SEC - 1
               ? INT64_MAX / 2
               : tv->tv_sec * NSEC_PER_SEC + tv->tv_usec * 1000;
}

/* ---- CPU time ----------------------------------------------------------------------------------
 */

static nsec_t cpu_now(struct process *p, const struct cpu_clock *c)
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
    return from_timeval(&u.ru_utime) + (c->kind == CPU_ALL ? from_timeval(&u.ru_stime) : 0);
}

/* When to look for `left` of CPU time to have passed. */
static int cpu_look_later(struct ktimer *k, struct cpu_clock *c, nsec_t now)
{
    bool thread = c->kind == CPU_THREAD;
    nsec_t cpus = thread ? 1 : (nsec_t)MAX(g_sentry.host_cpus, 1U);
    nsec_t wait = MAX((c->target - now) / cpus, CPU_NEAR), most = thread ? CPU_LOOK : CPU_PAUSE;

    c->pause = now == c->seen ? MIN(2 * MAX(c->pause, wait), MAX(most, wait)) : wait;
    c->seen = now;
    return ktimer_arm(k, deadline_after(c->pause));
}

static int cpu_arm(struct ktimer *k, struct process *p, struct cpu_clock *c, nsec_t target)
{
    nsec_t now = cpu_now(p, c);

    c->target = target;
    c->seen = -1;
    c->pause = 0;
    return target ? cpu_look_later(k, c, now) : ktimer_arm(k, DEADLINE_NONE);
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
static bool cpu_due(struct ktimer *k, struct process *p, struct cpu_clock *c)
{
    nsec_t now;

    if (c->kind == CPU_NO)
        return true;
    if (c->target && thread_asked(c))
        return false;
    now = cpu_now(p, c);
    if (!c->target || now >= c->target)
        return c->target;
    (void)cpu_look_later(k, c, now);
    return false;
}

/* ---- interval timers
 * --------------------------------------------------------------------------------- */

static void itimer_fire(struct ktimer *k)
{
    struct itimer *i = container_of(k, struct itimer, timer);
    struct l_siginfo info = {.signo = i->signal, .code = SI_KERNEL};

    mutex_lock(&g_timers_lock);
    if (!cpu_due(k, i->process, &i->cpu)) {
        mutex_unlock(&g_timers_lock);
        return;
    }
    if (i->cpu.kind)
        (void)cpu_arm(k, i->process, &i->cpu, i->interval ? i->cpu.target + i->interval : 0);
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
    used = from_timeval(&ru.ru_utime) + from_timeval(&ru.ru_stime);
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

static nsec_t left_of(struct ktimer *k, struct process *p, const struct cpu_clock *c)
{
    nsec_t deadline = ktimer_deadline(k), left;

    if (c->kind)
        return c->target ? MAX(c->target - cpu_now(p, c), (nsec_t)1) : 0;
    if (deadline == DEADLINE_NONE)
        return 0;
    left = deadline - time_monotonic();
    return left > 0 ? left : 1;
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
    *ret_left = left_of(&all[which].timer, p, &all[which].cpu);
    *ret_interval = all[which].interval;
    if (value) {
        all[which].interval = *interval;
        if (all[which].cpu.kind)
            r = cpu_arm(&all[which].timer, p, &all[which].cpu,
                        *value ? cpu_now(p, &all[which].cpu) + *value : 0);
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
    value = from_timeval(&in.it_value);
    interval = from_timeval(&in.it_interval);
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

/* ---- POSIX timers
 * --------------------------------------------------------------------------------------- */

/* Arms the next period and says how many were missed. */
static int arm_next(struct posix_timer *pt)
{
    nsec_t now = time_monotonic(), missed = MAX((now - pt->due) / pt->interval, (nsec_t)0);

    if (__builtin_add_overflow(pt->due + missed * pt->interval, pt->interval, &pt->due))
        pt->due = DEADLINE_NONE;
    (void)ktimer_arm(&pt->timer, MAX(pt->due, now + INTERVAL_MIN));
    return (int)MIN(missed, (nsec_t)INT32_MAX);
}

/* It is due: g_timers_lock is held, and dropped; then pt may go. */
static void expire_unlock(struct posix_timer *pt)
{
    struct l_siginfo info = {.signo = pt->signal, .code = SI_TIMER};
    struct task *target = pt->target ? task_get(pt->target) : NULL;
    struct process *p = pt->process;
    int notify = pt->notify;

    if (pt->cpu.kind)
        (void)cpu_arm(&pt->timer, p, &pt->cpu, pt->interval ? pt->cpu.target + pt->interval : 0);
    else if (pt->interval)
        info.timer.overrun = arm_next(pt);
    info.timer.timerid = pt->id;
    info.timer.value = pt->value;
    mutex_unlock(&g_timers_lock);
    if (notify != SIGEV_NONE && target)
        (void)signal_send_task(target, info.signo, &info);
    else if (notify != SIGEV_NONE)
        (void)signal_send_process(p, info.signo, &info);
    task_put(target);
}

static void posix_fire(struct ktimer *k)
{
    struct posix_timer *pt = container_of(k, struct posix_timer, timer);

    mutex_lock(&g_timers_lock);
    if (cpu_due(k, pt->process, &pt->cpu))
        expire_unlock(pt);
    else
        mutex_unlock(&g_timers_lock);
}

/* One of t's own that is due at `now`; the others are armed anew. g_timers_lock held. */
static struct posix_timer *thread_timer_due(struct task *t, nsec_t now)
{
    struct posix_timer *pt;

    list_for_each_entry (pt, &t->process->posix_timers, link) {
        if (pt->cpu.kind != CPU_THREAD || pt->cpu.thread != t || !pt->cpu.target)
            continue;
        if (now >= pt->cpu.target)
            return pt;
        (void)cpu_look_later(&pt->timer, &pt->cpu, now);
    }
    return NULL;
}

void timers_thread_cpu(struct task *t, nsec_t now)
{
    struct posix_timer *pt;

    for (;;) {
        mutex_lock(&g_timers_lock);
        pt = thread_timer_due(t, now);
        if (!pt)
            break;
        expire_unlock(pt);
    }
    mutex_unlock(&g_timers_lock);
}

/* All processes' timers, by process and number; g_timers_lock. */
static struct hashmap g_posix_timers;

static uint64_t timer_hash(const struct process *p, int id)
{
    return hash_u64((uintptr_t)p ^ (uint64_t)(unsigned)id << 48);
}

static struct posix_timer *find(struct process *p, int id)
{
    struct hash_node *n = hashmap_first(&g_posix_timers, timer_hash(p, id));

    for (; n; n = hashmap_next_same(n)) {
        struct posix_timer *pt = hash_entry(n, struct posix_timer, node);

        if (pt->process == p && pt->id == id)
            return pt;
    }
    return NULL;
}

static void forget_locked(struct posix_timer *pt)
{
    list_remove(&pt->link);
    (void)hashmap_remove(&g_posix_timers, &pt->node);
}

void timers_signal_taken(struct process *p, int id, int overrun)
{
    struct posix_timer *pt;

    mutex_lock(&g_timers_lock);
    pt = find(p, id);
    if (pt)
        pt->overrun = overrun;
    mutex_unlock(&g_timers_lock);
}

static void posix_timer_free(struct posix_timer *pt)
{
    (void)ktimer_cancel_sync(&pt->timer);
    task_put(pt->target);
    task_put(pt->cpu.thread);
    free(pt);
}

struct l_sigevent {
    uint64_t value;
    int32_t signo, notify, tid, pad[11];
};

/* Negative clock ids: ~pid << 3 (0: the caller), a bit for threads, and what is counted. */
enum { CLOCK_OF_THREAD = 4, CLOCK_KIND = 3, CLOCK_VIRTUAL = 1, CLOCK_KINDS = 3 };

static int fill_cpu_clock(struct task *t, struct posix_timer *pt, int clock)
{
    int pid = clock < 0 ? (int)~(clock >> 3) : 0;
    struct task *of = t;

    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        clock = clock == CLOCK_THREAD_CPUTIME_ID ? CLOCK_OF_THREAD : 0;
    else if (clock >= 0)
        return 0;
    if ((clock & CLOCK_KIND) >= CLOCK_KINDS)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    if (pid)
        of = task_find_locked(task_pidns(t), pid);
    if (!of || of->process != t->process ||
        (pid && !(clock & CLOCK_OF_THREAD) && pid != task_tgid(t))) {
        mutex_unlock(&g_tasks_lock);
        return -EINVAL; /* other processes' clocks */
    }
    if (clock & CLOCK_OF_THREAD)
        pt->cpu.thread = task_get(of);
    mutex_unlock(&g_tasks_lock);
    pt->cpu.kind = pt->cpu.thread                          ? CPU_THREAD
                   : (clock & CLOCK_KIND) == CLOCK_VIRTUAL ? CPU_USER
                                                           : CPU_ALL;
    return 0;
}

static int fill_timer(struct task *t, struct posix_timer *pt, int clock, gaddr_t event)
{
    struct l_sigevent e = {.signo = SIGALRM, .notify = SIGEV_SIGNAL};
    int r = fill_cpu_clock(t, pt, clock);

    if (r < 0)
        return r;
    if (clock > CLOCK_TAI || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
        clock == CLOCK_MONOTONIC_COARSE)
        return -EINVAL;
    if (event && copy_in(t, &e, event, sizeof(e)) < 0)
        return -EFAULT;
    if (e.notify != SIGEV_NONE && e.notify != SIGEV_SIGNAL && e.notify != SIGEV_THREAD &&
        e.notify != SIGEV_THREAD_ID)
        return -EINVAL;
    if (e.notify != SIGEV_NONE && (e.signo < 1 || e.signo > L_NSIG))
        return -EINVAL;
    if (e.notify == SIGEV_THREAD_ID) {
        mutex_lock(&g_tasks_lock);
        pt->target = task_find_locked(task_pidns(t), e.tid);
        if (pt->target && pt->target->process == t->process)
            (void)task_get(pt->target);
        else
            pt->target = NULL;
        mutex_unlock(&g_tasks_lock);
        if (!pt->target)
            return -EINVAL;
    }
    pt->clock = clock;
    pt->notify = e.notify;
    pt->signal = e.signo;
    pt->value = e.value;
    return 0;
}

long sys_timer_create(struct task *t, const struct sysargs *a)
{
    struct posix_timer *pt = calloc(1, sizeof(*pt)), *other;
    struct process *p = t->process;
    unsigned n = 0;
    int r;

    if (!pt)
        return -EAGAIN;
    list_init(&pt->link);
    ktimer_init(&pt->timer, posix_fire);
    pt->process = p;
    r = fill_timer(t, pt, (int)a->v[0], a->v[1]);
    if (r == 0) {
        mutex_lock(&g_timers_lock);
        list_for_each_entry (other, &p->posix_timers, link)
            n++;
        if (n >= TIMERS_MAX) {
            r = -EAGAIN;
        } else {
            pt->id = p->next_timer_id++;
            if (!a->v[1])
                pt->value = (uint64_t)pt->id;
            if (hashmap_add(&g_posix_timers, &pt->node, timer_hash(p, pt->id)) < 0)
                r = -EAGAIN;
            else
                list_append(&p->posix_timers, &pt->link);
        }
        mutex_unlock(&g_timers_lock);
    }
    if (r < 0) {
        posix_timer_free(pt);
        return r;
    }
    return copy_out(t, a->v[2], &pt->id, sizeof(pt->id));
}

static void read_timer(struct posix_timer *pt, struct itimerspec *ret)
{
    ret->it_interval = ns_to_timespec(pt->interval);
    ret->it_value = ns_to_timespec(left_of(&pt->timer, pt->process, &pt->cpu));
}

long sys_timer_gettime(struct task *t, const struct sysargs *a)
{
    struct posix_timer *pt;
    struct itimerspec out;

    mutex_lock(&g_timers_lock);
    pt = find(t->process, (int)a->v[0]);
    if (pt)
        read_timer(pt, &out);
    mutex_unlock(&g_timers_lock);
    return pt ? copy_out(t, a->v[1], &out, sizeof(out)) : -EINVAL;
}

static bool timespec_ok(const struct timespec *ts)
{
    return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

static nsec_t absolute_to_monotonic(int clock, nsec_t when)
{
    nsec_t now = time_clock(clock == CLOCK_REALTIME_ALARM   ? CLOCK_REALTIME
                            : clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME
                                                            : clock);

    return time_monotonic() + (when - now);
}

static int arm_posix(struct posix_timer *pt, nsec_t value, bool absolute)
{
    if (pt->cpu.kind)
        return cpu_arm(&pt->timer, pt->process, &pt->cpu,
                       !value || absolute ? value : cpu_now(pt->process, &pt->cpu) + value);
    pt->due = !value     ? DEADLINE_NONE
              : absolute ? absolute_to_monotonic(pt->clock, value)
                         : deadline_after(value);
    return ktimer_arm(&pt->timer, pt->due);
}

long sys_timer_settime(struct task *t, const struct sysargs *a)
{
    struct itimerspec in, old;
    struct posix_timer *pt;
    nsec_t value;
    int r = 0;

    if (!a->v[2])
        return -EINVAL;
    if (copy_in(t, &in, a->v[2], sizeof(in)) < 0)
        return -EFAULT;
    if (!timespec_ok(&in.it_value) || !timespec_ok(&in.it_interval))
        return -EINVAL;
    (void)task_cpu_look(t);
    mutex_lock(&g_timers_lock);
    pt = find(t->process, (int)a->v[0]);
    if (pt) {
        read_timer(pt, &old);
        value = timespec_to_ns(&in.it_value);
        pt->interval = timespec_to_ns(&in.it_interval);
        r = arm_posix(pt, value, (int)a->v[1] & TIMER_ABSTIME);
    }
    mutex_unlock(&g_timers_lock);
    if (!pt)
        return -EINVAL;
    if (r < 0)
        return r;
    return a->v[3] ? copy_out(t, a->v[3], &old, sizeof(old)) : 0;
}

long sys_timer_getoverrun(struct task *t, const struct sysargs *a)
{
    struct posix_timer *pt;
    long r;

    mutex_lock(&g_timers_lock);
    pt = find(t->process, (int)a->v[0]);
    r = pt ? pt->overrun : -EINVAL;
    mutex_unlock(&g_timers_lock);
    return r;
}

long sys_timer_delete(struct task *t, const struct sysargs *a)
{
    struct posix_timer *pt;

    mutex_lock(&g_timers_lock);
    pt = find(t->process, (int)a->v[0]);
    if (pt)
        forget_locked(pt);
    mutex_unlock(&g_timers_lock);
    if (!pt)
        return -EINVAL;
    posix_timer_free(pt);
    return 0;
}

/* ---- ends
 * -------------------------------------------------------------------------------------------------
 */

void timers_process_exec(struct process *p)
{
    for (;;) {
        struct posix_timer *pt;

        mutex_lock(&g_timers_lock);
        pt = list_first(&p->posix_timers, struct posix_timer, link);
        if (pt)
            forget_locked(pt);
        mutex_unlock(&g_timers_lock);
        if (!pt)
            return;
        posix_timer_free(pt);
    }
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
