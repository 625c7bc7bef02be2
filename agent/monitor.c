/*
 * See monitor.h. Written to need nothing of the agent once running: plain blocking calls, one poll
 * loop, no allocation that grows with what the container prints (crilog bounds a line).
 */
#include "agent/monitor.h"

#include "agent/crilog.h"
#include "agent/procid.h"
#include "agent/rfc3339.h"
#include "agent/worker.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
    CONFIG_MAX = 65536,
    LOG_TAIL = 65536,
    DRAIN_MS = 1000,
    START_ERROR_STATUS = 128,
    PREFIX_MAX = 8
};

struct monitor {
    const char *bundle;
    json_t *config;
    const char *id;
    struct crilog log;
    struct crilog_stream stream[2];
    int out[2]; /* read ends of stdout and stderr, -1 at end */
    pid_t init;
    int status; /* exit code as Kubernetes counts */
    bool oom;
    char memory_events[PATH_MAX];
    char started_at[RFC3339_SIZE], error[512];
};

static int write_record(const struct monitor *m, const char *name, json_t *json)
{
    CLEANUP(free_ptr) char *text = json ? json_dumps(json, 0) : NULL;
    char path[PATH_MAX];
    struct error err = ERROR_INIT;
    int r;

    json_decref(json);
    (void)snprintf(path, sizeof(path), "%s/%s", m->bundle, name);
    r = text ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) : -ENOMEM;
    if (r < 0)
        log_error("%s", err.msg);
    return r;
}

/* The runtime's own words: the last line of its log at level error. */
static void last_error(const struct monitor *m, const char *fallback, char *ret, size_t size)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    char *save = NULL;

    (void)snprintf(ret, size, "%s", fallback);
    (void)snprintf(path, sizeof(path), "%s/log.json", m->bundle);
    if (file_read_all(AT_FDCWD, path, LOG_TAIL, &text, NULL, NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *entry = json_loads(line, 0, NULL);
        const char *level = json_string_value(json_object_get(entry, "level"));
        const char *msg = json_string_value(json_object_get(entry, "msg"));

        if (level && msg && (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0))
            (void)snprintf(ret, size, "%.500s", msg);
        json_decref(entry);
    }
}

static void __attribute__((noreturn))
exec_runtime(const struct monitor *m, const char *verb, const int out[2])
{
    const json_t *prefix = json_object_get(m->config, "runtime");
    char log[PATH_MAX], pid_file[PATH_MAX];
    const char *argv[PREFIX_MAX + 12];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), n = 0;

    child_reset_signals();
    (void)dup2(null, 0);
    (void)dup2(out[0] >= 0 ? out[0] : null, 1);
    (void)dup2(out[1] >= 0 ? out[1] : null, 2);
    (void)close(MONITOR_READY_FD);
    (void)snprintf(log, sizeof(log), "%s/log.json", m->bundle);
    (void)snprintf(pid_file, sizeof(pid_file), "%s/init.pid", m->bundle);
    for (size_t i = 0; i < json_array_size(prefix); i++)
        argv[n++] = json_string_value(json_array_get(prefix, i));
    argv[n++] = "--log";
    argv[n++] = log;
    argv[n++] = "--log-format";
    argv[n++] = "json";
    argv[n++] = verb;
    if (strcmp(verb, "create") == 0) {
        argv[n++] = "--bundle";
        argv[n++] = m->bundle;
        argv[n++] = "--pid-file";
        argv[n++] = pid_file;
    }
    argv[n++] = m->id;
    argv[n] = NULL;
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Runs create or start to its end. */
static int run_runtime(struct monitor *m, const char *verb, const int out[2])
{
    char fallback[300];
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        exec_runtime(m, verb, out);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    (void)snprintf(fallback, sizeof(fallback),
                   pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127
                       ? "runtime '%.200s' can't be run (%s)"
                       : "runtime '%.200s' %s failed",
                   json_string_value(json_array_get(json_object_get(m->config, "runtime"), 0)),
                   verb);
    last_error(m, fallback, m->error, sizeof(m->error));
    return -EIO;
}

static int read_init_pid(struct monitor *m)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    struct error err = ERROR_INIT;
    long pid;

    (void)snprintf(path, sizeof(path), "%s/init.pid", m->bundle);
    if (file_read_all(AT_FDCWD, path, 64, &text, NULL, &err) < 0) {
        (void)snprintf(m->error, sizeof(m->error), "%.500s", err.msg);
        return err.code;
    }
    pid = strtol(text, NULL, 10);
    if (pid <= 1) {
        (void)snprintf(m->error, sizeof(m->error), "the runtime wrote no pid");
        return -EINVAL;
    }
    m->init = (pid_t)pid;
    return 0;
}

/* Where the kernel counts this container's OOM kills: cgroup v2, or v1's memory controller. */
static void find_memory_events(struct monitor *m)
{
    CLEANUP(close_file) FILE *f = NULL;
    char path[64], line[1024];

    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)m->init);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f)) {
        char *group = strrchr(line, ':');

        line[strcspn(line, "\n")] = 0;
        if (!group)
            continue;
        if (strstr(line, ":memory:"))
            (void)snprintf(m->memory_events, sizeof(m->memory_events),
                           "/sys/fs/cgroup/memory%s/memory.oom_control", group + 1);
        else if (strncmp(line, "0::", 3) == 0 && !*m->memory_events)
            (void)snprintf(m->memory_events, sizeof(m->memory_events),
                           "/sys/fs/cgroup%s/memory.events", group + 1);
    }
}

