/*
 * The first task of a process that comes from outside (a container's, an exec's): standard streams,
 * credentials, namespaces, working directory and image, up to its first instruction.
 */
#include "runtime/sentry/control/first_task.h"

#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/clone.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Three descriptors from outside, or the terminal three times. */
static int make_stdio(struct task *t, int *fds, bool tty, struct file **ret_tty)
{
    struct file *f = NULL;

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

void first_task_discard(struct task *t)
{
    task_set_current(t);
    t->killed = true;
    t->exit_status = SIGKILL;
    task_exit(t);
    task_set_current(NULL);
    task_put(t);
}

int first_task_new(struct container *c, struct process_spec *p, int *fds, bool tty,
                   struct task **ret, struct file **ret_tty, struct error *err)
{
    struct task_template tmpl = {.container = c,
                                 .cred = process_spec_cred(p),
                                 .fs = make_fs(c, p->umask),
                                 .files = fdtable_new(),
                                 .ns = make_namespaces(c),
                                 .pidns = c->pidns,
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
    r = make_stdio(t, fds, tty, ret_tty);
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
        first_task_discard(t);
        return r;
    }
    t->seccomp = seccomp_inherit(c->seccomp);
    task_publish_identity(t);
    *ret = t;
    return 0;
}
