#include "runtime/cli/container.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/cli/program.h"
#include "runtime/oci/console.h"
#include "runtime/oci/control.h"
#include "runtime/oci/hooks.h"
#include "runtime/oci/namespaces.h"
#include "runtime/oci/sysctl.h"
#include "runtime/security/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int resolve_rootfs(struct container *c, struct error *err)
{
    const char *path = c->spec.root.path;
    struct stat st;

    if (snprintf(c->rootfs, sizeof(c->rootfs), "%s%s%s", *path == '/' ? "" : c->bundle,
                 *path == '/' ? "" : "/", path) >= (int)sizeof(c->rootfs))
        return error_set(err, -ENAMETOOLONG, "config.json: root.path: too long");
    if (stat(c->rootfs, &st) < 0)
        return error_errno(err, -errno, "config.json: root.path: '%s'", c->rootfs);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, -ENOTDIR, "config.json: root.path: '%s' is not a directory",
                         c->rootfs);
    return 0;
}

/* The group of the pod's sentry, beside the sandbox's own. */
static void use_leaf(struct container *c, const char *sandbox_path)
{
    struct cgroup sandbox = c->cgroup;

    (void)snprintf(sandbox.path, sizeof(sandbox.path), "%s", sandbox_path);
    cgroup_sibling(&sandbox, c->sandbox, &c->leaf);
    c->launch.leaf = &c->leaf;
}

/* The sandbox that this container joins: its sentry, id and control socket. */
static int find_sandbox(struct container *c, const char *sandbox, struct error *err)
{
    struct state s;
    int fd = state_open(c->cli->root, sandbox, err), r;

    if (fd < 0)
        return error_wrap(err, "sandbox of \"%s\"", c->id);
    r = state_load(fd, sandbox, &s, err);
    (void)flock(fd, LOCK_UN);
    c->sandbox_dirfd = fd;
    if (r == 0 && (r = program_hand_over(c->cli, &s, err)) < 0)
        state_free(&s);
    if (r < 0)
        return r;
    c->launch.sentry = s.sentry;
    c->launch.uid = s.uid;
    if (*s.cgroups && *c->cgroup.path && !s.standalone)
        use_leaf(c, s.cgroups);
    state_free(&s);
    c->launch.control = control_connect(fd, err);
    return c->launch.control < 0 ? error_wrap(err, "sandbox \"%s\"", sandbox) : 0;
}

/* The container of this sandbox whose pid on the host is `pid`. */
static bool find_by_pid(struct container *c, int pid)
{
    CLEANUP(close_dir) DIR *d = opendir(c->cli->root);
    bool found = false;
    struct dirent *e;

    while (d && !found && (e = readdir(d))) {
        CLEANUP(close_fd) int fd = -1;
        struct state s;

        if (oci_id_check(e->d_name, NULL) < 0)
            continue;
        /* Unlocked: our own directory is locked already, and another create may hold its own. */
        fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || state_load(fd, e->d_name, &s, NULL) < 0)
            continue;
        found = s.monitor.pid == pid && strcmp(s.sandbox, c->sandbox) == 0;
        if (found)
            (void)snprintf(c->pidns_of, sizeof(c->pidns_of), "%s", s.id);
        state_free(&s);
    }
    return found;
}

/* A pid namespace by path is that of a container of the same sandbox, named by its pid on the host;
 * the host's own becomes the pod's. */
static int find_pidns(struct container *c, struct error *err)
{
    const struct oci_namespace *ns = oci_namespace(&c->spec, NS_PID);
    const char *path = ns ? ns->path : NULL;
    int pid, end = 0;

    c->launch.pidns_of = c->pidns_of;
    if (!ns)
        (void)snprintf(c->pidns_of, sizeof(c->pidns_of), "%s", c->sandbox);
    else if (!path || !*path)
        c->launch.pidns_of = NULL;
    else if (sscanf(path, "/proc/%d/ns/pid%n", &pid, &end) != 1 || path[end])
        return error_set(err, -EINVAL,
                         "config.json: linux.namespaces: pid: '%.100s' is not /proc/PID/ns/pid",
                         path);
    else if (!find_by_pid(c, pid))
        return error_set(err, -EINVAL,
                         "config.json: linux.namespaces: pid: '%.100s' belongs to no container of "
                         "sandbox \"%s\"",
                         path, c->sandbox);
    return 0;
}

