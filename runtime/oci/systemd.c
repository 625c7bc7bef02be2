#include "runtime/oci/systemd.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/cgroup.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#define MANAGER                                                                                    \
    "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"

/* What is used of libsystemd. */
#define FUNCTIONS(X)                                                                               \
    X(sd_bus_open_system)                                                                          \
    X(sd_bus_message_new_method_call)                                                              \
    X(sd_bus_message_append)                                                                       \
    X(sd_bus_message_open_container)                                                               \
    X(sd_bus_message_close_container)                                                              \
    X(sd_bus_call)

static struct {
#define X(name) __typeof__(name) *name;
    FUNCTIONS(X)
#undef X
} lib;

static int load(struct error *err)
{
    void *handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL), *at;

    if (!handle)
        return error_set(err, -ENOENT, "%s", dlerror());
        /* A function's address by way of memory: C has no conversion from void *. */
#define X(name)                                                                                    \
    at = dlsym(handle, #name);                                                                     \
    if (!at)                                                                                       \
        return error_set(err, -ENOENT, "%s", dlerror());                                           \
    memcpy(&lib.name, &at, sizeof(at));
    FUNCTIONS(X)
#undef X
    return 0;
}

/* A call in the making: the first failure stays. */
struct request {
    sd_bus *bus;
    sd_bus_message *m;
    int r;
};

static void put(struct request *q, int r)
{
    if (q->r >= 0 && r < 0)
        q->r = r;
}

static void put_number(struct request *q, const char *name, uint64_t value)
{
    put(q, lib.sd_bus_message_append(q->m, "(sv)", name, "t", value));
}

static void put_flag(struct request *q, const char *name)
{
    put(q, lib.sd_bus_message_append(q->m, "(sv)", name, "b", 1));
}

static uint64_t or_infinity(int64_t value)
{
    return value < 0 ? UINT64_MAX : (uint64_t)value;
}

/* As cgroup_apply computes them for v2; cpusets and the rest are written to the files alone. */
static void put_limits(struct request *q, const struct oci_resources *res)
{
    const struct oci_memory *m = &res->memory;
    const struct oci_cpu *c = &res->cpu;

    if (m->has_limit)
        put_number(q, "MemoryMax", or_infinity(m->limit));
    if (m->has_swap)
        put_number(q, "MemorySwapMax",
                   m->swap < 0 || !m->has_limit ? UINT64_MAX : (uint64_t)(m->swap - m->limit));
    if (m->has_reservation)
        put_number(q, "MemoryLow", or_infinity(m->reservation));
    if (res->pids.has_limit && res->pids.limit)
        put_number(q, "TasksMax", or_infinity(res->pids.limit));
    if (c->has_shares && c->shares > 0)
        put_number(q, "CPUWeight", (uint64_t)cgroup_v2_weight(c->shares));
    if (c->has_quota || c->has_period) {
        uint64_t period = c->has_period && c->period > 0 ? (uint64_t)c->period : 100000;

        put_number(q, "CPUQuotaPeriodUSec", period);
        /* In hundredths of a core, as the unit has it: rounded up. */
        put_number(q, "CPUQuotaPerSecUSec",
                   c->has_quota && c->quota > 0
                       ? ((uint64_t)c->quota * 1000000 / period + 9999) / 10000 * 10000
                       : UINT64_MAX);
    }
}

static void begin(struct request *q, const char *method)
{
    put(q, lib.sd_bus_open_system(&q->bus));
    if (q->r >= 0)
        put(q, lib.sd_bus_message_new_method_call(q->bus, &q->m, MANAGER, method));
}

static int send_request(struct request *q, const char *method, struct error *err)
{
    sd_bus_error why = SD_BUS_ERROR_NULL;
    int r = q->r;

    if (r >= 0)
        r = lib.sd_bus_call(q->bus, q->m, 0, &why, NULL);
    return r < 0 ? error_set(err, r, "systemd: %s: %s", method,
                             why.message ? why.message : strerror(-r))
                 : 0;
}

struct scope {
    const char *slice, *unit;
    const struct oci_resources *res;
    pid_t pid;
};

