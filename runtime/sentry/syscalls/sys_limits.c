/* Resource limits, usage, priorities, scheduling (getrlimit(2), getrusage(2), sched(7)). */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/time/timers.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/times.h>

static int set_limit(struct task *t, struct process *p, int which, const struct rlimit *in)
{
    struct rlimit *l = &p->rlimits[which];

    if (in->rlim_cur > in->rlim_max)
        return -EINVAL;
    if (in->rlim_max > l->rlim_max && !capable(t, CAP_SYS_RESOURCE))
        return -EPERM;
    if (which == RLIMIT_NOFILE && in->rlim_max > 1048576)
        return -EPERM;
    *l = *in;
    if (which == RLIMIT_CPU)
        timers_cpu_limit(p);
    return 0;
}

long sys_getrlimit(struct task *t, const struct sysargs *a)
{
    struct rlimit l;

    if (a->v[0] >= RLIM_NLIMITS)
        return -EINVAL;
    l = t->process->rlimits[a->v[0]];
    return copy_out(t, a->v[1], &l, sizeof(l));
}

long sys_setrlimit(struct task *t, const struct sysargs *a)
{
    struct rlimit in;
    int r;

    if (a->v[0] >= RLIM_NLIMITS)
        return -EINVAL;
    if (copy_in(t, &in, a->v[1], sizeof(in)) < 0)
        return -EFAULT;
    mutex_lock(&g_tasks_lock);
    r = set_limit(t, t->process, (int)a->v[0], &in);
    mutex_unlock(&g_tasks_lock);
    return r;
}

static int may_prlimit(const struct task *t, const struct task *target)
{
    const struct cred *c = t->cred, *o = target->cred;

    if (target->process == t->process || capable(t, CAP_SYS_RESOURCE))
        return 0;
    return c->uid == o->euid && c->uid == o->suid && c->uid == o->uid && c->gid == o->egid &&
                   c->gid == o->sgid && c->gid == o->gid
               ? 0
               : -EPERM;
}

long sys_prlimit64(struct task *t, const struct sysargs *a)
{
    struct rlimit in, old;
    struct task *target;
    int r;

    if (a->v[1] >= RLIM_NLIMITS)
        return -EINVAL;
    if (a->v[2] && copy_in(t, &in, a->v[2], sizeof(in)) < 0)
        return -EFAULT;
    mutex_lock(&g_tasks_lock);
    target = a->v[0] ? task_find_locked(task_pidns(t), (int)a->v[0]) : t;
    r = target ? may_prlimit(t, target) : -ESRCH;
    if (r == 0) {
        old = target->process->rlimits[a->v[1]];
        if (a->v[2])
            r = set_limit(t, target->process, (int)a->v[1], &in);
    }
    mutex_unlock(&g_tasks_lock);
    if (r < 0)
        return r;
    if (a->v[1] == RLIMIT_FSIZE && a->v[2])
        lend_recall(NULL);
    return a->v[3] ? copy_out(t, a->v[3], &old, sizeof(old)) : 0;
}

long sys_getrusage(struct task *t, const struct sysargs *a)
{
    struct rusage u;
    int who = (int)a->v[0];

    if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
        return -EINVAL;
    if (who == RUSAGE_THREAD) {
        task_usage(t, &u);
        return copy_out(t, a->v[1], &u, sizeof(u));
    }
    if (who == RUSAGE_SELF)
        (void)mm_usage(t, false, &u);
    mutex_lock(&g_tasks_lock);
    if (who == RUSAGE_CHILDREN)
        u = t->process->children_usage;
    else
        process_usage_locked(t->process, &u);
    mutex_unlock(&g_tasks_lock);
    return copy_out(t, a->v[1], &u, sizeof(u));
}

static long ticks(const struct timeval *tv)
{
    return tv->tv_sec * 100 + tv->tv_usec / 10000;
}

long sys_times(struct task *t, const struct sysargs *a)
{
    struct rusage u, c;
    struct tms out;

    mutex_lock(&g_tasks_lock);
    process_usage_locked(t->process, &u);
    c = t->process->children_usage;
    mutex_unlock(&g_tasks_lock);
    out = (struct tms){ticks(&u.ru_utime), ticks(&u.ru_stime), ticks(&c.ru_utime),
                       ticks(&c.ru_stime)};
    if (a->v[0] && copy_out(t, a->v[0], &out, sizeof(out)) < 0)
        return -EFAULT;
    return (time_monotonic() - g_sentry.boot_monotonic) / 10000000 + 1;
}

