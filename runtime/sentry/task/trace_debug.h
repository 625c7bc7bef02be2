#pragma once
/* Hardware breakpoints and watchpoints of tracees, without the hardware. */
#include <stdbool.h>
#include <stdint.h>

struct task;
struct l_siginfo;

/* By the tracer, g_tasks_lock held. n is 0 to 7. 0, -EINVAL, -EIO, -ENOSPC. */
uint64_t trace_debug_get(const struct task *t, unsigned n);
int trace_debug_set(struct task *t, unsigned n, uint64_t value);

/* By the tracee. Must it go step by step? If so, what it watches is noted. */
bool trace_debug_armed(struct task *t);
/* It went one step, which somebody asked for or not: true if that is to be told; the status
 * register and info say what was hit. */
bool trace_debug_hit(struct task *t, bool step, struct l_siginfo *info);