static int start(const struct scope *s, struct error *err)
{
    struct request q = {0};

    begin(&q, "StartTransientUnit");
    if (q.r < 0)
        return send_request(&q, "connect", err);
    put(&q, lib.sd_bus_message_append(q.m, "ss", s->unit, "replace"));
    put(&q, lib.sd_bus_message_open_container(q.m, 'a', "(sv)"));
    put(&q, lib.sd_bus_message_append(q.m, "(sv)(sv)(sv)(sv)", "Description", "s", "berm container",
                                      "Slice", "s", s->slice, "CollectMode", "s",
                                      "inactive-or-failed", "PIDs", "au", 1, (uint32_t)s->pid));
    put_flag(&q, "Delegate");
    put_flag(&q, "CPUAccounting");
    put_flag(&q, "MemoryAccounting");
    put_flag(&q, "TasksAccounting");
    put_flag(&q, "IOAccounting");
    put(&q, lib.sd_bus_message_append(q.m, "(sv)", "DefaultDependencies", "b", 0));
    if (s->res)
        put_limits(&q, s->res);
    put(&q, lib.sd_bus_message_close_container(q.m));
    put(&q, lib.sd_bus_message_append(q.m, "a(sa(sv))", 0));
    return send_request(&q, "StartTransientUnit", err);
}

static int update(const struct scope *s, struct error *err)
{
    struct request q = {0};

    begin(&q, "SetUnitProperties");
    if (q.r < 0)
        return send_request(&q, "connect", err);
    put(&q, lib.sd_bus_message_append(q.m, "sb", s->unit, 1));
    put(&q, lib.sd_bus_message_open_container(q.m, 'a', "(sv)"));
    put_limits(&q, s->res);
    put(&q, lib.sd_bus_message_close_container(q.m));
    return send_request(&q, "SetUnitProperties", err);
}

/* Without waiting for the job: there is nobody in it who had to be stopped. */
static int stop(const struct scope *s, struct error *err)
{
    struct request q = {0};

    begin(&q, "StopUnit");
    if (q.r >= 0)
        put(&q, lib.sd_bus_message_append(q.m, "ss", s->unit, "replace"));
    return send_request(&q, "StopUnit", err);
}

static int in_child(int (*ask)(const struct scope *s, struct error *err), const struct scope *s,
                    struct error *err)
{
    struct error report = ERROR_INIT;
    int fds[2], r = 0;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    pid = fork();
    if (pid == 0) {
        if (load(&report) == 0)
            (void)ask(s, &report);
        (void)write_full(fds[1], &report, sizeof(report));
        _exit(0);
    }
    (void)close(fds[1]);
    if (pid < 0)
        r = error_errno(err, -errno, "fork");
    else if (read_full(fds[0], &report, sizeof(report)) != (ssize_t)sizeof(report))
        r = error_set(err, -EIO, "systemd: the process that asks it died");
    else if (report.code < 0)
        r = error_set(err, report.code, "%s", report.msg);
    (void)close(fds[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

bool systemd_running(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

/* The call only queues a job. */
static bool moved_to(const char *unit)
{
    CLEANUP(free_ptr) char *text = NULL;
    char end[300];

    (void)snprintf(end, sizeof(end), "/%s\n", unit);
    return file_read_all(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL, NULL) == 0 &&
           strstr(text, end);
}

int systemd_scope_start(const char *slice, const char *unit, const struct oci_resources *res,
                        struct error *err)
{
    const struct scope s = {slice, unit, res, getpid()};
    int r = in_child(start, &s, err);

    for (int tries = 0; r == 0 && tries < 5000; tries++) {
        if (moved_to(unit))
            return 0;
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return r < 0 ? r : error_set(err, -ETIMEDOUT, "systemd: %s was not started within 10 s", unit);
}

int systemd_scope_update(const char *unit, const struct oci_resources *res, struct error *err)
{
    const struct scope s = {.unit = unit, .res = res};

    return in_child(update, &s, err);
}

int systemd_scope_stop(const char *unit, struct error *err)
{
    const struct scope s = {.unit = unit};

    return in_child(stop, &s, err);
}
