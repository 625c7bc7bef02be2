#include "agent/node/systemd.h"

#include "agent/loop.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>

enum { JOB_TIMEOUT_S = 90, CALL_TIMEOUT_US = 20000000 };
#define NAME    "org.freedesktop.systemd1"
#define PATH    "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"

static int connect_private(sd_bus **ret)
{
    sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);

    if (r >= 0)
        r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        sd_bus_unref(bus);
        return r;
    }
    *ret = bus;
    return 0;
}

static int fail(struct error *err, int r, const sd_bus_error *e, const char *what)
{
    return error_set(err, r, "systemd: %s: %s", what, e->message ? e->message : strerror(-r));
}

/* The object of the first unit that is active; the caller frees *ret. */
static int find_active(sd_bus *bus, const char *const *units, const char **ret, struct error *err)
{
    for (; *units; units++) {
        CLEANUP(free_ptr) char *state = NULL;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        const char *path = NULL;
        int r = sd_bus_call_method(bus, NAME, PATH, MANAGER, "GetUnit", &e, &m, "s", *units);

        if (r >= 0 && sd_bus_message_read(m, "o", &path) >= 0)
            r = sd_bus_get_property_string(bus, NAME, path, NAME ".Unit", "ActiveState", &e,
                                           &state);
        sd_bus_message_unref(m);
        sd_bus_error_free(&e);
        if (r >= 0 && (strcmp(state, "active") == 0 || strcmp(state, "reloading") == 0)) {
            *ret = *units;
            return 0;
        }
    }
    return error_set(err, -ENOENT, "systemd: the container runtime's unit is not active");
}

struct job {
    char path[128], result[32];
};

static int on_removed(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
    struct job *j = ctx;
    const char *path, *unit, *result;
    uint32_t id;

    (void)e;
    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 &&
        strcmp(path, j->path) == 0)
        (void)snprintf(j->result, sizeof(j->result), "%s", result);
    return 0;
}

static int wait_job(sd_bus *bus, struct job *j, const char *unit, struct error *err)
{
    uint64_t end = loop_now_ms() + JOB_TIMEOUT_S * UINT64_C(1000);

    while (!*j->result) {
        int r = sd_bus_process(bus, NULL);

        if (r == 0)
            r = sd_bus_wait(bus, 1000000);
        if (r < 0)
            return error_errno(err, r, "systemd");
        if (loop_now_ms() > end)
            return error_set(err, -ETIMEDOUT, "systemd: %s takes more than %d s", unit,
                             JOB_TIMEOUT_S);
    }
    if (strcmp(j->result, "done") != 0)
        return error_set(err, -EIO, "systemd: %s: the job ended as '%s'", unit, j->result);
    return 0;
}

static int act(sd_bus *bus, const char *unit, const char *verb, struct error *err)
{
    sd_bus_error e = SD_BUS_ERROR_NULL;
    sd_bus_message *m = NULL;
    struct job j = {0};
    const char *path;
    int r;

    (void)sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_US);
    r = sd_bus_match_signal(bus, NULL, NULL, PATH, MANAGER, "JobRemoved", on_removed, &j);
    if (r >= 0)
        r = sd_bus_call_method(bus, NAME, PATH, MANAGER, "Subscribe", &e, NULL, "");
    if (r >= 0)
        r = sd_bus_call_method(bus, NAME, PATH, MANAGER, verb, &e, &m, "ss", unit, "replace");
    if (r >= 0)
        r = sd_bus_message_read(m, "o", &path);
    if (r >= 0) {
        log_info("systemd: %s %s", verb, unit);
        (void)snprintf(j.path, sizeof(j.path), "%s", path);
        r = wait_job(bus, &j, unit, err);
    } else {
        r = fail(err, r, &e, verb);
    }
    sd_bus_message_unref(m);
    sd_bus_error_free(&e);
    return r;
}

int systemd_act(const char *const *units, const char *verb, struct error *err)
{
    const char *unit = NULL;
    sd_bus *bus = NULL;
    int r = connect_private(&bus);

    if (r < 0)
        r = sd_bus_open_system(&bus);
    if (r < 0)
        return error_set(
            err, -ENOENT,
            "systemd can't be reached (%s): restart the runtime by --restart exec:PROGRAM "
            "or none",
            strerror(-r));
    r = find_active(bus, units, &unit, err);
    if (r == 0)
        r = act(bus, unit, verb, err);
    sd_bus_flush_close_unref(bus);
    return r;
}
