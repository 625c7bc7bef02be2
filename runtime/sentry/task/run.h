#pragma once
/* The life of a task's sentry thread, and what its parts need of each other. */
#include "runtime/sentry/task/task.h"

#include <signal.h>

/* Host signal that breaks a sentry thread out of ppoll; blocked everywhere else. */
#define TASK_WAKE_SIGNAL SIGURG

struct sysargs;

/* Starts the sentry thread of t, whose guest thread is t->th. Takes over the caller's reference. 0
 * or -errno. */
int task_start(struct task *t);
/* A bare task of a process (both linked by the caller): -ENOMEM. */
struct task *task_alloc(void);
struct process *process_alloc(void);

/* Takes t's host thread from it, so that nobody else finds it any more. Current task; both locks
 * free. */
struct plat_thread *task_take_host(struct task *t);

/* Sends whatever makes t look at its signals again: wakes a sleep, breaks guest code off. Any
 * thread. */
void task_kick(struct task *t);

/* t is to end; nothing that its guest code does keeps it. tasks_lock and its sighand lock held. */
void task_kill_locked(struct task *t);

/* Marks the whole process to die with this wait status. sighand lock held. */
void process_group_exit_locked(struct process *p, int status);
/* Current task leaves its process for good: called by run.c's loop only. */
void task_exit(struct task *t);

/* Runs one system call of t by the table; returns what goes to rax (may be -ERESTART*). */
long syscall_dispatch(struct task *t, uint64_t nr, const struct sysargs *a);
