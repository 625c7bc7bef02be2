#pragma once
/* Allocation and lookup of process ids; see task.h for the structures. All under g_tasks_lock. */
#include "runtime/sentry/task/task.h"

uint64_t namespace_new_inode(void);            /* inode numbers of namespaces (/proc/PID/ns) */
struct pidns *pidns_new(struct pidns *parent); /* NULL: out of memory, or nested too deep */
struct pidns *pidns_get(struct pidns *ns);
void pidns_put(struct pidns *ns);

/* A fresh number in ns and all its ancestors. The table holds the reference that
 * pid_release_if_unused_locked drops. -EAGAIN: none left; -ENOMEM. */
int pid_alloc_locked(struct pidns *ns, struct pid **ret);
struct pid *pid_find_locked(const struct pidns *ns, int nr);
/* Gives the number back once no thread, process, group or session uses it. */
void pid_release_if_unused_locked(struct pid *p);
