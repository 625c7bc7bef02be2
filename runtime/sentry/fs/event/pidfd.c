/* Descriptors of processes (pidfd_open(2)): pollable for exit, and a handle for other calls. */
#include "runtime/sentry/fs/event/pidfd.h"

#include "common/buf.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>

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

static const struct file_ops pidfd_ops = {
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
