/* Verbs that tell: state, list, ps, events. */
#include "common/cleanup.h"
#include "runtime/cli/container.h"
#include "runtime/oci/control.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const struct cli_option no_options[] = {{0}};

static int print_json(json_t *j, size_t flags)
{
    CLEANUP(free_ptr) char *text = json_dumps(j, flags);

    json_decref(j);
    if (!text)
        return -ENOMEM;
    return puts(text) < 0 ? -EIO : 0;
}

static json_t *describe(struct cli *cli, int fd, const struct state *s)
{
    const char *status = container_status(cli, fd, s);
    bool live = strcmp(status, "stopped") != 0, oom = false;
    int code;
    json_t *j = json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s}", "ociVersion", s->version, "id", s->id,
                          "pid", live ? (int)s->monitor.pid : 0, "status", status, "bundle",
                          s->bundle, "rootfs", s->rootfs, "created", s->created);

    if (s->annotations)
        (void)json_object_set(j, "annotations", s->annotations);
    if (!live && state_exit_status(fd, &code, &oom) == 0) {
        (void)json_object_set_new(j, "exitStatus", json_integer(code));
        (void)json_object_set_new(j, "oomKilled", json_boolean(oom));
    }
    (void)json_object_set_new(j, "owner", json_string("root"));
    return j;
}

static int run_state(struct cli *cli, int argc, char **argv, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    struct state s;
    int r = cli_options(argc, argv, &verb_state, NULL, err);

    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    r = print_json(describe(cli, fd, &s), JSON_INDENT(2));
    state_free(&s);
    return r < 0 ? error_errno(err, r, "print") : 0;
}

const struct cli_verb verb_state = {
    "state", "ID", "a container's state as JSON", no_options, false, 1, 1, run_state};

static json_t *describe_all(struct cli *cli)
{
    CLEANUP(close_dir) DIR *d = opendir(cli->root);
    json_t *all = json_array();
    struct dirent *e;

    while (d && (e = readdir(d))) {
        struct error err = ERROR_INIT;
        struct state s;
        int fd;

        if (oci_id_check(e->d_name, NULL) < 0)
            continue;
        /* Of all programs: what differs between them is not needed here. */
        fd = state_open(cli->root, e->d_name, &err);
        if (fd < 0)
            continue;
        if (state_load(fd, e->d_name, &s, &err) < 0) {
            (void)close(fd);
            continue;
        }
        (void)json_array_append_new(all, describe(cli, fd, &s));
        state_free(&s);
        (void)close(fd);
    }
    return all;
}

static const char *member(json_t *j, const char *name)
{
    return json_string_value(json_object_get(j, name));
}

struct list_options {
    const char *format;
    bool quiet;
};

static const struct cli_option list_options[] = {
    {"format", 'f', CLI_VALUE, "table|json", offsetof(struct list_options, format), "how (table)"},
    {"quiet", 'q', CLI_FLAG, NULL, offsetof(struct list_options, quiet), "ids only"},
    {0},
};

static int run_list(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct list_options o = {0};
    int r = cli_options(argc, argv, &verb_list, &o, err);
    bool json = false;
    json_t *all, *j;
    size_t i;

    if (r >= 0)
        r = cli_format(o.format, &json, err);
    if (r < 0)
        return r;
    all = describe_all(cli);
    if (json)
        return print_json(all, JSON_COMPACT);
    if (!o.quiet)
        (void)printf("%-24s %-8s %-9s %-22s %s\n", "ID", "PID", "STATUS", "CREATED", "BUNDLE");
    json_array_foreach(all, i, j)
    {
        if (o.quiet)
            (void)puts(member(j, "id"));
        else
            (void)printf("%-24s %-8lld %-9s %-22s %s\n", member(j, "id"),
                         (long long)json_integer_value(json_object_get(j, "pid")),
                         member(j, "status"), member(j, "created"), member(j, "bundle"));
    }
    json_decref(all);
    return 0;
}

const struct cli_verb verb_list = {"list", "", "all containers", list_options, false,
                                   0,      0,  run_list};

enum { PIDS_MAX = 32768 };

/* Host pids: all of the cgroup, or at least the one that stands for the container. */
static json_t *host_pids(const struct state *s)
{
    CLEANUP(free_ptr) pid_t *pids = calloc(PIDS_MAX, sizeof(*pids));
    json_t *list = json_array();
    struct cgroup cg;
    unsigned n = 0;

    if (pids && *s->cgroups && cgroup_init_path(&cg, s->cgroups, NULL) == 0)
        n = cgroup_pids(&cg, pids, PIDS_MAX);
    for (unsigned i = 0; i < n; i++)
        (void)json_array_append_new(list, json_integer(pids[i]));
    if (n == 0 && process_alive(&s->monitor))
        (void)json_array_append_new(list, json_integer(s->monitor.pid));
    return list;
}

