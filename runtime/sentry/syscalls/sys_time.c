/* Clocks and sleeping (clock_gettime(2), clock_nanosleep(2)). */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <sys/time.h>
#include <sys/timex.h>

static nsec_t timeval_ns(const struct timeval *tv)
{
    return tv->tv_sec * NSEC_PER_SEC + tv->tv_usec * 1000;
}

enum { CLOCK_OF_THREAD = 4, ANSWER_MS = 5, STEP_US = 100, CPU_SLEEP_MIN = 1000000 };

/* Of another thread of t's process, which is asked if its guest code runs. */
static int other_thread_clock(struct task *t, int tid, nsec_t *ret)
{
    struct task *target;
    bool asked;

    mutex_lock(&g_tasks_lock);
    target = task_find_locked(task_pidns(t), tid);
    if (!target || target->process != t->process) {
        mutex_unlock(&g_tasks_lock);
        return -EINVAL;
    }
    (void)task_get(target);
    asked = task_cpu_ask(target);
    mutex_unlock(&g_tasks_lock);
    for (int us = 0; asked && us < ANSWER_MS * 1000; us += STEP_US) {
        struct timespec ts = {0, STEP_US * 1000L};

        (void)nanosleep(&ts, NULL);
        asked = __atomic_load_n(&target->cpu_wanted, __ATOMIC_ACQUIRE);
    }
    mutex_lock(&g_tasks_lock);
    *ret = task_cpu(target);
    mutex_unlock(&g_tasks_lock);
    task_put(target);
    return 0;
}

/* CPU time of a process or thread (negative clock ids: clock_getcpuclockid(3)), or of the caller.
 */
static int cpu_clock(struct task *t, clockid_t id, nsec_t *ret)
{
    struct rusage u;
    struct process *p = t->process;
    int pid = id < 0 ? (int)~(id >> 3) : 0;

    if (id < 0 && (id & 3) == 3)
        return -EINVAL;
    if (id == CLOCK_THREAD_CPUTIME_ID || (id < 0 && (id & CLOCK_OF_THREAD))) {
        if (pid && pid != task_tid(t))
            return other_thread_clock(t, pid, ret);
        *ret = task_cpu_look(t);
        return 0;
    }
    mutex_lock(&g_tasks_lock);
    if (pid) {
        struct pid *of = pid_find_locked(task_pidns(t), pid);

        /* Also one that has ended and is not waited for; by a thread, only the caller's own. */
        p = !of ? NULL : of->process ? of->process : of->task == t ? t->process : NULL;
    }
    if (p)
        process_usage_locked(p, &u);
    mutex_unlock(&g_tasks_lock);
    if (!p)
        return -EINVAL;
    *ret = timeval_ns(&u.ru_utime) + timeval_ns(&u.ru_stime);
    return 0;
}

static int read_clock(struct task *t, clockid_t id, nsec_t *ret)
{
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
        *ret = time_clock(id == CLOCK_REALTIME_ALARM
                              ? CLOCK_REALTIME
                              : (id == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : id));
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID:
        return cpu_clock(t, id, ret);
    default:
        return id < 0 ? cpu_clock(t, id, ret) : -EINVAL;
    }
}

long sys_clock_gettime(struct task *t, const struct sysargs *a)
{
    struct timespec ts;
    nsec_t now;
    int r = read_clock(t, (clockid_t)a->v[0], &now);

    if (r < 0)
        return r;
    ts = ns_to_timespec(now);
    return copy_out(t, a->v[1], &ts, sizeof(ts));
}

long sys_clock_getres(struct task *t, const struct sysargs *a)
{
    clockid_t id = (clockid_t)a->v[0];
    bool coarse = id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE;
    const struct timespec res = {.tv_nsec = coarse ? 4000000 : 1};
    nsec_t now;
    int r = read_clock(t, id, &now);

    if (r < 0)
        return r;
    return a->v[1] ? copy_out(t, a->v[1], &res, sizeof(res)) : 0;
}

