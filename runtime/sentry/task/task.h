#pragma once
/*
 * Tasks (threads), processes (thread groups), pids, and the objects they share.
 *
 * Lock ranks (LOCKING.md): tasks_lock > sighand->lock > waitq. `struct task` is private to its own
 * sentry thread unless a field says otherwise.
 */
#include "common/hashmap.h"
#include "common/list.h"
#include "runtime/platform/platform.h"
#include "runtime/sentry/signal/signal.h"
#include "runtime/sentry/task/cred.h"
#include "runtime/sentry/time/time.h"
#include "runtime/sentry/vfs/file.h"
#include "runtime/sentry/wait.h"

#include <pthread.h>
#include <sys/resource.h>

struct mm;
struct tty;
struct container;
struct mntns;
struct netns;
struct ipcns;
struct trace;
struct core;

enum { COMM_SIZE = 16, PIDNS_LEVELS = 32, PID_LIMIT = 32768 };

/* ---- pids -------------------------------------------------------------------------------------
 */
struct pidns {
    struct ref ref;
    struct pidns *parent; /* reference */
    unsigned level;
    uint64_t ino;
    struct hashmap pids; /* nr -> struct pid_nr; guarded by tasks_lock, as all below */
    int last;
    unsigned count;
    struct process *init; /* reaper of the namespace; NULL before and after its life */
    bool dying;
    bool no_init; /* a pod's, shared by its containers: number 1 is the built-in pause's. Orphans
                     end without being waited for */
};

struct pid_nr {
    struct hash_node node;
    int nr;
    struct pidns *ns;
    struct pid *pid;
};

/* A number in use, by a thread, process, group or session. Guarded by tasks_lock. */
struct pid {
    struct ref ref;
    struct task *task;       /* thread with this id, or NULL */
    struct process *process; /* process whose leader's id this is (also while a zombie), or NULL */
    struct list pgrp;        /* processes of this group */
    struct list session;     /* processes of this session */
    unsigned level;
    struct pid_nr nr[]; /* level + 1 numbers; nr[level] is the own namespace's */
};
struct pid *pid_get(struct pid *p);
void pid_put(struct pid *p);
int pid_in(const struct pid *p,
           const struct pidns *ns); /* number as seen from ns; 0 if not visible */

/* ---- what tasks share
 * ---------------------------------------------------------------------------- */
struct fs_context { /* CLONE_FS */
    struct ref ref;
    struct mutex lock;
    struct path root, cwd; /* references */
    uint32_t umask;
};

struct utsns {
    struct ref ref;
    struct mutex lock;
    char nodename[65], domainname[65];
    uint64_t ino;
    struct userns *userns; /* owner, reference; NULL: the initial one */
};

struct namespaces { /* immutable once published; replaced by unshare/setns */
    struct ref ref;
    struct utsns *uts;
    struct pidns *pid_for_children;
    struct mntns *mnt;
    struct ipcns *ipc;
    struct netns *net;
};

/* ---- process
 * ------------------------------------------------------------------------------------- */
enum process_state { PROCESS_ALIVE, PROCESS_ZOMBIE, PROCESS_DEAD };

struct process {
    struct ref ref;
    struct container *container; /* reference, immutable */
    struct pidns *pidns;         /* of its own pid; immutable; reference */

    /* tasks_lock */
    struct pid *pid;     /* tgid */
    struct list threads; /* struct task.thread_link */
    unsigned n_threads;
    struct task *leader; /* may have exited already (then kept as zombie): NULL after release */
    struct process *parent;
    const struct task *parent_task; /* that made it; only compared; NULL once that one has ended */
    struct list children, sibling;  /* struct process */
    struct list tracees;            /* struct trace */
    struct pid *pgrp, *session;
    struct list pgrp_link, session_link;
    enum process_state state;
    int exit_status; /* wait status, valid from ZOMBIE on */
    int exit_signal; /* sent to the parent; 0 none */
    bool did_exec, is_subreaper;
    bool unborn;             /* the host refused to make it: nobody waits for it */
    uint32_t exit_uid;       /* of the last thread that left */
    struct task *exec_by;    /* waits in execve for its siblings to go */
    struct tty *tty;         /* controlling terminal, reference */
    struct waitq child_wait; /* wait4 of this process's threads */
    struct rusage children_usage;
    struct waitq exit_wait; /* pidfd poll, container wait: woken when it becomes a zombie */

    /* sighand->lock */
    struct sighand *sighand;   /* changed only with tasks_lock too */
    struct sigpending pending; /* shared queue */
    struct core *core;         /* a core file is being written; set under tasks_lock, too */
    bool group_exit;           /* all threads must die with group_exit_status */
    int group_exit_status;
    bool stopped; /* job control stop is in force */
    unsigned stop_count;
    int stop_signal;
    bool stop_reported, continued, continue_reported;
    bool notify_continued;    /* the parent is yet to be told of a SIGCONT */
    struct waitq signal_wait; /* signalfd */

    struct rlimit rlimits[RLIM_NLIMITS]; /* tasks_lock to write; read word by word */
    struct list posix_timers;            /* timers_lock in time/ */
    void *itimers;                       /* time/ */
    int next_timer_id;
    int oom_score_adj;
    uint32_t core_filter;       /* CORE_*; atomic */
    nsec_t start_time;          /* monotonic */
    struct rusage exited_usage; /* of threads that are gone; tasks_lock */
    uint32_t personality;
};

/* ---- task
 * ------------------------------------------------------------------------------------------ */
struct task {
    struct ref ref;
    struct process *process; /* immutable but for execve by a non-leader (never changes here) */
    struct list thread_link; /* tasks_lock */
    struct pid *pid;         /* tid; tasks_lock to change */

