/* What happens to containers after they exist: start, wait, kill, pause, delete. */
#include "common/log.h"
#include "runtime/gofer/client.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/vfs/file.h"
#include "runtime/sentry/vfs/mount.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int sandbox_container_start(struct container *c, int *ret_pid, struct error *err)
{
    struct task *t;

    mutex_lock(&g_sentry.lock);
    if (c->started) {
        mutex_unlock(&g_sentry.lock);
        return error_set(err, -EINVAL, "container '%s' was started already", c->id);
    }
    c->started = true;
    t = c->first;
    c->first = NULL;
    mutex_unlock(&g_sentry.lock);
    *ret_pid = t ? task_tgid(t) : 0;
    if (t && task_start(t) < 0)
        return error_errno(err, -EAGAIN, "start a sentry thread");
    return 0;
}

static int to_exit_code(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static struct exec_process *exec_find(struct container *c, const char *name)
{
    struct exec_process *e;

    list_for_each_entry (e, &c->execs, link)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

/* 1 ended, 0 not yet, -ENOENT. */
static int status_of(struct container *c, const char *exec, int *ret_status)
{
    struct exec_process *e = NULL;
    int r = 0;

    mutex_lock(&g_tasks_lock);
    if (exec)
        e = exec_find(c, exec);
    if (exec && !e)
        r = -ENOENT;
    else if (exec ? e->exited : c->exited) {
        *ret_status = to_exit_code(exec ? e->exit_status : c->exit_status);
        r = 1;
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

int sandbox_container_wait(struct container *c, const char *exec, int hangup_fd, int *ret_status)
{
    struct exit_waiter w;
    int r, gofer = c->gofer ? gofer_hangup_fd(c->gofer) : -1;

    if (exit_waiter_begin(&w) < 0)
        return -ENOMEM;
    for (;;) {
        struct pollfd p[3] = {{.fd = w.event, .events = POLLIN},
                              {.fd = hangup_fd, .events = POLLRDHUP},
                              {.fd = gofer}};
        uint64_t drained;

        r = status_of(c, exec, ret_status);
        if (r)
            break;
        (void)poll(p, 3, -1);
        if (p[2].revents) {
            /* No files any more: the container must not go on as if nothing had happened. */
            log_error("container %s: its gofer is gone, killing it", c->id);
            gofer = -1;
            (void)sandbox_container_kill(c, NULL, SIGKILL, true);
            continue;
        }
        if (p[1].revents & (POLLHUP | POLLRDHUP | POLLERR)) {
            r = -ECANCELED;
            break;
        }
        (void)!read(w.event, &drained, sizeof(drained));
    }
    exit_waiter_end(&w);
    return r < 0 ? r : 0;
}

/* Every process of c, from the root namespace's point of view. tasks_lock held. */
static int kill_all_locked(struct container *c, int sig)
{
    const struct pidns *ns = g_sentry.pidns;
    int n = 0;

    for (int nr = pidns_next_process_locked(ns, 0); nr; nr = pidns_next_process_locked(ns, nr)) {
        struct process *p = process_find_locked(ns, nr);

        if (!p || p->container != c || p->state != PROCESS_ALIVE)
            continue;
        n++;
        (void)signal_send_process_locked(p, sig, NULL);
    }
    return n;
}

static int kill_created(struct container *c, int sig)
{
    struct task *t;

    if (sig != SIGKILL && sig != SIGTERM)
        return 0;
    mutex_lock(&g_sentry.lock);
    t = c->first;
    c->first = NULL;
    c->started = true;
    mutex_unlock(&g_sentry.lock);
    if (!t)
        return 0;
    mutex_lock(&g_tasks_lock);
    mutex_lock(&t->process->sighand->lock);
    process_group_exit_locked(t->process, SIGKILL);
    mutex_unlock(&t->process->sighand->lock);
    mutex_unlock(&g_tasks_lock);
    return task_start(t);
}

static int kill_pause(struct container *c, int sig)
{
    int r = 0;

    mutex_lock(&g_tasks_lock);
    if (c->exited) {
        r = -ESRCH;
    } else if (sig == SIGKILL || sig == SIGTERM || sig == SIGINT) {
        c->exited = true;
        c->exit_status = sig == SIGKILL ? SIGKILL : 0;
        container_announce_exit();
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

int sandbox_container_kill(struct container *c, const char *exec, int sig, bool all)
{
    struct exec_process *e;
    int r = 0;

    if (sig < 0 || sig > L_NSIG)
        return -EINVAL;
    if (c->pause)
        return kill_pause(c, sig);
    if (c->first)
        return kill_created(c, sig);
    if (sig == SIGKILL)
        sandbox_container_set_frozen(c, false);
    mutex_lock(&g_tasks_lock);
    if (exec) {
        e = exec_find(c, exec);
        if (!e || e->exited)
            r = -ESRCH;
        else if (sig)
            r = signal_send_process_locked(e->process, sig, NULL);
    } else if (all) {
        if (!kill_all_locked(c, sig))
            r = -ESRCH;
    } else if (!c->init || c->exited) {
        r = -ESRCH;
    } else if (sig) {
        r = signal_send_process_locked(c->init, sig, NULL);
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

void sandbox_container_set_frozen(struct container *c, bool frozen)
{
    const struct pidns *ns = g_sentry.pidns;

    __atomic_store_n(&c->frozen, frozen, __ATOMIC_SEQ_CST);
    mutex_lock(&g_tasks_lock);
    for (int nr = pidns_next_process_locked(ns, 0); nr; nr = pidns_next_process_locked(ns, nr)) {
        struct process *p = process_find_locked(ns, nr);
        struct task *t;

        if (!p || p->container != c)
            continue;
        list_for_each_entry (t, &p->threads, thread_link) {
            if (!frozen)
                task_wake(t);
            else if (t->th && __atomic_load_n(&t->in_guest, __ATOMIC_SEQ_CST))
                plat_interrupt(t->th);
        }
    }
    mutex_unlock(&g_tasks_lock);
}

int sandbox_container_delete(struct container *c)
{
    struct file *terminal;
    bool gone;

    if (!c->pause && !c->exited)
        (void)sandbox_container_kill(c, NULL, SIGKILL, true);
    mutex_lock(&g_sentry.lock);
    list_remove(&c->link);
    gone = c->gone;
    c->gone = true;
    mutex_unlock(&g_sentry.lock);
    if (gone)
        return -ENOENT;
    /* Its tasks hold references until they are gone: the host side and its files are ended now. */
    if (c->mntns)
        mntns_put(c->mntns);
    mutex_lock(&g_tasks_lock);
    terminal = c->stdio;
    c->stdio = NULL;
    mutex_unlock(&g_tasks_lock);
    file_put(terminal);
    if (c->plat) {
        plat_free(c->plat);
        c->plat = NULL;
    }
    container_put(c); /* the list's */
    return 0;
}