long sys_gettimeofday(struct task *t, const struct sysargs *a)
{
    nsec_t now = time_realtime();
    const struct timeval tv = {.tv_sec = now / NSEC_PER_SEC, .tv_usec = now % NSEC_PER_SEC / 1000};
    const int zone[2] = {0, 0};

    if (a->v[0] && copy_out(t, a->v[0], &tv, sizeof(tv)) < 0)
        return -EFAULT;
    return a->v[1] ? copy_out(t, a->v[1], zone, sizeof(zone)) : 0;
}

long sys_time(struct task *t, const struct sysargs *a)
{
    int64_t now = time_realtime() / NSEC_PER_SEC;

    if (a->v[0] && copy_out(t, a->v[0], &now, sizeof(now)) < 0)
        return -EFAULT;
    return now;
}

long sys_settimeofday(struct task *t, const struct sysargs *a)
{
    struct timeval tv;

    if (a->v[0] && copy_in(t, &tv, a->v[0], sizeof(tv)) < 0)
        return -EFAULT;
    if (a->v[0] && (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec >= 1000000))
        return -EINVAL;
    return -EPERM;
}

long sys_clock_settime(struct task *t, const struct sysargs *a)
{
    struct timespec ts;

    if ((clockid_t)a->v[0] != CLOCK_REALTIME)
        return -EINVAL;
    if (copy_in(t, &ts, a->v[1], sizeof(ts)) < 0)
        return -EFAULT;
    return ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC ? -EINVAL : -EPERM;
}

long sys_clock_adjtime(struct task *t, const struct sysargs *a)
{
    const struct sysargs rest = {{a->v[1]}};

    return (clockid_t)a->v[0] == CLOCK_REALTIME ? sys_adjtimex(t, &rest) : -EOPNOTSUPP;
}

enum { ADJ_OFFSET_BIT = 1, ADJ_SINGLESHOT_BIT = 0x8000 };

long sys_adjtimex(struct task *t, const struct sysargs *a)
{
    struct timex x;

    if (copy_in(t, &x, a->v[0], sizeof(x)) < 0)
        return -EFAULT;
    if ((x.modes & ADJ_SINGLESHOT_BIT) && !(x.modes & ADJ_OFFSET_BIT))
        return -EINVAL;
    if (x.modes && x.modes != ADJ_OFFSET_SS_READ)
        return -EPERM;
    x = (struct timex){.status = STA_UNSYNC, .tick = 10000, .tolerance = 32768000, .precision = 1};
    x.time.tv_sec = time_realtime() / NSEC_PER_SEC;
    return copy_out(t, a->v[0], &x, sizeof(x)) < 0 ? -EFAULT : TIME_ERROR;
}

/* ---- sleeping
 * --------------------------------------------------------------------------------------- */

static long sleep_until(struct task *t, nsec_t deadline)
{
    for (;;) {
        int r;

        task_sleep_begin(t);
        r = task_sleep(t, NULL, 0, deadline);
        if (r == -ETIMEDOUT)
            return 0;
        if (r < 0)
            return r;
        if (time_monotonic() >= deadline)
            return 0;
    }
}

static long put_left(struct task *t, nsec_t left, gaddr_t at)
{
    struct timespec ts = ns_to_timespec(left > 0 ? left : 0);

    return at ? copy_out_now(t, at, &ts, sizeof(ts)) : 0;
}

static long put_remaining(struct task *t, nsec_t deadline, gaddr_t at)
{
    return put_left(t, deadline - time_monotonic(), at);
}

static long nanosleep_restart(struct task *t)
{
    long r = sleep_until(t, t->restart_deadline);

    if (r == 0)
        return 0;
    return put_remaining(t, t->restart_deadline, t->restart_args[0]) < 0 ? -EFAULT
                                                                         : -ERESTART_RESTARTBLOCK;
}

