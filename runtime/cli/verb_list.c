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

struct format_options {
    const char *format;
    bool quiet, stats;
    const char *interval;
};

static const struct cli_option format_table[] = {
    {"format", 'f', CLI_VALUE, offsetof(struct format_options, format)},
    {"quiet", 'q', CLI_FLAG, offsetof(struct format_options, quiet)},
    {"stats", 0, CLI_FLAG, offsetof(struct format_options, stats)},
    {"interval", 0, CLI_VALUE, offsetof(struct format_options, interval)},
    {0},
};

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

int verb_state(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct format_options o = {0};
    CLEANUP(close_fd) int fd = -1;
    struct state s;
    int r = cli_options(argc, argv, format_table, &o, false, 1, 1, err);

    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    r = print_json(describe(cli, fd, &s), JSON_INDENT(2));
    state_free(&s);
    return r < 0 ? error_errno(err, r, "print") : 0;
}

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

int verb_list(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct format_options o = {0};
    int r = cli_options(argc, argv, format_table, &o, false, 0, 0, err);
    json_t *all, *j;
    size_t i;

    if (r < 0)
        return r;
    all = describe_all(cli);
    if (o.format && strcmp(o.format, "json") == 0)
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

int verb_ps(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct format_options o = {0};
    CLEANUP(close_fd) int fd = -1;
    struct state s;
    int r = cli_options(argc, argv, format_table, &o, false, 1, -1, err);

    if (r < 0)
        return r;
    fd = container_open(cli, argv[0], &s, err);
    if (fd < 0)
        return fd;
    if (o.format && strcmp(o.format, "json") == 0)
        r = print_json(host_pids(&s), JSON_COMPACT);
    else
        r = print_processes(cli, &s, err);
    state_free(&s);
    return r;
}

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

int verb_events(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct format_options o = {.interval = "5s"};
    CLEANUP(close_fd) int fd = -1;
    struct cgroup cg;
    struct state s;
    int r = cli_options(argc, argv, format_table, &o, false, 1, 1, err), seconds;

    if (r < 0)
        return r;
    seconds = MAX(atoi(o.interval), 1);
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
        (void)nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
    }
    state_free(&s);
    return r;
}
