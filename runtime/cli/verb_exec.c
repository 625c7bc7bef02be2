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
#include <time.h>
#include <unistd.h>

struct options {
    const char *process, *pid_file, *console_socket, *internal_pid_file, *cwd, *user, *preserve_fds;
    struct cli_list env, gids, caps;
    bool detach, tty, no_new_privs;
};

#define AT(member) offsetof(struct options, member)
static const struct cli_option option_table[] = {
    {"process", 'p', CLI_VALUE, "FILE", AT(process), "the process as JSON, in place of a command"},
    {"pid-file", 0, CLI_VALUE, "FILE", AT(pid_file), "gets the pid that stands for the process"},
    {"internal-pid-file", 0, CLI_VALUE, "FILE", AT(internal_pid_file), "gets its pid inside"},
    {"console-socket", 0, CLI_VALUE, "SOCKET", AT(console_socket), "gets the terminal's master"},
    {"cwd", 0, CLI_VALUE, "DIR", AT(cwd), "its working directory"},
    {"user", 'u', CLI_VALUE, "UID[:GID]", AT(user), "as whom it runs"},
    {"additional-gids", 'g', CLI_LIST, "GID", AT(gids), "a further group; may be repeated"},
    {"env", 'e', CLI_LIST, "NAME=VALUE", AT(env), "an environment variable; may be repeated"},
    {"cap", 'c', CLI_LIST, "CAP_NAME", AT(caps), "a further capability; may be repeated"},
    {"detach", 'd', CLI_FLAG, NULL, AT(detach), "does not wait for its end"},
    {"tty", 't', CLI_FLAG, NULL, AT(tty), "it gets a terminal"},
    {"no-new-privs", 0, CLI_FLAG, NULL, AT(no_new_privs), "programs give it no more rights"},
    {"preserve-fds", 0, CLI_VALUE, "0", AT(preserve_fds),
     "none but 0 to 2 are handed into a sandbox: others are refused"},
    {"ignore-paused", 0, CLI_REFUSED, NULL, 0, "nothing can be started in a paused container"},
    {"cgroup", 0, CLI_REFUSED, "GROUP", 0, "processes of a container are in its own cgroup"},
    {"apparmor", 0, CLI_REFUSED, "PROFILE", 0, "AppArmor does not see processes inside"},
    {"process-label", 0, CLI_REFUSED, "LABEL", 0, "SELinux does not see processes inside"},
    {0},
};
#undef AT

struct exec {
    struct cli *cli;
    struct options o;
    struct state state;
    json_t *process;
    char name[64];
    int sandbox_dirfd, console, stdio[3];
    bool tty;
    struct winsize size;
};

static int set_user(json_t *process, const struct options *o, struct error *err)
{
    json_t *user, *gids;
    unsigned uid, gid = 0;
    int r = 0;

    if (o->user) {
        r = cli_user(o->user, &uid, &gid, err);
        if (r < 0)
            return r;
        user = json_pack("{s:I,s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid);
        (void)json_object_set_new(process, "user", user);
    }
    if (!o->gids.count)
        return 0;
    user = json_object_get(process, "user");
    gids = json_object_get(user, "additionalGids");
    if (!gids)
        (void)json_object_set_new(user, "additionalGids", gids = json_array());
    for (unsigned i = 0; i < o->gids.count; i++) {
        const char *at = o->gids.items[i];

        if (!cli_id(&at, &gid) || *at)
            return error_set(err, -EINVAL, "--additional-gids: '%.32s' is no group's number",
                             o->gids.items[i]);
        (void)json_array_append_new(gids, json_integer(gid));
    }
    return 0;
}

/* Members that are lists of strings: made where they are missing. */
static void append(json_t *object, const char *member, const struct cli_list *list)
{
    json_t *strings = json_object_get(object, member);

    if (!strings && list->count)
        (void)json_object_set_new(object, member, strings = json_array());
    for (unsigned i = 0; i < list->count; i++)
        (void)json_array_append_new(strings, json_string(list->items[i]));
}

static void add_capabilities(json_t *process, const struct cli_list *caps)
{
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    json_t *all = json_object_get(process, "capabilities");

    if (!all && caps->count)
        (void)json_object_set_new(process, "capabilities", all = json_object());
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        append(all, sets[i], caps);
}

/* What isn't said on the command line is as in the container's own process. */
static json_t *process_from_options(const struct exec *e, char **args, int n, struct error *err)
{
    const struct options *o = &e->o;
    struct oci_spec spec;
    json_t *process, *list;

    if (oci_spec_load(e->state.bundle, &spec, err) < 0)
        return NULL;
    process = json_deep_copy(json_object_get(spec.json, "process"));
    oci_spec_free(&spec);
    list = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(args[i]));
    (void)json_object_set_new(process, "args", list);
    (void)json_object_set_new(process, "terminal", json_boolean(o->tty));
    if (o->cwd)
        (void)json_object_set_new(process, "cwd", json_string(o->cwd));
    if (o->no_new_privs)
        (void)json_object_set_new(process, "noNewPrivileges", json_true());
    append(process, "env", &o->env);
    add_capabilities(process, &o->caps);
    if (set_user(process, o, err) < 0) {
        json_decref(process);
        return NULL;
    }
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
    json_t *answer = NULL, *request;
    struct timespec now;
    int r;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* numbers of processes come again */
    (void)snprintf(e->name, sizeof(e->name), "exec-%d-%lld.%09ld", (int)getpid(),
                   (long long)now.tv_sec, now.tv_nsec);
    m->id = e->state.id;
    m->exec = e->name;
    r = monitor_connect(m, e->sandbox_dirfd, err);
    if (r < 0)
        return r;
    request = json_pack("{s:s,s:s,s:s,s:O,s:b}", "op", "exec", "id", e->state.id, "exec", e->name,
                        "process", e->process, "tty", e->tty);
    r = control_call(m->wait_sock, request, e->stdio, 3, &answer, err);
    if (r < 0)
        return r;
    if (e->o.internal_pid_file)
        r = container_pid_file(e->o.internal_pid_file,
                               (int)json_integer_value(json_object_get(answer, "pid")), err);
    json_decref(answer);
    return r < 0 ? r : monitor_wait_begin(m, err);
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

static int run_exec(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct exec e = {.cli = cli, .sandbox_dirfd = -1, .console = -1};
    int n = cli_options(argc, argv, &verb_exec, &e.o, err), r;

    if (n < 0)
        return n;
    r = cli_no_descriptors(e.o.preserve_fds, err);
    if (r == 0)
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

const struct cli_verb verb_exec = {
    "exec", "ID COMMAND...", "another process in a container", option_table, true, 1, -1, run_exec};