static long sleep_relative(struct task *t, const struct timespec *ts, gaddr_t remaining)
{
    t->restart_deadline = deadline_after(timespec_to_ns(ts));
    t->restart_args[0] = remaining;
    t->restart_fn = nanosleep_restart;
    return nanosleep_restart(t);
}

static int copy_in_timespec(struct task *t, struct timespec *ts, gaddr_t at)
{
    if (copy_in(t, ts, at, sizeof(*ts)) < 0)
        return -EFAULT;
    return ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC ? -EINVAL : 0;
}

/* Until a process has used so much time, which all processors together give no faster than this. */
static long cpu_sleep_until(struct task *t, clockid_t id, nsec_t end, nsec_t *ret_left)
{
    unsigned cpus = MAX(t->process->container->cpus, 1U);

    for (;;) {
        nsec_t now;
        long r = cpu_clock(t, id, &now);

        if (r < 0 || now >= end)
            return r;
        *ret_left = end - now;
        r = sleep_until(t, deadline_after(MAX(*ret_left / cpus, (nsec_t)CPU_SLEEP_MIN)));
        if (r < 0)
            return r;
    }
}

/* restart_args: where to put the rest, the clock. */
static long cpu_sleep_restart(struct task *t)
{
    nsec_t left = 0;
    long r = cpu_sleep_until(t, (clockid_t)t->restart_args[1], t->restart_deadline, &left);

    if (r != -ERESTARTSYS)
        return r;
    return put_left(t, left, t->restart_args[0]) < 0 ? -EFAULT : -ERESTART_RESTARTBLOCK;
}

static long cpu_sleep(struct task *t, clockid_t id, const struct timespec *ts, bool absolute,
                      gaddr_t remaining)
{
    nsec_t now, left;
    long r;

    if (id < 0 && (id & CLOCK_OF_THREAD) &&
        ((int)~(id >> 3) == 0 || (int)~(id >> 3) == task_tid(t)))
        return -EINVAL; /* it would never end */
    if (absolute) {
        r = cpu_sleep_until(t, id, timespec_to_ns(ts), &left);
        return r == -ERESTARTSYS ? -ERESTARTNOHAND : r;
    }
    r = cpu_clock(t, id, &now);
    if (r < 0)
        return r;
    t->restart_deadline = now + timespec_to_ns(ts);
    t->restart_args[0] = remaining;
    t->restart_args[1] = (uint64_t)id;
    t->restart_fn = cpu_sleep_restart;
    return cpu_sleep_restart(t);
}

long sys_nanosleep(struct task *t, const struct sysargs *a)
{
    struct timespec ts;
    int r = copy_in_timespec(t, &ts, a->v[0]);

    return r < 0 ? r : sleep_relative(t, &ts, a->v[1]);
}

long sys_clock_nanosleep(struct task *t, const struct sysargs *a)
{
    clockid_t id = (clockid_t)a->v[0];
    struct timespec ts;
    nsec_t now;
    long r;

    if (id == CLOCK_THREAD_CPUTIME_ID || id == CLOCK_MONOTONIC_RAW || id == CLOCK_REALTIME_COARSE ||
        id == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    r = read_clock(t, id, &now);
    if (r < 0)
        return r;
    r = copy_in_timespec(t, &ts, a->v[2]);
    if (r < 0)
        return r;
    if (id == CLOCK_PROCESS_CPUTIME_ID || id < 0)
        return cpu_sleep(t, id, &ts, a->v[1] & TIMER_ABSTIME, a->v[3]);
    if (!(a->v[1] & TIMER_ABSTIME))
        return sleep_relative(t, &ts, a->v[3]);
    if (timespec_to_ns(&ts) <= now)
        return 0;
    r = sleep_until(t, deadline_after(timespec_to_ns(&ts) - now));
    return r == -ERESTARTSYS ? -ERESTARTNOHAND : r;
}
