#pragma once
/*
 * Signals (signal(7)): queues, delivery, job control. The frame is built in guest memory by the
 * task itself on its way back to the guest.
 */
#include "common/list.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/abi/signal.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"

#include <stdbool.h>

struct task;
struct process;
struct pid;
struct cred;

/* Handlers, shared by CLONE_SIGHAND. The lock guards also the pending queues and the stop state of
 * all processes that share it. */
struct sighand {
    struct ref ref;
    struct mutex lock;
    struct l_sigaction actions[L_NSIG];
};

struct sigqueue_entry {
    struct list link;
    struct l_siginfo info;
    void *timer; /* struct posix_timer that owns this entry, or NULL: freed after delivery */
};

struct sigpending {
    l_sigset_t set;
    struct list queue;
    unsigned count;
};

void sigpending_init(struct sigpending *p);

/* Sending. info NULL: SI_KERNEL. 0, -EAGAIN (queue limit, real-time signals only). Any thread. */
int signal_send_task(struct task *t, int sig, const struct l_siginfo *info);
int signal_send_process(struct process *p, int sig, const struct l_siginfo *info);
int signal_send_pgrp(struct pid *pgrp, int sig, const struct l_siginfo *info);
/* The same with g_tasks_lock held by the caller. */
int signal_send_task_locked(struct task *t, int sig, const struct l_siginfo *info);
int signal_send_process_locked(struct process *p, int sig, const struct l_siginfo *info);
int signal_permission_locked(const struct task *t, struct process *p, int sig);
/* A fault or SIGSYS of the current task: cannot be blocked or ignored. */
void signal_force(struct task *t, int sig, const struct l_siginfo *info);
/* SI_USER info of the current task. */
void siginfo_user(struct l_siginfo *info, int sig, const struct task *sender);
/* May t send sig to p (kill(2))? 0, -EPERM. */
int signal_permission(const struct task *t, struct process *p, int sig);

/* An unblocked signal (or exit, stop, trace request) waits for this task: blocking calls return
 * -ERESTARTSYS. Atomic. */
bool signal_pending(const struct task *t);
bool signal_fatal_pending(const struct task *t); /* SIGKILL or group exit */
/* Recomputes the above after the mask or a queue changed; sighand lock held. */
void signal_recalc_locked(struct task *t);

/* Dequeues the lowest pending signal in `mask` (signalfd, sigtimedwait, delivery). sighand lock
 * held. 0 = none. */
int signal_dequeue_locked(struct task *t, l_sigset_t mask, struct l_siginfo *ret_info);
/* First computation for a task that does not run yet; takes the lock. */
void signal_recalc_new(struct task *t);
/* What would be dequeued: pending and in mask. sighand lock held. */
l_sigset_t signal_pending_set_locked(const struct task *t);
void signal_set_mask(struct task *t, l_sigset_t mask); /* current task */
/* Blocked signals of any task: its stub may have changed them meanwhile. sighand lock held. */
l_sigset_t signal_mask(const struct task *t);
void signal_publish_mask(struct task *t); /* t->blocked is to be what the stub goes on from */
void signal_mask_changed(struct task *t); /* the stub has: current task */
/* For ppoll, pselect, epoll_pwait, sigsuspend: mask now, restored after the handler ran (or at
 * syscall exit if there was no signal). */
void signal_set_temporary_mask(struct task *t, l_sigset_t mask);
/* Wait queue that is woken at every signal sent to the process (signalfd). */
struct waitq *signal_waitq(struct process *p);

/* On the way back to the guest: default actions, stop, frames, restarts. Called by task/run.c. */
void signal_deliver(struct task *t);
