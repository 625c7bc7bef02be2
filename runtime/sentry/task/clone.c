/*
 * Birth of tasks. Everything is allocated and charged first; then the host thread or process is
 * made by the parent's own host thread; then the child is published. A failure half-way leaves
 * nothing.
 */
#include "runtime/sentry/task/clone.h"

#include "runtime/sentry/fs/event/pidfd.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/patch.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/time/timers.h"

#include <errno.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CLONE_NAMESPACES                                                                           \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)
#define CLONE_SUPPORTED                                                                            \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_PIDFD | CLONE_PTRACE |              \
     CLONE_VFORK | CLONE_PARENT | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                    \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_UNTRACED |                \
     CLONE_CHILD_SETTID | CLONE_NAMESPACES | CLONE_IO | 0x100000000ULL /* CLEAR_SIGHAND */)

static int check_flags(const struct task *t, uint64_t f)
{
    if (f & ~(uint64_t)CLONE_SUPPORTED)
        return -EINVAL;
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && (!(f & CLONE_VM) || (f & 0x100000000ULL)))
        return -EINVAL;
    if ((f & CLONE_FS) && (f & (CLONE_NEWNS | CLONE_NEWUSER)))
        return -EINVAL;
    if ((f & CLONE_THREAD) && (f & (CLONE_NEWPID | CLONE_NEWUSER)))
        return -EINVAL;
    if ((f & CLONE_PARENT) && t->process->pidns->init == t->process)
        return -EINVAL;
    if ((f & CLONE_THREAD) && t->ns->pid_for_children != t->process->pidns)
        return -EINVAL;
    return 0;
}

static int charge(struct task *t)
{
    struct container *c = t->process->container;
    rlim_t limit = task_rlimit(t, RLIMIT_NPROC);

    if (t->cred->uid != 0 && limit != RLIM_INFINITY && c->n_tasks >= limit &&
        !capable(t, CAP_SYS_RESOURCE) && !capable(t, CAP_SYS_ADMIN))
        return -EAGAIN;
    return container_task_charge(c);
}

/* The parts that do not depend on the host: 0 or -errno; a half-filled child is freed by
 * task_discard. */
static int share_or_copy(struct task *t, struct task *c, uint64_t f)
{
    struct cred *cred = NULL;
    int r;

    bool thread = f & CLONE_VM, files = f & CLONE_FILES;

    if (thread || files)
        fdtable_unlend(t, t->files, thread != files && files);
    c->fs = f & CLONE_FS ? t->fs : fs_context_copy(t->fs);
    if (f & CLONE_FS)
        ref_get(&t->fs->ref);
    c->files = f & CLONE_FILES ? fdtable_get(t->files) : fdtable_clone(t->files);
    if (!c->fs || !c->files)
        return -ENOMEM;
    if (f & CLONE_NAMESPACES) {
        r = namespaces_unshare(t, f, c->fs, &cred, &c->ns);
        if (r < 0)
            return r;
    } else {
        c->ns = namespaces_get(t->ns);
    }
    c->cred = cred ? cred : cred_get(t->cred);
    return 0;
}

static void inherit_filters(const struct task *t, struct task *c)
{
    void *before = c->seccomp;

    c->no_new_privs = t->no_new_privs;
    c->seccomp = seccomp_inherit(t->seccomp);
    seccomp_put(before);
}

static void inherit(const struct task *t, struct task *c, uint64_t f)
{
    memcpy(c->comm, t->comm, sizeof(c->comm));
    c->blocked = t->blocked;
    if (t->restore_mask)
        c->blocked = t->saved_mask;
    if (!(f & CLONE_VM) || (f & CLONE_VFORK))
        c->altstack = t->altstack;
    else
        c->altstack = (struct l_stack){.flags = SS_DISABLE};
    inherit_filters(t, c);
    c->nice = t->nice;
    c->sched_policy = t->sched_policy;
    c->sched_priority = t->sched_priority;
    c->cpu_affinity = t->cpu_affinity;
    c->timer_slack = c->timer_slack_default = t->timer_slack;
    c->ioprio = t->ioprio;
    c->host_cpu_hint = t->host_cpu_hint;
}

static struct process *new_process(struct task *t, uint64_t f, int exit_signal)
{
    struct process *p = process_alloc(), *from = t->process;

