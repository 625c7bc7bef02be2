/* pidfd_open, pidfd_send_signal, pidfd_getfd. */
#include "runtime/sentry/fs/event/pidfd.h"
#include "runtime/sentry/fs/proc/proc.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>

#ifndef PIDFD_NONBLOCK
#define PIDFD_NONBLOCK O_NONBLOCK
#endif

long sys_pidfd_open(struct task *t, const struct sysargs *a)
{
    unsigned flags = (unsigned)a->v[1];
    struct process *p;
    struct file *f;
    bool is_thread;
    int r;

    if (flags & ~(unsigned)PIDFD_NONBLOCK || (int)a->v[0] <= 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    p = process_find_locked(task_pidns(t), (int)a->v[0]);
    if (p)
        (void)process_get(p);
    is_thread = !p && task_find_locked(task_pidns(t), (int)a->v[0]);
    mutex_unlock(&g_tasks_lock);
    if (!p)
        return is_thread ? -EINVAL : -ESRCH;
    r = pidfd_new(p, flags, &f);
    process_put(p);
    return r < 0 ? r : install_file(t, f, true);
}

/* The process behind a descriptor, with a reference. A directory of /proc will do where Linux lets
 * it. */
static int process_of_fd(struct task *t, int fd, bool directory, struct process **ret)
{
    struct file *f = fd_get(t, fd);
    struct process *p;

    if (!f)
        return -EBADF;
    p = pidfd_process(f);
    if (p)
        (void)process_get(p);
    else if (directory)
        p = proc_process_of(f);
    *ret = p;
    file_put(f);
    return p ? 0 : -EBADF;
}

/* Is p the caller's, or does p live in the caller's pid namespace or below? */
static bool visible(const struct task *t, const struct process *p)
{
    for (const struct pidns *ns = p->pidns; ns; ns = ns->parent)
        if (ns == task_pidns(t))
            return true;
    return false;
}

static int read_siginfo(struct task *t, gaddr_t addr, int sig, const struct process *p,
                        struct l_siginfo *info)
{
    if (!addr) {
        siginfo_user(info, sig, t);
        return 0;
    }
    if (copy_in(t, info, addr, sizeof(*info)) < 0)
        return -EFAULT;
    if (info->signo != sig)
        return -EINVAL;
    /* Only the kernel speaks as the kernel, or as kill(2), to others. */
    if ((info->code >= 0 || info->code == SI_TKILL) && p != t->process)
        return -EPERM;
    return 0;
}

static int send_to(struct task *t, struct process *p, int sig, gaddr_t info_addr)
{
    struct l_siginfo info;
    bool alive;
    int r;

    if (sig < 0 || sig > L_NSIG || !visible(t, p))
        return -EINVAL;
    r = read_siginfo(t, info_addr, sig, p, &info);
    if (r < 0)
        return r;
    mutex_lock(&g_tasks_lock);
    alive = p->state != PROCESS_DEAD;
    mutex_unlock(&g_tasks_lock);
    if (!alive)
        return -ESRCH;
    r = signal_permission(t, p, sig);
    return r < 0 || !sig ? r : signal_send_process(p, sig, &info);
}

long sys_pidfd_send_signal(struct task *t, const struct sysargs *a)
{
    struct process *p;
    int r;

    if ((unsigned)a->v[3])
        return -EINVAL;
    r = process_of_fd(t, (int)a->v[0], true, &p);
    if (r < 0)
        return r;
    r = send_to(t, p, (int)a->v[1], a->v[2]);
    process_put(p);
    return r;
}

static int file_of_process(struct task *t, struct process *p, int fd, struct file **ret)
{
    struct fdtable *files = NULL;
    struct task *target;
    bool cloexec;
    int r = -ESRCH;

    mutex_lock(&g_tasks_lock);
    target = process_any_task_locked(p);
    if (target && target->files) {
        r = task_may_access_locked(t, target, ACCESS_BY_REALIDS) ? 0 : -EPERM;
        if (r == 0)
            files = fdtable_get(target->files);
    }
    mutex_unlock(&g_tasks_lock);
    if (r < 0)
        return r;
    *ret = fdtable_file(files, fd, &cloexec);
    fdtable_put(t, files);
    return *ret ? 0 : -EBADF;
}

long sys_pidfd_getfd(struct task *t, const struct sysargs *a)
{
    struct process *p;
    struct file *f;
    int r;

    if ((unsigned)a->v[2])
        return -EINVAL;
    r = process_of_fd(t, (int)a->v[0], false, &p);
    if (r < 0)
        return r;
    r = file_of_process(t, p, (int)a->v[1], &f);
    process_put(p);
    return r < 0 ? r : install_file(t, f, true);
}