    struct plat_thread *th; /* owner; others under tasks_lock or sighand->lock, owner changes it
                               under both: it is gone as soon as they are dropped */
    struct mm *mm;          /* reference; other threads: under tasks_lock */
    struct fdtable *files;  /* reference; as above */
    struct fs_context *fs;  /* as above */
    struct namespaces *ns;  /* as above */
    struct cred *cred;      /* atomic pointer; others read under tasks_lock */
    char comm[COMM_SIZE];   /* written by owner or prctl; torn reads are harmless */

    /* signals; sighand->lock unless noted */
    l_sigset_t blocked;    /* written by owner only */
    l_sigset_t saved_mask; /* owner; valid if restore_mask */
    bool restore_mask;
    struct sigpending pending_own;
    uint32_t interrupt;      /* atomic: signal_pending() */
    bool killed;             /* must exit; atomic */
    bool forced;             /* a forced signal waits: default action even for init */
    bool trace_request;      /* a tracer wants it to stop; tasks_lock and sighand->lock */
    unsigned stop_seen;      /* process->stop_count when it told its tracer of a stop */
    int trace_signal;        /* what its tracer let it go on with; tasks_lock */
    uint64_t watched[4];     /* owner: memory at its watchpoints before a step */
    bool forced_trap_flag;   /* owner: single-stepping, by the sentry */
    struct l_stack altstack; /* owner */
    int exit_status;         /* wait status of this thread */
    l_sigset_t wait_mask;    /* signals that sigtimedwait waits for although blocked */

    int host_cpu_hint;     /* processor that it last ran on */
    bool set_regs;         /* the call in progress has set all registers itself */
    nsec_t cpu_guest;      /* CPU time of its guest code, when it last looked; atomic */
    uint32_t cpu_wanted;   /* it is to look again, for a timer; atomic */
    nsec_t cpu_before;     /* CPU time of the sentry thread before this task was its */
    bool exec_gained_caps; /* AT_SECURE */
    uint64_t mm_undo,
        mm_undo_size; /* the mapping that a queued mmap makes: dropped if the host refuses */
    uint64_t fault_address, fault_err, fault_trapno; /* of the last fault, for frames; owner */

    /* sleeping: see wait.h */
    uint32_t wake_word;
    int host_tid;
    bool started;           /* its maker has called plat_start */
    struct process *forked; /* owner: its host process is yet to be made; reference */
    uint32_t in_guest;      /* atomic: plat_run is (about to be) under way */

    /* system call in progress */
    uint64_t sysno;
    bool no_restart, vfork_done_pending;
    long (*restart_fn)(struct task *t); /* ERESTART_RESTARTBLOCK */
    nsec_t restart_deadline;
    uint64_t restart_args[4];

    gaddr_t clear_tid, robust_list;
    uint64_t robust_list_size;
    struct task *vfork_parent; /* who waits for our exec or exit; tasks_lock */
    bool vfork_waiting;        /* tasks_lock */
    int parent_death_signal;
    bool no_new_privs, exiting, traced;
    void *seccomp;       /* guest's own filters (struct seccomp_filter *), reference */
    struct trace *trace; /* NULL if not traced; tasks_lock to change */
    int nice, sched_policy, sched_priority;
    uint64_t cpu_affinity;
    unsigned ioprio; /* as ioprio_set(2) has it; 0: none */
    nsec_t start_time;
    uint64_t n_syscalls;
    uint64_t timer_slack, timer_slack_default; /* what 0 sets: the creator's */
    struct rusage usage;                       /* taken when it ends */
    pthread_t thread;
};

extern struct mutex g_tasks_lock;

struct task *current_task(void); /* of this sentry thread; NULL on service threads */
struct task *task_get(struct task *t);
void task_put(struct task *t);
int task_tid(const struct task *t); /* in its own pid namespace */
int task_tgid(const struct task *t);
/* By number in t's namespace; tasks_lock held; no reference taken. */
struct task *task_find_locked(const struct pidns *ns, int tid);
struct process *process_find_locked(const struct pidns *ns, int pid);
struct process *process_get(struct process *p);
void process_put(struct process *p);
/* Any live thread of p, tasks_lock held; NULL if all are gone. */
struct task *process_any_task_locked(struct process *p);
/* Next process number in ns after nr (0 to start), or 0: /proc listing. tasks_lock held. */
int pidns_next_process_locked(const struct pidns *ns, int nr);
struct pidns *task_pidns(const struct task *t);

static inline rlim_t task_rlimit(const struct task *t, int which)
{
    return __atomic_load_n(&t->process->rlimits[which].rlim_cur, __ATOMIC_RELAXED);
}
/* Tells the stub what getpid() and the like answer (current task, or one that does not run yet). */
void task_publish_identity(struct task *t);
/* Of all tasks in user namespace ns and below it: its id maps were written. */
void tasks_republish_locked(const struct userns *ns);
/* Fills t->usage from the host's view of the thread (current task). */
void task_account(struct task *t);
/* Its image ends by execve: what the old one used is kept. */
void task_account_old_image(struct task *t);
/* Of the current task alone. */
void task_usage(struct task *t, struct rusage *ret);
/* CPU time of one thread. Only it can ask the host what its guest code used: task_cpu_look does
 * that for the current task; task_cpu is as of then, any thread, tasks_lock held. */
nsec_t task_cpu_look(struct task *t);
nsec_t task_cpu(const struct task *t);
/* Has t look soon, if its guest code runs; otherwise false. tasks_lock held. */
bool task_cpu_ask(struct task *t);
void process_usage_locked(struct process *p, struct rusage *ret); /* self; tasks_lock */
