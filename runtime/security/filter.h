#pragma once
/* Seccomp filters of our own processes: constant programs that the build made from *_calls.def. */
#include "common/error.h"

enum filter_role { FILTER_SENTRY, FILTER_GOFER, FILTER_MONITOR, FILTER_BROKER, FILTER_ROLES };

/* Installs the role's filter in the calling process (no_new_privs must be set): 0 or -errno. In
 * debug builds, BERM_INSECURE_NO_FILTER=1 in the environment leaves it out, with a warning. */
int filter_install(enum filter_role role, struct error *err);
/* One rule a line, from the table that made the filter. */
void filter_print(enum filter_role role, int fd);
