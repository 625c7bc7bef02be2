#pragma once
/* /proc: what other parts need of it. */
#include <stdbool.h>

struct file;
struct process;
struct task;

/* While the sandbox is made: what /proc/sys shows for a key with dots or slashes, checked outside.
 * -ENOENT: there is no such file, -EOPNOTSUPP: it cannot be set, -EINVAL. */
int sysctl_set(const char *key, const char *value);
/* The process that f, an open /proc/PID directory, is about: reference, or NULL. */
struct process *proc_process_of(const struct file *f);
