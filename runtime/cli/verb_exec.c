/* exec: another process in a running container. */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/cli/container.h"
#include "runtime/oci/console.h"
#include "runtime/oci/control.h"
#include "runtime/security/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    const char *process, *pid_file, *console_socket, *internal_pid_file, *cwd, *user;
    struct cli_list env;
    bool detach, tty;
};

static const struct cli_option option_table[] = {
    {"process", 'p', CLI_VALUE, offsetof(struct options, process)},
    {"pid-file", 0, CLI_VALUE, offsetof(struct options, pid_file)},
    {"internal-pid-file", 0, CLI_VALUE, offsetof(struct options, internal_pid_file)},
    {"console-socket", 0, CLI_VALUE, offsetof(struct options, console_socket)},
    {"cwd", 0, CLI_VALUE, offsetof(struct options, cwd)},
    {"user", 'u', CLI_VALUE, offsetof(struct options, user)},
    {"env", 'e', CLI_LIST, offsetof(struct options, env)},
    {"detach", 'd', CLI_FLAG, offsetof(struct options, detach)},
    {"tty", 't', CLI_FLAG, offsetof(struct options, tty)},
    {"no-new-privs", 0, CLI_IGNORED, 0},
    {"preserve-fds", 0, CLI_IGNORED_VALUE, 0},
    {"ignore-paused", 0, CLI_IGNORED, 0},
    {0},
};

struct exec {
    struct cli *cli;
    struct options o;
    struct state state;
    json_t *process;
    char name[32];
    int sandbox_dirfd, console, stdio[3];
    bool tty;
    struct winsize size;
};

