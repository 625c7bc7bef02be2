/* pipe, pipe2. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/syscalls/table.h"

#include <errno.h>

static long do_pipe(struct task *t, gaddr_t addr, unsigned flags)
{
    struct file *r, *w;
    long fd[2];
    int e, out[2];

    if (flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    e = pipe_new(flags, &r, &w);
    if (e < 0)
        return e;
    fd[0] = install_file(t, r, flags & O_CLOEXEC);
    if (fd[0] < 0) {
        file_put(w);
        return fd[0];
    }
    fd[1] = install_file(t, w, flags & O_CLOEXEC);
    out[0] = (int)fd[0];
    out[1] = (int)fd[1];
    if (fd[1] < 0 || copy_out_now(t, addr, out, sizeof(out)) < 0) {
        (void)fd_close(t, out[0]);
        if (fd[1] >= 0)
            (void)fd_close(t, out[1]);
        return fd[1] < 0 ? fd[1] : -EFAULT;
    }
    return 0;
}

long sys_pipe(struct task *t, const struct sysargs *a)
{
    return do_pipe(t, a->v[0], 0);
}

long sys_pipe2(struct task *t, const struct sysargs *a)
{
    return do_pipe(t, a->v[0], (unsigned)a->v[1]);
}
