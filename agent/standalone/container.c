#include "agent/standalone/container.h"

#include "agent/config.h"
#include "agent/monitor.h"
#include "agent/procid.h"
#include "agent/standalone/bundle.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/tree.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

enum { RECORD_MAX = 65536, ADOPT_POLL_MS = 100 };

static const struct container_events *g_events; /* one runner, one set */

static void clean(struct container *c);

static struct loop *loop_of(const struct container *c)
{
    return c->pod->runner->loop;
}

static void set_attempt(struct container *c, unsigned attempt)
{
    c->attempt = attempt;
    (void)snprintf(c->id, sizeof(c->id), "%.13s-%.63s-%u", c->pod->uid, c->name, attempt);
    (void)snprintf(c->bundle, sizeof(c->bundle), "%s/c/%s/%u", c->pod->dir, c->name, attempt);
}

void container_init(struct container *c, struct pod *p, const json_t *spec,
                    const struct container_events *events)
{
    g_events = events;
    *c = (struct container){.pod = p, .spec = spec, .ready_fd = -1};
    c->name = spec ? get_string(spec, "name", "") : "POD";
    c->backoff_ms = 0;
    set_attempt(c, 0);
}

void container_fini(struct container *c)
{
    worker_cancel(&c->worker);
    worker_cancel(&c->signaller);
    loop_child_remove(&c->monitor);
    loop_fd_remove(&c->ready);
    close_fd(&c->ready_fd);
    loop_timer_cancel(&c->timer);
}

static json_t *read_record(const struct container *c, const char *name)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", c->bundle, name);
    if (file_read_all(AT_FDCWD, path, RECORD_MAX, &text, NULL, NULL) < 0)
        return NULL;
    return json_loads(text, 0, NULL);
}

static void set_running(struct container *c)
{
    json_t *record = read_record(c, MONITOR_STARTED);

    (void)snprintf(c->started_at, sizeof(c->started_at), "%s", get_string(record, "startedAt", ""));
    json_decref(record);
    c->phase = CONTAINER_RUNNING;
    c->started = true;
    c->running_since_ms = loop_now_ms();
    c->message[0] = 0;
    g_events->running(c);
}

static void on_ready(void *ctx, uint32_t events)
{
    struct container *c = ctx;
    char text[16];
    ssize_t n = read(c->ready_fd, text, sizeof(text));

    (void)events;
    loop_fd_remove(&c->ready);
    close_fd(&c->ready_fd);
    if (n > 0 && c->phase == CONTAINER_STARTING)
        set_running(c);
}

static void take_exit_record(struct container *c)
{
    json_t *record = read_record(c, MONITOR_EXIT);
    const char *error = get_string(record, "error", "");

    c->exit_code = (int)get_int(record, "exitCode", 137);
    (void)snprintf(c->started_at, sizeof(c->started_at), "%s",
                   get_string(record, "startedAt", c->started_at));
    (void)snprintf(c->finished_at, sizeof(c->finished_at), "%s",
                   get_string(record, "finishedAt", ""));
    (void)snprintf(c->message, sizeof(c->message), "%.500s",
                   record ? error : "its monitor was killed");
    (void)snprintf(c->reason, sizeof(c->reason), "%s",
                   !record                          ? "MonitorLost"
                   : *error                         ? "StartError"
                   : get_bool(record, "oom", false) ? "OOMKilled"
                   : c->exit_code                   ? "Error"
                                                    : "Completed");
    json_decref(record);
}

static void on_monitor_end(void *ctx, int status)
{
    struct container *c = ctx;

    (void)status;
    loop_fd_remove(&c->ready);
    close_fd(&c->ready_fd);
    loop_timer_cancel(&c->timer);
    take_exit_record(c);
    if (*c->message)
        log_warn("pod %s/%s container %s: %s", c->pod->ns, c->pod->name, c->name, c->message);
    else
        log_info("pod %s/%s container %s ended: %s (%d)", c->pod->ns, c->pod->name, c->name,
                 c->reason, c->exit_code);
    clean(c);
}

