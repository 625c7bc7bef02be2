#pragma once
/* `--strace`: one log line a call. */
#include "runtime/sentry/syscalls/table.h"

void strace_enter(struct task *t, uint64_t nr, const struct syscall_row *row,
                  const struct sysargs *a);
void strace_exit(struct task *t, uint64_t nr, const struct syscall_row *row,
                 const struct sysargs *a, long result);
