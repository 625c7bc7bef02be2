/* Containers as the task code sees them: counts and exits (container.h). */
#include "runtime/sentry/task/container.h"

#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int container_task_charge(struct container *c)
{
    unsigned n = __atomic_add_fetch(&c->n_tasks, 1, __ATOMIC_RELAXED);

    if (!c->pids_limit || n <= c->pids_limit)
        return 0;
    (void)__atomic_sub_fetch(&c->n_tasks, 1, __ATOMIC_RELAXED);
    return -EAGAIN;
}

void container_task_gone_locked(struct container *c)
{
    (void)__atomic_sub_fetch(&c->n_tasks, 1, __ATOMIC_RELAXED);
}

static struct mutex g_waiters_lock = MUTEX_INIT; /* leaf */
static struct list g_waiters = LIST_INIT(g_waiters);

int exit_waiter_begin(struct exit_waiter *w)
{
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0)
        return -errno;
    mutex_lock(&g_waiters_lock);
    list_append(&g_waiters, &w->link);
    mutex_unlock(&g_waiters_lock);
    return 0;
}

void exit_waiter_end(struct exit_waiter *w)
{
    mutex_lock(&g_waiters_lock);
    list_remove(&w->link);
    mutex_unlock(&g_waiters_lock);
    (void)close(w->event);
}

void container_announce_exit(void)
{
    const uint64_t one = 1;
    struct exit_waiter *w;

    mutex_lock(&g_waiters_lock);
    list_for_each_entry (w, &g_waiters, link)
        (void)!write(w->event, &one, sizeof(one));
    mutex_unlock(&g_waiters_lock);
}

void container_process_exited_locked(struct process *p)
{
    struct container *c = p->container;
    struct exec_process *e;

    if (p == c->init) {
        c->exit_status = p->exit_status;
        c->exited = true;
        c->init = NULL; /* each holds the other */
        process_put(p);
        container_announce_exit();
    }
    list_for_each_entry (e, &c->execs, link)
        if (e->process == p) {
            e->exit_status = p->exit_status;
            e->exited = true;
            container_announce_exit();
        }
}
