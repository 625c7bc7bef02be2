/* Between sentry memory and the current task's (mm.h). Addresses are only numbers here: the stub's
 * own kernel context checks them, so a bad one is -EFAULT and never ours. */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

int copy_in(struct task *t, void *dst, gaddr_t src, size_t size)
{
    if (!size)
        return 0;
    return plat_read(t->th, src, dst, size) == (ssize_t)size ? 0 : -EFAULT;
}

int copy_out(struct task *t, gaddr_t dst, const void *src, size_t size)
{
    if (!size)
        return 0;
    if (size <= PLAT_COPY_MAX && dst >= PLAT_COPY_MAX && plat_copy_out(t->th, dst, src, size) == 0)
        return 0;
    return copy_out_now(t, dst, src, size);
}

int copy_out_now(struct task *t, gaddr_t dst, const void *src, size_t size)
{
    if (!size)
        return 0;
    return plat_write(t->th, dst, src, size) == (ssize_t)size ? 0 : -EFAULT;
}

int copy_out_settle(struct task *t)
{
    int r;

    plat_regs(t->th)->rax = 0; /* a copy that faults stores its error there */
    r = plat_flush(t->th);
    return r < 0 || (int64_t)plat_regs(t->th)->rax == -EFAULT ? -EFAULT : 0;
}

ssize_t copy_in_string(struct task *t, char *dst, gaddr_t src, size_t size)
{
    return plat_read_string(t->th, src, dst, size);
}

int copy_in_path(struct task *t, char *buf, gaddr_t src, bool allow_empty)
{
    ssize_t n = plat_read_string(t->th, src, buf, PATH_MAX);

    if (n < 0)
        return (int)n;
    return n == 0 && !allow_empty ? -ENOENT : 0;
}

ssize_t mm_access_locked(struct task *target, gaddr_t addr, void *data, size_t size, bool write)
{
    struct plat_space *s = target->th ? plat_space_of(target->th) : NULL;

    if (!s)
        return -ESRCH;
    return write ? plat_space_write(s, addr, data, size) : plat_space_read(s, addr, data, size);
}

ssize_t mm_access(struct task *target, gaddr_t addr, void *data, size_t size, bool write)
{
    struct plat_space *s = NULL;
    ssize_t n;

    if (target == current_task()) /* nobody else takes its thread away */
        return mm_access_locked(target, addr, data, size, write);
    mutex_lock(&g_tasks_lock);
    if (target->th)
        s = plat_space_get(plat_space_of(target->th));
    mutex_unlock(&g_tasks_lock);
    if (!s)
        return -ESRCH;
    n = write ? plat_space_write(s, addr, data, size) : plat_space_read(s, addr, data, size);
    plat_space_put(s);
    return n;
}