static void fail(struct container *c, const char *message)
{
    c->failed_to_prepare = true;
    c->exit_code = 128;
    (void)snprintf(c->reason, sizeof(c->reason), "CreateError");
    (void)snprintf(c->message, sizeof(c->message), "%.500s", message);
    log_warn("pod %s/%s container %s: %s", c->pod->ns, c->pod->name, c->name, c->message);
    clean(c);
}

static void __attribute__((noreturn)) exec_monitor(const struct container *c, int ready)
{
    int null = open("/dev/null", O_RDWR);

    child_reset_signals();
    (void)setsid();
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    if (ready == MONITOR_READY_FD)
        (void)fcntl(ready, F_SETFD, 0);
    else
        (void)dup2(ready, MONITOR_READY_FD);
    (void)close_range(MONITOR_READY_FD + 1, ~0U, 0);
    (void)execl("/proc/self/exe", "bermd", "--monitor", c->bundle, (char *)NULL);
    _exit(127);
}

static void run_monitor(struct container *c)
{
    int fds[2], r = 0;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        fail(c, "no descriptors left");
        return;
    }
    pid = fork();
    if (pid == 0)
        exec_monitor(c, fds[1]);
    (void)close(fds[1]);
    c->ready_fd = fds[0];
    c->phase = CONTAINER_STARTING;
    if (pid > 0)
        r = loop_child_add(loop_of(c), &c->monitor, pid, on_monitor_end, c);
    if (r == 0)
        r = loop_fd_add(loop_of(c), &c->ready, c->ready_fd, EPOLLIN, on_ready, c);
    if (pid < 0 || r < 0)
        fail(c, "its monitor can't be started");
}

static void on_prepared(void *ctx, int code, const char *message)
{
    struct container *c = ctx;

    if (code < 0)
        fail(c, message);
    else
        run_monitor(c);
}

static int prepare(void *arg, struct error *err)
{
    const struct container *c = arg;
    char previous[PATH_MAX];

    /* The exit record of the last attempt is no longer asked for once there is a new one. */
    if (c->attempt) {
        (void)snprintf(previous, sizeof(previous), "%s/c/%s/%u", c->pod->dir, c->name,
                       c->attempt - 1);
        (void)tree_remove(AT_FDCWD, previous, err);
    }
    return bundle_make(c, err);
}

void container_start(struct container *c)
{
    loop_timer_cancel(&c->timer);
    c->phase = CONTAINER_PREPARING;
    c->failed_to_prepare = false;
    c->pod->runner->count.starts++;
    if (worker_start(loop_of(c), &c->worker, prepare, c, on_prepared, c) < 0)
        fail(c, "a worker can't be started");
}

static void on_backoff_over(void *ctx)
{
    struct container *c = ctx;
    const struct container *sandbox = pod_sandbox(c->pod);

    c->restarts++;
    c->pod->runner->count.restarts++;
    set_attempt(c, c->attempt + 1);
    if (sandbox && sandbox != c && sandbox->phase != CONTAINER_RUNNING)
        c->phase = CONTAINER_WAITING; /* started with the sandbox */
    else
        container_start(c);
}

void container_start_later(struct container *c, uint64_t delay_ms)
{
    c->phase = CONTAINER_BACKOFF;
    loop_timer_set(loop_of(c), &c->timer, delay_ms, on_backoff_over, c);
}

static void on_cleaned(void *ctx, int code, const char *message)
{
    struct container *c = ctx;

    if (code < 0)
        log_warn("pod %s/%s container %s: clean up: %s", c->pod->ns, c->pod->name, c->name,
                 message);
    c->phase = CONTAINER_WAITING;
    g_events->ended(c);
}

static int do_clean(void *arg, struct error *err)
{
    return bundle_clean(arg, err);
}

static void clean(struct container *c)
{
    worker_cancel(&c->worker);
    c->phase = CONTAINER_CLEANING;
    if (worker_start(loop_of(c), &c->worker, do_clean, c, on_cleaned, c) < 0)
        on_cleaned(c, -EAGAIN, "a worker can't be started");
}

static void on_signalled(void *ctx, int code, const char *message)
{
    const struct container *c = ctx;

    if (code < 0 && c->phase == CONTAINER_RUNNING)
        log_debug("pod %s/%s container %s: kill: %s", c->pod->ns, c->pod->name, c->name, message);
}

