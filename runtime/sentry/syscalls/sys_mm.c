/* mmap(2) and the rest of memory: decode, check what mm/map.c does not, call it. */
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/file.h"
#include "runtime/sentry/vfs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PROT_ALL = PROT_READ | PROT_WRITE | PROT_EXEC };
#define MAP_TYPE_MASK 0xf
/* Flags that MAP_SHARED_VALIDATE accepts (mmap(2)). */
#define MAP_KNOWN                                                                                  \
    (MAP_TYPE_MASK | MAP_FIXED | MAP_ANONYMOUS | 0x40 /* 32BIT */ | MAP_GROWSDOWN |                \
     MAP_DENYWRITE | MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK |   \
     MAP_STACK | MAP_HUGETLB | MAP_FIXED_NOREPLACE | (int)(0x3fU << 26))

long sys_mmap(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[3], prot = (int)a->v[2], type = flags & MAP_TYPE_MASK;
    struct map_request r = {.addr = a->v[0], .size = a->v[1], .offset = a->v[5]};
    long result;

    if (type == MAP_SHARED_VALIDATE && !(flags & MAP_ANONYMOUS)) {
        if (flags & (MAP_SYNC | ~MAP_KNOWN))
            return -EOPNOTSUPP;
        type = MAP_SHARED;
    }
    if (type != MAP_SHARED && type != MAP_PRIVATE)
        return -EINVAL;
    r.flags = (flags & ~MAP_TYPE_MASK) | type;
    r.prot = prot & PROT_ALL;
    if (!(flags & MAP_ANONYMOUS)) {
        r.file = fd_get(t, (int)a->v[4]);
        if (!r.file)
            return -EBADF;
    } else {
        r.offset = 0;
    }
    if ((prot & PROT_EXEC) == 0 && (t->process->personality & 0x0400000) && (prot & PROT_READ))
        r.prot |= PROT_EXEC;
    if (flags & MAP_HUGETLB) /* there are none, and no file has them */
        result = r.file ? -EINVAL : -ENOMEM;
    else
        result = mm_map(t, &r);
    file_put(r.file);
    return result;
}

long sys_munmap(struct task *t, const struct sysargs *a)
{
    return mm_unmap(t, a->v[0], a->v[1]);
}

long sys_mprotect(struct task *t, const struct sysargs *a)
{
    int prot = (int)a->v[2];

    if (prot & ~(PROT_ALL | PROT_GROWSDOWN | PROT_GROWSUP | 8 /* PROT_SEM */))
        return -EINVAL;
    if (a->v[1] && !(a->v[0] & (PAGE_BYTES - 1)) && a->v[0] + PAGE_ALIGN(a->v[1]) <= a->v[0])
        return -ENOMEM;
    return mm_protect(t, a->v[0], a->v[1], prot & PROT_ALL);
}

long sys_brk(struct task *t, const struct sysargs *a)
{
    return (long)mm_set_brk(t, a->v[0]);
}

long sys_mremap(struct task *t, const struct sysargs *a)
{
    return mm_remap(t, a->v[0], a->v[1], a->v[2], (int)a->v[3], a->v[4]);
}

/* The window at an address of a shared mapping shows another part of its file
 * (remap_file_pages(2)): as Linux has it since 4.0, by a mapping over it. */
long sys_remap_file_pages(struct task *t, const struct sysargs *a)
{
    struct map_request r = {.addr = PAGE_FLOOR(a->v[0]),
                            .size = PAGE_FLOOR(a->v[1]),
                            .offset = a->v[3] << 12,
                            .flags = MAP_SHARED | MAP_FIXED | ((int)a->v[4] & MAP_NONBLOCK)};
    const struct vma *v;
    struct file *f = NULL;
    long e = -EINVAL;

    if (a->v[2] || !r.size || a->v[3] + (r.size >> 12) < a->v[3] || r.addr + r.size <= r.addr)
        return -EINVAL;
    mutex_lock(&t->mm->lock);
    v = vma_find(&t->mm->set, r.addr);
    if (v && v->start <= r.addr && r.addr + r.size <= v->end && (v->flags & VMA_SHARED) &&
        v->file) {
        f = file_get(v->file);
        r.prot = v->prot;
    }
    mutex_unlock(&t->mm->lock);
    if (!f)
        return -EINVAL;
    r.file = f;
    e = mm_map(t, &r);
    file_put(f);
    return e < 0 ? e : 0;
}

