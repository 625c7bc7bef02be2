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
#include <sys/wait.h>
#include <unistd.h>

struct options {
    const char *bundle, *pid_file, *console_socket;
    bool detach;
};

static const struct cli_option option_table[] = {
    {"bundle", 'b', CLI_VALUE, offsetof(struct options, bundle)},
    {"pid-file", 0, CLI_VALUE, offsetof(struct options, pid_file)},
    {"console-socket", 0, CLI_VALUE, offsetof(struct options, console_socket)},
    {"detach", 'd', CLI_FLAG, offsetof(struct options, detach)},
    {"no-pivot", 0, CLI_IGNORED, 0},
    {"no-new-keyring", 0, CLI_IGNORED, 0},
    {"preserve-fds", 0, CLI_IGNORED_VALUE, 0},
    {"keep", 0, CLI_IGNORED, 0},
    {0},
};

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

/* The child of create. Its report is a struct error: code 0, or why not. */
static _Noreturn void monitor_child(struct container *c, int report)
{
    struct monitor m = MONITOR_INIT;
    struct error err = ERROR_INIT;

    (void)setsid();
    (void)!chdir("/"); /* the bundle's file system must not be held */
    if (container_launch(c, &m, &err) < 0) {
        (void)write_full(report, &err, sizeof(err));
        _exit(1);
    }
    (void)write_full(report, &err, sizeof(err));
    (void)close(report);
    be_monitor(c, &m);
}

/* Forks the monitor and waits until the container is created. */
static int create_detached(struct container *c, const struct options *o, struct error *err)
{
    struct error report;
    int fds[2], r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        monitor_child(c, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0)
        r = error_errno(err, -errno, "fork the monitor");
    else if (read_full(fds[0], &report, sizeof(report)) != (ssize_t)sizeof(report))
        r = error_set(err, -EIO, "the monitor died");
    else if ((r = report.code) < 0)
        *err = report;
    else
        r = container_pid_file(o->pid_file, pid, err);
    (void)close(fds[0]);
    if (r < 0 && pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return r;
}

static int load(struct container *c, struct cli *cli, int argc, char **argv, struct options *o,
                char *bundle, struct error *err)
{
    int r = cli_options(argc, argv, option_table, o, false, 1, 1, err);

    if (r >= 0)
        r = cli_config(cli, err);
    if (r < 0)
        return r;
    if (!realpath(o->bundle ? o->bundle : ".", bundle))
        return error_errno(err, -errno, "bundle '%s'", o->bundle ? o->bundle : ".");
    return oci_spec_load(bundle, &c->spec, err);
}

static int create(struct cli *cli, struct container *c, int argc, char **argv, struct options *o,
                  struct error *err)
{
    char bundle[PATH_MAX];
    int r = load(c, cli, argc, argv, o, bundle, err);

    if (r == 0)
        r = container_prepare(c, cli, argv[0], bundle, o->console_socket, err);
    if (r < 0) {
        oci_spec_free(&c->spec);
        return r;
    }
    r = create_detached(c, o, err);
    if (r < 0)
        container_discard(c);
    else
        container_fini(c);
    return r;
}

int verb_create(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct container c = {0};
    struct options o = {0};

    return create(cli, &c, argc, argv, &o, err);
}

int container_run(struct container *c, const char *pid_file, struct error *err)
{
    struct monitor m = MONITOR_INIT;
    struct state s;
    int r, status;

    c->launch.die_with_caller = !c->cri;
    r = container_launch(c, &m, err);
    if (r == 0)
        r = container_pid_file(pid_file, getpid(), err);
    if (r == 0)
        r = state_load(c->dirfd, c->id, &s, err);
    if (r < 0) {
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
    (void)container_delete(c->cli, c->dirfd, &s, r < 0 ? NULL : err);
    state_free(&s);
    container_fini(c);
    return r < 0 ? r : status;
}

int verb_run(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct container c = {.foreground = true};
    struct options o = {0};
    char bundle[PATH_MAX];
    struct state s;
    int r, fd;

    for (int i = 0; i < argc; i++)
        c.foreground &= strcmp(argv[i], "-d") != 0 && strncmp(argv[i], "--detach", 8) != 0;
    if (c.foreground) {
        r = load(&c, cli, argc, argv, &o, bundle, err);
        if (r == 0)
            r = container_prepare(&c, cli, argv[0], bundle, o.console_socket, err);
        return r < 0 ? r : container_run(&c, o.pid_file, err);
    }
    r = create(cli, &c, argc, argv, &o, err);
    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    r = container_start(cli, fd, &s, err);
    if (r < 0)
        (void)container_delete(cli, fd, &s, NULL);
    state_free(&s);
    (void)close(fd);
    return r;
}
