/* update: limits of a live container. */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/cli/container.h"
#include "runtime/oci/control.h"
#include "runtime/oci/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *resources, *memory, *reservation, *swap, *shares, *quota, *period, *burst, *idle,
        *cpus, *mems, *pids;
};

#define AT(member) offsetof(struct options, member)
static const struct cli_option option_table[] = {
    {"resources", 'r', CLI_VALUE, "FILE", AT(resources),
     "linux.resources as JSON, in place of the others (-: standard input)"},
    {"memory", 0, CLI_VALUE, "BYTES", AT(memory), "limit"},
    {"memory-reservation", 0, CLI_VALUE, "BYTES", AT(reservation), "soft limit"},
    {"memory-swap", 0, CLI_VALUE, "BYTES", AT(swap), "memory and swap together"},
    {"cpu-share", 0, CLI_VALUE, "N", AT(shares), "weight"},
    {"cpu-quota", 0, CLI_VALUE, "USEC", AT(quota), "CPU time within a period"},
    {"cpu-period", 0, CLI_VALUE, "USEC", AT(period), "that period"},
    {"cpu-burst", 0, CLI_VALUE, "USEC", AT(burst), "what may be saved up of it"},
    {"cpu-idle", 0, CLI_VALUE, "0|1", AT(idle), "runs when nobody else does"},
    {"kernel-memory", 0, CLI_ACCEPTED, "BYTES", 0, "Linux has no such limit any longer"},
    {"kernel-memory-tcp", 0, CLI_ACCEPTED, "BYTES", 0, "it counts towards --memory"},
    {"cpuset-cpus", 0, CLI_VALUE, "LIST", AT(cpus), "processors"},
    {"cpuset-mems", 0, CLI_VALUE, "LIST", AT(mems), "memory nodes"},
    {"pids-limit", 0, CLI_VALUE, "N", AT(pids), "processes and threads"},
    {"blkio-weight", 0, CLI_REFUSED, "N", 0, "files are read and written by the pod's sentry"},
    {"cpu-rt-period", 0, CLI_REFUSED, "USEC", 0, "there is no real-time scheduling inside"},
    {"cpu-rt-runtime", 0, CLI_REFUSED, "USEC", 0, "there is no real-time scheduling inside"},
    {"l3-cache-schema", 0, CLI_REFUSED, "TEXT", 0, "Intel RDT"},
    {"mem-bw-schema", 0, CLI_REFUSED, "TEXT", 0, "Intel RDT"},
    {0},
};
#undef AT

static int number(const char *name, const char *text, int64_t *value, bool *has, struct error *err)
{
    char *end;

    if (!text)
        return 0;
    *value = strtoll(text, &end, 10);
    *has = true;
    return *text && !*end ? 0 : error_set(err, -EINVAL, "--%s: '%.32s' is no number", name, text);
}

static int from_options(const struct options *o, struct oci_resources *res, struct error *err)
{
    const struct {
        const char *name, *text;
        int64_t *value;
        bool *has;
    } rows[] = {
        {"memory", o->memory, &res->memory.limit, &res->memory.has_limit},
        {"memory-reservation", o->reservation, &res->memory.reservation,
         &res->memory.has_reservation},
        {"memory-swap", o->swap, &res->memory.swap, &res->memory.has_swap},
        {"cpu-share", o->shares, &res->cpu.shares, &res->cpu.has_shares},
        {"cpu-quota", o->quota, &res->cpu.quota, &res->cpu.has_quota},
        {"cpu-period", o->period, &res->cpu.period, &res->cpu.has_period},
        {"cpu-burst", o->burst, &res->cpu.burst, &res->cpu.has_burst},
        {"cpu-idle", o->idle, &res->cpu.idle, &res->cpu.has_idle},
        {"pids-limit", o->pids, &res->pids.limit, &res->pids.has_limit},
    };
    int r = 0;

    res->cpu.cpus = o->cpus;
    res->cpu.mems = o->mems;
    for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
        r = number(rows[i].name, rows[i].text, rows[i].value, rows[i].has, err);
    return r;
}

/* "-" is standard input. *ret_json is what the structure's strings live in. */
static int from_file(const char *file, struct oci_resources *res, json_t **ret_json,
                     struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_error_t je;
    size_t size;
    int r = file_read_all(AT_FDCWD, strcmp(file, "-") == 0 ? "/dev/stdin" : file, OCI_CONFIG_MAX,
                          &text, &size, err);

    if (r < 0)
        return r;
    *ret_json = oci_json_load(text, size, &je);
    if (!*ret_json)
        return error_set(err, -EINVAL, "resources: line %d: %s", je.line, je.text);
    return oci_resources_read(*ret_json, "resources", res, err);
}

/* What programs inside are told of their limits. From options: the same as JSON. */
static int tell_sentry(struct cli *cli, const struct state *s, const struct oci_resources *res,
                       struct error *err)
{
    CLEANUP(close_fd) int sock = container_connect(cli, s, err);
    json_t *j = json_object(), *cpu = json_object();

    if (res->memory.has_limit)
        (void)json_object_set_new(j, "memory",
                                  json_pack("{s:I}", "limit", (json_int_t)res->memory.limit));
    if (res->pids.has_limit)
        (void)json_object_set_new(j, "pids",
                                  json_pack("{s:I}", "limit", (json_int_t)res->pids.limit));
    if (res->cpu.has_quota)
        (void)json_object_set_new(cpu, "quota", json_integer(res->cpu.quota));
    if (res->cpu.has_period)
        (void)json_object_set_new(cpu, "period", json_integer(res->cpu.period));
    (void)json_object_set_new(j, "cpu", cpu);
    j = json_pack("{s:s,s:s,s:o}", "op", "update", "id", s->id, "resources", j);
    if (sock < 0) {
        json_decref(j);
        return sock;
    }
    return control_call_within(sock, j, NULL, 0, CONTROL_ASK_MS, NULL, err);
}

static int run_update(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct oci_resources res = {0};
    struct options o = {0};
    CLEANUP(close_fd) int fd = -1;
    json_t *json = NULL;
    struct cgroup cg;
    struct state s;
    int r = cli_options(argc, argv, &verb_update, &o, err);

    if (r < 0)
        return r;
    fd =
        container_open(cli, argv[0], &s, err); /* first: the resources may come by standard input */
    if (fd < 0)
        return fd;
    r = o.resources ? from_file(o.resources, &res, &json, err) : from_options(&o, &res, err);
    if (r == 0)
        r = cgroup_init_path(&cg, s.cgroups, err);
    if (r == 0 && cg.systemd)
        r = systemd_scope_update(strrchr(cg.path, '/') + 1, &res, err);
    if (r == 0)
        r = cgroup_apply(&cg, &res, err);
    if (r == 0)
        r = tell_sentry(cli, &s, &res, err);
    state_free(&s);
    oci_resources_free(&res);
    json_decref(json);
    return r;
}

const struct cli_verb verb_update = {
    "update", "ID", "changes limits of a container", option_table, false, 1, 1, run_update};
