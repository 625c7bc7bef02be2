/* /proc/PID/{stat,statm,status,sched,schedstat,io,limits}. */
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, TICKS = 100, WAKE_WORD_SLEEPING = 2 };

/* Everything these files show, gathered under the locks it needs. */
struct snapshot {
    char comm[COMM_SIZE];
    char state;
    int tracer, pid, tgid, ppid, pgrp, session, tpgid, ns_level;
    unsigned tty_nr, n_threads;
    struct rusage self, children;
    l_sigset_t pending, shared_pending, blocked, ignored, caught;
    unsigned n_queued;
    int nice, policy, priority, exit_signal, exit_status;
    uint64_t rss, size, data, stack, text, locked;
    uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk, arg_start, arg_end,
        env_start, env_end;
    nsec_t start_time;
    uint64_t affinity;
    bool no_new_privs, has_mm;
    int nspid[PIDNS_LEVELS];
};

static char state_of(const struct task *task, const struct process *p)
{
    if (p->state != PROCESS_ALIVE || task->exiting)
        return 'Z';
    if (task->trace && task->trace->stopped)
        return 't';
    if (p->stopped)
        return 'T';
    if (__atomic_load_n(&task->in_guest, __ATOMIC_RELAXED))
        return task->th && plat_waits(task->th) ? 'S' : 'R';
    return __atomic_load_n(&task->wake_word, __ATOMIC_RELAXED) >= WAKE_WORD_SLEEPING ? 'S' : 'R';
}

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "R (running)";
    case 'T':
        return "T (stopped)";
    case 't':
        return "t (tracing stop)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "S (sleeping)";
    }
}

/* tasks_lock held. */
static void snap_ids(struct snapshot *s, const struct proc_target *w, const struct pidns *ns)
{
    const struct process *p = w->process;
    const struct pid *pid = w->thread ? w->task->pid : p->pid;

    s->tgid = p->pid ? pid_in(p->pid, ns) : 0;
    s->pid = pid ? pid_in(pid, ns) : 0;
    s->tracer = w->task->trace ? pid_in(w->task->trace->tracer->pid, ns) : 0;
    s->ppid = p->parent && p->parent->pid ? pid_in(p->parent->pid, ns) : 0;
    s->pgrp = p->pgrp ? pid_in(p->pgrp, ns) : 0;
    s->session = p->session ? pid_in(p->session, ns) : 0;
    s->n_threads = p->n_threads;
    s->exit_signal = w->thread && w->task != p->leader ? -1 : p->exit_signal;
    s->exit_status = p->state == PROCESS_ALIVE ? 0 : p->exit_status;
    for (unsigned l = ns->level; pid && l <= pid->level; l++)
        s->nspid[s->ns_level++] = pid->nr[l].nr;
}

/* tasks_lock held: sighand may only change with it. */
static void snap_signals(struct snapshot *s, const struct proc_target *w)
{
    struct sighand *sh = w->process->sighand;

    if (!sh)
        return;
    mutex_lock(&sh->lock);
    s->pending = w->task->pending_own.set;
    s->shared_pending = w->process->pending.set;
    s->n_queued = w->task->pending_own.count + w->process->pending.count;
    s->blocked = signal_mask(w->task);
    for (int sig = 1; sig <= L_NSIG; sig++) {
        if (sh->actions[sig - 1].handler == 1)
            s->ignored |= l_sigmask(sig);
        else if (sh->actions[sig - 1].handler)
            s->caught |= l_sigmask(sig);
    }
    mutex_unlock(&sh->lock);
}

static void snap_mm(struct snapshot *s, struct task *task)
{
    struct mm *mm = proc_mm(task);

    if (!mm)
        return;
    s->has_mm = true;
    mm_refresh(task);
    s->rss = mm_rss(task);
    mutex_lock(&mm->lock);
    s->size = mm->total;
    s->data = mm->data;
    s->stack = mm->stack;
    s->locked = mm->locked;
    s->text = mm->end_code - mm->start_code;
    s->start_code = mm->start_code;
    s->end_code = mm->end_code;
    s->start_stack = mm->start_stack;
    s->start_data = mm->start_data;
    s->end_data = mm->end_data;
    s->start_brk = mm->brk_start;
    s->arg_start = mm->arg_start;
    s->arg_end = mm->arg_end;
    s->env_start = mm->env_start;
    s->env_end = mm->env_end;
    mutex_unlock(&mm->lock);
    mm_put(mm);
}