/* What isn't said on the command line is as in the container's own process. */
static json_t *process_from_options(const struct exec *e, char **args, int n, struct error *err)
{
    struct oci_spec spec;
    json_t *process, *list, *env;
    unsigned uid = 0, gid = 0;

    if (oci_spec_load(e->state.bundle, &spec, err) < 0)
        return NULL;
    process = json_deep_copy(json_object_get(spec.json, "process"));
    oci_spec_free(&spec);
    list = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(args[i]));
    (void)json_object_set_new(process, "args", list);
    (void)json_object_set_new(process, "terminal", json_boolean(e->o.tty));
    if (e->o.cwd)
        (void)json_object_set_new(process, "cwd", json_string(e->o.cwd));
    if (e->o.user && sscanf(e->o.user, "%u:%u", &uid, &gid) >= 1)
        (void)json_object_set_new(
            process, "user",
            json_pack("{s:I,s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
    env = json_object_get(process, "env");
    for (unsigned i = 0; env && i < e->o.env.count; i++)
        (void)json_array_append_new(env, json_string(e->o.env.items[i]));
    return process;
}

static int read_process(struct exec *e, char **args, int n, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct oci_process p;
    json_error_t je;
    size_t size;
    int r;

    if (e->o.process) {
        r = file_read_all(AT_FDCWD, e->o.process, OCI_CONFIG_MAX, &text, &size, err);
        if (r < 0)
            return r;
        e->process = oci_json_load(text, size, &je);
        if (!e->process)
            return error_set(err, -EINVAL, "process: line %d: %s", je.line, je.text);
    } else {
        if (n == 0)
            return error_set(err, -EINVAL, "exec: neither a command nor --process is given");
        e->process = process_from_options(e, args, n, err);
        if (!e->process)
            return err->code;
    }
    r = oci_process_read(e->process, "process", &p, err);
    if (r < 0)
        return r;
    e->tty = p.terminal;
    e->size = (struct winsize){.ws_row = (unsigned short)p.console_size.height,
                               .ws_col = (unsigned short)p.console_size.width};
    oci_process_free(&p);
    return 0;
}

static int open_stdio(struct exec *e, struct error *err)
{
    for (int i = 0; i < 3; i++)
        e->stdio[i] = i;
    if (!e->tty)
        return 0;
    if (e->o.console_socket) {
        e->console = console_new(e->o.console_socket, &e->size, err);
        if (e->console < 0)
            return e->console;
    } else if (!isatty(0)) {
        return error_set(err, -ENOTTY, "exec: a terminal is wanted, but standard input is none");
    }
    for (int i = 0; i < 3; i++)
        e->stdio[i] = e->console >= 0 ? e->console : 0;
    return 0;
}

/* Starts the process and the monitor's waiting for it. */
static int launch(struct exec *e, struct monitor *m, struct error *err)
{
    CLEANUP(close_fd) int sock = control_connect(e->sandbox_dirfd, err);
    json_t *answer = NULL, *request;
    int r = sock;

    m->id = e->state.id;
    m->exec = e->name;
    (void)snprintf(e->name, sizeof(e->name), "exec-%d", (int)getpid());
    if (sock < 0)
        return r;
    request = json_pack("{s:s,s:s,s:s,s:O,s:b}", "op", "exec", "id", e->state.id, "exec", e->name,
                        "process", e->process, "tty", e->tty);
    r = control_call(sock, request, e->stdio, 3, &answer, err);
    if (r < 0)
        return r;
    if (e->o.internal_pid_file)
        r = container_pid_file(e->o.internal_pid_file,
                               (int)json_integer_value(json_object_get(answer, "pid")), err);
    json_decref(answer);
    return r < 0 ? r : monitor_open(m, e->sandbox_dirfd, err);
}

static _Noreturn void monitor_child(struct exec *e, int report)
{
    struct monitor m = MONITOR_INIT;
    struct error err = ERROR_INIT;
    int r;

    (void)setsid();
    (void)!chdir("/"); /* the bundle's file system must not be held */
    r = launch(e, &m, &err);
    if (r == 0 && e->console >= 0)
        (void)ioctl(e->console, TIOCSCTTY, 0);
    if (r == 0)
        r = confine_stdio(&err);
    (void)write_full(report, &err, sizeof(err));
    (void)close(report);
    if (r < 0)
        _exit(1);
    (void)close(e->sandbox_dirfd);
    if (monitor_confine(&m, &err) < 0)
        log_error("monitor: %s", err.msg);
    _exit(monitor_wait(&m));
}

static int run_detached(struct exec *e, struct error *err)
{
    struct error report;
    int fds[2], r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        monitor_child(e, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0)
        r = error_errno(err, -errno, "fork the monitor");
    else if (read_full(fds[0], &report, sizeof(report)) != (ssize_t)sizeof(report))
        r = error_set(err, -EIO, "the monitor died");
    else if ((r = report.code) < 0)
        *err = report;
    else
        r = container_pid_file(e->o.pid_file, pid, err);
    (void)close(fds[0]);
    if (r < 0 && pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return r;
}

static int run_attached(struct exec *e, struct error *err)
{
    struct monitor m = MONITOR_INIT;
    int r = launch(e, &m, err);

    if (r == 0)
        r = container_pid_file(e->o.pid_file, getpid(), err);
    if (r < 0)
        return r;
    if (e->tty && e->console < 0)
        monitor_take_terminal(&m, 0);
    return monitor_wait(&m);
}

static int open_container(struct exec *e, const char *id, struct error *err)
{
    CLEANUP(close_fd) int fd = container_open(e->cli, id, &e->state, err);
    const char *status;
    char path[4300];

    if (fd < 0)
        return fd;
    status = container_status(e->cli, fd, &e->state);
    if (strcmp(status, "running") != 0 && strcmp(status, "created") != 0)
        return error_set(err, -ESRCH, "cannot exec in a container that is %s%s", status,
                         strcmp(status, "stopped") == 0 ? ": container not running" : "");
    (void)snprintf(path, sizeof(path), "%s/%s", e->cli->root, e->state.sandbox);
    e->sandbox_dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return e->sandbox_dirfd < 0 ? error_errno(err, -errno, "sandbox \"%s\"", e->state.sandbox) : 0;
}

int verb_exec(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct exec e = {.cli = cli, .sandbox_dirfd = -1, .console = -1};
    int n = cli_options(argc, argv, option_table, &e.o, true, 1, -1, err), r;

    if (n < 0)
        return n;
    r = open_container(&e, argv[0], err);
    if (r == 0)
        r = read_process(&e, argv + 1, n - 1, err);
    if (r == 0)
        r = open_stdio(&e, err);
    if (r == 0)
        r = e.o.detach ? run_detached(&e, err) : run_attached(&e, err);
    json_decref(e.process);
    state_free(&e.state);
    close_fd(&e.sandbox_dirfd);
    close_fd(&e.console);
    return r;
}