static bool was_oom_killed(const struct monitor *m)
{
    CLEANUP(free_ptr) char *text = NULL;
    const char *p;

    if (!*m->memory_events ||
        file_read_all(AT_FDCWD, m->memory_events, 4096, &text, NULL, NULL) < 0)
        return false;
    p = strstr(text, "oom_kill ");
    return p && strtol(p + 9, NULL, 10) > 0;
}

static void take_status(struct monitor *m, int status)
{
    m->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    m->oom = m->status == 128 + SIGKILL && was_oom_killed(m);
    m->init = 0;
}

/* As subreaper we get whatever the runtime leaves: all are reaped, one counts. */
static void reap(struct monitor *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == m->init)
            take_status(m, status);
}

static void copy_output(struct monitor *m, int i)
{
    char data[16384];
    ssize_t n = read(m->out[i], data, sizeof(data));

    if (n > 0) {
        crilog_feed(&m->log, &m->stream[i], data, (size_t)n);
        return;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    close_fd(&m->out[i]);
}

/* Copies until the container has ended and its output, too; a process that escaped with the pipe
 * gets DRAIN_MS. */
static void watch(struct monitor *m, int pidfd)
{
    uint64_t deadline = 0;

    while (m->init || m->out[0] >= 0 || m->out[1] >= 0) {
        struct pollfd p[3] = {{.fd = m->out[0], .events = POLLIN},
                              {.fd = m->out[1], .events = POLLIN},
                              {.fd = m->init ? pidfd : -1, .events = POLLIN}};
        int wait = -1;

        if (!m->init) {
            uint64_t now = loop_now_ms();

            deadline = deadline ? deadline : now + DRAIN_MS;
            if (now >= deadline)
                break;
            wait = (int)(deadline - now);
        }
        if (poll(p, 3, wait) < 0 && errno != EINTR)
            break;
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                copy_output(m, i);
        if (p[2].revents)
            reap(m);
    }
}

static int create_and_start(struct monitor *m)
{
    int out[2], err_pipe[2], r;

    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err_pipe, O_CLOEXEC) < 0)
        return -errno;
    m->out[0] = out[0];
    m->out[1] = err_pipe[0];
    r = run_runtime(m, "create", (int[]){out[1], err_pipe[1]});
    (void)close(out[1]);
    (void)close(err_pipe[1]);
    if (r == 0)
        r = read_init_pid(m);
    if (r < 0)
        return r;
    find_memory_events(m);
    return run_runtime(m, "start", (int[]){-1, -1});
}

static int load(struct monitor *m, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    const char *log;
    size_t runtime;
    int r;

    (void)snprintf(path, sizeof(path), "%s/" MONITOR_FILE, m->bundle);
    r = file_read_all(AT_FDCWD, path, CONFIG_MAX, &text, NULL, err);
    if (r < 0)
        return r;
    m->config = json_loads(text, 0, NULL);
    m->id = json_string_value(json_object_get(m->config, "id"));
    log = json_string_value(json_object_get(m->config, "log"));
    runtime = json_array_size(json_object_get(m->config, "runtime"));
    if (!m->id || !log || runtime == 0 || runtime > PREFIX_MAX)
        return error_set(err, -EINVAL, "'%s' is damaged", path);
    return crilog_open(&m->log, log,
                       (uint64_t)json_integer_value(json_object_get(m->config, "logMax")), err);
}

static void report_running(struct monitor *m)
{
    rfc3339_now(m->started_at);
    (void)write_record(m, MONITOR_STARTED,
                       json_pack("{s:i, s:s}", "pid", (int)m->init, "startedAt", m->started_at));
    (void)!write(MONITOR_READY_FD, "running\n", 8);
    (void)close(MONITOR_READY_FD);
}

static void report_exit(struct monitor *m)
{
    char now[RFC3339_SIZE];

    rfc3339_now(now);
    (void)write_record(m, MONITOR_EXIT,
                       json_pack("{s:i, s:s, s:s, s:s, s:b}", "exitCode", m->status, "startedAt",
                                 m->started_at, "finishedAt", now, "error", m->error, "oom",
                                 m->oom));
}

int monitor_main(const char *bundle)
{
    struct monitor m = {
        .bundle = bundle, .out = {-1, -1}, .stream = {{.name = "stdout"}, {.name = "stderr"}}};
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
    struct error err = ERROR_INIT;
    CLEANUP(close_fd) int pidfd = -1;
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)prctl(PR_SET_NAME, "berm-log");
    (void)write_record(
        &m, MONITOR_PID,
        json_pack("{s:i, s:I}", "pid", (int)getpid(), "start", (json_int_t)procid_start(getpid())));
    r = load(&m, &err);
    if (r < 0)
        (void)snprintf(m.error, sizeof(m.error), "%.500s", err.msg);
    else
        r = create_and_start(&m);
    if (m.init > 0)
        pidfd = (int)syscall(SYS_pidfd_open, m.init, 0);
    if (r == 0 && pidfd >= 0) {
        report_running(&m);
        watch(&m, pidfd);
    } else {
        if (m.init > 0 && pidfd >= 0)
            (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        m.status = START_ERROR_STATUS;
        if (!*m.error)
            (void)snprintf(m.error, sizeof(m.error), "start failed: %s", strerror(-r));
        crilog_feed(&m.log, &m.stream[1], m.error, strlen(m.error));
    }
    for (int i = 0; i < 2; i++)
        crilog_flush(&m.log, &m.stream[i]);
    report_exit(&m);
    return 0;
}
