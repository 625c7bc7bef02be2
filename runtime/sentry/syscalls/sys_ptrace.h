#pragma once
/* Between sys_ptrace.c and sys_ptrace_regs.c. The tracee is stopped, g_tasks_lock is held. */
#include "runtime/sentry/task/trace.h"

#include <stddef.h>

/* PTRACE_PEEKUSER and PTRACE_POKEUSER: a word of struct user. */
int ptrace_peek_user(struct task *t, uint64_t at, uint64_t *ret);
int ptrace_poke_user(struct task *t, uint64_t at, uint64_t value);
/* A register set by its note type: size is that of data (at most PTRACE_SET_MAX), *ret what it
 * holds. -EINVAL: no such set. */
enum { PTRACE_SET_MAX = 8192 };
int ptrace_get_set(struct task *t, unsigned type, void *data, size_t *ret);
/* Of the first `size` bytes of the set. */
int ptrace_put_set(struct task *t, unsigned type, const void *data, size_t size);
