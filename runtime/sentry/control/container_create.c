/*
 * From a "create" request to a container whose first process stands before its first instruction:
 * zygote, gofer, namespaces, mount tree, descriptors, credentials, image. A failure undoes all of
 * it.
 */
#include "common/log.h"
#include "runtime/gofer/client.h"
#include "runtime/platform/platform.h"
#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/control/seccomp_profile.h"
#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/fs/proc/proc.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/clone.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/vfs/path.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FD_GOFER, FD_ZYGOTE, FD_STDIN };

static void container_free(struct container *c)
{
    if (c->plat)
        plat_free(c->plat);
    if (c->mntns && !c->gone)
        mntns_put(c->mntns);
    gofer_put(c->gofer);
    file_put(c->stdio);
    process_put(c->init);
    pidns_put(c->pidns);
    seccomp_put(c->seccomp);
    free(c->id);
    free(c);
}

struct container *container_get(struct container *c)
{
    ref_get(&c->ref);
    return c;
}

void container_put(struct container *c)
{
    if (c && ref_put(&c->ref))
        container_free(c);
}

struct container *sandbox_container_find(const char *id)
{
    struct container *c;

    list_for_each_entry (c, &g_sentry.containers, link)
        if (strcmp(c->id, id) == 0)
            return c;
    return NULL;
}

struct container *sandbox_container_get(const char *id)
{
    struct container *c;

    mutex_lock(&g_sentry.lock);
    c = id ? sandbox_container_find(id) : NULL;
    if (c)
        (void)container_get(c);
    mutex_unlock(&g_sentry.lock);
    return c;
}

/* ---- what a process of the container starts with
 * ------------------------------------------------------------ */

/* Three descriptors from outside, or the terminal three times. */
static int make_stdio(struct fdtable *files, struct task *t, int *fds, bool tty,
                      struct file **ret_tty)
{
    struct file *f = NULL;

    (void)files;
    for (int i = 0; i < 3; i++) {
        int r = 0, fd;

        if (tty && i > 0)
            f = file_get(f);
        else if (tty)
            r = tty_host_new(t, fds[0], &f);
        else
            r = hostfile_new(t, fds[i], &f);
        if (r < 0)
            return r;
        if (!tty || i == 0)
            fds[i] = -1;
        fd = fd_install(t, f, false, 0);
        if (fd < 0) {
            file_put(f);
            return fd;
        }
    }
    if (tty && ret_tty)
        *ret_tty = file_get(f);
    return 0;
}

static struct namespaces *make_namespaces(struct container *c)
{
    struct namespaces *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    ref_init(&n->ref);
    n->uts = utsns_get(g_sentry.uts);
    n->ipc = ipcns_get(g_sentry.ipc);
    n->net = netns_get(g_sentry.net);
    n->pid_for_children = pidns_get(c->pidns);
    n->mnt = mntns_get(c->mntns);
    return n;
}

static struct fs_context *make_fs(struct container *c, uint32_t umask)
{
    struct fs_context *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return NULL;
    ref_init(&fs->ref);
    fs->root = (struct path){c->mntns->root, c->mntns->root->root};
    fs->cwd = fs->root;
    path_get(&fs->root);
    path_get(&fs->cwd);
    fs->umask = umask;
    return fs;
}

static int enter_cwd(struct task *t, const char *cwd, struct error *err)
{
    struct path p, old;
    int r = path_lookup(t, AT_FDCWD, cwd, WALK_FOLLOW | WALK_DIRECTORY, &p);

    if (r < 0)
        return error_errno(err, r, "chdir to process.cwd '%s'", cwd);
    old = t->fs->cwd;
    t->fs->cwd = p;
    path_put(&old);
    return 0;
}

