#pragma once
/* Operations of the memory devices (mem.c), for the table in dev.c. */
#include "runtime/sentry/fs/dev/dev.h"

extern const struct file_ops dev_null_ops, dev_zero_ops, dev_full_ops, dev_random_ops;
