#pragma once
/* Between core.c and core_notes.c: the notes of a core file. */
#include "common/buf.h"
#include "runtime/sentry/task/task.h"

enum { CORE_VECTOR_MAX = 8192 };

/* One thread as it ended. */
struct core_thread {
    struct list link;
    int tid;
    struct plat_regs regs;
    l_sigset_t pending, blocked;
    size_t vector_size; /* bytes of xstate, 0: unknown */
    uint8_t vector[CORE_VECTOR_MAX];
};

/* Takes t's own state down. NULL: out of memory. */
struct core_thread *core_thread_new(struct task *t);
/* All notes: `first` is the thread that died of the signal, others: struct core_thread. 0 or
 * -ENOMEM. */
int core_notes(struct task *t, const struct l_siginfo *info, const struct core_thread *first,
               struct list *others, struct buf *out);
