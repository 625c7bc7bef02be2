#pragma once
/*
 * The system call table. Rows are in *.def files by area, all listed in syscalls.def:
 *     X(nr, name, LEVEL, "argument kinds", "note")
 * LEVEL: FULL, PARTIAL (note says what is missing), REFUSED (answers an error by decision; note
 * says why). What has no row is ENOSYS. Argument kinds (for strace and for truncation: int
 * arguments arrive zero- or garbage-extended): fd int uint long ulong size off ptr str bufin bufout
 * flags mode pid sig.
 */
#include <stdint.h>

struct task;
struct sysargs {
    uint64_t v[6];
};
typedef long (*syscall_fn)(struct task *t, const struct sysargs *a);
enum syscall_level { SYSCALL_ABSENT, SYSCALL_FULL, SYSCALL_PARTIAL, SYSCALL_REFUSED };
enum { SYSCALL_MAX = 512 };

struct syscall_row {
    const char *name;
    syscall_fn fn;
    enum syscall_level level;
    const char *args, *note;
};
extern const struct syscall_row syscall_table[SYSCALL_MAX];

#define X(nr, name, level, args, note) long sys_##name(struct task *t, const struct sysargs *a);
#include "runtime/sentry/syscalls/syscalls.def"
#undef X

/* Before t's next call, if its host thread has answered some: does them (platform.h). */
void calls_told(struct task *t);
