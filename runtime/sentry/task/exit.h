#pragma once
/* Death of threads and processes, and waiting for them (wait(2), exit_group(2)). */
#include "runtime/sentry/task/task.h"

/* SIGCHLD's information about p; tasks_lock held. `status` is what si_status holds. */
void exit_fill_siginfo_locked(struct l_siginfo *info, const struct process *p, int code,
                              int status);

/* CLD_EXITED, CLD_KILLED or CLD_DUMPED, and what si_status holds. */
int exit_cld_code(int wait_status, int *ret_status);
/* Takes the zombie p out of the tree for good; drops the tree's reference. tasks_lock held. */
void exit_release_locked(struct process *p);
/* SIGCHLD and wait4 for the zombie p; released at once if nobody will wait. tasks_lock held. */
void exit_tell_parent_locked(struct process *p);

/* One child event. */
struct wait_result {
    int pid; /* in the waiter's namespace */
    uint32_t uid;
    int code, status; /* CLD_*, and si_status */
    int wait_status;  /* as wait4 returns it */
    struct rusage usage;
};
enum wait_which { WAIT_CHILD_ANY, WAIT_CHILD_PID, WAIT_CHILD_PGRP };
/* Blocks as wait4/waitid do. `options` are W*. 1: found, 0: WNOHANG and nothing, -ECHILD,
 * -ERESTARTSYS. */
int wait_child(struct task *t, enum wait_which which, struct pid *pid, int options,
               struct wait_result *ret);
/* Ends this thread (exit(2)) or the whole process (exit_group(2)) on its way back to the guest. */
void task_exit_request(struct task *t, int status, bool group);
/* Kills every other thread of t's process and waits until they are gone (execve). 0, -EAGAIN if t
 * must die. */
int task_kill_siblings(struct task *t);
/* Wakes the parent that waits in vfork. */
void task_vfork_done(struct task *t);