static int open_sandbox(struct container *c, struct error *err)
{
    const char *sandbox = oci_sandbox_id(&c->spec);
    int r;

    c->cri = sandbox || oci_annotation(&c->spec, "io.kubernetes.cri.container-type") ||
             oci_annotation(&c->spec, "io.kubernetes.cri-o.ContainerType");
    (void)snprintf(c->sandbox, sizeof(c->sandbox), "%s", sandbox ? sandbox : c->id);
    c->launch.new_sandbox = !sandbox;
    if (c->cri && !sandbox && *c->cgroup.path)
        use_leaf(c, c->cgroup.path);
    r = namespaces_check(&c->spec, err);
    if (r < 0)
        return r;
    if (sandbox) {
        r = find_sandbox(c, sandbox, err);
        return r < 0 ? r : find_pidns(c, err);
    }
    c->sandbox_dirfd = fcntl(c->dirfd, F_DUPFD_CLOEXEC, 3);
    c->launch.control = control_listen(c->dirfd, err);
    if (c->launch.control < 0)
        return c->launch.control;
    r = net_open(&c->net, &c->spec, err);
    return r < 0 ? r : sysctl_check(&c->spec, c->net.kind, err);
}

static int open_console(struct container *c, const char *console_socket, struct error *err)
{
    bool tty = c->spec.process.terminal;
    struct winsize size;

    if (c->foreground && !console_socket) {
        c->launch.tty = tty && isatty(0);
        for (int i = 0; i < 3 && c->launch.tty; i++)
            c->launch.stdio[i] = 0;
        return 0;
    }
    if (tty && !console_socket)
        return error_set(err, -EINVAL, "config.json: process.terminal: needs --console-socket");
    if (!tty && console_socket)
        return error_set(err, -EINVAL, "--console-socket is given, but process.terminal is false");
    if (!tty)
        return 0;
    size = (struct winsize){.ws_row = (unsigned short)c->spec.process.console_size.height,
                            .ws_col = (unsigned short)c->spec.process.console_size.width};
    c->console = console_new(console_socket, &size, err);
    if (c->console < 0)
        return c->console;
    c->launch.tty = true;
    for (int i = 0; i < 3; i++)
        c->launch.stdio[i] = c->console;
    return 0;
}

int container_prepare(struct container *c, struct cli *cli, const char *id, const char *bundle,
                      const char *console_socket, struct error *err)
{
    int r = oci_id_check(id, err);

    c->cli = cli;
    c->id = id;
    c->bundle = bundle;
    c->dirfd = c->sandbox_dirfd = c->console = c->launch.control = c->net.fd = -1;
    c->mounts.scratch = -1;
    c->mounts.host_root = c->host_root;
    c->launch.log_fd = cli->log_fd;
    if (cli->log_fd < 0 && (cli->strace || cli->debug))
        c->launch.log_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
    c->launch.stdio[1] = 1;
    c->launch.stdio[2] = 2;
    if (r == 0 && !c->spec.has_process)
        r = error_set(err, -EINVAL, "config.json: process: is missing");
    if (r == 0)
        r = resolve_rootfs(c, err);
    if (r < 0)
        return r;
    c->dirfd = state_create(cli->root, id, err);
    if (c->dirfd < 0)
        return c->dirfd;
    r = cgroup_init(&c->cgroup, &c->spec, id, cli->systemd_cgroup, err);
    if (r == 0)
        r = open_sandbox(c, err);
    if (r == 0 && !launch_has_hooks(&c->spec))
        r = mount_set_open(&c->mounts, &c->spec, bundle, c->rootfs, id, &cli->config, err);
    if (r == 0)
        r = open_console(c, console_socket, err);
    if (r < 0)
        container_discard(c);
    return r;
}

