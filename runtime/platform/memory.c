/* Guest memory, read and written by the sentry (process_vm_readv and process_vm_writev). */
#include "runtime/guard.h"
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
    if (n < 0 && !GUARDED(POINTERS))
        memcpy(data, (const void *)addr, size);
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

/* From the slot, if the stub copied it ahead: as hostile as guest memory itself. */
static bool read_ahead(const struct plat_thread *th, uint64_t addr, void *data, size_t size)
{
    const struct slot *s = th->slot;
    uint64_t at, have;

    if (!th->ahead || size > SLOT_AHEAD)
        return false;
    have = __atomic_load_n(&s->ahead_size, __ATOMIC_RELAXED);
    at = addr - __atomic_load_n(&s->ahead_addr, __ATOMIC_RELAXED);
    if (GUARDED(SLOT_WORDS) && (have > SLOT_AHEAD || at > have || size > have - at))
        return false;
    memcpy(data, s->ahead + at, size);
    return true;
}

/* The length of a string that lies there whole, or -1. */
static ssize_t string_ahead(const struct plat_thread *th, uint64_t addr, char *data, size_t size)
{
    uint64_t have = __atomic_load_n(&th->slot->ahead_size, __ATOMIC_RELAXED);
    const char *end;

    if (have > size)
        have = size;
    if (have == 0 || !read_ahead(th, addr, data, have))
        return -1;
    end = memchr(data, 0, have);
    return end ? end - data : -1;
}

ssize_t plat_read(struct plat_thread *th, uint64_t addr, void *data, size_t size)
{
    if (read_ahead(th, addr, data, size))
        return (ssize_t)size;
    if (th->copies_queued && plat_flush(th) == -ESRCH)
        return -ESRCH;
    return plat_space_read(th->space, addr, data, size);
}

ssize_t plat_write(struct plat_thread *th, uint64_t addr, const void *data, size_t size)
{
    th->ahead = false;
    if (th->copies_queued && plat_flush(th) == -ESRCH)
        return -ESRCH;
    return plat_space_write(th->space, addr, data, size);
}

ssize_t plat_read_string(struct plat_thread *th, uint64_t addr, char *data, size_t size)
{
    size_t have = 0;
    ssize_t n = string_ahead(th, addr, data, size);

    if (n >= 0)
        return n;
    while (have < size) {
        size_t step = PAGE - ((addr + have) & (PAGE - 1));
        const char *end;

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
