#pragma once
/* Between itimers.c, posix_timers.c and the clocks of CPU time that both may go by. */
#include "runtime/sentry/time/timer.h"
#include "runtime/sentry/time/timers.h"

#include <sys/time.h>

#define CPU_LOOK     (NSEC_PER_SEC / 50)    /* no more often than this */
#define CPU_NEAR     (NSEC_PER_SEC / 1000)  /* a timer of CPU time is no more precise */
#define CPU_PAUSE    (NSEC_PER_SEC / 8)     /* and late by this at most when its process wakes up */
#define INTERVAL_MIN (NSEC_PER_SEC / 10000) /* shorter ones become overruns */

extern struct mutex g_timers_lock; /* all timers of all processes */

/* CPU time of a process, as a timer's clock: expiry is looked for when the process may have used up
 * what is left on all processors, and less and less often while it sleeps. */
struct cpu_clock {
    enum {
        CPU_NO, /* the timer goes by the wall */
        CPU_USER,
        CPU_ALL,
        CPU_THREAD, /* of `thread` alone */
    } kind;
    struct task *thread; /* reference */
    nsec_t target;       /* 0: not armed */
    nsec_t seen, pause;
};

nsec_t timeval_to_ns(const struct timeval *tv); /* clamped */

/* What the clock of p (or of its thread) shows. Takes g_tasks_lock. */
nsec_t cpu_clock_now(struct process *p, const struct cpu_clock *c);
/* Arms k for when `left` of CPU time may have passed. 0 or -ENOMEM. */
int cpu_clock_later(struct ktimer *k, struct cpu_clock *c, nsec_t now);
/* target 0: never. g_timers_lock held, as below. 0 or -ENOMEM. */
int cpu_clock_arm(struct ktimer *k, struct process *p, struct cpu_clock *c, nsec_t target);
/* A timer fired: has its time come? Otherwise it is armed anew. True for a timer of the wall. */
bool cpu_clock_due(struct ktimer *k, struct process *p, struct cpu_clock *c);
/* What is left until it fires; 0: not armed. */
nsec_t cpu_clock_left(struct ktimer *k, struct process *p, const struct cpu_clock *c);
