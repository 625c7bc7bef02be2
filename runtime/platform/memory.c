/* Guest memory, read and written by the sentry (process_vm_readv and process_vm_writev). */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum { PAGE = 4096 };

typedef ssize_t (*vm_fn)(pid_t pid, const struct iovec *local, unsigned long n_local,
                         const struct iovec *remote, unsigned long n_remote, unsigned long flags);

/*
 * One remote piece a page: the kernel stops between pieces, and says how many bytes were copied
 * before the first bad page.
 */
static ssize_t transfer(struct plat_space *s, uint64_t addr, void *data, size_t size, vm_fn fn)
{
    struct iovec local = {data, size}, remote = {(void *)addr, size};
    ssize_t n;

    if (size == 0)
        return 0;
    if (space_ready(s) < 0 || atomic_load(&s->dead))
        return -ESRCH;
    n = fn(atomic_load(&s->pid), &local, 1, &remote, 1, 0);
    if (n < 0)
        return errno == ESRCH || errno == EPERM ? -ESRCH : -EFAULT;
    return n;
}

ssize_t plat_space_read(struct plat_space *s, uint64_t addr, void *data, size_t size)
{
    return transfer(s, addr, data, size, process_vm_readv);
}

ssize_t plat_space_write(struct plat_space *s, uint64_t addr, const void *data, size_t size)
{
    return transfer(s, addr, (void *)data, size, process_vm_writev);
}

ssize_t plat_read(struct plat_thread *th, uint64_t addr, void *data, size_t size)
{
    if (th->copies_queued && plat_flush(th) == -ESRCH)
        return -ESRCH;
    return plat_space_read(th->space, addr, data, size);
}

ssize_t plat_write(struct plat_thread *th, uint64_t addr, const void *data, size_t size)
{
    if (th->copies_queued && plat_flush(th) == -ESRCH)
        return -ESRCH;
    return plat_space_write(th->space, addr, data, size);
}

ssize_t plat_read_string(struct plat_thread *th, uint64_t addr, char *data, size_t size)
{
    size_t have = 0;

    while (have < size) {
        size_t step = PAGE - ((addr + have) & (PAGE - 1));
        const char *end;
        ssize_t n;

        if (have == 0 && step > 256)
            step = 256;
        if (step > size - have)
            step = size - have;
        n = plat_read(th, addr + have, data + have, step);
        if (n < 0)
            return n;
        end = memchr(data + have, 0, (size_t)n);
        if (end)
            return end - data;
        have += (size_t)n;
        if ((size_t)n < step)
            return -EFAULT;
    }
    return -ENAMETOOLONG;
}

int plat_space_futex_wake(struct plat_space *s, uint64_t addr, int n)
{
    (void)s;
    (void)addr;
    (void)n;
    return -ENOSYS; /* private words need a thread of the space: plat_futex_wake */
}
