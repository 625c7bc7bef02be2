/*
 * The order of events (one arrow, one wake-up):
 *   monitor forks sentry (new user, mount, ipc, uts, pid namespaces) -> writes its id maps -> "go"
 *   monitor forks gofer; enters the cgroup; arms (the agent works while sentry and gofer set
 * themselves up) sentry: namespaces done -> "up"; monitor forks the zygote's parent into them,
 * tells the sentry the arming answer sentry: filter, sentry_main, which answers "create" on the
 * ready pipe Failures of any child arrive on the same pipe; its end without an answer means that
 * they died.
 */
#include "runtime/oci/launch.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/oci/control.h"
#include "runtime/oci/hooks.h"
#include "runtime/oci/roles.h"
#include "runtime/oci/sysctl.h"
#include "runtime/security/confine.h"
#include "runtime/sentry/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_channels(struct channels *c)
{
    int(*const pairs[])[2] = {&c->gofer, &c->zygote, &c->broker, &c->go, &c->up, &c->ready};

    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        close_fd(&(*pairs[i])[0]);
        close_fd(&(*pairs[i])[1]);
    }
}

static int open_channels(struct channels *c, struct error *err)
{
    *c = (struct channels){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->gofer) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->zygote) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->broker) < 0 ||
        pipe2(c->go, O_CLOEXEC) < 0 || pipe2(c->up, O_CLOEXEC) < 0 ||
        pipe2(c->ready, O_CLOEXEC) < 0) {
        int r = error_errno(err, -errno, "open channels");

        close_channels(c);
        return r;
    }
    return 0;
}

/*
 * fork with namespaces. libc's fork knows no flags, and the raw call leaves libc's idea of the
 * thread's id wrong in the child; the kernel can write it where libc keeps it.
 */
static pid_t fork_with(unsigned long flags)
{
    int *tid = NULL;

    if (prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0) == 0 && tid)
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, NULL, tid, 0);
}

json_t *launch_request(const struct launch *l)
{
    return json_pack("{s:s,s:s,s:O,s:b,s:b,s:O,s:b,s:b,s:b,s:s*,s:b,s:I}", "op", "create", "id",
                     l->id, "spec", l->spec->json, "rootReadonly", l->spec->root.readonly,
                     "rootOverlay", l->mounts->overlay, "mounts", l->mounts->list, "tty", l->tty,
                     "sandbox", l->new_sandbox, "foreground", l->die_with_caller, "pidNamespaceOf",
                     l->pidns_of, "scratch", l->mounts->scratch >= 0, "upperLimit",
                     (json_int_t)l->mounts->upper_limit);
}

static void adjust_oom_score(const struct launch *l)
{
    struct error err = ERROR_INIT;
    char text[16];

    if (!l->spec->process.has_oom_score_adj)
        return;
    (void)snprintf(text, sizeof(text), "%d", (int)l->spec->process.oom_score_adj);
    /* Lowering takes CAP_SYS_RESOURCE, which not every node agent's container has: no reason to run
     * nothing. */
    if (file_write(AT_FDCWD, "/proc/self/oom_score_adj", text, &err) < 0)
        log_warn("oom_score_adj stays as it is: %s", err.msg);
}

/* The request as text; its length is limited by what a packet may be. */
static char *request_text(const struct launch *l, struct error *err)
{
    json_t *j = launch_request(l);
    char *text = json_dumps(j, JSON_COMPACT);

    json_decref(j);
    if (text && strlen(text) <= SENTRY_PACKET_MAX)
        return text;
    (void)error_set(err, text ? -E2BIG : -ENOMEM, "config.json: too large for the sentry");
    free(text);
    return NULL;
}

static int fork_sentry(struct launch *l, struct channels *c, struct error *err)
{
    CLEANUP(free_ptr) char *text = request_text(l, err);
    pid_t pid;
    int r;

    if (!text)
        return err->code;
    pid = fork_with(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID);
    if (pid == 0)
        role_sentry(l, c, text);
    if (pid < 0)
        return error_errno(err, -errno, "fork the sentry");
    l->sentry.pid = pid;
    r = confine_map_ids(pid, l->uid, err);
    if (r == 0 && write(c->go[1], "m", 1) != 1)
        r = error_errno(err, -errno, "wake the sentry");
    return r;
}

static int fork_gofer(struct launch *l, struct channels *c, struct error *err)
{
    pid_t pid = fork_with(CLONE_NEWNS);

    if (pid == 0)
        role_gofer(l, c);
    if (pid < 0)
        return error_errno(err, -errno, "fork the gofer");
    l->gofer.pid = pid;
    return 0;
}

/* A sandbox with a network namespace that is all its own harms nobody: config.json decides. */
static bool grants_raw(const struct launch *l)
{
    if (l->net->kind != NET_FRESH)
        return l->armed.net_raw || (l->net_raw && !l->armed.armed);
    return oci_spec_has_capability(l->spec, "CAP_NET_RAW");
}