static void snap(struct task *t, struct pseudo_node *n, const struct proc_target *w,
                 struct snapshot *s)
{
    const struct task *task = w->task;

    memset(s, 0, sizeof(*s));
    memcpy(s->comm, task->comm, sizeof(s->comm));
    s->comm[COMM_SIZE - 1] = '\0';
    s->nice = task->nice;
    s->policy = task->sched_policy;
    s->priority = task->sched_priority;
    s->start_time = w->thread ? task->start_time : w->process->start_time;
    s->affinity = task->cpu_affinity;
    s->no_new_privs = task->no_new_privs;
    tty_describe(w->process, &s->tty_nr, &s->tpgid);
    mutex_lock(&g_tasks_lock);
    s->state = state_of(task, w->process);
    snap_ids(s, w, proc_pidns(t, n));
    snap_signals(s, w);
    process_usage_locked(w->process, &s->self);
    s->children = w->process->children_usage;
    mutex_unlock(&g_tasks_lock);
    if (s->state != 'Z')
        snap_mm(s, w->task);
}

static long ticks(const struct timeval *tv)
{
    return tv->tv_sec * TICKS + tv->tv_usec / (1000000 / TICKS);
}

SHOW(proc_show_stat)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    int r = proc_target(t, n, false, &w);
    bool secret;

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    mutex_lock(&g_tasks_lock);
    secret = !task_may_access_locked(t, w.task, ACCESS_BY_FSIDS);
    mutex_unlock(&g_tasks_lock);
    if (secret)
        s.start_code = s.end_code = s.start_stack = s.start_data = s.end_data = s.start_brk =
            s.arg_start = s.arg_end = s.env_start = s.env_end = 0;
    (void)buf_printf(out, "%d (%s) %c %d %d %d %u %d %u %ld %ld %ld %ld ", s.pid, s.comm, s.state,
                     s.ppid, s.pgrp, s.session, s.tty_nr, s.tpgid, 0x400000U, s.self.ru_minflt,
                     s.children.ru_minflt, s.self.ru_majflt, s.children.ru_majflt);
    (void)buf_printf(out, "%ld %ld %ld %ld %d %d %u 0 %ld %lu %lu %lu ", ticks(&s.self.ru_utime),
                     ticks(&s.self.ru_stime), ticks(&s.children.ru_utime),
                     ticks(&s.children.ru_stime), s.policy ? -1 - s.priority : 20 + s.nice, s.nice,
                     s.n_threads, (long)(s.start_time / (NSEC_PER_SEC / TICKS)), s.size,
                     s.rss / PAGE, UINT64_MAX);
    (void)buf_printf(out, "%lu %lu %lu 0 0 %lu %lu %lu %lu %d 0 0 %d 0 %d %d 0 0 0 ", s.start_code,
                     s.end_code, s.start_stack, (s.pending | s.shared_pending) & 0x7fffffff,
                     s.blocked & 0x7fffffff, s.ignored & 0x7fffffff, s.caught & 0x7fffffff,
                     s.state == 'S', s.exit_signal, s.priority, s.policy);
    return buf_printf(out, "%lu %lu %lu %lu %lu %lu %lu %d\n", s.start_data, s.end_data,
                      s.start_brk, s.arg_start, s.arg_end, s.env_start, s.env_end,
                      secret ? 0 : s.exit_status);
}

SHOW(proc_show_statm)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    return buf_printf(out, "%lu %lu %lu %lu 0 %lu 0\n", s.size / PAGE, s.rss / PAGE, 0UL,
                      (s.text + PAGE - 1) / PAGE, (s.data + s.stack) / PAGE);
}