static const char *env_path(const struct exec_strings *env)
{
    size_t off = 0;

    for (unsigned i = 0; i < env->n; i++) {
        if (strncmp(env->data + off, "PATH=", 5) == 0)
            return env->data + off + 5;
        off += strlen(env->data + off) + 1;
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* execvp's search: the first candidate that is not missing decides. */
static int exec_search(struct task *t, struct process_spec *p, struct error *err)
{
    const char *name = p->argv.data, *dirs = env_path(&p->envp);
    char path[PATH_MAX];
    int r = -ENOENT;
    struct exec_request q = {.dirfd = AT_FDCWD, .path = name, .argv = p->argv, .envp = p->envp};

    if (strchr(name, '/')) {
        (void)snprintf(path, sizeof(path), "%.4095s", name);
        q.path = path;
        r = task_exec(t, &q, true);
    }
    while (!strchr(name, '/')) {
        size_t n = strcspn(dirs, ":");

        if ((size_t)snprintf(path, sizeof(path), "%.*s/%s", (int)n, n ? dirs : ".", name) >=
            sizeof(path))
            break;
        q.path = path;
        r = task_exec(t, &q, true);
        if (r != -ENOENT && r != -ENOTDIR)
            break;
        if (!dirs[n])
            break;
        dirs += n + 1;
    }
    /* task_exec may have replaced the list (scripts). */
    p->argv = q.argv;
    p->envp = q.envp;
    if (r == 0)
        return 0;
    if (r == -ENOENT && !strchr(name, '/'))
        return error_set(err, r, "exec: \"%s\": executable file not found in $PATH", name);
    return error_set(err, r, "exec: \"%s\": %s", name,
                     r == -ENOENT    ? "no such file or directory"
                     : r == -EACCES  ? "permission denied"
                     : r == -ENOEXEC ? "exec format error"
                                     : strerrorname_np(-r));
}

static void discard(struct task *t)
{
    task_set_current(t);
    t->killed = true;
    t->exit_status = SIGKILL;
    task_exit(t);
    task_set_current(NULL);
    task_put(t);
}

/* A first task with image, not started. fds: three descriptors. */
static int make_task(struct container *c, struct process_spec *p, struct process *parent, int *fds,
                     bool tty, struct task **ret, struct file **ret_tty, struct error *err)
{
    struct task_template tmpl = {.container = c,
                                 .cred = process_spec_cred(p),
                                 .fs = make_fs(c, p->umask),
                                 .files = fdtable_new(),
                                 .ns = make_namespaces(c),
                                 .pidns = c->pidns,
                                 .parent = parent,
                                 .rlimits = p->rlimits};
    struct task *t;
    int r = container_task_charge(c);

    if (r < 0)
        return error_set(err, r, "the container's pids limit is reached");
    r = tmpl.cred && tmpl.fs && tmpl.files && tmpl.ns ? task_new_first(&tmpl, &t) : -ENOMEM;
    if (r < 0) {
        cred_put(tmpl.cred);
        fs_context_put(tmpl.fs);
        namespaces_put(tmpl.ns);
        return error_errno(err, r, "make the first task");
    }
    t->no_new_privs = p->no_new_privileges;
    t->process->oom_score_adj = p->oom_score_adj;
    task_set_current(t);
    r = make_stdio(tmpl.files, t, fds, tty, ret_tty);
    if (r < 0)
        (void)error_errno(err, r, "standard streams");
    if (r == 0)
        r = container_make_devices(t, p->devices_of, err);
    if (r == 0)
        r = enter_cwd(t, p->cwd, err);
    if (r == 0)
        r = exec_search(t, p, err);
    if (r == 0 && tty && ret_tty && *ret_tty)
        tty_set_controlling(t->process, *ret_tty);
    task_set_current(NULL);
    if (r < 0) {
        discard(t);
        return r;
    }
    t->seccomp = seccomp_inherit(c->seccomp);
    task_publish_identity(t);
    *ret = t;
    return 0;
}

/* ---- create
 * ---------------------------------------------------------------------------------------------------
 */

static void set_limit(const json_t *group, const char *name, uint64_t *value)
{
    const json_t *v = json_object_get(group, name);

    /* Absent: unchanged. -1: none. */
    if (json_is_integer(v))
        __atomic_store_n(value, json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0,
                         __ATOMIC_RELAXED);
}

void sandbox_container_set_limits(struct container *c, const json_t *res)
{
    const json_t *cpu = json_object_get(res, "cpu"), *quota_json = json_object_get(cpu, "quota");
    int64_t quota = json_integer_value(quota_json), n = g_sentry.host_cpus;
    int64_t period = json_integer_value(json_object_get(cpu, "period"));

    set_limit(json_object_get(res, "memory"), "limit", &c->memory_limit);
    set_limit(json_object_get(res, "pids"), "limit", &c->pids_limit);
    if (c->cpus && !quota_json)
        return;
    period = period > 0 ? period : 100000;
    if (quota > 0)
        n = MAX(MIN((quota + period - 1) / period, n), 1);
    c->cpus = (unsigned)n;
}

static void set_domainname(const char *name)
{
    mutex_lock(&g_sentry.uts->lock);
    (void)snprintf(g_sentry.uts->domainname, sizeof(g_sentry.uts->domainname), "%s", name);
    mutex_unlock(&g_sentry.uts->lock);
}

static void set_hostname(const json_t *spec)
{
    const char *name = json_string_value(json_object_get(spec, "hostname"));
    const char *domain = json_string_value(json_object_get(spec, "domainname"));

    mutex_lock(&g_sentry.uts->lock);
    if (name)
        (void)snprintf(g_sentry.uts->nodename, sizeof(g_sentry.uts->nodename), "%s", name);
    mutex_unlock(&g_sentry.uts->lock);
    if (domain)
        set_domainname(domain);
}

/* net.* is in force already, by the host's network namespace: here it is only shown. */
static int set_sysctls(const json_t *spec, struct error *err)
{
    json_t *list = json_object_get(json_object_get(spec, "linux"), "sysctl"), *value;
    const char *key;

    json_object_foreach(list, key, value)
    {
        const char *text = json_string_value(value);
        bool net = strncmp(key, "net.", 4) == 0 || strncmp(key, "net/", 4) == 0;
        int r = sysctl_set(key, text ? text : "");

        if (r < 0 && !net && strcmp(key, "kernel.domainname") == 0) {
            set_domainname(text);
        } else if (r < 0 && !net) {
            return error_set(err, r, "sysctl \"%s\": cannot be set to '%.64s'", key, text);
        } else if (!net) {
            log_warn("sysctl \"%s\" is shown to programs, but its limit is the sandbox's own", key);
        }
    }
    return 0;
}

static int connect_helpers(struct container *c, struct control_request *r, struct error *err)
{
    int e;

    if (r->n_fds < FD_STDIN + 3)
        return error_set(err, -EINVAL, "create: %u descriptors instead of 5", r->n_fds);
    c->gofer = gofer_new(r->fds[FD_GOFER]);
    r->fds[FD_GOFER] = -1;
    if (!c->gofer)
        return error_errno(err, -ENOMEM, "gofer client");
    if (c->pause)
        return 0;
    e = plat_new(r->fds[FD_ZYGOTE], g_sentry.boot->data_plane_direct, &c->plat);
    r->fds[FD_ZYGOTE] = -1;
    return e < 0 ? error_errno(err, e, "platform") : 0;
}

/* A fresh one, or that of another container of the pod. */
static struct pidns *choose_pidns(const struct container *c, const char *of, struct error *err)
{
    struct container *other = NULL;
    struct pidns *ns = NULL;

    if (of) {
        mutex_lock(&g_sentry.lock);
        other = sandbox_container_find(of);
        if (other)
            ns = pidns_get(other->pidns);
        mutex_unlock(&g_sentry.lock);
        if (!ns)
            (void)error_set(err, -ENOENT, "pid namespace: container '%s' does not exist", of);
        return ns;
    }
    ns = pidns_new(g_sentry.pidns);
    if (!ns)
        (void)error_errno(err, -ENOMEM, "pid namespace");
    else if (c->pause) {
        ns->no_init = true;
        ns->last = 1;
    }
    return ns;
}

static int fill(struct container *c, struct control_request *r, struct error *err)
{
    const json_t *spec = json_object_get(r->json, "spec");
    struct tree_spec tree;
    struct process_spec p;
    const char *failed = NULL;
    int e;

    sandbox_container_set_limits(c, json_object_get(json_object_get(spec, "linux"), "resources"));
    c->foreground = json_is_true(json_object_get(r->json, "foreground"));
    c->sandbox = json_is_true(json_object_get(r->json, "sandbox"));
    set_hostname(spec);
    if (c->sandbox && set_sysctls(spec, err) < 0)
        return err->code;
    e = process_spec_parse(json_object_get(spec, "process"), &p, err);
    if (e < 0)
        return e;
    c->pause = c->sandbox && strcmp(p.argv.data, "/pause") == 0;
    if (!c->pause)
        file_limit_raise(c->memory_limit);
    if (!c->pause)
        tmpfs_set_default_limit(
            (c->memory_limit ? MIN(c->memory_limit, g_sentry.host_memory) : g_sentry.host_memory) /
            2);
    c->pidns = choose_pidns(c, json_string_value(json_object_get(r->json, "pidNamespaceOf")), err);
    p.devices_of = spec;
    e = c->pidns ? connect_helpers(c, r, err) : err->code;
    if (e == 0 && !c->pause)
        e = seccomp_profile_compile(json_object_get(json_object_get(spec, "linux"), "seccomp"),
                                    &c->seccomp, err);
    if (e == 0 && !c->pause) {
        e = tree_spec_parse(r->json, &tree, err);
        if (e == 0) {
            tree.gofer = c->gofer;
            e = vfs_build_tree(NULL, &tree, &c->mntns, &failed);
            if (e < 0)
                (void)error_errno(err, e, "config.json: mounts: '%s' (its type and options)",
                                  failed ? failed : "rootfs");
            tree_spec_fini(&tree);
        }
        if (e == 0)
            e = make_task(c, &p, NULL, r->fds + FD_STDIN,
                          json_is_true(json_object_get(r->json, "tty")), &c->first, &c->stdio, err);
        if (e == 0)
            c->init = process_get(c->first->process);
    }
    process_spec_fini(&p);
    return e;
}

int sandbox_container_create(struct control_request *r, struct error *err)
{
    const char *id = json_string_value(json_object_get(r->json, "id"));
    struct container *c;
    int e;

    if (!id || !*id || strlen(id) > 1024)
        return error_set(err, -EINVAL, "create: no id");
    mutex_lock(&g_sentry.lock);
    c = sandbox_container_find(id);
    mutex_unlock(&g_sentry.lock);
    if (c)
        return error_set(err, -EEXIST, "container '%s' already exists", id);
    c = calloc(1, sizeof(*c));
    if (!c)
        return error_errno(err, -ENOMEM, "create");
    ref_init(&c->ref);
    list_init(&c->execs);
    list_init(&c->link);
    c->id = strdup(id);
    e = c->id ? fill(c, r, err) : -ENOMEM;
    if (e < 0) {
        container_put(c);
        return e;
    }
    mutex_lock(&g_sentry.lock);
    list_append(&g_sentry.containers, &c->link);
    mutex_unlock(&g_sentry.lock);
    return 0;
}

/* ---- exec
 * -------------------------------------------------------------------------------------------------------
 */

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
    discard(t);
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
    e = make_task(c, &p, NULL, r->fds, json_is_true(json_object_get(r->json, "tty")), &t, &x->stdio,
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
        return error_set(err, -ENOENT, "container '%s' does not exist", c->id);
    mutex_lock(&g_sentry.lock);
    if (c->mntns && !c->gone)
        files = mntns_get(c->mntns); /* a delete beside us may drop the container's own */
    mutex_unlock(&g_sentry.lock);
    e = exec_in(c, r, ret_pid, err);
    if (files)
        mntns_put(files);
    return e;
}
