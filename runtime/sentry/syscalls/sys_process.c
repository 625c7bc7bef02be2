/* clone(2), execve(2), exit(2), wait(2) and what belongs to them: decode, copy, call task/. */
#include "runtime/sentry/fs/event/pidfd.h"
#include "runtime/sentry/fs/proc/nsfs.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/clone.h"
#include "runtime/sentry/task/exec.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/vfs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

long sys_clone(struct task *t, const struct sysargs *a)
{
    struct clone_request r = {.flags = a->v[0] & ~0xffULL & 0xffffffffULL,
                              .exit_signal = (int)(a->v[0] & 0xff),
                              .stack = a->v[1],
                              .parent_tid = a->v[2],
                              .child_tid = a->v[3],
                              .tls = a->v[4],
                              .pidfd = a->v[2]};

    if ((r.flags & CLONE_PIDFD) && (r.flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    if (r.exit_signal > L_NSIG)
        return -EINVAL;
    return task_clone(t, &r);
}

long sys_fork(struct task *t, const struct sysargs *a)
{
    const struct clone_request r = {.exit_signal = SIGCHLD};

    (void)a;
    return task_clone(t, &r);
}

long sys_vfork(struct task *t, const struct sysargs *a)
{
    const struct clone_request r = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};

    (void)a;
    return task_clone(t, &r);
}

struct l_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        set_tid_size, cgroup;
};

/* A struct that may be larger than what we know: the rest must be zero (clone3(2), openat2(2)). */
static int copy_in_extensible(struct task *t, void *dst, size_t known, gaddr_t src, size_t size)
{
    char rest[256];

    memset(dst, 0, known);
    if (copy_in(t, dst, src, MIN(size, known)) < 0)
        return -EFAULT;
    while (size > known) {
        size_t n = MIN(size - known, sizeof(rest));

        if (copy_in(t, rest, src + size - n, n) < 0)
            return -EFAULT;
        for (size_t i = 0; i < n; i++)
            if (rest[i])
                return -E2BIG;
        size -= n;
    }
    return 0;
}

long sys_clone3(struct task *t, const struct sysargs *a)
{
    struct l_clone_args in;
    struct clone_request r;
    int e;

    if (a->v[1] < 64)
        return -EINVAL;
    if (a->v[1] > 4096)
        return -E2BIG;
    e = copy_in_extensible(t, &in, sizeof(in), a->v[0], a->v[1]);
    if (e < 0)
        return e;
    if (in.exit_signal > L_NSIG || (in.flags & (0xff | CLONE_DETACHED)) ||
        (!in.stack) != (!in.stack_size))
        return -EINVAL;
    if (in.set_tid || in.set_tid_size || (in.flags & 0x200000000ULL))
        return in.set_tid && in.set_tid_size && in.set_tid_size <= 32 ? -EPERM : -EINVAL;
    if ((in.flags & (CLONE_THREAD | CLONE_PARENT)) && in.exit_signal)
        return -EINVAL;
    r = (struct clone_request){.flags = in.flags,
                               .exit_signal = (int)in.exit_signal,
                               .stack = in.stack ? in.stack + in.stack_size : 0,
                               .tls = in.tls,
                               .parent_tid = in.parent_tid,
                               .child_tid = in.child_tid,
                               .pidfd = in.pidfd};
    /* Looked at before there is a child: it could not be taken back. */
    if ((r.flags & CLONE_PIDFD) && copy_in(t, &e, r.pidfd, sizeof(e)) < 0)
        return -EFAULT;
    return task_clone(t, &r);
}

static long exec(struct task *t, int dirfd, gaddr_t path_at, gaddr_t argv, gaddr_t envp, int flags)
{
    char path[PATH_MAX];
    struct exec_request r = {.dirfd = dirfd, .path = path, .flags = flags};
    int e = copy_in_path(t, path, path_at, flags & AT_EMPTY_PATH);

    if (e == 0)
        e = exec_strings_copy_in(t, &r.argv, argv);
    if (e == 0)
        e = exec_strings_copy_in(t, &r.envp, envp);
    if (e == 0 && !r.argv.n)
        e = exec_strings_add(&r.argv, ""); /* Linux 5.18: argc is at least 1 */
    if (e == 0)
        e = task_exec(t, &r, false);
    if (e == 0)
        t->set_regs = true;
    exec_strings_fini(&r.argv);
    exec_strings_fini(&r.envp);
    return e;
}

