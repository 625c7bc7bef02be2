#pragma once
/* Between trace.c and trace_events.c. */
#include "runtime/sentry/task/trace.h"

struct trace_stop {
    int code, why;                /* wait status >> 8; CLD_TRAPPED or CLD_STOPPED */
    const struct l_siginfo *info; /* or NULL */
    uint64_t message;
    uint8_t op;
    bool event_stop;
    bool leaving; /* the task is on its way out: only a kill ends this stop */
};
/* Stops the current task until its tracer lets it go on, detaches or ends, or the task is killed.
 * The signal to go on with, or 0. Nothing locked. */
int trace_stop(struct task *t, const struct trace_stop *s);
void trace_notify_locked(struct process *tracer, struct task *t, int why, int status);
