#pragma once
/* Between the files of /sys. */
#include "runtime/sentry/vfs/pseudo.h"

extern const struct pseudo_dynamic sys_net_dirs; /* class/net */
