#pragma once
/* Containers of the sandbox: what of them the task code touches. */
#include "runtime/sentry/sentry.h"

/* A process of some container became a zombie: wakes who waits for it. tasks_lock held. */
void container_process_exited_locked(struct process *p);
/* One task less in c's count. */
void container_task_gone_locked(struct container *c);
/* One task more, if c's pids limit allows: 0 or -EAGAIN. */
int container_task_charge(struct container *c);
/* Somebody (a service thread) who waits for ends: `event` becomes readable at each. */
struct exit_waiter {
    struct list link;
    int event;
};
int exit_waiter_begin(struct exit_waiter *w); /* 0 or -errno */
void exit_waiter_end(struct exit_waiter *w);
/* Wakes everybody who waits for the end of a container or exec. */
void container_announce_exit(void);