    if (!p)
        return NULL;
    p->container = container_get(from->container);
    p->pidns = pidns_get(t->ns->pid_for_children);
    p->sighand = f & CLONE_SIGHAND ? sighand_get(from->sighand) : sighand_new();
    if (!p->sighand) {
        process_put(p);
        return NULL;
    }
    if (!(f & CLONE_SIGHAND)) {
        mutex_lock(&from->sighand->lock);
        memcpy(p->sighand->actions, from->sighand->actions, sizeof(p->sighand->actions));
        mutex_unlock(&from->sighand->lock);
        if (f & 0x100000000ULL)
            for (int i = 0; i < L_NSIG; i++)
                if (p->sighand->actions[i].handler != (uint64_t)(uintptr_t)SIG_IGN)
                    p->sighand->actions[i] = (struct l_sigaction){0};
    }
    memcpy(p->rlimits, from->rlimits, sizeof(p->rlimits));
    p->exit_signal = exit_signal;
    p->oom_score_adj = from->oom_score_adj;
    p->core_filter = from->core_filter;
    p->personality = from->personality;
    return p;
}

/* Frees a child that never ran. */
static void task_discard(struct task *t, struct task *c)
{
    if (c->files)
        fdtable_put(t, c->files);
    fs_context_put(c->fs);
    namespaces_put(c->ns);
    task_put(c);
}

/* A pid namespace made by CLONE_NEWPID is entered by the first child: it becomes its init. */
static void link_process(struct task *t, struct task *c, uint64_t f)
{
    struct process *p = c->process, *parent = f & CLONE_PARENT ? t->process->parent : t->process;

    if (f & CLONE_PARENT)
        p->exit_signal = t->process->exit_signal;
    p->leader = c;
    (void)task_get(c);
    p->pid = c->pid;
    c->pid->process = p;
    p->parent = parent;
    p->parent_task = f & CLONE_PARENT ? t->process->parent_task : t;
    p->pgrp = t->process->pgrp;
    p->session = t->process->session;
    list_append(&p->pgrp->pgrp, &p->pgrp_link);
    list_append(&p->session->session, &p->session_link);
    p->tty = t->process->tty;
    if (p->tty)
        tty_get(p->tty);
    if (parent)
        list_append(&parent->children, &p->sibling);
    if (!p->pidns->init && !p->pidns->no_init)
        p->pidns->init = p;
    (void)process_get(p); /* the tree's */
}

static int publish(struct task *t, struct task *c, const struct clone_request *r)
{
    struct process *p = c->process;
    int e;

    mutex_lock(&g_tasks_lock);
    if (p->pidns->dying || (!(r->flags & CLONE_THREAD) && p->pidns != t->process->pidns &&
                            p->pidns->count && !p->pidns->init)) {
        mutex_unlock(&g_tasks_lock);
        return -ENOMEM;
    }
    e = pid_alloc_locked(p->pidns, &c->pid);
    if (e < 0) {
        mutex_unlock(&g_tasks_lock);
        return e;
    }
    c->pid->task = c;
    mutex_lock(&t->process->sighand->lock);
    if (t->process->group_exit || t->killed) {
        mutex_unlock(&t->process->sighand->lock);
        c->pid->task = NULL;
        pid_release_if_unused_locked(c->pid);
        mutex_unlock(&g_tasks_lock);
        return -ERESTARTNOINTR;
    }
    if (!(r->flags & CLONE_THREAD))
        link_process(t, c, r->flags);
    else
        inherit_filters(t, c); /* SECCOMP_FILTER_FLAG_TSYNC beside us does not see c before now */
    list_append(&p->threads, &c->thread_link);
    p->n_threads++;
    mutex_unlock(&t->process->sighand->lock);
    if (r->flags & CLONE_VFORK) {
        c->vfork_parent = task_get(t);
        t->vfork_waiting = true;
    }
    mutex_unlock(&g_tasks_lock);
    return 0;
}

/* A plain fork: the host process may be made on the way back to the guest, which then already knows
 * its child's number. */
static bool may_be_late(const struct task *t, const struct clone_request *r)
{
    return !(r->flags & (CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_NAMESPACES)) && !t->trace &&
           mm_users(t->mm) == 1;
}

