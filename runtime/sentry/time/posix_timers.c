/*
 * POSIX timers (timer_create(2)). Each is a ktimer; expiry sends a signal from the timer thread. A
 * timer has at most one signal queued: further expiries count as overrun.
 */
#include "runtime/sentry/time/timers_internal.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>

enum { TIMERS_MAX = 1024 };

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
        (void)cpu_clock_arm(&pt->timer, p, &pt->cpu,
                            pt->interval ? pt->cpu.target + pt->interval : 0);
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
    if (cpu_clock_due(k, pt->process, &pt->cpu))
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
        (void)cpu_clock_later(&pt->timer, &pt->cpu, now);
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
    ret->it_value = ns_to_timespec(cpu_clock_left(&pt->timer, pt->process, &pt->cpu));
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
        return cpu_clock_arm(&pt->timer, pt->process, &pt->cpu,
                             !value || absolute ? value
                                                : cpu_clock_now(pt->process, &pt->cpu) + value);
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
