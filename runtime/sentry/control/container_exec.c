/*
 * From an "exec" request to a further process of a running container. It belongs to the connection
 * that asked for it, and ends with it.
 */
#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/control/first_task.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void exec_free(struct exec_process *x)
{
    process_put(x->process);
    file_put(x->stdio);
    container_put(x->container);
    free(x->name);
    free(x);
}

void sandbox_exec_end(struct exec_process *x)
{
    if (!x)
        return;
    mutex_lock(&g_tasks_lock);
    list_remove(&x->link);
    if (!x->exited)
        (void)signal_send_process_locked(x->process, SIGKILL, NULL);
    mutex_unlock(&g_tasks_lock);
    exec_free(x);
}

static struct exec_process *exec_new(struct container *c, const char *name)
{
    struct exec_process *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->container = container_get(c);
    list_init(&x->link);
    x->name = strdup(name);
    if (x->name)
        return x;
    exec_free(x);
    return NULL;
}

/* Starts t, which is x's. */
static int exec_start(struct exec_process *x, struct task *t, struct error *err)
{
    x->process = process_get(t->process);
    mutex_lock(&g_tasks_lock);
    list_append(&x->container->execs, &x->link);
    mutex_unlock(&g_tasks_lock);
    if (task_start(t) == 0)
        return 0;
    first_task_discard(t);
    mutex_lock(&g_tasks_lock);
    list_remove(&x->link);
    mutex_unlock(&g_tasks_lock);
    return error_errno(err, -EAGAIN, "start a sentry thread");
}

static int exec_in(struct container *c, struct control_request *r, int *ret_pid, struct error *err)
{
    struct exec_process *x;
    struct process_spec p;
    struct task *t;
    int e;

    if (!c->init || c->exited)
        return error_set(err, -ESRCH, "container not running");
    if (r->n_fds < 3)
        return error_set(err, -EINVAL, "exec: %u descriptors instead of 3", r->n_fds);
    if (*r->exec)
        return error_set(err, -EBUSY, "exec: this connection has a process already");
    e = process_spec_parse(json_object_get(r->json, "process"), &p, err);
    if (e < 0)
        return e;
    x = exec_new(c, json_string_value(json_object_get(r->json, "exec")));
    if (!x) {
        process_spec_fini(&p);
        return error_errno(err, -ENOMEM, "exec");
    }
    e = first_task_new(c, &p, r->fds, json_is_true(json_object_get(r->json, "tty")), &t, &x->stdio,
                       err);
    process_spec_fini(&p);
    if (e == 0) {
        *ret_pid = task_tgid(t);
        e = exec_start(x, t, err);
    }
    if (e == 0)
        *r->exec = x;
    else
        exec_free(x);
    return e;
}

int sandbox_container_exec(struct container *c, struct control_request *r, int *ret_pid,
                           struct error *err)
{
    struct mntns *files = NULL;
    int e;

    if (!json_is_string(json_object_get(r->json, "exec")))
        return error_set(err, -EINVAL, "exec: its name is missing");
    mutex_lock(&g_sentry.lock);
    if (c->mntns && !c->gone)
        files = mntns_get(c->mntns); /* a delete beside us may drop the container's own */
    mutex_unlock(&g_sentry.lock);
    e = exec_in(c, r, ret_pid, err);
    if (files)
        mntns_put(files);
    return e;
}