/* In the sandbox's own cgroup: programs on it look at every socket that is opened there. */
static int fork_broker(struct launch *l, struct channels *c, struct go *go, struct error *err)
{
    struct broker_grants grants = {
        .raw = go->net_raw,
        .packet = go->net_raw && l->net->kind != NET_HOST,
        .low_ports = l->net->kind == NET_HOST,
    };
    pid_t pid;

    go->broker = grants.raw || grants.low_ports;
    if (!go->broker)
        return 0;
    if (l->leaf)
        cgroup_enter(l->leaf);
    pid = fork_with(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS);
    if (pid == 0)
        role_broker(&grants, c);
    if (l->leaf)
        cgroup_enter(l->cgroup);
    return pid < 0 ? error_errno(err, -errno, "fork the broker") : 0;
}

static int fork_zygote(struct launch *l, struct channels *c, int sentry_pidfd, struct error *err)
{
    pid_t pid;
    int status;

    /* Only children made from now on are in it. */
    if (setns(sentry_pidfd, CLONE_NEWPID) < 0)
        return error_errno(err, -errno, "join the sandbox's pid namespace");
    pid = fork_with(0);
    if (pid == 0)
        role_zygote_parent(l, c, sentry_pidfd);
    if (pid < 0)
        return error_errno(err, -errno, "fork the zygote");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_errno(err, -errno, "wait for the zygote");
    return 0; /* its own failure is on the ready pipe */
}

static int arm_sandbox(struct launch *l, struct error *err)
{
    CLEANUP(close_fd) int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    CLEANUP(close_fd) int cgroup = cgroup_v2_open(l->cgroup, l->leaf != NULL);
    struct arm_request req = {
        .id = l->id,
        .sandbox = l->sandbox,
        .spec = l->spec,
        .netns = netns,
        .pidfd = pidfd,
        .cgroup = cgroup,
    };
    char path[2048], *slash;

    if (l->net->kind == NET_FRESH)
        return 0;
    if (netns < 0 || pidfd < 0)
        return error_errno(err, -errno, "arm");
    (void)snprintf(path, sizeof(path), "%s", l->cgroup->path);
    slash = strrchr(path, '/');
    if (l->leaf && slash)
        *slash = 0;
    req.cgroup_path = path;
    return arm(l->config, &req, &l->armed, err);
}