static void fill_state(const struct container *c, struct state *s)
{
    const struct launch *l = &c->launch;
    time_t now = time(NULL);
    struct tm tm;

    (void)snprintf(s->id, sizeof(s->id), "%s", c->id);
    (void)snprintf(s->sandbox, sizeof(s->sandbox), "%s", c->sandbox);
    (void)snprintf(s->bundle, sizeof(s->bundle), "%s", c->bundle);
    (void)snprintf(s->rootfs, sizeof(s->rootfs), "%s", c->rootfs);
    (void)snprintf(s->cgroups, sizeof(s->cgroups), "%s", c->cgroup.path);
    (void)snprintf(s->version, sizeof(s->version), "%.15s", c->spec.version);
    (void)strftime(s->created, sizeof(s->created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    program_self(s->program, sizeof(s->program));
    s->monitor = (struct process_ref){getpid(), process_start_time(getpid())};
    s->sentry = l->sentry;
    s->gofer = l->gofer;
    s->uid = l->uid;
    s->armed = l->armed.armed;
    s->standalone = !c->cri;
    s->tty = l->tty;
    s->annotations = json_incref(c->spec.annotations);
    s->hooks = json_incref(c->spec.hooks);
}

/* A uid of its own on the host: from the pid, and from its pid namespace, since runs in several of
 * them have the same pids. Pids have 22 bits, the range 28. */
static uid_t sandbox_uid(void)
{
    struct stat ns = {0};

    (void)stat("/proc/self/ns/pid", &ns);
    return CONFINE_UID_BASE + (uid_t)((ns.st_ino & 63) << 22 | ((unsigned)getpid() & 0x3fffff));
}

static void fill_launch(struct container *c)
{
    struct launch *l = &c->launch;

    l->id = c->id;
    l->sandbox = c->sandbox;
    l->bundle = c->bundle;
    l->rootfs = c->rootfs;
    l->spec = &c->spec;
    l->config = &c->cli->config;
    l->mounts = &c->mounts;
    l->net = &c->net;
    l->cgroup = &c->cgroup;
    l->strace = c->cli->strace;
    if (l->new_sandbox)
        l->uid = sandbox_uid();
}

static int launch(struct container *c, struct monitor *m, struct error *err)
{
    struct launch *l = &c->launch;
    struct state s = {0};
    int r = launch_container(l, err);

    if (r < 0)
        return r;
    m->oom_fd = cgroup_oom_open(&c->cgroup);
    fill_state(c, &s);
    r = state_save(c->dirfd, &s, err);
    state_free(&s);
    /* As long as somebody holds the listening end, connections to a dead sentry would hang, not
     * fail. */
    close_fd(&l->control);
    m->sentry_pid = l->new_sandbox ? l->sentry.pid : 0;
    m->ends_sandbox = l->new_sandbox && !c->cri;
    if (r == 0)
        r = monitor_connect(m, c->sandbox_dirfd, err);
    if (r == 0)
        r = monitor_wait_begin(m, err);
    if (r < 0) {
        if (l->new_sandbox)
            (void)process_kill(&l->sentry, CONTAINER_KILL_MS);
        (void)process_kill(&l->gofer, CONTAINER_KILL_MS);
    }
    return r;
}

int container_launch(struct container *c, struct monitor *m, struct error *err)
{
    int r;

    fill_launch(c);
    m->id = c->id;
    m->exit_fd = state_exit_open(c->dirfd, err);
    if (m->exit_fd < 0)
        return m->exit_fd;
    r = launch(c, m, err);
    if (r < 0 && c->launch.armed.armed) /* nobody will delete what isn't there */
        disarm(&c->cli->config, c->sandbox);
    return r;
}

void container_fini(struct container *c)
{
    mount_set_close(&c->mounts);
    net_close(&c->net);
    close_fd(&c->launch.control);
    close_fd(&c->console);
    if (c->sandbox_dirfd != c->dirfd)
        close_fd(&c->sandbox_dirfd);
    close_fd(&c->dirfd);
    oci_spec_free(&c->spec);
}

void container_discard(struct container *c)
{
    cgroup_remove(&c->cgroup);
    if (c->launch.new_sandbox && c->launch.leaf)
        cgroup_remove(&c->leaf);
    if (c->dirfd >= 0)
        state_remove(c->cli->root, c->id);
    container_fini(c);
}

int container_open(struct cli *cli, const char *id, struct state *ret, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    int r = oci_id_check(id, err);

    *ret = (struct state){0};
    if (r < 0)
        return r;
    fd = state_open(cli->root, id, err);
    if (fd < 0)
        return fd;
    r = state_load(fd, id, ret, err);
    if (r == 0 && (r = program_hand_over(cli, ret, err)) < 0)
        state_free(ret);
    return r < 0 ? r : TAKE_FD(fd);
}

int container_connect(struct cli *cli, const struct state *s, struct error *err)
{
    CLEANUP(close_fd) int dirfd = -1;
    char path[4300];

    (void)snprintf(path, sizeof(path), "%s/%s", cli->root, s->sandbox);
    dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return error_errno(err, -errno, "sandbox \"%s\"", s->sandbox);
    return control_connect(dirfd, err);
}

int container_call_within(struct cli *cli, const struct state *s, const char *op, int timeout_ms,
                          json_t **ret, struct error *err)
{
    CLEANUP(close_fd) int sock = container_connect(cli, s, err);

    if (sock < 0)
        return sock;
    return control_call_within(sock, json_pack("{s:s,s:s}", "op", op, "id", s->id), NULL, 0,
                               timeout_ms, ret, err);
}

int container_call(struct cli *cli, const struct state *s, const char *op, json_t **ret,
                   struct error *err)
{
    return container_call_within(cli, s, op, CONTROL_CALL_MS, ret, err);
}

const char *container_status(struct cli *cli, int dirfd, const struct state *s)
{
    static const char *const known[] = {"creating", "created", "running", "paused", "stopped"};
    struct error err = ERROR_INIT;
    const char *status = "stopped";
    json_t *answer = NULL;
    int code, r;

    if (state_exit_status(dirfd, &code, NULL) == 0 || !process_alive(&s->monitor))
        return status;
    r = container_call_within(cli, s, "state", CONTROL_ASK_MS, &answer, &err);
    if (r < 0) /* a sentry that is there but does not answer is no reason to lose sight of it */
        return r == -ETIMEDOUT || r == -EAGAIN ? "running" : status;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        const char *says = json_string_value(json_object_get(answer, "status"));

        if (says && strcmp(says, known[i]) == 0)
            status = known[i];
    }
    json_decref(answer);
    return status;
}

void container_hooks(const struct state *s, const char *name, const char *status)
{
    struct error err = ERROR_INIT;
    json_t *state;

    if (!hooks_any(s->hooks, name))
        return;
    state = container_state_json(s, status);
    if (hooks_run(s->hooks, name, state, &err) < 0)
        log_warn("%s: %s", s->id, err.msg);
    json_decref(state);
}

json_t *container_state_json(const struct state *s, const char *status)
{
    return json_pack("{s:s,s:s,s:s,s:i,s:s,s:O*}", "ociVersion", s->version, "id", s->id, "status",
                     status, "pid", strcmp(status, "stopped") == 0 ? 0 : (int)s->monitor.pid,
                     "bundle", s->bundle, "annotations", s->annotations);
}

int container_pid_file(const char *path, int pid, struct error *err)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", pid);

    return path ? file_write_atomic(AT_FDCWD, path, text, (size_t)n, 0644, err) : 0;
}
