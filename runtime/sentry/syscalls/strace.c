/* Trace lines from the table's argument kinds. Debugging only: guest-driven output is not limited
 * here. */
#include "runtime/sentry/syscalls/strace.h"

#include "common/log.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <stdio.h>
#include <string.h>

static size_t kind_length(const char *kinds)
{
    return strcspn(kinds, ", ");
}

static int one(struct task *t, char *out, size_t size, const char *kind, size_t n, uint64_t v)
{
    char text[80];

    if (n == 3 && strncmp(kind, "str", 3) == 0 && v && t->th) {
        ssize_t got = copy_in_string(t, text, v, sizeof(text));

        if (got >= 0)
            return snprintf(out, size, "\"%s\"", text);
        return snprintf(out, size, "%#lx", v);
    }
    if ((n == 2 && strncmp(kind, "fd", 2) == 0) || (n == 3 && strncmp(kind, "int", 3) == 0))
        return snprintf(out, size, "%d", (int)v);
    return snprintf(out, size, "%#lx", v);
}

static void format(struct task *t, char *out, size_t size, const struct syscall_row *row,
                   const struct sysargs *a)
{
    const char *kinds = row ? row->args : "";
    size_t at = 0;

    out[0] = 0;
    for (int i = 0; i < 6 && *kinds && at + 1 < size; i++) {
        size_t n = kind_length(kinds);
        int w;

        w = one(t, out + at, size - at, kinds, n, a->v[i]);
        at += w > 0 ? MIN((size_t)w, size - at - 1) : 0;
        kinds += n;
        if (*kinds)
            kinds++;
        if (*kinds && at + 3 < size) {
            memcpy(out + at, ", ", 3);
            at += 2;
        }
    }
}

static void line(struct task *t, uint64_t nr, const struct syscall_row *row,
                 const struct sysargs *a, const char *result)
{
    char args[400];

    format(t, args, sizeof(args), row, a);
    log_info("[%d:%s] %s#%lu(%s)%s", t->pid ? t->pid->nr[0].nr : 0, t->comm, row ? row->name : "?",
             nr, args, result);
}

void strace_enter(struct task *t, uint64_t nr, const struct syscall_row *row,
                  const struct sysargs *a)
{
    line(t, nr, row, a, " ...");
}

void strace_exit(struct task *t, uint64_t nr, const struct syscall_row *row,
                 const struct sysargs *a, long result)
{
    char text[64];

    (void)a;
    (void)snprintf(text, sizeof(text), result < 0 && result > -4096 ? " = %ld" : " = %#lx", result);
    log_info("[%d:%s] %s#%lu%s", t->pid ? t->pid->nr[0].nr : 0, t->comm, row ? row->name : "?", nr,
             text);
}
