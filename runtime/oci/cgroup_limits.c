/*
 * linux.resources to files of control groups. What the kernel refuses is an error that names the
 * member; what this machine has no file for is warned of, by member, too.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/oci/cgroup_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { V2_SHARES_MAX = 10000, DEFAULT_PERIOD = 100000 };

struct knob {
    const char *member, *controller, *v1, *v2; /* files; NULL: there is none */
};

static const struct knob mem_limit = {"memory.limit", "memory", "memory.limit_in_bytes",
                                      "memory.max"},
                         mem_sum = {"memory.swap", "memory", "memory.memsw.limit_in_bytes", NULL},
                         mem_swap = {"memory.swap", "memory", NULL, "memory.swap.max"},
                         mem_reservation = {"memory.reservation", "memory",
                                            "memory.soft_limit_in_bytes", "memory.low"},
                         mem_swappiness = {"memory.swappiness", "memory", "memory.swappiness",
                                           NULL},
                         cpu_shares = {"cpu.shares", "cpu", "cpu.shares", NULL},
                         cpu_weight = {"cpu.shares", "cpu", NULL, "cpu.weight"},
                         cpu_period = {"cpu.period", "cpu", "cpu.cfs_period_us", NULL},
                         cpu_quota = {"cpu.quota", "cpu", "cpu.cfs_quota_us", NULL},
                         cpu_max = {"cpu.quota", "cpu", NULL, "cpu.max"},
                         cpu_burst = {"cpu.burst", "cpu", "cpu.cfs_burst_us", "cpu.max.burst"},
                         cpu_idle = {"cpu.idle", "cpu", "cpu.idle", "cpu.idle"},
                         cpu_cpus = {"cpu.cpus", "cpuset", "cpuset.cpus", "cpuset.cpus"},
                         cpu_mems = {"cpu.mems", "cpuset", "cpuset.mems", "cpuset.mems"},
                         pids_limit = {"pids.limit", "pids", "pids.max", "pids.max"};

static int set(const struct cgroup *cg, const struct knob *k, const char *text, struct error *err)
{
    int r = cgroup_set(cg, k->controller, k->v1, k->v2, text, err);

    if (r == -ENODEV) {
        log_warn("linux.resources.%s: no cgroup file for it here: %s has no effect", k->member,
                 text);
        return 0;
    }
    return r < 0 ? error_wrap(err, "linux.resources.%s", k->member) : 0;
}

static int set_number(const struct cgroup *cg, const struct knob *k, int64_t value,
                      struct error *err)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    /* "-1" is no limit to v1, but for pids. */
    if (value < 0 && (cgroup_is_v2(cg, k->controller) || strcmp(k->controller, "pids") == 0))
        (void)strcpy(text, "max");
    return set(cg, k, text, err);
}

static int set_optional(const struct cgroup *cg, const struct knob *k, bool has, int64_t value,
                        struct error *err)
{
    return has ? set_number(cg, k, value, err) : 0;
}

/* checkBeforeUpdate: rather none than a limit that has processes killed at once. */
static int check_memory(const struct cgroup *cg, const struct oci_memory *m, struct error *err)
{
    unsigned long long used;

    if (!m->check || !m->has_limit || m->limit <= 0 ||
        cgroup_read_number(cg, "memory", "memory.usage_in_bytes", "memory.current", &used) < 0 ||
        used <= (unsigned long long)m->limit)
        return 0;
    return error_set(err, -EBUSY, "linux.resources.memory.limit: %llu bytes are in use", used);
}

static int apply_memory_v2(const struct cgroup *cg, const struct oci_memory *m, struct error *err)
{
    int64_t swap = m->swap < 0 || !m->has_limit ? -1 : m->swap - m->limit;
    int r = set_optional(cg, &mem_limit, m->has_limit, m->limit, err);

    return r < 0 ? r : set_optional(cg, &mem_swap, m->has_swap, swap, err);
}

/* Memory may never exceed memory+swap, not even for a moment: raise the sum first, lower it last.
 */