static int print_processes(struct cli *cli, const struct state *s, struct error *err)
{
    json_t *answer = NULL, *p;
    size_t i;
    int r = container_call(cli, s, "ps", &answer, err);

    if (r < 0)
        return r;
    (void)printf("%-8s %-8s %-8s %-8s %s\n", "PID", "PPID", "UID", "THREADS", "COMMAND");
    json_array_foreach(json_object_get(answer, "processes"), i, p)
    {
        const char *args = member(p, "args");

        (void)printf("%-8lld %-8lld %-8lld %-8lld %s\n",
                     (long long)json_integer_value(json_object_get(p, "pid")),
                     (long long)json_integer_value(json_object_get(p, "ppid")),
                     (long long)json_integer_value(json_object_get(p, "uid")),
                     (long long)json_integer_value(json_object_get(p, "threads")),
                     args && *args       ? args
                     : member(p, "comm") ? member(p, "comm")
                                         : "");
    }
    json_decref(answer);
    return 0;
}

static const struct cli_option ps_options[] = {
    {"format", 'f', CLI_VALUE, "table|json", 0,
     "the processes inside (table), or the pids of the host that are its own"},
    {0},
};

static int run_ps(struct cli *cli, int argc, char **argv, struct error *err)
{
    const char *format = NULL;
    CLEANUP(close_fd) int fd = -1;
    bool json = false;
    struct state s;
    int r = cli_options(argc, argv, &verb_ps, &format, err);

    if (r >= 0)
        r = cli_format(format, &json, err);
    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    if (json)
        r = print_json(host_pids(&s), JSON_COMPACT);
    else
        r = print_processes(cli, &s, err);
    state_free(&s);
    return r;
}

const struct cli_verb verb_ps = {"ps", "ID",  "processes of a container", ps_options, false, 1,
                                 1,    run_ps};

static json_t *usage(const struct cgroup *cg, json_t *sentry)
{
    unsigned long long memory = 0, cpu = 0, pids = 0;
    json_t *j = json_object();

    if (cgroup_read_number(cg, "memory", "memory.usage_in_bytes", "memory.current", &memory) < 0)
        memory = (unsigned long long)json_integer_value(json_object_get(sentry, "memory"));
    if (cgroup_read_number(cg, "cpuacct", "cpuacct.usage", NULL, &cpu) < 0)
        cpu = (unsigned long long)json_integer_value(json_object_get(sentry, "cpu"));
    pids = (unsigned long long)json_integer_value(json_object_get(sentry, "pids"));
    (void)json_object_set_new(j, "memory",
                              json_pack("{s:{s:I}}", "usage", "usage", (json_int_t)memory));
    (void)json_object_set_new(j, "cpu", json_pack("{s:{s:I}}", "usage", "total", (json_int_t)cpu));
    (void)json_object_set_new(j, "pids", json_pack("{s:I}", "current", (json_int_t)pids));
    return j;
}

struct events_options {
    bool stats;
    const char *interval;
};

static const struct cli_option events_options[] = {
    {"stats", 0, CLI_FLAG, NULL, offsetof(struct events_options, stats), "once"},
    {"interval", 0, CLI_VALUE, "TIME", offsetof(struct events_options, interval),
     "between two (5s): a number with ms, s, m or h"},
    {0},
};

static int read_interval(const char *text, struct timespec *ret, struct error *err)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}};
    char *unit;
    double n = strtod(text, &unit);

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        double seconds = n * units[i].seconds;

        if (strcmp(unit, units[i].unit) != 0 || unit == text || !(seconds >= 0.001) ||
            seconds > 1e6)
            continue;
        ret->tv_sec = (time_t)seconds;
        ret->tv_nsec = (long)((seconds - (double)ret->tv_sec) * 1e9);
        return 0;
    }
    return error_set(err, -EINVAL, "--interval: '%.32s' is no time like 5s or 500ms", text);
}

static int run_events(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct events_options o = {.interval = "5s"};
    struct timespec interval;
    CLEANUP(close_fd) int fd = -1;
    struct cgroup cg;
    struct state s;
    int r = cli_options(argc, argv, &verb_events, &o, err);

    if (r >= 0)
        r = read_interval(o.interval, &interval, err);
    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    (void)flock(fd, LOCK_UN);
    r = cgroup_init_path(&cg, s.cgroups, err);
    while (r == 0) {
        json_t *answer = NULL;

        r = container_call(cli, &s, "stats", &answer, err);
        if (r < 0)
            break;
        r = print_json(
            json_pack("{s:s,s:s,s:o}", "type", "stats", "id", s.id, "data", usage(&cg, answer)),
            JSON_COMPACT);
        json_decref(answer);
        if (o.stats)
            break;
        (void)fflush(stdout);
        (void)nanosleep(&interval, NULL);
    }
    state_free(&s);
    return r;
}

const struct cli_verb verb_events = {
    "events", "ID", "statistics, again and again", events_options, false, 1, 1, run_events};