static int make_host_side(struct task *t, struct task *c, const struct clone_request *r, bool late)
{
    struct plat_regs *regs;
    int e;

    if (r->flags & CLONE_VM) {
        e = plat_clone_thread(t->th, &c->th);
        if (e < 0)
            return e;
        c->mm = mm_get(t->mm);
        mm_task_enters(c->mm);
    } else {
        e = late ? plat_fork(t->th, &c->th) : plat_clone_space(t->th, &c->th);
        if (e < 0)
            return e;
        c->mm = mm_copy(t->mm, c->th);
        if (!c->mm) {
            (void)plat_flush(t->th);
            plat_thread_exit(c->th, 0);
            c->th = NULL;
            return -ENOMEM;
        }
        if (!t->trace)
            mm_allow_patching(c->mm, c->th);
    }
    regs = plat_regs(c->th);
    *regs = *plat_regs(t->th);
    regs->rax = 0;
    if (r->stack)
        regs->rsp = r->stack;
    if (r->flags & CLONE_SETTLS)
        regs->fs_base = r->tls;
    return 0;
}

static void host_side_undo(struct task *t, struct task *c)
{
    if (!c->th)
        return;
    (void)plat_flush(t->th);
    mm_task_exits(c);
    plat_thread_exit(c->th, 0);
    mm_put(c->mm);
    c->th = NULL;
    c->mm = NULL;
}

/* The ids that clone stores in memory: the parent's before it returns, the child's before it runs.
 */
static void store_tids(struct task *t, struct task *c, const struct clone_request *r)
{
    int32_t seen = pid_in(c->pid, task_pidns(t)), own = task_tid(c);

    if (r->flags & CLONE_PARENT_SETTID) {
        if (r->flags & CLONE_VM)
            (void)plat_space_write(plat_space_of(t->th), r->parent_tid, &seen, sizeof(seen));
        else
            (void)plat_store(t->th, r->parent_tid, (uint32_t)seen);
    }
    if (r->flags & CLONE_CHILD_SETTID)
        (void)plat_store(c->th, r->child_tid, (uint32_t)own);
    if (r->flags & CLONE_CHILD_CLEARTID)
        c->clear_tid = r->child_tid;
}

static void wait_for_vfork(struct task *t)
{
    while (__atomic_load_n(&t->vfork_waiting, __ATOMIC_SEQ_CST) && !signal_fatal_pending(t)) {
        task_sleep_begin(t);
        if (__atomic_load_n(&t->vfork_waiting, __ATOMIC_SEQ_CST) && !signal_fatal_pending(t))
            task_sleep_uninterruptible(t);
    }
}

static int install_pidfd(struct task *t, struct task *c, const struct clone_request *r)
{
    struct file *f;
    int fd = pidfd_new(c->process, 0, &f);

    if (fd < 0)
        return fd;
    fd = fd_install(t, f, true, 0);
    if (fd < 0)
        file_put(f);
    else
        (void)copy_out_now(t, r->pidfd, &fd, sizeof(fd));
    return fd;
}

/* No thread to run a child that is known already: it dies in ours, as if killed at once. */
static void die_unstarted(struct task *t, struct task *c, uint64_t f)
{
    (void)plat_flush(t->th);
    c->killed = true;
    if (f & CLONE_VFORK)
        task_vfork_done(c);
    task_set_current(c);
    c->exit_status = SIGKILL;
    task_exit(c);
    task_set_current(t);
    task_put(c);
}

