/* Verbs that are one request to the sentry: start, kill, delete, pause, resume, wait. */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/cli/container.h"
#include "runtime/cli/program.h"
#include "runtime/oci/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For a sentry that did not take part in its container's end: long, as there are other containers
 * that may only suffer from the machine's load. */
enum { LAST_CALL_MS = 5000 };

static const struct cli_option no_options[] = {{0}};

/* Opens the container named by the only argument. */
static int open_only(struct cli *cli, int argc, char **argv, const struct cli_verb *verb,
                     struct state *s, struct error *err)
{
    int r = cli_options(argc, argv, verb, NULL, err);

    return r < 0 ? r : container_open(cli, argv[0], s, err);
}

static int run_start(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct state s;
    CLEANUP(close_fd) int fd = open_only(cli, argc, argv, &verb_start, &s, err);
    const char *status;
    int r;

    if (fd < 0)
        return fd;
    status = container_status(cli, fd, &s);
    if (strcmp(status, "created") != 0)
        r = error_set(err, -EINVAL, "cannot start a container that is %s", status);
    else
        r = container_start(cli, fd, &s, err);
    state_free(&s);
    return r;
}

const struct cli_verb verb_start = {
    "start", "ID", "starts a created container", no_options, false, 1, 1, run_start};

static int pause_or_resume(struct cli *cli, int argc, char **argv, const struct cli_verb *verb,
                           const char *needed, struct error *err)
{
    struct state s;
    CLEANUP(close_fd) int fd = open_only(cli, argc, argv, verb, &s, err);
    const char *status;
    int r;

    if (fd < 0)
        return fd;
    status = container_status(cli, fd, &s);
    if (strcmp(status, needed) != 0)
        r = error_set(err, -EINVAL, "cannot %s a container that is %s", verb->name, status);
    else
        r = container_call(cli, &s, verb->name, NULL, err);
    state_free(&s);
    return r;
}

static int run_pause(struct cli *cli, int argc, char **argv, struct error *err)
{
    return pause_or_resume(cli, argc, argv, &verb_pause, "running", err);
}

const struct cli_verb verb_pause = {
    "pause", "ID", "stops all processes of a container", no_options, false, 1, 1, run_pause};

static int run_resume(struct cli *cli, int argc, char **argv, struct error *err)
{
    return pause_or_resume(cli, argc, argv, &verb_resume, "paused", err);
}

const struct cli_verb verb_resume = {
    "resume", "ID", "lets a paused container go on", no_options, false, 1, 1, run_resume};

struct kill_options {
    bool all;
};

static const struct cli_option kill_options[] = {
    {"all", 'a', CLI_FLAG, NULL, offsetof(struct kill_options, all),
     "to every process of the container"},
    {0},
};

static int ask_kill(struct cli *cli, const struct state *s, int signal, bool all, int timeout_ms,
                    struct error *err)
{
    CLEANUP(close_fd) int sock = container_connect(cli, s, err);

    if (sock < 0)
        return sock;
    return control_call_within(
        sock,
        json_pack("{s:s,s:s,s:i,s:b}", "op", "kill", "id", s->id, "signal", signal, "all", all),
        NULL, 0, timeout_ms, NULL, err);
}

static bool no_answer(int r)
{
    return r == -ETIMEDOUT || r == -EAGAIN;
}

/* The sentry has copies of the container's stdio. As long as it keeps them, containerd's 2.x waits
 * for their end, and with it the pod's: one that never lets go has to go itself. */
static void kill_unanswered(struct cli *cli, const struct state *s)
{
    struct error err = ERROR_INIT;

    log_warn("%s: the sentry does not answer, killing from outside", s->id);
    container_kill_hard(s);
    if (!process_alive(&s->sentry) ||
        !no_answer(ask_kill(cli, s, SIGKILL, true, LAST_CALL_MS, &err)))
        return;
    log_error("%s: the sentry has not answered for %d ms, killing it", s->id, LAST_CALL_MS);
    process_signal_kill(&s->sentry);
}