long sys_sysinfo(struct task *t, const struct sysargs *a)
{
    const struct container *c = t->process->container;
    uint64_t total = c->memory_limit && c->memory_limit < g_sentry.host_memory
                         ? c->memory_limit
                         : g_sentry.host_memory;
    const struct sysinfo out = {.uptime =
                                    (time_monotonic() - g_sentry.boot_monotonic) / NSEC_PER_SEC + 1,
                                .totalram = total,
                                .freeram = total / 2,
                                .procs = (unsigned short)MIN(c->n_tasks, 65535U),
                                .mem_unit = 1};

    return copy_out(t, a->v[0], &out, sizeof(out));
}

/* ---- priorities
 * ---------------------------------------------------------------------------------------- */

/* Whom getpriority(2) and setpriority(2) are about: one thread, or all of a group's or a user's. */
static bool named(const struct task *caller, const struct task *t, int which, int who)
{
    const struct pidns *ns = task_pidns(caller);

    switch (which) {
    case PRIO_PROCESS:
        return who ? pid_in(t->pid, ns) == who : t == caller;
    case PRIO_PGRP:
        return pid_in(t->process->pgrp, ns) == (who ? who : pid_in(caller->process->pgrp, ns));
    default:
        return t->cred->uid == (who ? (uint32_t)who : caller->cred->uid);
    }
}

/* Calls fn for each of them; their number. tasks_lock held. */
static int each_named(struct task *caller, int which, int who,
                      int (*fn)(struct task *caller, struct task *t, long *value), long *value,
                      int *error)
{
    const struct pidns *ns = task_pidns(caller);
    int n = 0;

    for (int nr = pidns_next_process_locked(ns, 0); nr; nr = pidns_next_process_locked(ns, nr)) {
        struct process *p = process_find_locked(ns, nr);
        struct task *t;

        if (!p)
            continue;
        list_for_each_entry (t, &p->threads, thread_link) {
            int e;

            if (!t->pid || !named(caller, t, which, who))
                continue;
            n++;
            e = fn(caller, t, value);
            if (e < 0)
                *error = e;
        }
    }
    return n;
}

static int lowest_nice(struct task *caller, struct task *t, long *value)
{
    (void)caller;
    *value = MAX(*value, 20 - t->nice);
    return 0;
}

static int apply_nice(struct task *caller, struct task *t, long *value)
{
    if (caller->cred->euid != t->cred->euid && caller->cred->euid != t->cred->uid &&
        !capable(caller, CAP_SYS_NICE))
        return -EPERM;
    if (*value < t->nice && !capable(caller, CAP_SYS_NICE) &&
        (rlim_t)(20 - *value) > t->process->rlimits[RLIMIT_NICE].rlim_cur)
        return -EACCES;
    t->nice = (int)*value;
    return 0;
}

long sys_getpriority(struct task *t, const struct sysargs *a)
{
    long best = 0;
    int error = 0, n;

    if (a->v[0] > PRIO_USER)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    n = each_named(t, (int)a->v[0], (int)a->v[1], lowest_nice, &best, &error);
    mutex_unlock(&g_tasks_lock);
    return n ? best : -ESRCH;
}

long sys_setpriority(struct task *t, const struct sysargs *a)
{
    long nice = MIN(MAX((int)a->v[2], -20), 19);
    int error = 0, n;

    if (a->v[0] > PRIO_USER)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    n = each_named(t, (int)a->v[0], (int)a->v[1], apply_nice, &nice, &error);
    mutex_unlock(&g_tasks_lock);
    return n ? error : -ESRCH;
}

/* ---- scheduling classes: recorded
 * -------------------------------------------------------------------------- */

static struct task *find(struct task *t, uint64_t tid)
{
    return (int)tid ? task_find_locked(task_pidns(t), (int)tid) : t;
}

enum { SCHED_DEADLINE_POLICY = 6 };

