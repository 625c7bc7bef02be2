#pragma once
/* Core files (core(5)): "core" in the working directory, as kernel.core_pattern says. */
#include "runtime/sentry/task/task.h"

/* /proc/PID/coredump_filter. */
enum {
    CORE_ANON_PRIVATE = 1,
    CORE_ANON_SHARED = 2,
    CORE_FILE_PRIVATE = 4,
    CORE_FILE_SHARED = 8,
    CORE_ELF_HEADERS = 16,
    CORE_FILTER_MASK = 0x1ff, /* huge pages and DAX are remembered */
    CORE_FILTER_DEFAULT = CORE_ANON_PRIVATE | CORE_ANON_SHARED | CORE_ELF_HEADERS | 32,
};

struct core;

/* A fatal signal comes to t: is a core to be written? Then other threads leave what they know of
 * themselves from now on. tasks_lock and sighand->lock are held. */
bool core_begin_locked(struct task *t, int sig);
/* After process_group_exit_locked, no lock held: waits for the other threads to go, writes, and
 * says so in the process's exit status. */
void core_finish(struct task *t, const struct l_siginfo *info);
/* A thread of a process that dumps is about to end. */
void core_thread_leaves(struct task *t);