long sys_madvise(struct task *t, const struct sysargs *a)
{
    return mm_advise(t, a->v[0], a->v[1], (int)a->v[2]);
}

/* A reference to the file of the mapping at addr, NULL: anonymous. False: nothing there. */
static bool file_at(struct task *t, uint64_t addr, struct file **ret, uint64_t *ret_end,
                    unsigned *ret_flags, int *ret_prot)
{
    struct vma *v;

    mutex_lock(&t->mm->lock);
    v = vma_find(&t->mm->set, addr);
    if (!v || v->start > addr) {
        mutex_unlock(&t->mm->lock);
        return false;
    }
    *ret = v->file ? file_get(v->file) : NULL;
    *ret_end = v->end;
    *ret_flags = v->flags;
    *ret_prot = v->prot;
    mutex_unlock(&t->mm->lock);
    return true;
}

/* Nobody saw what was written through the mapping; msync says when it counts (POSIX). */
static void sync_file(struct task *t, struct file *f, int prot, int flags)
{
    if ((prot & PROT_WRITE) && (flags & (MS_SYNC | MS_ASYNC)) && f->inode &&
        S_ISREG(f->inode->mode))
        inode_touch(f->inode, ATTR_MTIME | ATTR_CTIME);
    if ((flags & MS_SYNC) && f->ops->fsync)
        (void)f->ops->fsync(t, f, true);
}

long sys_msync(struct task *t, const struct sysargs *a)
{
    uint64_t at = a->v[0], end;
    int flags = (int)a->v[2], prot;
    struct file *f;
    unsigned kind;

    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (at & (PAGE_BYTES - 1)) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC)))
        return -EINVAL;
    if (a->v[1] > TASK_SIZE_BYTES)
        return -ENOMEM;
    end = at + PAGE_ALIGN(a->v[1]);
    while (at < end) {
        uint64_t next;

        if (!file_at(t, at, &f, &next, &kind, &prot))
            return -ENOMEM;
        if ((flags & MS_INVALIDATE) && (kind & VMA_LOCKED)) {
            file_put(f);
            return -EBUSY;
        }
        if (f && (kind & VMA_SHARED))
            sync_file(t, f, prot, flags);
        file_put(f);
        at = next;
    }
    return 0;
}

long sys_mincore(struct task *t, const struct sysargs *a)
{
    uint64_t at = a->v[0], size = PAGE_ALIGN(a->v[1]), n = size / PAGE_BYTES, done = 0;
    uint8_t vec[PLAT_MINCORE_MAX];
    bool covered;
    int r;

    if (at & (PAGE_BYTES - 1))
        return -EINVAL;
    if (a->v[1] > TASK_SIZE_BYTES || at > TASK_SIZE_BYTES - size)
        return -ENOMEM;
    mutex_lock(&t->mm->lock);
    covered = vma_range_covered(t->mm, at, at + size);
    mutex_unlock(&t->mm->lock);
    if (!covered)
        return -ENOMEM;
    for (uint64_t part; done < n; done += part) {
        part = MIN(n - done, sizeof(vec));
        r = plat_mincore(t->th, at + done * PAGE_BYTES, part, vec);
        if (r < 0)
            return r;
        if (copy_out_now(t, a->v[2] + done, vec, part) < 0)
            return -EFAULT;
    }
    return 0;
}

/* ---- locking: accounts only
 * ------------------------------------------------------------------------ */