static int policy_ok(int policy, int priority)
{
    switch (policy) {
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return priority == 0 ? 0 : -EINVAL;
    case SCHED_FIFO:
    case SCHED_RR:
        return priority >= 1 && priority <= 99 ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

static long set_scheduler(struct task *t, uint64_t tid, int policy, int priority)
{
    struct task *target;
    long r = 0;

    if ((int)tid < 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, tid);
    if (!target) {
        r = -ESRCH;
    } else {
        if (policy < 0)
            policy = target->sched_policy;
        r = policy_ok(policy & ~SCHED_RESET_ON_FORK, priority);
        if (r == 0 && target->cred->uid != t->cred->euid && target->cred->euid != t->cred->euid &&
            !capable(t, CAP_SYS_NICE))
            r = -EPERM;
        if (r == 0 && priority && !capable(t, CAP_SYS_NICE) &&
            (rlim_t)priority > t->process->rlimits[RLIMIT_RTPRIO].rlim_cur)
            r = -EPERM;
        if (r == 0) {
            target->sched_policy = policy;
            target->sched_priority = priority;
        }
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_sched_setscheduler(struct task *t, const struct sysargs *a)
{
    int priority;

    if ((int)a->v[1] < 0)
        return -EINVAL;
    if (copy_in(t, &priority, a->v[2], sizeof(priority)) < 0)
        return -EFAULT;
    return set_scheduler(t, a->v[0], (int)a->v[1], priority);
}

long sys_sched_setparam(struct task *t, const struct sysargs *a)
{
    int priority;

    if (!a->v[1] || (int)a->v[0] < 0)
        return -EINVAL;
    if (copy_in(t, &priority, a->v[1], sizeof(priority)) < 0)
        return -EFAULT;
    return set_scheduler(t, a->v[0], -1, priority);
}

long sys_sched_getscheduler(struct task *t, const struct sysargs *a)
{
    struct task *target;
    long r;

    if ((int)a->v[0] < 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    r = target ? target->sched_policy : -ESRCH;
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_sched_getparam(struct task *t, const struct sysargs *a)
{
    struct task *target;
    int priority = 0;

    if ((int)a->v[0] < 0 || !a->v[1])
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    if (target)
        priority = target->sched_priority;
    mutex_unlock(&g_tasks_lock);
    return target ? copy_out(t, a->v[1], &priority, sizeof(priority)) : -ESRCH;
}

struct l_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

long sys_sched_setattr(struct task *t, const struct sysargs *a)
{
    struct l_sched_attr in;

    if (!a->v[1] || a->v[2])
        return -EINVAL;
    if (copy_in(t, &in, a->v[1], sizeof(in)) < 0)
        return -EFAULT;
    return set_scheduler(t, a->v[0], (int)in.policy, (int)in.priority);
}

long sys_sched_getattr(struct task *t, const struct sysargs *a)
{
    struct l_sched_attr out = {.size = sizeof(out)};
    struct task *target;

    if (!a->v[1] || a->v[2] < sizeof(out) || a->v[3])
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    if (target) {
        out.policy = (uint32_t)target->sched_policy;
        out.nice = target->nice;
        out.priority = (uint32_t)target->sched_priority;
    }
    mutex_unlock(&g_tasks_lock);
    return target ? copy_out(t, a->v[1], &out, sizeof(out)) : -ESRCH;
}

long sys_sched_get_priority_max(struct task *t, const struct sysargs *a)
{
    int policy = (int)a->v[0];

    (void)t;
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 99;
    if (policy == SCHED_DEADLINE_POLICY)
        return 0;
    return policy_ok(policy, 0) == 0 ? 0 : -EINVAL;
}

long sys_sched_get_priority_min(struct task *t, const struct sysargs *a)
{
    int policy = (int)a->v[0];

    (void)t;
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 1;
    if (policy == SCHED_DEADLINE_POLICY)
        return 0;
    return policy_ok(policy, 0) == 0 ? 0 : -EINVAL;
}

long sys_sched_rr_get_interval(struct task *t, const struct sysargs *a)
{
    const struct timespec ts = {.tv_nsec = 4000000};
    struct task *target;

    if ((int)a->v[0] < 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    mutex_unlock(&g_tasks_lock);
    return target ? copy_out(t, a->v[1], &ts, sizeof(ts)) : -ESRCH;
}

static uint64_t all_cpus(const struct task *t)
{
    unsigned n = t->process->container->cpus;

    return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}

long sys_sched_setaffinity(struct task *t, const struct sysargs *a)
{
    uint64_t mask = 0;
    struct task *target;
    long r = 0;

    if (copy_in(t, &mask, a->v[2], MIN(a->v[1], sizeof(mask))) < 0)
        return -EFAULT;
    mask &= all_cpus(t);
    if (!mask)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    if (!target)
        r = -ESRCH;
    else if (target->cred->uid != t->cred->euid && target->cred->euid != t->cred->euid &&
             !capable(t, CAP_SYS_NICE))
        r = -EPERM;
    else
        target->cpu_affinity = mask == all_cpus(t) ? ~0ULL : mask;
    /* The host's scheduler may have other ideas (a cpuset): then it is a wish. */
    if (r == 0 && target->th)
        (void)plat_set_affinity(target->th, target->cpu_affinity);
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_sched_getaffinity(struct task *t, const struct sysargs *a)
{
    struct task *target;
    uint64_t mask = 0;

    if (a->v[1] & 7 || a->v[1] < sizeof(mask))
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = find(t, a->v[0]);
    if (target)
        mask = target->cpu_affinity & all_cpus(t);
    mutex_unlock(&g_tasks_lock);
    if (!target)
        return -ESRCH;
    return copy_out(t, a->v[2], &mask, sizeof(mask)) < 0 ? -EFAULT : (long)sizeof(mask);
}

long sys_sched_yield(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return sched_yield();
}

long sys_getcpu(struct task *t, const struct sysargs *a)
{
    const unsigned zero = 0;
    unsigned cpu = (unsigned)MAX(sched_getcpu(), 0) % t->process->container->cpus;

    if (a->v[0] && copy_out(t, a->v[0], &cpu, sizeof(cpu)) < 0)
        return -EFAULT;
    return a->v[1] ? copy_out(t, a->v[1], &zero, sizeof(zero)) : 0;
}

/* ---- input and output priorities: recorded ----------------------------------------------------*/
static int io_class_ok(struct task *t, unsigned prio)
{
    unsigned level = prio & ((1U << IOPRIO_CLASS_SHIFT) - 1);

    switch (IOPRIO_PRIO_CLASS(prio)) {
    case IOPRIO_CLASS_NONE:
        return level ? -EINVAL : 0;
    case IOPRIO_CLASS_RT:
        if (!capable(t, CAP_SYS_ADMIN) && !capable(t, CAP_SYS_NICE))
            return -EPERM;
        return level >= IOPRIO_BE_NR ? -EINVAL : 0;
    case IOPRIO_CLASS_BE:
        return level >= IOPRIO_BE_NR ? -EINVAL : 0;
    case IOPRIO_CLASS_IDLE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* The lower value is the higher priority; none counts as the middle of best effort. */
static int best_io(struct task *caller, struct task *t, long *value)
{
    unsigned prio = t->ioprio;

    (void)caller;
    if (IOPRIO_PRIO_CLASS(prio) == IOPRIO_CLASS_NONE)
        prio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4);
    *value = *value < 0 ? (long)prio : MIN(*value, (long)prio);
    return 0;
}

static int apply_io(struct task *caller, struct task *t, long *value)
{
    if (caller->cred->euid != t->cred->uid && caller->cred->uid != t->cred->uid &&
        !capable(caller, CAP_SYS_NICE))
        return -EPERM;
    t->ioprio = (unsigned)*value;
    return 0;
}

/* A thread's own number is fine, too. */
static long io_of_task(struct task *t, uint64_t tid, const long *set)
{
    struct task *target = find(t, tid);

    if (!target)
        return -ESRCH;
    if (!set)
        return target->ioprio;
    if (t->cred->euid != target->cred->uid && t->cred->uid != target->cred->uid &&
        !capable(t, CAP_SYS_NICE))
        return -EPERM;
    target->ioprio = (unsigned)*set;
    return 0;
}

enum { IO_WHO_PROCESS = 1, IO_WHO_PGRP, IO_WHO_USER };

long sys_ioprio_get(struct task *t, const struct sysargs *a)
{
    long best = -1;
    int error = 0, n;
    long r;

    if ((int)a->v[0] < IO_WHO_PROCESS || (int)a->v[0] > IO_WHO_USER)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    if ((int)a->v[0] == IO_WHO_PROCESS) {
        r = io_of_task(t, a->v[1], NULL);
    } else {
        n = each_named(t, (int)a->v[0] - 1, (int)a->v[1], best_io, &best, &error);
        r = n ? best : -ESRCH;
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_ioprio_set(struct task *t, const struct sysargs *a)
{
    long prio = (long)(uint32_t)a->v[2];
    int error = 0, n;
    long r = io_class_ok(t, (unsigned)prio);

    if (r < 0)
        return r;
    if ((int)a->v[0] < IO_WHO_PROCESS || (int)a->v[0] > IO_WHO_USER)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    if ((int)a->v[0] == IO_WHO_PROCESS) {
        r = io_of_task(t, a->v[1], &prio);
    } else {
        n = each_named(t, (int)a->v[0] - 1, (int)a->v[1], apply_io, &prio, &error);
        r = n ? error : -ESRCH;
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}
