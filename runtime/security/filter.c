#include "runtime/security/filter.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "filters.h"
#include "runtime/guard.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct row {
    const char *verdict, *call, *conditions, *why;
};

#define ALLOW(name, why)         {"allow", #name, "", why},
#define ALLOW_IF(name, why, ...) {"allow", #name, #__VA_ARGS__, why},
#define REFUSE(name, code, why)  {"refuse " #code, #name, "", why},
static const struct row sentry_rows[] = {
#include "runtime/security/sentry_calls.def"
};
static const struct row gofer_rows[] = {
#include "runtime/security/gofer_calls.def"
};
static const struct row monitor_rows[] = {
#include "runtime/security/monitor_calls.def"
};
static const struct row broker_rows[] = {
#include "runtime/security/broker_calls.def"
};

static const struct {
    const char *name;
    const struct sock_filter *program;
    unsigned short size;
    const struct row *rows;
    size_t n_rows;
} roles[FILTER_ROLES] = {
#define ROLE(id, role)                                                                             \
    [id] = {#role, filter_##role, ARRAY_SIZE(filter_##role), role##_rows, ARRAY_SIZE(role##_rows)}
    ROLE(FILTER_SENTRY, sentry),
    ROLE(FILTER_GOFER, gofer),
    ROLE(FILTER_MONITOR, monitor),
    ROLE(FILTER_BROKER, broker),
#undef ROLE
};

static int put_into_force(const void *prog)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, prog) < 0 ? -1 : 0;
}

#ifdef BERM_TEST_UNGUARDED
static bool guarded(enum filter_role role)
{
    switch (role) {
    case FILTER_SENTRY:
        return GUARDED(SENTRY_FILTER);
    case FILTER_GOFER:
        return GUARDED(GOFER_FILTER);
    default:
        return true;
    }
}

static int none(const void *prog)
{
    (void)prog;
    return 0;
}
#endif

int filter_install(enum filter_role role, struct error *err)
{
    struct sock_fprog prog = {
        .len = roles[role].size,
        .filter = (struct sock_filter *)(uintptr_t)roles[role].program,
    };

#ifdef BERM_TEST_UNGUARDED
    taken_over(roles[role].name, guarded(role) ? put_into_force : none, &prog, guarded(role));
    if (!guarded(role))
        return 0;
#endif
#ifdef BERM_SANITIZED
    log_debug("%s runs WITHOUT its seccomp filter: a sanitizer makes calls of its own",
              roles[role].name);
    return 0;
#endif
#ifdef BERM_DEBUG
    if (getenv("BERM_INSECURE_NO_FILTER")) {
        log_warn("%s runs WITHOUT its seccomp filter (BERM_INSECURE_NO_FILTER)", roles[role].name);
        return 0;
    }
#endif
    if (put_into_force(&prog) < 0)
        return error_errno(err, -errno, "install the seccomp filter of the %s", roles[role].name);
    return 0;
}

void filter_print(enum filter_role role, int fd)
{
    (void)dprintf(fd, "# %s: %u instructions; everything that is not listed kills the process\n",
                  roles[role].name, roles[role].size);
    for (size_t i = 0; i < roles[role].n_rows; i++) {
        const struct row *r = &roles[role].rows[i];

        (void)dprintf(fd, "%s %s%s%s%s%s%s\n", r->verdict, r->call, *r->conditions ? " if " : "",
                      r->conditions, *r->why ? " (" : "", r->why, *r->why ? ")" : "");
    }
}
