/* The verbs of the control socket: one row each. */
#include "common/cleanup.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct call {
    struct control_request *r;
    struct container *c; /* of "id", NULL for verbs without */
    const char *exec;
    json_t *answer;
    struct error *err;
};

static int do_create(struct call *k)
{
    return sandbox_container_create(k->r, k->err);
}

static int do_start(struct call *k)
{
    int pid = 0, e = sandbox_container_start(k->c, &pid, k->err);

    if (e == 0)
        (void)json_object_set_new(k->answer, "pid", json_integer(pid));
    return e;
}

static int do_exec(struct call *k)
{
    int pid, e = sandbox_container_exec(k->c, k->r, &pid, k->err);

    if (e == 0)
        (void)json_object_set_new(k->answer, "pid", json_integer(pid));
    return e;
}

static int do_kill(struct call *k)
{
    int sig = (int)json_integer_value(json_object_get(k->r->json, "signal"));
    int e = sandbox_container_kill(k->c, k->exec, sig,
                                   json_is_true(json_object_get(k->r->json, "all")));

    return e < 0 ? error_set(k->err, e,
                             e == -ESRCH ? "container not running" : "kill: invalid signal %d", sig)
                 : 0;
}

static json_t *describe(struct process *p)
{
    const struct pidns *ns = p->pidns;
    struct task *t = process_any_task_locked(p);

    return json_pack("{s:i,s:i,s:i,s:s,s:i}", "pid", pid_in(p->pid, ns), "ppid",
                     p->parent ? pid_in(p->parent->pid, ns) : 0, "uid", t ? (int)t->cred->uid : 0,
                     "comm", t ? t->comm : "", "threads", (int)p->n_threads);
}

static int do_ps(struct call *k)
{
    json_t *list = json_array();

    mutex_lock(&g_tasks_lock);
    for (int nr = pidns_next_process_locked(g_sentry.pidns, 0); nr;
         nr = pidns_next_process_locked(g_sentry.pidns, nr)) {
        struct process *p = process_find_locked(g_sentry.pidns, nr);

        if (p && p->container == k->c && p->state == PROCESS_ALIVE)
            (void)json_array_append_new(list, describe(p));
    }
    mutex_unlock(&g_tasks_lock);
    (void)json_object_set_new(k->answer, "processes", list);
    return 0;
}

static int do_state(struct call *k)
{
    const struct container *c = k->c;
    const char *status;
    int pid;

    mutex_lock(&g_tasks_lock);
    status = c->exited ? "stopped" : c->frozen ? "paused" : c->started ? "running" : "created";
    pid = c->init && c->init->pid ? pid_in(c->init->pid, c->pidns) : 0;
    mutex_unlock(&g_tasks_lock);
    (void)json_object_set_new(k->answer, "status", json_string(status));
    (void)json_object_set_new(k->answer, "pid", json_integer(pid));
    return 0;
}

static int do_pause(struct call *k)
{
    sandbox_container_set_frozen(k->c, true);
    return 0;
}

static int do_resume(struct call *k)
{
    sandbox_container_set_frozen(k->c, false);
    return 0;
}

static int do_update(struct call *k)
{
    sandbox_container_set_limits(k->c, json_object_get(k->r->json, "resources"));
    return 0;
}

static int do_delete(struct call *k)
{
    return sandbox_container_delete(k->c);
}

static int do_stats(struct call *k)
{
    struct rusage u;
    uint64_t memory = 0, cpu = 0;
    int n = 0;

    mutex_lock(&g_tasks_lock);
    for (int nr = pidns_next_process_locked(g_sentry.pidns, 0); nr;
         nr = pidns_next_process_locked(g_sentry.pidns, nr)) {
        struct process *p = process_find_locked(g_sentry.pidns, nr);
        struct task *t = p ? process_any_task_locked(p) : NULL;

        if (!t || p->container != k->c)
            continue;
        n++;
        process_usage_locked(p, &u);
        cpu += (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ULL +
               (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ULL;
        memory += mm_rss(t);
    }
    mutex_unlock(&g_tasks_lock);
    (void)json_object_set_new(k->answer, "pids", json_integer(n));
    (void)json_object_set_new(k->answer, "memory", json_integer((json_int_t)memory));
    (void)json_object_set_new(k->answer, "cpu", json_integer((json_int_t)cpu));
    return 0;
}

static int do_winch(struct call *k)
{
    struct exec_process *e;
    struct file *f = NULL;

    mutex_lock(&g_tasks_lock);
    if (!k->exec) {
        f = k->c->stdio;
    } else {
        list_for_each_entry (e, &k->c->execs, link)
            if (strcmp(e->name, k->exec) == 0)
                f = e->stdio;
    }
    if (f)
        (void)file_get(f);
    mutex_unlock(&g_tasks_lock);
    if (f)
        tty_host_winch(f);
    file_put(f);
    return 0;
}

static const struct {
    const char *op;
    int (*fn)(struct call *k);
    bool needs_container;
} verbs[] = {
    {"create", do_create, false}, {"start", do_start, true},   {"exec", do_exec, true},
    {"kill", do_kill, true},      {"ps", do_ps, true},         {"state", do_state, true},
    {"pause", do_pause, true},    {"resume", do_resume, true}, {"delete", do_delete, true},
    {"stats", do_stats, true},    {"winch", do_winch, true},   {"update", do_update, true},
};

int control_handle(struct control_request *r, json_t *answer, struct error *err)
{
    const char *op = json_string_value(json_object_get(r->json, "op"));
    const char *id = json_string_value(json_object_get(r->json, "id"));
    struct call k = {.r = r,
                     .exec = json_string_value(json_object_get(r->json, "exec")),
                     .answer = answer,
                     .err = err};

    for (size_t i = 0; op && i < ARRAY_SIZE(verbs); i++) {
        int e;

        if (strcmp(verbs[i].op, op) != 0)
            continue;
        if (verbs[i].needs_container)
            k.c = sandbox_container_get(id);
        if (verbs[i].needs_container && !k.c)
            return error_set(err, -ENOENT, "container '%s' does not exist", id ? id : "");
        e = verbs[i].fn(&k);
        container_put(k.c);
        return e;
    }
    return error_set(err, -EOPNOTSUPP, "unknown request '%s'", op ? op : "");
}
