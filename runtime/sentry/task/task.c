/* Tasks and processes as objects: allocation, references, the small shared structures. */
#include "runtime/sentry/task/task.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/core.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/mount.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static _Thread_local struct task *g_current;

struct task *current_task(void)
{
    return g_current;
}

bool serves_guest(void)
{
    return g_current && g_current->host_tid;
}

void task_set_current(struct task *t)
{
    g_current = t;
}

struct task *task_alloc(void)
{
    struct task *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    ref_init(&t->ref);
    list_init(&t->thread_link);
    sigpending_init(&t->pending_own);
    t->start_time = time_monotonic();
    t->timer_slack = t->timer_slack_default = 50000;
    t->cpu_affinity = ~0ULL;
    return t;
}

struct process *process_alloc(void)
{
    struct process *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    ref_init(&p->ref);
    list_init(&p->threads);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->tracees);
    list_init(&p->pgrp_link);
    list_init(&p->session_link);
    list_init(&p->posix_timers);
    waitq_init(&p->child_wait);
    waitq_init(&p->exit_wait);
    waitq_init(&p->signal_wait);
    sigpending_init(&p->pending);
    p->start_time = time_monotonic();
    p->core_filter = CORE_FILTER_DEFAULT;
    return p;
}

struct task *task_get(struct task *t)
{
    ref_get(&t->ref);
    return t;
}

void task_put(struct task *t)
{
    if (!t || !ref_put(&t->ref))
        return;
    cred_put(t->cred);
    seccomp_put(t->seccomp);
    process_put(t->process);
    free(t);
}

struct process *process_get(struct process *p)
{
    ref_get(&p->ref);
    return p;
}

void process_put(struct process *p)
{
    if (!p || !ref_put(&p->ref))
        return;
    sighand_put(p->sighand);
    pidns_put(p->pidns);
    container_put(p->container);
    free(p);
}

struct task *process_any_task_locked(struct process *p)
{
    mutex_assert_held(&g_tasks_lock);
    return list_first(&p->threads, struct task, thread_link);
}

struct pidns *task_pidns(const struct task *t)
{
    return t->process->pidns;
}

int task_tid(const struct task *t)
{
    return pid_in(t->pid, t->process->pidns);
}

int task_tgid(const struct task *t)
{
    return pid_in(t->process->pid, t->process->pidns);
}

/* Also the parent's number, which changes under g_tasks_lock when the parent dies. */
void task_publish_identity(struct task *t)
{
    const struct cred *c = t->cred;
    const struct process *parent = t->process->parent;
    struct plat_identity id = {
        .pid = task_tgid(t),
        .tid = task_tid(t),
        .ppid = parent ? pid_in(parent->pid, t->process->pidns) : 0,
        .uid = uid_from_kernel(c->userns, c->uid),
        .euid = uid_from_kernel(c->userns, c->euid),
        .gid = gid_from_kernel(c->userns, c->gid),
        .egid = gid_from_kernel(c->userns, c->egid),
        .trace = t->traced || !seccomp_allows_local(t->seccomp) || g_sentry.boot->strace,
    };

    if (t->th)
        plat_set_identity(t->th, &id);
}

void tasks_republish_locked(const struct userns *ns)
{
    mutex_assert_held(&g_tasks_lock);
    for (struct hash_node *n = hashmap_next(&g_sentry.pidns->pids, NULL); n;
         n = hashmap_next(&g_sentry.pidns->pids, n)) {
        struct task *t = hash_entry(n, struct pid_nr, node)->pid->task;

        for (const struct userns *u = t ? t->cred->userns : NULL; u; u = u->parent)
            if (u == ns) {
                task_publish_identity(t);
                break;
            }
    }
}

/* ---- fs context -------------------------------------------------------------------------------
 */

struct fs_context *fs_context_copy(struct fs_context *fs)
{
    struct fs_context *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    ref_init(&n->ref);
    mutex_lock(&fs->lock);
    n->root = fs->root;
    n->cwd = fs->cwd;
    path_get(&n->root);
    path_get(&n->cwd);
    n->umask = fs->umask;
    mutex_unlock(&fs->lock);
    return n;
}

void fs_context_put(struct fs_context *fs)
{
    if (!fs || !ref_put(&fs->ref))
        return;
    path_put(&fs->root);
    path_put(&fs->cwd);
    free(fs);
}

void usage_add(struct rusage *to, const struct rusage *from)
{
    timeradd(&to->ru_utime, &from->ru_utime, &to->ru_utime);
    timeradd(&to->ru_stime, &from->ru_stime, &to->ru_stime);
    to->ru_maxrss = MAX(to->ru_maxrss, from->ru_maxrss);
    to->ru_minflt += from->ru_minflt;
    to->ru_majflt += from->ru_majflt;
    to->ru_nvcsw += from->ru_nvcsw;
    to->ru_nivcsw += from->ru_nivcsw;
    to->ru_inblock += from->ru_inblock;
    to->ru_oublock += from->ru_oublock;
}
