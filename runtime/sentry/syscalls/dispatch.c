/*
 * From a trapped call to its row: the guest's own seccomp filter, the handler (which
 * truncates int arguments itself), and the strace line. A number without a row is ENOSYS.
 */
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/syscalls/strace.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/run.h"

#include <errno.h>

const struct syscall_row syscall_table[SYSCALL_MAX] = {
#define X(nr, name, level, args, note) [nr] = {#name, sys_##name, SYSCALL_##level, args, note},
#include "runtime/sentry/syscalls/syscalls.def"
#undef X
};

long syscall_dispatch(struct task *t, uint64_t nr, const struct sysargs *args)
{
    struct sysargs copy = *args, *a = &copy;
    const struct syscall_row *row;
    long r;

    if (t->seccomp) {
        r = seccomp_check(t, &nr, a);
        if (r != SECCOMP_GO_ON)
            return r;
    }
    if (nr >= SYSCALL_MAX || !(row = &syscall_table[nr])->fn)
        row = NULL;
    if (g_sentry.boot->strace)
        strace_enter(t, nr, row, a);
    r = row ? row->fn(t, a) : -ENOSYS;
    if (g_sentry.boot->strace)
        strace_exit(t, nr, row, a, r);
    return r;
}