static int apply_memory_v1(const struct cgroup *cg, const struct oci_memory *m, struct error *err)
{
    int r;

    if (m->has_swap && m->has_limit)
        (void)set_number(cg, &mem_sum, m->swap, NULL);
    r = set_optional(cg, &mem_limit, m->has_limit, m->limit, err);
    return r < 0 ? r : set_optional(cg, &mem_sum, m->has_swap, m->swap, err);
}

static int apply_memory(const struct cgroup *cg, const struct oci_memory *m, struct error *err)
{
    int r = check_memory(cg, m, err);

    if (r == 0)
        r = cgroup_is_v2(cg, "memory") ? apply_memory_v2(cg, m, err) : apply_memory_v1(cg, m, err);
    if (r == 0)
        r = set_optional(cg, &mem_reservation, m->has_reservation, m->reservation, err);
    return r < 0 ? r : set_optional(cg, &mem_swappiness, m->has_swappiness, m->swappiness, err);
}

int64_t cgroup_v2_weight(int64_t shares)
{
    return MAX(1, MIN(1 + ((shares - 2) * 9999) / 262142, (int64_t)V2_SHARES_MAX));
}

static int apply_cpu_v2(const struct cgroup *cg, const struct oci_cpu *c, struct error *err)
{
    long long period = c->has_period ? c->period : DEFAULT_PERIOD;
    char text[64];
    int r = set_optional(cg, &cpu_weight, c->has_shares && c->shares > 0,
                         cgroup_v2_weight(c->shares), err);

    if (r < 0 || (!c->has_quota && !c->has_period))
        return r;
    if (c->has_quota && c->quota > 0)
        (void)snprintf(text, sizeof(text), "%lld %lld", (long long)c->quota, period);
    else
        (void)snprintf(text, sizeof(text), "max %lld", period);
    return set(cg, &cpu_max, text, err);
}

static int apply_cpu_v1(const struct cgroup *cg, const struct oci_cpu *c, struct error *err)
{
    int r = set_optional(cg, &cpu_shares, c->has_shares && c->shares > 0, c->shares, err);

    if (r == 0)
        r = set_optional(cg, &cpu_period, c->has_period && c->period > 0, c->period, err);
    return r < 0 ? r : set_optional(cg, &cpu_quota, c->has_quota && c->quota, c->quota, err);
}

static int apply_cpu(const struct cgroup *cg, const struct oci_cpu *c, struct error *err)
{
    int r = cgroup_is_v2(cg, "cpu") ? apply_cpu_v2(cg, c, err) : apply_cpu_v1(cg, c, err);

    if (r == 0)
        r = set_optional(cg, &cpu_burst, c->has_burst, c->burst, err);
    if (r == 0)
        r = set_optional(cg, &cpu_idle, c->has_idle, c->idle, err);
    if (r == 0 && c->cpus && *c->cpus)
        r = set(cg, &cpu_cpus, c->cpus, err);
    if (r == 0 && c->mems && *c->mems)
        r = set(cg, &cpu_mems, c->mems, err);
    return r;
}

/* "unified": files of v2 by name. */
static int apply_unified(const struct cgroup *cg, json_t *unified, struct error *err)
{
    const char *file;
    json_t *value;

    json_object_foreach(unified, file, value)
    {
        char controller[32], member[128];
        const struct knob k = {member, controller, NULL, file};
        int r;

        if (!json_is_string(value) || strchr(file, '/') ||
            sscanf(file, "%31[a-z].%*s", controller) != 1)
            return error_set(err, -EINVAL, "linux.resources.unified: '%.64s' is not understood",
                             file);
        (void)snprintf(member, sizeof(member), "unified[\"%.100s\"]", file);
        r = set(cg, &k, json_string_value(value), err);
        if (r < 0)
            return r;
    }
    return 0;
}

int cgroup_apply(const struct cgroup *cg, const struct oci_resources *res, struct error *err)
{
    int64_t pids = res->pids.limit > 0 ? res->pids.limit : -1;
    int r;

    if (!*cg->path)
        return 0;
    r = apply_memory(cg, &res->memory, err);
    if (r == 0)
        r = apply_cpu(cg, &res->cpu, err);
    if (r == 0)
        r = set_optional(cg, &pids_limit, res->pids.has_limit && res->pids.limit, pids, err);
    return r < 0 ? r : apply_unified(cg, res->unified, err);
}
