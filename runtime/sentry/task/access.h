#pragma once
/* Who may look into whom: ptrace(2), "Ptrace access mode checking". */
#include <stdbool.h>

struct task;

enum access_by {
    ACCESS_BY_FSIDS,   /* PTRACE_MODE_FSCREDS: files of /proc, ptrace, kcmp */
    ACCESS_BY_REALIDS, /* PTRACE_MODE_REALCREDS: process_vm_readv, pidfd_getfd */
};
/* May t look into target's memory, files and environment? tasks_lock held. */
bool task_may_access_locked(const struct task *t, const struct task *target, enum access_by by);
