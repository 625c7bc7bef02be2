/* Descriptors of processes (pidfd_open(2)): pollable for exit, and a handle for other calls. */
#include "runtime/sentry/fs/event/pidfd.h"

#include "common/buf.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <sys/ioctl.h>

static uint32_t pidfd_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct process *p = f->private;
    bool exited;

    (void)t;
    poll_wait(pt, &p->exit_wait);
    mutex_lock(&g_tasks_lock);
    exited = p->state != PROCESS_ALIVE;
    mutex_unlock(&g_tasks_lock);
    return exited ? POLLIN | POLLRDNORM : 0;
}

static void pidfd_release(struct file *f)
{
    process_put(f->private);
}

static void pidfd_show_fdinfo(struct file *f, void *buf)
{
    struct process *p = f->private;
    int pid = -1;

    mutex_lock(&g_tasks_lock);
    if (p->state != PROCESS_DEAD && p->pid)
        pid = pid_in(p->pid, p->pidns);
    mutex_unlock(&g_tasks_lock);
    (void)buf_printf(buf, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

/* ---- PIDFD_GET_INFO (pidfd_open(2) of Linux 6.13 and later) ------------------------------------
 */

struct l_pidfd_info {
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
enum { INFO_PID = 1, INFO_CREDS = 2, INFO_EXIT = 8, INFO_MAGIC = 0xff, INFO_NR = 11 };

static void info_creds(const struct task *t, const struct cred *c, struct l_pidfd_info *i)
{
    const struct userns *ns = t->cred->userns;

    i->ruid = uid_from_kernel(ns, c->uid), i->euid = uid_from_kernel(ns, c->euid);
    i->suid = uid_from_kernel(ns, c->suid), i->fsuid = uid_from_kernel(ns, c->fsuid);
    i->rgid = gid_from_kernel(ns, c->gid), i->egid = gid_from_kernel(ns, c->egid);
    i->sgid = gid_from_kernel(ns, c->sgid), i->fsgid = gid_from_kernel(ns, c->fsgid);
    i->mask |= INFO_CREDS;
}

/* A process that was waited for has an exit status and nothing else. */
static int info_locked(const struct task *t, struct process *p, uint64_t wanted,
                       struct l_pidfd_info *i)
{
    const struct pidns *ns = task_pidns(t), *at = p->pidns;

    while (at && at != ns)
        at = at->parent;
    if (!at)
        return -ESRCH; /* of another namespace */
    if (p->state == PROCESS_DEAD) {
        if (!(wanted & INFO_EXIT))
            return -ESRCH;
        i->exit_code = p->exit_status;
        i->mask |= INFO_EXIT;
        return 0;
    }
    i->pid = i->tgid = (uint32_t)pid_in(p->pid, ns);
    if (!i->pid)
        return -ESRCH;
    i->ppid = p->parent ? (uint32_t)pid_in(p->parent->pid, ns) : 0;
    i->mask |= INFO_PID;
    if (p->leader && p->leader->cred)
        info_creds(t, p->leader->cred, i);
    return 0;
}

static long pidfd_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    struct l_pidfd_info info = {0};
    uint64_t wanted;
    int r;

    if (_IOC_TYPE(cmd) != INFO_MAGIC || _IOC_NR(cmd) != INFO_NR)
        return -ENOTTY;
    if (!arg || _IOC_SIZE(cmd) < sizeof(info))
        return -EINVAL;
    if (copy_in(t, &wanted, arg, sizeof(wanted)) < 0)
        return -EFAULT;
    mutex_lock(&g_tasks_lock);
    r = info_locked(t, f->private, wanted, &info);
    mutex_unlock(&g_tasks_lock);
    return r < 0 ? r : copy_out(t, arg, &info, sizeof(info));
}

static const struct file_ops pidfd_ops = {
    .ioctl = pidfd_ioctl,
    .poll = pidfd_poll,
    .release = pidfd_release,
    .show_fdinfo = pidfd_show_fdinfo,
    .name = "anon_inode:[pidfd]",
};

int pidfd_new(struct process *p, unsigned flags, struct file **ret)
{
    int r;

    (void)process_get(p);
    r = file_new(&pidfd_ops, O_RDWR | (flags & O_NONBLOCK), p, ret);
    if (r < 0)
        process_put(p);
    return r;
}

struct process *pidfd_process(const struct file *f)
{
    return f->ops == &pidfd_ops ? f->private : NULL;
}
