/*
 * cgroup2 as seen inside: limits come from the container's configuration, usage from the sentry's
 * own tables. The limits themselves are kept by the host's cgroup; nothing written here changes
 * them, and no group can be made.
 */
#include "runtime/sentry/fs/cgroup/cgroup.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { PERIOD_US = 100000, SAMPLE_MAX = 1024 };

#define SHOW(f) static int f(struct task *t, struct pseudo_node *n, struct buf *out)
#define UNUSED                                                                                     \
    (void)t;                                                                                       \
    (void)n

static const struct container *container_of_task(const struct task *t)
{
    return t->process->container;
}

#define TEXT(f, text)                                                                              \
    SHOW(f)                                                                                        \
    {                                                                                              \
        UNUSED;                                                                                    \
        return buf_puts(out, text);                                                                \
    }
TEXT(show_controllers, "cpuset cpu io memory pids\n")
TEXT(show_empty, "")
TEXT(show_max, "max\n")
TEXT(show_zero, "0\n")
TEXT(show_type, "domain\n")
TEXT(show_events, "populated 1\nfrozen 0\n")
TEXT(show_memory_events, "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n")
TEXT(show_pids_events, "max 0\n")
TEXT(show_weight, "100\n")
TEXT(show_pressure, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
                    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
TEXT(show_cgroup_stat, "nr_descendants 0\nnr_dying_descendants 0\n")

/* Calls fn for each live process of the reader's container; tasks_lock held. */
static void each_process(struct task *t, void (*fn)(struct process *p, struct task *any, void *arg),
                         void *arg)
{
    struct pidns *ns = g_sentry.pidns;
    int nr = 0;

    while ((nr = pidns_next_process_locked(ns, nr)) > 0) {
        struct process *p = process_find_locked(ns, nr);

        if (p && p->container == t->process->container && p->state == PROCESS_ALIVE)
            fn(p, process_any_task_locked(p), arg);
    }
}

struct listing {
    struct buf *out;
    struct pidns *ns;
    bool threads;
};

static void list_process(struct process *p, struct task *any, void *arg)
{
    struct listing *l = arg;
    struct task *task;

    (void)any;
    if (!l->threads) {
        (void)buf_printf(l->out, "%d\n", pid_in(p->pid, l->ns));
        return;
    }
    list_for_each_entry (task, &p->threads, thread_link)
        if (task->pid)
            (void)buf_printf(l->out, "%d\n", pid_in(task->pid, l->ns));
}

static int show_list(struct task *t, struct buf *out, bool threads)
{
    struct listing l = {out, task_pidns(t), threads};

    mutex_lock(&g_tasks_lock);
    each_process(t, list_process, &l);
    mutex_unlock(&g_tasks_lock);
    return 0;
}

SHOW(show_procs)
{
    (void)n;
    return show_list(t, out, false);
}

SHOW(show_threads)
{
    (void)n;
    return show_list(t, out, true);
}

/* ---- pids
 * ---------------------------------------------------------------------------------------- */
SHOW(show_pids_max)
{
    const struct container *c = container_of_task(t);

    (void)n;
    if (!c || c->pids_limit <= 0)
        return buf_puts(out, "max\n");
    return buf_printf(out, "%ld\n", c->pids_limit);
}

SHOW(show_pids_current)
{
    const struct container *c = container_of_task(t);

    (void)n;
    return buf_printf(out, "%u\n", c ? __atomic_load_n(&c->n_tasks, __ATOMIC_RELAXED) : 1);
}

/* ---- memory
 * -------------------------------------------------------------------------------------- */
/* Tasks whose memory is to be added up, collected under the lock and asked without it. */
struct sample {
    struct task *tasks[SAMPLE_MAX];
    unsigned n;
};

static void sample_process(struct process *p, struct task *any, void *arg)
{
    struct sample *s = arg;

    (void)p;
    if (any && any->mm && s->n < SAMPLE_MAX)
        s->tasks[s->n++] = task_get(any);
}

static uint64_t memory_used(struct task *t)
{
    struct sample *s = calloc(1, sizeof(*s));
    uint64_t sum = 0;

    if (!s)
        return 0;
    mutex_lock(&g_tasks_lock);
    each_process(t, sample_process, s);
    mutex_unlock(&g_tasks_lock);
    for (unsigned i = 0; i < s->n; i++) {
        sum += mm_rss(s->tasks[i]);
        task_put(s->tasks[i]);
    }
    free(s);
    return sum;
}

SHOW(show_memory_max)
{
    const struct container *c = container_of_task(t);

    (void)n;
    if (!c || !c->memory_limit)
        return buf_puts(out, "max\n");
    return buf_printf(out, "%lu\n", c->memory_limit);
}

SHOW(show_memory_current)
{
    (void)n;
    return buf_printf(out, "%lu\n", memory_used(t));
}

SHOW(show_memory_stat)
{
    (void)n;
    return buf_printf(out,
                      "anon %lu\nfile 0\nkernel 0\nkernel_stack 0\npagetables 0\nsock 0\nshmem 0\n"
                      "file_mapped 0\nfile_dirty 0\nfile_writeback 0\nswapcached 0\n"
                      "inactive_anon 0\nactive_anon 0\ninactive_file 0\nactive_file 0\n"
                      "unevictable 0\nslab_reclaimable 0\nslab_unreclaimable 0\nslab 0\n"
                      "pgfault 0\npgmajfault 0\n",
                      memory_used(t));
}

/* ---- cpu
 * ----------------------------------------------------------------------------------------- */
SHOW(show_cpu_max)
{
    const struct container *c = container_of_task(t);

    (void)n;
    if (!c || !c->cpus || c->cpus >= g_sentry.host_cpus)
        return buf_printf(out, "max %d\n", PERIOD_US);
    return buf_printf(out, "%u %d\n", c->cpus * PERIOD_US, PERIOD_US);
}

static void add_cpu(struct process *p, struct task *any, void *arg)
{
    struct rusage u, *sum = arg;

    (void)any;
    process_usage_locked(p, &u);
    timeradd(&sum->ru_utime, &u.ru_utime, &sum->ru_utime);
    timeradd(&sum->ru_stime, &u.ru_stime, &sum->ru_stime);
}

SHOW(show_cpu_stat)
{
    struct rusage sum = {0};
    long user, sys;

    (void)n;
    mutex_lock(&g_tasks_lock);
    each_process(t, add_cpu, &sum);
    mutex_unlock(&g_tasks_lock);
    user = sum.ru_utime.tv_sec * 1000000 + sum.ru_utime.tv_usec;
    sys = sum.ru_stime.tv_sec * 1000000 + sum.ru_stime.tv_usec;
    return buf_printf(out,
                      "usage_usec %ld\nuser_usec %ld\nsystem_usec %ld\nnr_periods 0\n"
                      "nr_throttled 0\nthrottled_usec 0\n",
                      user + sys, user, sys);
}

SHOW(show_cpuset)
{
    const struct container *c = container_of_task(t);
    unsigned count = c && c->cpus ? c->cpus : MAX(g_sentry.host_cpus, 1U);

    (void)n;
    return count > 1 ? buf_printf(out, "0-%u\n", count - 1) : buf_puts(out, "0\n");
}

#define R(file, f)                                                                                 \
    {                                                                                              \
        .name = file, .mode = S_IFREG | 0444, .show = f                                            \
    }
const struct pseudo_entry cgroup_rows[] = {R("cgroup.controllers", show_controllers),
                                           R("cgroup.events", show_events),
                                           R("cgroup.freeze", show_zero),
                                           R("cgroup.max.depth", show_max),
                                           R("cgroup.max.descendants", show_max),
                                           R("cgroup.procs", show_procs),
                                           R("cgroup.stat", show_cgroup_stat),
                                           R("cgroup.subtree_control", show_empty),
                                           R("cgroup.threads", show_threads),
                                           R("cgroup.type", show_type),
                                           R("cpu.max", show_cpu_max),
                                           R("cpu.pressure", show_pressure),
                                           R("cpu.stat", show_cpu_stat),
                                           R("cpu.weight", show_weight),
                                           R("cpuset.cpus", show_cpuset),
                                           R("cpuset.cpus.effective", show_cpuset),
                                           R("cpuset.mems", show_zero),
                                           R("cpuset.mems.effective", show_zero),
                                           R("io.pressure", show_pressure),
                                           R("io.stat", show_empty),
                                           R("memory.current", show_memory_current),
                                           R("memory.events", show_memory_events),
                                           R("memory.high", show_max),
                                           R("memory.low", show_zero),
                                           R("memory.max", show_memory_max),
                                           R("memory.min", show_zero),
                                           R("memory.peak", show_memory_current),
                                           R("memory.pressure", show_pressure),
                                           R("memory.stat", show_memory_stat),
                                           R("memory.swap.current", show_zero),
                                           R("memory.swap.max", show_zero),
                                           R("pids.current", show_pids_current),
                                           R("pids.events", show_pids_events),
                                           R("pids.max", show_pids_max),
                                           R("pids.peak", show_pids_current),
                                           {0}};
static const struct pseudo_entry root_row = {.mode = S_IFDIR | 0555, .entries = cgroup_rows};
static const struct super_ops cgroup_ops;

static int cgroup_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                        struct super **ret)
{
    (void)t;
    (void)args;
    return pseudo_super_new(type, &cgroup_ops, &root_row, NULL, NULL,
                            SUPER_NO_DEV | SUPER_NO_EXEC | SUPER_NO_ATIME, NULL, ret);
}

extern const struct fs_type cgroup2_fs_type;
const struct fs_type cgroup2_fs_type = {
    .name = "cgroup2", .magic = 0x63677270, .no_dev = true, .userns = true, .mount = cgroup_mount};
