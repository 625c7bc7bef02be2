#pragma once
/* Timers of processes: setitimer(2), alarm(2), timer_create(2). */
#include "runtime/sentry/time/time.h"

struct process;
struct task;

/* All timers of a process that ends (or execs: POSIX timers only, with `exec`). */
void timers_process_exit(struct process *p);
void timers_process_exec(struct process *p);
/* RLIMIT_CPU was set or inherited. */
void timers_cpu_limit(struct process *p);
/* The current task's CPU time is now: its timers of CLOCK_THREAD_CPUTIME_ID fire or look again. */
void timers_thread_cpu(struct task *t, nsec_t now);
/* A timer's signal was taken from the queue (timer_getoverrun(2)). Takes only its own lock. */
void timers_signal_taken(struct process *p, int id, int overrun);