long sys_execve(struct task *t, const struct sysargs *a)
{
    return exec(t, AT_FDCWD, a->v[0], a->v[1], a->v[2], 0);
}

long sys_execveat(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[4];

    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return exec(t, (int)a->v[0], a->v[1], a->v[2], a->v[3], flags);
}

long sys_exit(struct task *t, const struct sysargs *a)
{
    task_exit_request(t, (int)(a->v[0] & 0xff) << 8, false);
    return 0;
}

long sys_exit_group(struct task *t, const struct sysargs *a)
{
    task_exit_request(t, (int)(a->v[0] & 0xff) << 8, true);
    return 0;
}

/* The pid object for a wait on it, with a reference; NULL if there is none. */
static struct pid *pid_for_wait(struct task *t, int nr)
{
    struct pid *p;

    mutex_lock(&g_tasks_lock);
    p = pid_find_locked(task_pidns(t), nr);
    if (p)
        (void)pid_get(p);
    mutex_unlock(&g_tasks_lock);
    return p;
}

static struct pid *own_group(struct task *t)
{
    struct pid *p;

    mutex_lock(&g_tasks_lock);
    p = pid_get(t->process->pgrp);
    mutex_unlock(&g_tasks_lock);
    return p;
}

long sys_wait4(struct task *t, const struct sysargs *a)
{
    int nr = (int)a->v[0], options = (int)a->v[2];
    enum wait_which which = nr == -1 ? WAIT_CHILD_ANY : nr > 0 ? WAIT_CHILD_PID : WAIT_CHILD_PGRP;
    struct pid *pid = NULL;
    struct wait_result w;
    long r;

    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | (int)__WALL))
        return -EINVAL;
    if (nr == INT32_MIN)
        return -ESRCH;
    if (nr != -1) {
        pid = nr == 0 ? own_group(t) : pid_for_wait(t, nr > 0 ? nr : -nr);
        if (!pid)
            return -ECHILD;
    }
    r = wait_child(t, which, pid, options | WEXITED, &w);
    pid_put(pid);
    if (r <= 0)
        return r;
    if (a->v[1] && copy_out(t, a->v[1], &w.wait_status, sizeof(w.wait_status)) < 0)
        return -EFAULT;
    if (a->v[3] && copy_out(t, a->v[3], &w.usage, sizeof(w.usage)) < 0)
        return -EFAULT;
    return w.pid;
}

static struct pid *pid_of_pidfd(struct task *t, int fd, bool *ret_nonblock)
{
    struct file *f = fd_get(t, fd);
    struct process *p = f ? pidfd_process(f) : NULL;
    struct pid *pid = NULL;

    *ret_nonblock = f && (__atomic_load_n(&f->flags, __ATOMIC_RELAXED) & O_NONBLOCK);
    mutex_lock(&g_tasks_lock);
    if (p && p->pid)
        pid = pid_get(p->pid);
    mutex_unlock(&g_tasks_lock);
    file_put(f);
    return pid;
}

static int wait_target(struct task *t, int idtype, int id, enum wait_which *which, struct pid **pid,
                       bool *ret_nonblock)
{
    *pid = NULL;
    switch (idtype) {
    case P_ALL:
        *which = WAIT_CHILD_ANY;
        return 0;
    case P_PID:
        if (id <= 0)
            return -EINVAL;
        *which = WAIT_CHILD_PID;
        *pid = pid_for_wait(t, id);
        break;
    case P_PGID:
        if (id < 0)
            return -EINVAL;
        *which = WAIT_CHILD_PGRP;
        *pid = id ? pid_for_wait(t, id) : own_group(t);
        break;
    case 3: /* P_PIDFD */
        if (id < 0)
            return -EINVAL;
        *which = WAIT_CHILD_PID;
        *pid = pid_of_pidfd(t, id, ret_nonblock);
        return *pid ? 0 : -EBADF;
    default:
        return -EINVAL;
    }
    return *pid ? 0 : -ECHILD;
}

