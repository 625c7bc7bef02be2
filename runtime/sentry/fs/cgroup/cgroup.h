#pragma once
/* The container's cgroup as its processes see it: one group, the root, read-only. */
#include "runtime/sentry/vfs/pseudo.h"

extern const struct pseudo_entry cgroup_rows[];