static void status_ids(struct buf *out, const struct cred *c, const struct cred *reader)
{
    const struct userns *ns = reader->userns;

    (void)buf_printf(out, "Uid:\t%u\t%u\t%u\t%u\n", uid_from_kernel(ns, c->uid),
                     uid_from_kernel(ns, c->euid), uid_from_kernel(ns, c->suid),
                     uid_from_kernel(ns, c->fsuid));
    (void)buf_printf(out, "Gid:\t%u\t%u\t%u\t%u\n", gid_from_kernel(ns, c->gid),
                     gid_from_kernel(ns, c->egid), gid_from_kernel(ns, c->sgid),
                     gid_from_kernel(ns, c->fsgid));
    (void)buf_puts(out, "FDSize:\t256\nGroups:\t");
    for (uint32_t i = 0; i < c->n_groups; i++)
        (void)buf_printf(out, "%u ", gid_from_kernel(ns, c->groups[i]));
    (void)buf_puts(out, "\n");
}

static void status_namespaces(struct buf *out, const struct snapshot *s)
{
    static const char *const names[] = {"NStgid", "NSpid", "NSpgid", "NSsid"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        (void)buf_printf(out, "%s:", names[i]);
        if (i == 2 || i == 3)
            (void)buf_printf(out, "\t%d", i == 2 ? s->pgrp : s->session);
        else if (i == 0)
            (void)buf_printf(out, "\t%d", s->tgid);
        else
            for (int l = 0; l < s->ns_level; l++)
                (void)buf_printf(out, "\t%d", s->nspid[l]);
        (void)buf_puts(out, "\n");
    }
}

static void status_memory(struct buf *out, const struct snapshot *s)
{
    unsigned long rss = s->rss / 1024, size = s->size / 1024;

    if (!s->has_mm)
        return;
    (void)buf_printf(out, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8u kB\n",
                     size, size, s->locked / 1024, 0U);
    (void)buf_printf(out, "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n",
                     MAX(rss, (unsigned long)s->self.ru_maxrss), rss);
    (void)buf_printf(out, "RssAnon:\t%8lu kB\nRssFile:\t%8u kB\nRssShmem:\t%8u kB\n", rss, 0U, 0U);
    (void)buf_printf(out, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\nVmLib:\t%8u kB\n",
                     s->data / 1024, s->stack / 1024, s->text / 1024, 0U);
    (void)buf_printf(out, "VmPTE:\t%8u kB\nVmSwap:\t%8u kB\nHugetlbPages:\t%8u kB\n", 4U, 0U, 0U);
    (void)buf_puts(out, "CoreDumping:\t0\nTHP_enabled:\t1\n");
}

static void status_cpus(struct buf *out)
{
    unsigned n = g_sentry.host_cpus ? g_sentry.host_cpus : 1;

    (void)buf_puts(out, "Cpus_allowed:\t");
    for (unsigned word = (n + 31) / 32; word-- > 0;) {
        unsigned bits = n - word * 32;

        (void)buf_printf(out, "%x%s", bits >= 32 ? ~0U : (1U << bits) - 1, word ? "," : "\n");
    }
    (void)buf_printf(out, n > 1 ? "Cpus_allowed_list:\t0-%u\n" : "Cpus_allowed_list:\t%u\n", n - 1);
    (void)buf_puts(out, "Mems_allowed:\t1\nMems_allowed_list:\t0\n");
}

