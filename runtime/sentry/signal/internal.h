#pragma once
/* Between the files of signal/. */
#include "runtime/sentry/signal/signal.h"

enum { SIGRTMIN_KERNEL = 32 };

#define SIGMASK_UNBLOCKABLE (l_sigmask(SIGKILL) | l_sigmask(SIGSTOP))
#define SIGMASK_STOP                                                                               \
    (l_sigmask(SIGSTOP) | l_sigmask(SIGTSTP) | l_sigmask(SIGTTIN) | l_sigmask(SIGTTOU))
#define SIGMASK_IGNORED_BY_DEFAULT                                                                 \
    (l_sigmask(SIGCHLD) | l_sigmask(SIGCONT) | l_sigmask(SIGURG) | l_sigmask(SIGWINCH))
#define SIGMASK_CORE                                                                               \
    (l_sigmask(SIGQUIT) | l_sigmask(SIGILL) | l_sigmask(SIGTRAP) | l_sigmask(SIGABRT) |            \
     l_sigmask(SIGBUS) | l_sigmask(SIGFPE) | l_sigmask(SIGSEGV) | l_sigmask(SIGXCPU) |             \
     l_sigmask(SIGXFSZ) | l_sigmask(SIGSYS))

/* Queues; 0 or -EAGAIN for a real-time signal beyond limit. */
int sigpending_add(struct sigpending *p, int sig, const struct l_siginfo *info, unsigned limit);
/* Forgets the signals in `which`. */
void sigpending_flush(struct sigpending *p, l_sigset_t which);

/* signal/frame.c: pushes a frame for sig and points the registers at its handler. 0, -EFAULT, or
 * -ESRCH: the host process is gone. */
int signal_push_frame(struct task *t, const struct l_sigaction *action,
                      const struct l_siginfo *info, l_sigset_t old_mask);
/* signal/stop.c: */
void process_stop_locked(struct process *p, int sig);
void process_continue_locked(struct process *p);
void task_stop_wait(struct task *t);
/* Tells the parent that p stopped or went on (SIGCHLD, wait4). Takes g_tasks_lock. */
void process_notify_parent_stop(struct process *p, int code, int status);