static int send_kill(struct cli *cli, const struct state *s, int signal, bool all,
                     struct error *err)
{
    int r = ask_kill(cli, s, signal, all, CONTROL_ASK_MS, err);
    if (no_answer(r)) {
        if (signal == SIGKILL)
            kill_unanswered(cli, s);
        else
            log_warn("%s: the sentry does not answer: the signal waits until it does", s->id);
        return 0;
    }
    /* The sentry had the request, and ended before its answer left: the container was there, and
     * the signal is likely what ended both. */
    if (r == -EPIPE)
        return 0;
    /* containerd knows these outcomes by their texts. */
    if (r == -ESRCH || r == -ECONNREFUSED || r == -ENOENT)
        return error_set(err, r, "container not running");
    return r;
}

static int run_kill(struct cli *cli, int argc, char **argv, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    struct kill_options o = {0};
    struct state s;
    int r, signal = SIGTERM, n = cli_options(argc, argv, &verb_kill, &o, err), status;

    if (n == 2)
        n = signal = cli_signal(argv[1], err);
    if (n < 0)
        return n;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    if (signal == SIGKILL) { /* whoever stopped them: they have a part in the end */
        process_wake(&s.sentry);
        process_wake(&s.gofer);
        process_wake(&s.monitor);
    }
    if (state_exit_status(fd, &status, NULL) == 0 || !process_alive(&s.monitor))
        r = error_set(err, -ESRCH, "container not running");
    else
        r = send_kill(cli, &s, signal, o.all, err);
    state_free(&s);
    return r;
}

const struct cli_verb verb_kill = {
    "kill", "ID [SIGNAL]", "sends a signal (TERM), by name or number", kill_options, false, 1,
    2,      run_kill};

static const struct cli_option delete_options[] = {
    {"force", 'f', CLI_FLAG, NULL, 0, "kills it first; nothing to delete is no error"},
    {0},
};

static int run_delete(struct cli *cli, int argc, char **argv, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    const char *status;
    struct state s;
    bool force = false;
    int r = cli_options(argc, argv, &verb_delete, &force, err);

    if (r >= 0)
        r = cli_config(cli, err);
    if (r >= 0)
        r = oci_id_check(argv[0], err);
    if (r < 0)
        return r;
    fd = state_open(cli->root, argv[0], err);
    if (fd < 0)
        return force && fd == -ENOENT ? 0 : fd;
    r = state_load(fd, argv[0], &s, err);
    if (r < 0) { /* interrupted while it was made: there is nothing but the directory */
        state_remove(cli->root, argv[0]);
        return force ? 0 : r;
    }
    r = program_hand_over(cli, &s, err);
    if (r < 0) {
        state_free(&s);
        return r;
    }
    status = force ? "stopped" : container_status(cli, fd, &s);
    /* One that was only created ends with that, as runc's does: a shim whose caller gave up between
     * create and start asks for nothing else. */
    if (strcmp(status, "stopped") != 0 && strcmp(status, "created") != 0)
        r = error_set(err, -EBUSY, "cannot delete container \"%s\" that is not stopped: %s",
                      argv[0], status);
    else
        r = container_delete(cli, fd, &s, err);
    state_free(&s);
    return r;
}

const struct cli_verb verb_delete = {"delete",
                                     "ID",
                                     "removes a stopped container, or one that was not started",
                                     delete_options,
                                     false,
                                     1,
                                     1,
                                     run_delete};

static int run_wait(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct state s;
    CLEANUP(close_fd) int fd = open_only(cli, argc, argv, &verb_wait, &s, err);
    CLEANUP(close_fd) int pidfd = -1;
    struct pollfd pfd;
    int status = 0, r;
    bool oom = false;

    if (fd < 0)
        return fd;
    (void)flock(fd, LOCK_UN); /* others may go on meanwhile */
    pidfd = (int)syscall(SYS_pidfd_open, s.monitor.pid, 0);
    pfd = (struct pollfd){.fd = pidfd, .events = POLLIN};
    while (process_alive(&s.monitor) && pidfd >= 0 && poll(&pfd, 1, -1) < 0 && errno == EINTR)
        ;
    r = state_exit_status(fd, &status, &oom);
    state_free(&s);
    if (r < 0)
        status = 137; /* its monitor was killed */
    (void)printf("{\"id\":\"%s\",\"exitStatus\":%d,\"oomKilled\":%s}\n", argv[0], status,
                 oom ? "true" : "false");
    return 0;
}

const struct cli_verb verb_wait = {
    "wait", "ID",    "waits for the end of a container and prints its status", no_options, false, 1,
    1,      run_wait};