static int set_locked(struct vma *v, void *arg)
{
    v->flags = *(bool *)arg ? v->flags | VMA_LOCKED : v->flags & ~(unsigned)VMA_LOCKED;
    return 0;
}

/* Locked memory is there: what can be made so is. The host's refusals (its cgroup's limit) count
 * as memory that comes later; -ENOMEM: nobody may look at some of it. */
static long populate(struct task *t, uint64_t start, uint64_t end)
{
    struct mm *mm = t->mm;
    long r = 0;

    mutex_lock(&mm->lock);
    for (struct vma *v = vma_find(&mm->set, start); v && v->start < end;
         v = vma_next(&mm->set, v)) {
        uint64_t from = MAX(v->start, start), to = MIN(v->end, end);
        bool write = (v->prot & PROT_WRITE) && !((v->flags & VMA_SHARED) && (v->prot & PROT_READ));

        if (!v->prot)
            r = -ENOMEM;
        if (!v->prot || (v->flags & VMA_SPECIAL))
            continue;
        if (plat_madvise(t->th, from, to - from,
                         write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0)
            (void)plat_flush(t->th);
    }
    mutex_unlock(&mm->lock);
    return r;
}

static long lock_range(struct task *t, uint64_t addr, uint64_t size, bool on)
{
    uint64_t start = PAGE_FLOOR(addr), end = PAGE_ALIGN(addr + size);
    rlim_t limit = task_rlimit(t, RLIMIT_MEMLOCK);
    long r;

    if (addr + size < addr)
        return -EINVAL;
    if (start == end)
        return 0;
    if (end > TASK_SIZE_BYTES)
        return -ENOMEM;
    if (on && !limit && !capable(t, CAP_IPC_LOCK))
        return -EPERM;
    if (on)
        plat_keep_pages(plat_space_of(t->th));
    mutex_lock(&t->mm->lock);
    if (on && limit != RLIM_INFINITY && t->mm->locked + (end - start) > limit &&
        !capable(t, CAP_IPC_LOCK))
        r = -ENOMEM;
    else
        r = vma_change(t->mm, start, end, true, set_locked, &on);
    mutex_unlock(&t->mm->lock);
    return r;
}

long sys_mlock(struct task *t, const struct sysargs *a)
{
    long r = lock_range(t, a->v[0], a->v[1], true);

    return r < 0 ? r : populate(t, PAGE_FLOOR(a->v[0]), PAGE_ALIGN(a->v[0] + a->v[1]));
}

long sys_mlock2(struct task *t, const struct sysargs *a)
{
    if (a->v[2] & ~(uint64_t)MLOCK_ONFAULT)
        return -EINVAL;
    return a->v[2] ? lock_range(t, a->v[0], a->v[1], true) : sys_mlock(t, a);
}

long sys_munlock(struct task *t, const struct sysargs *a)
{
    return lock_range(t, a->v[0], a->v[1], false);
}

static long lock_all(struct task *t, bool on, bool future)
{
    long r;

    if (on || future)
        plat_keep_pages(plat_space_of(t->th));
    mutex_lock(&t->mm->lock);
    t->mm->def_locked = future;
    r = vma_change(t->mm, 0, TASK_SIZE_BYTES, false, set_locked, &on);
    mutex_unlock(&t->mm->lock);
    return r;
}

long sys_mlockall(struct task *t, const struct sysargs *a)
{
    rlim_t limit = task_rlimit(t, RLIMIT_MEMLOCK);

    if (!a->v[0] || (a->v[0] & ~7ULL) || a->v[0] == MCL_ONFAULT)
        return -EINVAL;
    if (!capable(t, CAP_IPC_LOCK)) {
        if (!limit)
            return -EPERM;
        if (limit != RLIM_INFINITY && t->mm->total - MIN(t->mm->total, t->mm->stack) > limit &&
            (a->v[0] & MCL_CURRENT))
            return -ENOMEM;
    }
    return lock_all(t, a->v[0] & MCL_CURRENT, a->v[0] & MCL_FUTURE);
}

long sys_munlockall(struct task *t, const struct sysargs *a)
{
    (void)a;
    return lock_all(t, false, false);
}

/* ---- other processes' memory
 * ------------------------------------------------------------------------ */

/* With a reference; NULL and an error. */
static struct task *access_target(struct task *t, int pid, long *ret_error)
{
    struct task *target;

    mutex_lock(&g_tasks_lock);
    target = task_find_locked(task_pidns(t), pid);
    *ret_error = !target || !target->mm                                 ? -ESRCH
                 : task_may_access_locked(t, target, ACCESS_BY_REALIDS) ? 0
                                                                        : -EPERM;
    target = *ret_error == 0 ? task_get(target) : NULL;
    mutex_unlock(&g_tasks_lock);
    return target;
}

static long transfer(struct task *t, const struct sysargs *a, bool write)
{
    struct uio local, remote;
    struct task *target;
    char chunk[4096];
    long r, done = 0;

    if (a->v[5])
        return -EINVAL;
    r = uio_init_guest_iov(&local, t, a->v[1], a->v[2]);
    if (r < 0)
        return r;
    r = uio_init_guest_iov(&remote, t, a->v[3], a->v[4]);
    if (r < 0) {
        uio_fini(&local);
        return r;
    }
    target = access_target(t, (int)a->v[0], &r);
    for (unsigned i = 0; target && i < remote.n_iov && local.left; i++)
        for (uint64_t off = 0; off < remote.iov[i].size && local.left;) {
            size_t n = MIN(MIN(sizeof(chunk), remote.iov[i].size - off), local.left);
            ssize_t moved;

            if (write) {
                moved = uio_copy_from(&local, chunk, n);
                if (moved > 0)
                    moved = mm_access(target, remote.iov[i].base + off, chunk, (size_t)moved, true);
            } else {
                moved = mm_access(target, remote.iov[i].base + off, chunk, n, false);
                if (moved > 0)
                    moved = uio_copy_to(&local, chunk, (size_t)moved);
            }
            if (moved <= 0) {
                r = done ? done : -EFAULT;
                goto out;
            }
            done += moved;
            off += (uint64_t)moved;
        }
    if (target)
        r = done;
out:
    task_put(target);
    uio_fini(&local);
    uio_fini(&remote);
    return r;
}

long sys_process_vm_readv(struct task *t, const struct sysargs *a)
{
    return transfer(t, a, false);
}

long sys_process_vm_writev(struct task *t, const struct sysargs *a)
{
    return transfer(t, a, true);
}

/* ---- one memory node
 * --------------------------------------------------------------------------------- */

long sys_get_mempolicy(struct task *t, const struct sysargs *a)
{
    int zero = 0;
    uint64_t node0 = a->v[4] & 4 ? 1 : 0;

    if (a->v[4] & ~7ULL)
        return -EINVAL;
    if (a->v[0] && copy_out(t, a->v[0], &zero, sizeof(zero)) < 0)
        return -EFAULT;
    if (a->v[1] && a->v[2] && copy_out(t, a->v[1], &node0, sizeof(node0)) < 0)
        return -EFAULT;
    return 0;
}

long sys_set_mempolicy(struct task *t, const struct sysargs *a)
{
    (void)t;
    return (int)(a->v[0] & 0xfff) > 5 ? -EINVAL : 0;
}

long sys_mbind(struct task *t, const struct sysargs *a)
{
    (void)t;
    if ((a->v[0] & (PAGE_BYTES - 1)) || (int)(a->v[2] & 0xfff) > 5)
        return -EINVAL;
    return 0;
}

/* The stub answers it. */
long sys_futex_waitv(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return -ENOSYS;
}

/* Reached only when the stub does not answer itself: operations that it refuses. */
long sys_futex(struct task *t, const struct sysargs *a)
{
    (void)t;
    (void)a;
    return -ENOSYS;
}