SHOW(proc_show_status)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    struct cred *c;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    c = proc_cred(w.task);
    (void)buf_printf(out, "Name:\t%s\n", s.comm);
    if (s.state != 'Z')
        (void)buf_printf(out, "Umask:\t%04o\n", w.task->fs ? w.task->fs->umask : 0);
    (void)buf_printf(out, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n",
                     state_name(s.state), s.tgid, s.pid, s.ppid, s.tracer);
    status_ids(out, c, t->cred);
    status_namespaces(out, &s);
    status_memory(out, &s);
    (void)buf_printf(out, "Threads:\t%u\nSigQ:\t%u/%lu\n", s.n_threads, s.n_queued,
                     task_rlimit(w.task, RLIMIT_SIGPENDING));
    (void)buf_printf(
        out,
        "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
        s.pending, s.shared_pending, s.blocked, s.ignored, s.caught);
    (void)buf_printf(out,
                     "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\n"
                     "CapAmb:\t%016lx\n",
                     c->inheritable, c->permitted, c->effective, c->bounding, c->ambient);
    (void)buf_printf(out, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n", s.no_new_privs,
                     w.task->seccomp ? 2 : 0, w.task->seccomp ? 1 : 0);
    (void)buf_puts(out, "Speculation_Store_Bypass:\tvulnerable\n"
                        "SpeculationIndirectBranch:\talways enabled\n");
    status_cpus(out);
    cred_put(c);
    return buf_printf(out, "voluntary_ctxt_switches:\t%ld\nnonvoluntary_ctxt_switches:\t%ld\n",
                      s.self.ru_nvcsw, s.self.ru_nivcsw);
}

SHOW(proc_show_sched)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    return buf_printf(out,
                      "%s (%d, #threads: %u)\n"
                      "-------------------------------------------------------------------\n"
                      "se.sum_exec_runtime                          :%20ld.%06d\n"
                      "nr_switches                                  :%20ld\n"
                      "policy                                       :%20d\n"
                      "prio                                         :%20d\n",
                      s.comm, s.pid, s.n_threads, ticks(&s.self.ru_utime) * 10, 0,
                      s.self.ru_nvcsw + s.self.ru_nivcsw, s.policy, 120 + s.nice);
}

SHOW(proc_show_schedstat)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    return buf_printf(out, "%ld 0 %ld\n",
                      s.self.ru_utime.tv_sec * (long)NSEC_PER_SEC + s.self.ru_utime.tv_usec * 1000,
                      s.self.ru_nvcsw);
}

SHOW(proc_show_io)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct snapshot s;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    snap(t, n, &w, &s);
    return buf_printf(out,
                      "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: %ld\nwrite_bytes: %ld\n"
                      "cancelled_write_bytes: 0\n",
                      s.self.ru_inblock * 512, s.self.ru_oublock * 512);
}

/* ---- limits ---------------------------------------------------------------------------------- */
static const struct {
    const char *name, *unit;
} limit_rows[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {"Max cpu time", "seconds"},
    [RLIMIT_FSIZE] = {"Max file size", "bytes"},
    [RLIMIT_DATA] = {"Max data size", "bytes"},
    [RLIMIT_STACK] = {"Max stack size", "bytes"},
    [RLIMIT_CORE] = {"Max core file size", "bytes"},
    [RLIMIT_RSS] = {"Max resident set", "bytes"},
    [RLIMIT_NPROC] = {"Max processes", "processes"},
    [RLIMIT_NOFILE] = {"Max open files", "files"},
    [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
    [RLIMIT_AS] = {"Max address space", "bytes"},
    [RLIMIT_LOCKS] = {"Max file locks", "locks"},
    [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
    [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
    [RLIMIT_NICE] = {"Max nice priority", NULL},
    [RLIMIT_RTPRIO] = {"Max realtime priority", NULL},
    [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
};

static void limit_value(struct buf *out, rlim_t v)
{
    if (v == RLIM_INFINITY)
        (void)buf_printf(out, "%-20s ", "unlimited");
    else
        (void)buf_printf(out, "%-20lu ", v);
}

SHOW(proc_show_limits)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    (void)buf_printf(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit",
                     "Units");
    for (unsigned i = 0; i < ARRAY_SIZE(limit_rows); i++) {
        const struct rlimit *l = &w.process->rlimits[i];

        (void)buf_printf(out, "%-25s ", limit_rows[i].name);
        limit_value(out, l->rlim_cur);
        limit_value(out, l->rlim_max);
        (void)buf_printf(out, limit_rows[i].unit ? "%-10s\n" : "%s\n",
                         limit_rows[i].unit ? limit_rows[i].unit : "");
    }
    return 0;
}
