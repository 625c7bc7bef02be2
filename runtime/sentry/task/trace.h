#pragma once
/*
 * Tracing (ptrace(2)): a traced task stops at its events and tells its tracer; the tracer looks at
 * it and lets it go on. All state is under g_tasks_lock. What has to be done by the tracee's own
 * thread (its memory, its vector registers) it does while it is stopped, by trace_call.
 */
#include "runtime/sentry/task/task.h"

struct wait_result;

enum trace_mode { TRACE_RUN, TRACE_SYSCALL, TRACE_EMULATE };

struct trace_call {
    int (*fn)(struct task *t, void *arg); /* on the tracee's thread, nothing locked */
    void *arg;
    struct task *caller;
    int result;
    bool done;
};

struct trace_debug {
    uint64_t addr[4], status, control;
};

struct trace {
    struct list link;       /* in tracer->tracees */
    struct task *task;      /* reference */
    struct process *tracer; /* detaches when it ends */
    unsigned options;       /* PTRACE_O_* */
    bool seized;
    enum trace_mode mode; /* what it stops at */
    bool step;            /* after one instruction */
    bool want_stop;       /* PTRACE_INTERRUPT, SIGCONT, or a new thread's first stop */
    bool patches_off;

    bool stopped, reported, listening;
    bool event_stop; /* of PTRACE_EVENT_STOP: may LISTEN */
    bool has_info;   /* PTRACE_GETSIGINFO has something to tell */
    int code;        /* wait status >> 8 */
    uint8_t op;      /* PTRACE_SYSCALL_INFO_* */
    struct l_siginfo info;
    uint64_t message; /* PTRACE_GETEVENTMSG */
    struct trace_call *call;
    struct trace_debug debug;

    bool dead; /* a thread that ended; its number lives until it was waited for */
    int dead_status;
};

/* Makes tracer the tracer of t. 0, -EPERM (it has one), -ENOMEM. The caller has checked rights. */
int trace_attach_locked(struct task *t, struct process *tracer, unsigned options, bool seized);
/* Lets go; a stopped tracee goes on with `sig`. Frees t->trace. */
void trace_detach_locked(struct task *t, int sig);
/* A stopped tracee goes on. */
void trace_resume_locked(struct task *t, enum trace_mode mode, bool step, int sig);
/* Makes t stop soon (PTRACE_EVENT_STOP). */
void trace_interrupt_locked(struct task *t);
/* Runs fn on the stopped tracee's thread; the lock is dropped meanwhile. Its result, or -ESRCH. */
int trace_call_locked(struct task *t, int (*fn)(struct task *t, void *arg), void *arg);

/* ---- by the tracee itself, nothing locked; cheap if it is not traced ---- */
/* Before a call; false: it is not to be executed. */
bool trace_syscall_enter(struct task *t);
void trace_syscall_exit(struct task *t);
/* SECCOMP_RET_TRACE: -ENOSYS without a tracer; otherwise 0 go on, 1 skip it (rax is set). */
int trace_seccomp(struct task *t, unsigned data);
/* Signal-delivery-stop: the signal to deliver in its place (info changed with it), or 0. */
int trace_signal(struct task *t, int sig, struct l_siginfo *info);
/* A handler's frame was pushed while single-stepping. */
void trace_handler_entered(struct task *t);
/* Stops if that was asked for. True if it did. */
bool trace_stop_if_wanted(struct task *t);
void trace_group_stop(struct task *t);
void trace_exec(struct task *t, int old_tid); /* as trace_pid_seen had it before */
/* Numbers as t's tracer sees them; 0 without one. */
int trace_pid_seen(struct task *t, const struct task *of);
void trace_exit(struct task *t, int status);
/* The event of a clone with these flags if the tracer wants it, or 0; the child is traced then, or
 * with CLONE_PTRACE. Call before the child runs. */
int trace_clone(struct task *t, struct task *child, uint64_t flags, int exit_signal);
void trace_event(struct task *t, int event, uint64_t message);
bool trace_wants(struct task *t, int event);
/* Around guest code: the trap flag. */
void trace_before_guest(struct task *t);
void trace_after_guest(struct task *t);
/* The trap flag did its work: false if only the sentry wanted the step. */
bool trace_stepped(struct task *t, struct l_siginfo *info);

/* ---- exit.c and wait_child.c; locked ---- */
/* A thread that is not its process's leader ended: true if its tracer is yet to wait for it. */
bool trace_thread_ended_locked(struct task *t, int status);
/* The process became a zombie: true if a tracer other than its parent is to hear of it first. */
bool trace_process_ended_locked(struct process *p);
void trace_tracer_exits_locked(struct process *p);
/* SIGCONT woke the process. */
void trace_continued_locked(struct process *p);

/* Is a job control stop in force that t has not told its tracer of yet? */
static inline bool task_stop_due(const struct task *t)
{
    const struct process *p = t->process;

    return p->stopped && !(t->trace && t->stop_seen == p->stop_count);
}