long task_clone(struct task *t, const struct clone_request *r)
{
    struct task *c;
    bool late = may_be_late(t, r);
    long result;
    int event, seen, e = check_flags(t, r->flags);

    if (e == 0 && (r->flags & CLONE_SETTLS) && r->tls >= TASK_SIZE_BYTES)
        e = -EPERM;
    if (e == 0)
        e = charge(t);
    if (e < 0)
        return e;
    c = task_alloc();
    if (!c) {
        e = -ENOMEM;
        goto uncharge;
    }
    e = share_or_copy(t, c, r->flags);
    if (e < 0)
        goto discard;
    if (r->flags & CLONE_THREAD) {
        c->process = process_get(t->process);
    } else {
        struct namespaces *mine = t->ns;

        t->ns = c->ns; /* new_process looks at pid_for_children of the child's bundle */
        c->process = new_process(t, r->flags, r->exit_signal);
        t->ns = mine;
        if (!c->process) {
            e = -ENOMEM;
            goto discard;
        }
    }
    inherit(t, c, r->flags);
    e = make_host_side(t, c, r, late);
    if (e < 0)
        goto discard;
    e = publish(t, c, r);
    if (e < 0) {
        host_side_undo(t, c);
        goto discard;
    }
    store_tids(t, c, r);
    if (late)
        t->forked = process_get(c->process);
    result = pid_in(c->pid, task_pidns(t));
    if (r->flags & CLONE_PIDFD)
        (void)install_pidfd(t, c, r);
    event = trace_clone(t, c, r->flags, r->exit_signal);
    seen = trace_pid_seen(t, c);
    task_publish_identity(c);
    signal_publish_mask(c);
    signal_recalc_new(c);
    if (!(r->flags & CLONE_THREAD))
        timers_cpu_limit(c->process);
    (void)task_get(c);
    if (task_start(c) < 0)
        die_unstarted(t, c, r->flags);
    task_put(c);
    if (event) {
        e = plat_flush(t->th);
        task_fork_done(t, e < 0);
        if (e < 0)
            return e;
        trace_event(t, event, (uint64_t)seen);
    }
    if (r->flags & CLONE_VFORK) {
        wait_for_vfork(t);
        if (trace_wants(t, PTRACE_EVENT_VFORK_DONE))
            trace_event(t, PTRACE_EVENT_VFORK_DONE, (uint64_t)seen);
    }
    return result;

discard:
    task_discard(t, c);
uncharge:
    mutex_lock(&g_tasks_lock);
    container_task_gone_locked(t->process->container);
    mutex_unlock(&g_tasks_lock);
    return e;
}

void task_fork_done(struct task *t, bool failed)
{
    struct process *p = t->forked;

    t->forked = NULL;
    if (!p)
        return;
    if (failed) {
        mutex_lock(&g_tasks_lock);
        p->unborn = true;
        if (p->state == PROCESS_ZOMBIE)
            exit_release_locked(p);
        mutex_unlock(&g_tasks_lock);
    }
    process_put(p);
}

void task_fork_settle(struct task *t)
{
    int r = t->forked ? plat_flush(t->th) : 0;

    if (r < 0)
        plat_regs(t->th)->rax = (uint64_t)r;
    task_fork_done(t, r < 0);
}

int task_new_first(const struct task_template *tmpl, struct task **ret)
{
    struct task *c = task_alloc();
    struct process *p = process_alloc();
    int e = -ENOMEM;

    if (!c || !p)
        goto fail;
    c->process = p;
    p->container = container_get(tmpl->container);
    p->pidns = pidns_get(tmpl->pidns);
    p->sighand = sighand_new();
    if (!p->sighand)
        goto fail;
    memcpy(p->rlimits, tmpl->rlimits, sizeof(p->rlimits));
    c->cred = tmpl->cred;
    c->fs = tmpl->fs;
    c->files = tmpl->files;
    c->ns = tmpl->ns;
    c->altstack.flags = SS_DISABLE;
    mutex_lock(&g_tasks_lock);
    e = pid_alloc_locked(p->pidns, &c->pid);
    if (e == 0) {
        c->pid->task = c;
        c->pid->process = p;
        p->pid = c->pid;
        p->leader = task_get(c);
        p->parent = tmpl->parent;
        if (p->parent)
            list_append(&p->parent->children, &p->sibling);
        p->exit_signal = tmpl->parent ? SIGCHLD : 0;
        p->pgrp = p->session = p->pid;
        list_append(&p->pid->pgrp, &p->pgrp_link);
        list_append(&p->pid->session, &p->session_link);
        list_append(&p->threads, &c->thread_link);
        p->n_threads = 1;
        if (!p->pidns->init && !p->pidns->no_init)
            p->pidns->init = p;
        (void)process_get(p);
    }
    mutex_unlock(&g_tasks_lock);
    if (e < 0)
        goto fail;
    *ret = c;
    return 0;
fail:
    if (c) {
        c->cred = NULL; /* the template's owner still has its references */
        c->process = NULL;
        task_put(c);
    }
    process_put(p);
    return e;
}