long sys_waitid(struct task *t, const struct sysargs *a)
{
    int options = (int)a->v[3];
    struct l_siginfo info = {0};
    struct wait_result w = {0};
    enum wait_which which;
    bool nonblock = false;
    struct pid *pid;
    long r;

    if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE |
                     (int)__WALL)) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    r = wait_target(t, (int)a->v[0], (int)a->v[1], &which, &pid, &nonblock);
    if (r < 0)
        return r;
    r = wait_child(t, which, pid, options | (nonblock ? WNOHANG : 0), &w);
    pid_put(pid);
    if (r == 0 && nonblock && !(options & WNOHANG))
        return -EAGAIN;
    if (r < 0)
        return r;
    if (r > 0) {
        info.signo = SIGCHLD;
        info.code = w.code;
        info.chld.pid = w.pid;
        info.chld.uid = w.uid;
        info.chld.status = w.status;
    }
    if (a->v[4] && copy_out(t, a->v[4], &w.usage, sizeof(w.usage)) < 0)
        return -EFAULT;
    if (a->v[2] && copy_out(t, a->v[2], &info, sizeof(info)) < 0)
        return -EFAULT;
    return 0;
}

long sys_unshare(struct task *t, const struct sysargs *a)
{
    return task_unshare(t, a->v[0]);
}

long sys_set_tid_address(struct task *t, const struct sysargs *a)
{
    t->clear_tid = a->v[0];
    return task_tid(t);
}

long sys_set_robust_list(struct task *t, const struct sysargs *a)
{
    if (a->v[1] != 24)
        return -EINVAL;
    t->robust_list = a->v[0];
    if (t->th)
        plat_set_robust_list(t->th, a->v[0]);
    t->robust_list_size = a->v[1];
    return 0;
}

long sys_get_robust_list(struct task *t, const struct sysargs *a)
{
    uint64_t head = 0, size = 24;
    struct task *target;
    long r = 0;

    mutex_lock(&g_tasks_lock);
    target = a->v[0] ? task_find_locked(task_pidns(t), (int)a->v[0]) : t;
    if (!target)
        r = -ESRCH;
    else if (target != t && target->cred->uid != t->cred->uid && !capable(t, CAP_SYS_PTRACE))
        r = -EPERM;
    else if (target->th)
        head = plat_robust_list(target->th);
    mutex_unlock(&g_tasks_lock);
    if (r < 0)
        return r;
    if (copy_out(t, a->v[1], &head, 8) < 0 || copy_out(t, a->v[2], &size, 8) < 0)
        return -EFAULT;
    return 0;
}

enum {
    SETNS_TYPES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                  CLONE_NEWNET | CLONE_NEWCGROUP
};

/* Those of a process: references. */
static int namespaces_of(struct task *t, struct process *p, struct setns_target *ret)
{
    struct task *target;
    int r = -ESRCH;

    mutex_lock(&g_tasks_lock);
    target = process_any_task_locked(p);
    if (target && target->ns && target->cred) {
        r = task_may_access_locked(t, target, ACCESS_BY_FSIDS) ? 0 : -EPERM;
        if (r == 0) {
            ret->all = namespaces_get(target->ns);
            ret->pidns = pidns_get(p->pidns);
            ret->cred = cred_get(target->cred);
        }
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

static long enter_those_of(struct task *t, struct process *p, unsigned types)
{
    struct setns_target to = {.types = types};
    long r;

    if (!types || (types & ~(unsigned)SETNS_TYPES))
        return -EINVAL;
    r = namespaces_of(t, p, &to);
    if (r < 0)
        return r;
    r = task_setns(t, &to);
    namespaces_put((struct namespaces *)to.all);
    pidns_put(to.pidns);
    cred_put((struct cred *)to.cred);
    return r;
}

long sys_setns(struct task *t, const struct sysargs *a)
{
    unsigned types = (unsigned)a->v[1];
    struct file *f = fd_get(t, (int)a->v[0]);
    const struct nsfs_ref *ns = f ? nsfs_of(f) : NULL;
    struct process *p = f ? pidfd_process(f) : NULL;
    long r = f ? -EINVAL : -EBADF;

    if (p)
        r = enter_those_of(t, p, types);
    else if (ns && (!types || types == (unsigned)ns->type))
        r = task_setns(t, &(struct setns_target){.types = (unsigned)ns->type,
                                                 .all = ns->all,
                                                 .pidns = ns->pidns,
                                                 .cred = ns->cred});
    file_put(f);
    return r;
}
