#pragma once
/* Core files (core(5)): "core" in the working directory, as kernel.core_pattern says. */
#include "runtime/sentry/task/task.h"

struct core;

/* A fatal signal comes to t: is a core to be written? Then other threads leave what they know of
 * themselves from now on. tasks_lock and sighand->lock are held. */
bool core_begin_locked(struct task *t, int sig);
/* After process_group_exit_locked, no lock held: waits for the other threads to go, writes, and
 * says so in the process's exit status. */
void core_finish(struct task *t, const struct l_siginfo *info);
/* A thread of a process that dumps is about to end. */
void core_thread_leaves(struct task *t);
