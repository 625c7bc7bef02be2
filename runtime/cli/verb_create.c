/* create and run. */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/cli/container.h"
#include "runtime/security/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    const char *bundle, *pid_file, *console_socket, *preserve_fds;
    bool detach, keep;
};

#define AT(member) offsetof(struct options, member)
#define COMMON_OPTIONS                                                                             \
    {"bundle", 'b', CLI_VALUE, "DIR", AT(bundle), "where config.json is (.)"},                     \
        {"pid-file",   0,                                                                          \
         CLI_VALUE,    "FILE",                                                                     \
         AT(pid_file), "gets the pid that stands for the container"},                              \
        {"console-socket",   0,                                                                    \
         CLI_VALUE,          "SOCKET",                                                             \
         AT(console_socket), "gets the terminal's master"},                                        \
        {"no-pivot", 0, CLI_ACCEPTED, NULL, 0, "the root is the sandbox's own either way"},        \
        {"no-new-keyring", 0, CLI_ACCEPTED, NULL, 0, "there are no keyrings inside"},              \
    {                                                                                              \
        "preserve-fds", 0, CLI_VALUE, "0", AT(preserve_fds),                                       \
            "none but 0 to 2 are handed into a sandbox: others are refused"                        \
    }

static const struct cli_option create_options[] = {COMMON_OPTIONS, {0}};
static const struct cli_option run_options[] = {
    COMMON_OPTIONS,
    {"detach", 'd', CLI_FLAG, NULL, AT(detach), "does not wait for its end"},
    {"keep", 0, CLI_FLAG, NULL, AT(keep), "it is not deleted when it ends"},
    {"no-subreaper", 0, CLI_ACCEPTED, NULL, 0, "orphans stay inside anyway"},
    {0},
};
#undef AT

/* The monitor after it has reported: nothing of the caller's is held any more. */
static _Noreturn void be_monitor(struct container *c, struct monitor *m)
{
    struct error err = ERROR_INIT;
    int r;

    /* Window sizes come as SIGWINCH to the foreground of the terminal's session. */
    if (c->console >= 0 && ioctl(c->console, TIOCSCTTY, 0) == 0)
        c->console = -1; /* stays open */
    r = confine_stdio(&err);
    container_fini(c);
    if (r == 0)
        r = monitor_confine(m, &err);
    if (r < 0)
        log_error("monitor: %s", err.msg);
    _exit(monitor_wait(m));
}

/* After a launch that succeeded: as if it had not. */
static void take_back(struct container *c)
{
    struct state s;

    if (state_load(c->dirfd, c->id, &s, NULL) < 0)
        return;
    s.monitor.pid = 0; /* it is this very process */
    (void)container_delete(c->cli, c->dirfd, &s, NULL);
    state_free(&s);
}

/*
 * The child of create. Its report is a struct error: code 0, or why not. It goes on only if the
 * caller says that it has taken note: one that was killed meanwhile (a shim kills what it runs when
 * containerd goes away) has told nobody that there is a container, so nobody would ever delete it.
 */
static _Noreturn void monitor_child(struct container *c, int caller)
{
    struct monitor m = MONITOR_INIT;
    struct error err = ERROR_INIT;
    int r;
    char noted;

    (void)setsid();
    (void)!chdir("/"); /* the bundle's file system must not be held */
    r = container_launch(c, &m, &err);
    if (r < 0) {
        cgroup_leave(&c->cgroup);
        container_discard(c);
    }
    (void)fd_send(caller, &err, sizeof(err), NULL, 0);
    if (r < 0)
        _exit(1);
    if (read_full(caller, &noted, 1) != 1) {
        cgroup_leave(&c->cgroup);
        take_back(c);
        _exit(1);
    }
    (void)close(caller);
    be_monitor(c, &m);
}

/* Waits for the monitor's report, and answers it. */
static int take_report(struct container *c, int child, const struct options *o, pid_t pid,
                       struct error *err)
{
    struct error report;
    int r;

    if (recv(child, &report, sizeof(report), 0) != (ssize_t)sizeof(report)) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        container_discard(c);
        return error_set(err, -EIO, "the monitor died");
    }
    if ((r = report.code) < 0)
        *err = report;
    else
        r = container_pid_file(o->pid_file, pid, err);
    container_fini(c);
    /* The last thing that can fail: from here on there is a container. */
    if (r == 0 && fd_send(child, "", 1, NULL, 0) < 0)
        r = error_set(err, -EIO, "the monitor died");
    (void)shutdown(child, SHUT_RDWR);
    if (r < 0) /* it removes what there is */
        (void)waitpid(pid, NULL, 0);
    return r;
}

