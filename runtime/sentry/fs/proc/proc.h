#pragma once
/* /proc: what other parts contribute to it. */
#include "common/buf.h"

#include <stdbool.h>

struct netns;
struct task;

/* Content of /proc/net/NAME, filled by net/: appends to out. A row whose function is missing shows
 * as an empty table with its header. Called with nothing locked. */
struct proc_net_source {
    const char *name; /* "tcp", "unix", "dev" ... */
    int (*show)(struct netns *ns, struct buf *out);
};
/* Registers a table of them (static storage, ended by a row without name), once, at start. */
void proc_net_register(const struct proc_net_source *sources);

/* May t look into target's memory, files and environment (ptrace access mode READ by file system
 * ids)? tasks_lock held. */
bool proc_may_read_locked(const struct task *t, const struct task *target);