/* The first line on the ready pipe: 1 and what it says (in *ret_r), or 0 at its end. */
static int read_ready(int fd, int *ret_r, struct error *err)
{
    char text[8192], *end = NULL;
    size_t n = 0;

    while (n < sizeof(text) && !end) {
        ssize_t got = read(fd, text + n, sizeof(text) - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        end = memchr(text + n, '\n', (size_t)got);
        n += (size_t)got;
    }
    *ret_r = control_parse(text, end ? (size_t)(end - text) : n, NULL, err);
    return 1;
}

/* If sentry, gofer or zygote told why they gave up, that says more than what went wrong because of
 * it. */
static void prefer_children_words(int fd, struct error *err)
{
    struct error why = ERROR_INIT;
    int r;

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (read_ready(fd, &r, &why) && r < 0 && r != -EIO)
        *err = why;
}

static int await_ready(struct launch *l, int fd, struct error *err)
{
    int status, r;

    if (read_ready(fd, &r, err))
        return r;
    if (l->new_sandbox && waitpid(l->sentry.pid, &status, 0) == l->sentry.pid) {
        l->sentry.pid = 0;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
            return error_set(err, -EPERM, "sentry killed by seccomp while it started");
        if (WIFSIGNALED(status))
            return error_set(err, -EIO, "sentry killed by signal %d while it started",
                             WTERMSIG(status));
        return error_set(err, -EIO, "sentry exited with status %d while it started",
                         WEXITSTATUS(status));
    }
    return error_set(err, -EIO, "the sandbox did not start");
}

/* Sentry's side of a joining container: hands the descriptors over its control socket. */
static int join_create(struct launch *l, struct channels *c, struct error *err)
{
    int fds[5] = {c->gofer[0], c->zygote[0], l->stdio[0], l->stdio[1], l->stdio[2]};
    json_t *request = launch_request(l);

    if (!request)
        return error_errno(err, -ENOMEM, "create");
    return control_call(l->control, request, fds, ARRAY_SIZE(fds), NULL, err);
}

bool launch_has_hooks(const struct oci_spec *spec)
{
    return hooks_any(spec->hooks, "prestart") || hooks_any(spec->hooks, "createRuntime") ||
           hooks_any(spec->hooks, "createContainer");
}

/* What they make in the root file system must be there when it is opened. */
static int run_create_hooks(struct launch *l, struct error *err)
{
    static const char *const order[] = {"prestart", "createRuntime", "createContainer"};
    json_t *state;
    int r = 0;

    if (!launch_has_hooks(l->spec))
        return 0;
    state = json_pack("{s:s,s:s,s:s,s:i,s:s,s:O*}", "ociVersion", l->spec->version, "id", l->id,
                      "status", "creating", "pid", (int)getpid(), "bundle", l->bundle,
                      "annotations", l->spec->annotations);
    for (size_t i = 0; i < ARRAY_SIZE(order) && r == 0; i++)
        r = hooks_run(l->spec->hooks, order[i], state, err);
    json_decref(state);
    if (r == 0)
        r = mount_set_open(l->mounts, l->spec, l->bundle, l->rootfs, l->id, l->config, err);
    return r;
}

/* Not before sentry and gofer, which have a group of their own, are made: a scope of systemd lives
 * only while a process is in it. */
static int enter_own_group(struct launch *l, struct error *err)
{
    return cgroup_begin(l->cgroup, &l->spec->linux_.resources, err);
}

static int new_sandbox(struct launch *l, struct channels *c, struct error *err)
{
    struct go go;
    char byte;
    int r;

    r = l->leaf ? cgroup_begin(l->leaf, NULL, err) : enter_own_group(l, err);
    confine_core_scheduling(0);
    if (r == 0)
        r = net_enter(l->net, err);
    if (r == 0)
        r = sysctl_apply_net(l->spec, err);
    if (r == 0)
        r = run_create_hooks(l, err);
    if (r == 0)
        r = fork_sentry(l, c, err);
    if (r == 0)
        r = fork_gofer(l, c, err);
    if (r == 0 && l->leaf)
        r = enter_own_group(l, err);
    if (r == 0)
        r = arm_sandbox(l, err);
    if (r < 0)
        return r;
    close_fd(&c->up[1]);
    if (read_full(c->up[0], &byte, 1) == 1) {
        CLEANUP(close_fd) int pidfd = (int)syscall(SYS_pidfd_open, l->sentry.pid, 0);

        go = (struct go){.net_raw = grants_raw(l),
                         .direct = l->armed.direct || l->config->data_plane_direct};
        r = fork_broker(l, c, &go, err);
        if (r < 0)
            return r;
        close_fd(&c->broker[1]);
        if (write_full(c->go[1], &go, sizeof(go)) < 0)
            return error_set(err, -EIO, "the sentry is gone");
        r = fork_zygote(l, c, pidfd, err);
        if (r < 0) {
            prefer_children_words(c->ready[0], err);
            return err->code;
        }
    }
    close_fd(&c->ready[1]);
    return await_ready(l, c->ready[0], err);
}

static int join_sandbox(struct launch *l, struct channels *c, struct error *err)
{
    CLEANUP(close_fd) int pidfd = (int)syscall(SYS_pidfd_open, l->sentry.pid, 0);
    int r;

    if (pidfd < 0 || !process_alive(&l->sentry))
        return error_set(err, -ESRCH, "sandbox \"%s\" is not running", l->sandbox);
    /* The pod's shim looks for the network namespace at this container's pid, too. */
    if (setns(pidfd, CLONE_NEWNET) < 0)
        return error_errno(err, -errno, "join the sandbox's network namespace");
    if (l->leaf)
        cgroup_enter(l->leaf);
    confine_core_scheduling(l->sentry.pid);
    r = run_create_hooks(l, err);
    if (r == 0)
        r = fork_gofer(l, c, err);
    if (r == 0)
        r = enter_own_group(l, err);
    if (r == 0)
        r = fork_zygote(l, c, pidfd, err);
    close_fd(&c->gofer[1]);
    close_fd(&c->zygote[1]);
    close_fd(&c->ready[1]);
    if (r == 0)
        r = join_create(l, c, err);
    if (r < 0) {
        prefer_children_words(c->ready[0], err);
        r = err->code;
    }
    return r;
}

static void kill_child(struct process_ref *p)
{
    if (p->pid <= 0)
        return;
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

int launch_container(struct launch *l, struct error *err)
{
    struct channels c;
    int r = open_channels(&c, err);

    if (r < 0)
        return r;
    adjust_oom_score(l);
    cgroup_create(l->cgroup); /* hooks find it */
    r = l->new_sandbox ? new_sandbox(l, &c, err) : join_sandbox(l, &c, err);
    close_channels(&c);
    mount_set_close(l->mounts);
    if (r < 0) {
        if (l->new_sandbox)
            kill_child(&l->sentry);
        kill_child(&l->gofer);
        return r;
    }
    if (l->new_sandbox)
        l->sentry.start = process_start_time(l->sentry.pid);
    l->gofer.start = process_start_time(l->gofer.pid);
    return 0;
}
