#pragma once
/* A stopped tracee's memory, whatever its protection is: what debuggers set breakpoints by. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task;

/* g_tasks_lock is held (and dropped for what the tracee itself must do). Bytes, or -EIO. */
ssize_t trace_memory_locked(struct task *t, uint64_t addr, void *data, size_t size, bool write);
/* The same for /proc/PID/mem: of any task that t may look into; unwritable memory only if it is
 * t's stopped tracee, or t itself. */
ssize_t trace_memory(struct task *t, struct task *target, uint64_t addr, void *data, size_t size,
                     bool write);
