#pragma once
/* clone(2), fork(2), vfork(2), clone3(2); unshare(2) and setns(2) share its flag handling. */
#include "runtime/sentry/task/task.h"

struct clone_request {
    uint64_t flags; /* CLONE_* without the exit signal */
    int exit_signal;
    uint64_t stack; /* new stack pointer (0: keep) */
    uint64_t tls, parent_tid, child_tid, pidfd;
    const int *set_tid; /* clone3: wanted numbers, innermost first */
    unsigned n_set_tid;
};
/* Thread or process id of the child in the caller's namespace, or -errno. */
long task_clone(struct task *t, const struct clone_request *r);
/*
 * The host process of a plain fork is made when its parent next runs, and may be refused then. By
 * t, for itself: _settle makes it now, and sets the call's result if that fails; _done tells how it
 * went otherwise.
 */
void task_fork_settle(struct task *t);
void task_fork_done(struct task *t, bool failed);
/* New namespaces for `flags` (CLONE_NEW*); *ret is a fresh bundle (reference) or t->ns with a
 * reference. May change *cred (CLONE_NEWUSER: fresh credentials, reference). 0 or -errno. */
int namespaces_unshare(struct task *t, uint64_t flags, struct fs_context *fs, struct cred **cred,
                       struct namespaces **ret);
long task_unshare(struct task *t, uint64_t flags);
/* Credentials inside a fresh user namespace of the current task. */
int cred_enter_new_userns(struct task *t, struct cred **ret);

/* setns(2): the namespaces to enter, borrowed. */
struct setns_target {
    unsigned types; /* CLONE_NEW* */
    const struct namespaces *all;
    struct pidns *pidns;
    const struct cred *cred;
};
long task_setns(struct task *t, const struct setns_target *to);

/* First task of a container or of an exec in it: linked into the tree under `parent_of_exec` (NULL:
 * init of a new pid namespace). The task is not started. */
struct task_template {
    struct container *container;
    struct cred *cred;      /* taken over */
    struct fs_context *fs;  /* taken over */
    struct fdtable *files;  /* taken over */
    struct namespaces *ns;  /* taken over */
    struct pidns *pidns;    /* where it gets its number (borrowed) */
    struct process *parent; /* NULL: none */
    const struct rlimit *rlimits;
};
int task_new_first(const struct task_template *tmpl, struct task **ret);