static int run_kill(void *arg, const char *signal, struct error *err)
{
    const struct container *c = arg;
    char *argv[RUNTIME_ARGS_MAX];

    runtime_argv(c->pod, (const char *const[]){"kill", c->id, signal, NULL}, argv);
    return worker_exec(argv, err);
}

static int run_term(void *arg, struct error *err)
{
    return run_kill(arg, "15", err);
}

static int run_sigkill(void *arg, struct error *err)
{
    return run_kill(arg, "9", err);
}

void container_kill(struct container *c)
{
    if (c->phase != CONTAINER_RUNNING && c->phase != CONTAINER_STARTING)
        return;
    worker_cancel(&c->signaller);
    (void)worker_start(loop_of(c), &c->signaller, run_sigkill, c, on_signalled, c);
}

void container_kill_monitor(struct container *c)
{
    (void)loop_child_signal(&c->monitor, SIGKILL);
}

void container_stop(struct container *c)
{
    switch (c->phase) {
    case CONTAINER_WAITING:
    case CONTAINER_BACKOFF:
        loop_timer_cancel(&c->timer);
        c->phase = CONTAINER_WAITING;
        g_events->ended(c);
        return;
    case CONTAINER_PREPARING:
        clean(c);
        return;
    case CONTAINER_RUNNING:
        if (!worker_busy(&c->signaller))
            (void)worker_start(loop_of(c), &c->signaller, run_term, c, on_signalled, c);
        return;
    default: /* starting: stopped once it runs; cleaning, ended: nothing to do */
        return;
    }
}

/* The highest numbered directory is the last attempt. */
static bool find_attempt(struct container *c)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    char path[PATH_MAX];
    struct dirent *d;
    bool found = false;

    (void)snprintf(path, sizeof(path), "%s/c/%s", c->pod->dir, c->name);
    dir = opendir(path);
    while (dir && (d = readdir(dir))) {
        char *end;
        unsigned long n = strtoul(d->d_name, &end, 10);

        if (end == d->d_name || *end || (found && n < c->attempt))
            continue;
        set_attempt(c, (unsigned)n);
        found = true;
    }
    return found;
}

static void poll_adopted(void *ctx)
{
    struct container *c = ctx;
    json_t *record = read_record(c, MONITOR_STARTED);

    json_decref(record);
    if (record)
        set_running(c);
    else
        loop_timer_set(loop_of(c), &c->timer, ADOPT_POLL_MS, poll_adopted, c);
}

static bool adopt_monitor(struct container *c)
{
    json_t *record = read_record(c, MONITOR_PID);
    pid_t pid = (pid_t)get_int(record, "pid", 0);
    uint64_t start = (uint64_t)get_int(record, "start", 0);

    json_decref(record);
    if (pid <= 1 || start == 0 || procid_start(pid) != start)
        return false;
    if (loop_child_add(loop_of(c), &c->monitor, pid, on_monitor_end, c) < 0)
        return false;
    /* It may have ended and its number been taken between the two looks. */
    if (procid_start(pid) == start)
        return true;
    loop_child_remove(&c->monitor);
    return false;
}

void container_adopt(struct container *c)
{
    json_t *record;

    if (!find_attempt(c))
        return;
    c->restarts = c->attempt;
    c->started = true;
    if (adopt_monitor(c)) {
        c->phase = CONTAINER_STARTING;
        poll_adopted(c);
        return;
    }
    record = read_record(c, MONITOR_EXIT);
    if (record) {
        json_decref(record);
        take_exit_record(c);
    } else {
        c->exit_code = 137;
        c->failed_to_prepare = true; /* cut off while it was made: not its own fault */
        (void)snprintf(c->reason, sizeof(c->reason), "Interrupted");
    }
    clean(c);
}

const char *container_phase_name(const struct container *c)
{
    static const char *const names[] = {
        [CONTAINER_WAITING] = "Waiting",   [CONTAINER_PREPARING] = "Preparing",
        [CONTAINER_STARTING] = "Starting", [CONTAINER_RUNNING] = "Running",
        [CONTAINER_CLEANING] = "Ending",   [CONTAINER_BACKOFF] = "BackOff",
        [CONTAINER_ENDED] = "Terminated"};

    return names[c->phase];
}