/* Forks the monitor and waits until the container is created. c is used up. */
static int create_detached(struct container *c, const struct options *o, struct error *err)
{
    CLEANUP(close_fd) int child = -1;
    int fds[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        r = error_errno(err, -errno, "socketpair");
        container_discard(c);
        return r;
    }
    child = fds[0];
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        monitor_child(c, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0) {
        r = error_errno(err, -errno, "fork the monitor");
        container_discard(c);
        return r;
    }
    return take_report(c, child, o, pid, err);
}

static int load(struct container *c, struct cli *cli, const struct options *o, char *bundle,
                struct error *err)
{
    int r = cli_no_descriptors(o->preserve_fds, err);

    if (r == 0)
        r = cli_config(cli, err);
    if (r < 0)
        return r;
    if (!realpath(o->bundle ? o->bundle : ".", bundle))
        return error_errno(err, -errno, "bundle '%s'", o->bundle ? o->bundle : ".");
    return oci_spec_load(bundle, &c->spec, err);
}

static int create(struct cli *cli, const char *id, const struct options *o, struct error *err)
{
    struct container container = {0}, *c = &container;
    char bundle[PATH_MAX];
    int r = load(c, cli, o, bundle, err);

    if (r == 0)
        r = container_prepare(c, cli, id, bundle, o->console_socket, err);
    if (r < 0) {
        oci_spec_free(&c->spec);
        return r;
    }
    return create_detached(c, o, err);
}

static int run_create(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct options o = {0};
    int r = cli_options(argc, argv, &verb_create, &o, err);

    return r < 0 ? r : create(cli, argv[0], &o, err);
}

const struct cli_verb verb_create = {
    "create", "ID",      "makes a container of a bundle, not yet running", create_options, false, 1,
    1,        run_create};

int container_run(struct container *c, const char *pid_file, bool keep, struct error *err)
{
    struct monitor m = MONITOR_INIT;
    struct cgroup_origin origin;
    struct state s;
    int r, status;

    cgroup_origin_open(&c->cgroup, &origin);
    c->launch.die_with_caller = !c->cri;
    r = container_launch(c, &m, err);
    if (r == 0)
        r = container_pid_file(pid_file, getpid(), err);
    if (r == 0)
        r = state_load(c->dirfd, c->id, &s, err);
    if (r < 0) {
        cgroup_origin_return(&origin);
        container_discard(c);
        return r;
    }
    /* Other verbs (list, exec, kill) may have it while it runs. */
    (void)flock(c->dirfd, LOCK_UN);
    if (c->launch.tty)
        monitor_take_terminal(&m, 0);
    r = container_start(c->cli, c->dirfd, &s, err);
    if (r == -EPIPE)
        r = monitor_explain(&m, err);
    status = r < 0 ? 1 : monitor_wait(&m);
    while (flock(c->dirfd, LOCK_EX) < 0 && errno == EINTR)
        ;
    /* It is this very process; deleting must not kill it. */
    s.monitor.pid = 0;
    if (r < 0 && m.sentry_pid > 0)
        (void)process_kill(&s.sentry, 1000);
    cgroup_origin_return(&origin);
    if (!keep)
        (void)container_delete(c->cli, c->dirfd, &s, r < 0 ? NULL : err);
    state_free(&s);
    container_fini(c);
    return r < 0 ? r : status;
}

static int run_attached(struct cli *cli, const char *id, const struct options *o, struct error *err)
{
    struct container c = {.foreground = true};
    char bundle[PATH_MAX];
    int r = load(&c, cli, o, bundle, err);

    if (r == 0)
        r = container_prepare(&c, cli, id, bundle, o->console_socket, err);
    return r < 0 ? r : container_run(&c, o->pid_file, o->keep, err);
}

static int run_detached(struct cli *cli, const char *id, const struct options *o, struct error *err)
{
    struct state s;
    int r = create(cli, id, o, err), fd;

    if (r < 0)
        return r;
    fd = container_open(cli, id, &s, err);
    if (fd < 0)
        return fd;
    r = container_start(cli, fd, &s, err);
    if (r < 0 && !o->keep)
        (void)container_delete(cli, fd, &s, NULL);
    state_free(&s);
    (void)close(fd);
    return r;
}

static int run_run(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct options o = {0};
    int r = cli_options(argc, argv, &verb_run, &o, err);

    if (r < 0)
        return r;
    return o.detach ? run_detached(cli, argv[0], &o, err) : run_attached(cli, argv[0], &o, err);
}

const struct cli_verb verb_run = {
    "run", "ID", "create, start, wait and delete in one", run_options, false, 1, 1, run_run};
