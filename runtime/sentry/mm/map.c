/*
 * mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2): validate, change the list, queue
 * the host operation. In a process with several tasks the operation is carried out before mm->lock
 * is dropped: else a munmap could land on what another thread was given meanwhile.
 */
#include "runtime/sentry/mm/map.h"

#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Ends an operation: queued work is done now if others share the mm. mm->lock held, dropped. */
static int finish_unlock(struct task *t)
{
    int r = mm_users(t->mm) > 1 ? plat_flush(t->th) : 0;

    mutex_unlock(&t->mm->lock);
    return r;
}

static bool range_ok(uint64_t addr, uint64_t size)
{
    return !(addr & (PAGE_BYTES - 1)) && size && size <= TASK_SIZE_BYTES &&
           addr <= TASK_SIZE_BYTES - size;
}

static bool touches_reserved(const struct mm *mm, uint64_t start, uint64_t end)
{
    return start < mm->reserved_end && end > mm->reserved_start;
}

/* RLIMIT_AS, RLIMIT_DATA, max_map_count. mm->lock held. */
static int check_limits(struct task *t, uint64_t size, bool data)
{
    struct mm *mm = t->mm;
    rlim_t as = task_rlimit(t, RLIMIT_AS), limit = task_rlimit(t, RLIMIT_DATA);

    if (as != RLIM_INFINITY && mm->total + size > as)
        return -ENOMEM;
    if (data && limit != RLIM_INFINITY && mm->data + size > limit)
        return -ENOMEM;
    return mm->set.count >= MAP_COUNT_LIMIT ? -ENOMEM : 0;
}

/* RLIMIT_MEMLOCK. mm->lock held. */
static int check_locked(struct task *t, uint64_t size)
{
    rlim_t limit = task_rlimit(t, RLIMIT_MEMLOCK);

    if (limit == RLIM_INFINITY || t->mm->locked + size <= limit || capable(t, CAP_IPC_LOCK))
        return 0;
    return -EAGAIN;
}

static int place(struct mm *mm, const struct map_request *r, uint64_t size, uint64_t *ret)
{
    if (r->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (r->addr & (PAGE_BYTES - 1))
            return -EINVAL;
        if (!range_ok(r->addr, size))
            return -ENOMEM;
        if (r->addr < mm->min)
            return -EPERM;
        if (touches_reserved(mm, r->addr, r->addr + size))
            return -ENOMEM;
        if ((r->flags & MAP_FIXED_NOREPLACE) && !vma_range_free(mm, r->addr, r->addr + size))
            return -EEXIST;
        *ret = r->addr;
        return 0;
    }
    *ret = PAGE_FLOOR(r->addr);
    if (r->addr && *ret >= mm->min && range_ok(*ret, size) && vma_range_free(mm, *ret, *ret + size))
        return 0;
    *ret = 0;
    if (r->flags & MAP_32BIT) {
        for (uint64_t at = 0x40000000; at + size <= 0x80000000; at += 0x100000)
            if (vma_range_free(mm, at, at + size)) {
                *ret = at;
                return 0;
            }
        return -ENOMEM;
    }
    *ret = vma_find_room(mm, size, size >= 0x200000 && !r->file ? 0x200000 : PAGE_BYTES);
    if (!*ret)
        *ret = vma_find_room(mm, size, PAGE_BYTES);
    return *ret ? 0 : -ENOMEM;
}

/* What backs the mapping; fills max_prot. */
static int backing_of(struct task *t, const struct map_request *r, uint64_t size,
                      struct mmap_backing *b)
{
    struct file *f = r->file;
    bool shared = r->flags & MAP_SHARED;

    *b = (struct mmap_backing){.fd = -1, .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC};
    if (!f)
        return 0;
    if (!file_readable(f) || (shared && (r->prot & PROT_WRITE) && !file_writable(f)))
        return -EACCES;
    if (!f->ops->mmap)
        return -ENODEV;
    return f->ops->mmap(t, f, r->prot, r->flags, r->offset, size, b);
}

static int host_map(struct task *t, uint64_t addr, uint64_t size, const struct map_request *r,
                    const struct mmap_backing *b)
{
    int flags = MAP_FIXED | (r->flags & MAP_NORESERVE);

    if (b->fd < 0)
        flags |= MAP_PRIVATE | MAP_ANONYMOUS;
    else
        flags |= (r->flags & MAP_SHARED) ? MAP_SHARED : MAP_PRIVATE;
    return plat_mmap(t->th, addr, size, r->prot, flags, b->fd,
                     b->fd < 0 ? 0 : b->offset + r->offset, r->file);
}

static long map_locked(struct task *t, const struct map_request *r, uint64_t size,
                       const struct mmap_backing *b)
{
    struct mm *mm = t->mm;
    bool shared = (r->flags & MAP_SHARED) && r->file;
    struct vma v = {.prot = r->prot,
                    .max_prot = b->max_prot,
                    .flags = r->vma_flags | (shared ? VMA_SHARED : 0U) |
                             (r->flags & MAP_NORESERVE ? VMA_NORESERVE : 0U) |
                             (r->flags & MAP_GROWSDOWN ? VMA_GROWSDOWN : 0U) |
                             ((r->prot & PROT_WRITE) && !shared ? VMA_ACCOUNTED : 0U) |
                             ((r->flags & MAP_LOCKED) || mm->def_locked ? VMA_LOCKED : 0U),
                    .file = r->file && b->fd >= 0 ? r->file : NULL,
                    .offset = r->offset,
                    .name = r->name};
    int e = check_limits(t, size, (r->prot & PROT_WRITE) && !shared);

    if (e == 0 && (v.flags & VMA_LOCKED))
        e = check_locked(t, size);
    if (e == -EAGAIN && (r->flags & MAP_LOCKED) && !task_rlimit(t, RLIMIT_MEMLOCK))
        e = -EPERM;
    if (e < 0)
        return e;
    e = place(mm, r, size, &v.start);
    if (e < 0)
        return e;
    v.end = v.start + size;
    if (r->flags & MAP_FIXED) {
        e = vma_remove(mm, v.start, v.end);
        if (e < 0)
            return e;
    }
    vma_hold(&v);
    /* A seal may have come since the file allowed it; from here on it sees this mapping. */
    e = v.file && v.file->inode && (v.flags & VMA_SHARED) && (v.prot & PROT_WRITE) &&
                (v.file->inode->seals & F_SEAL_WRITE)
            ? -EPERM
            : vma_insert(mm, &v);
    if (e < 0) {
        vma_drop(&v);
        return e;
    }
    e = host_map(t, v.start, size, r, b);
    if (e < 0) {
        (void)vma_remove(mm, v.start, v.end);
        return e;
    }
    t->mm_undo = v.start;
    t->mm_undo_size = size;
    return (long)v.start;
}

long mm_map(struct task *t, const struct map_request *r)
{
    uint64_t size = PAGE_ALIGN(r->size);
    struct map_request shared = *r;
    struct mmap_backing b;
    struct file *memory = NULL;
    long addr;
    int e;

    if (!r->size || (r->offset & (PAGE_BYTES - 1)))
        return -EINVAL;
    if (size < r->size || size > TASK_SIZE_BYTES)
        return -ENOMEM;
    if (r->offset + size < r->offset)
        return -EOVERFLOW;
    /* Shared anonymous memory is a file of the sentry's, so that fork shares it and futexes can be
     * woken. */
    if (!r->file && (r->flags & MAP_SHARED)) {
        e = shmem_file_new(size, 0, "dev/zero", &memory);
        if (e < 0)
            return e;
        shared.file = memory;
        shared.offset = 0;
    }
    e = backing_of(t, &shared, size, &b);
    if (e < 0) {
        file_put(memory);
        return e;
    }
    if (r->flags & MAP_LOCKED)
        plat_keep_pages(plat_space_of(t->th));
    mutex_lock(&t->mm->lock);
    addr = map_locked(t, &shared, size, &b);
    if (addr < 0) {
        mutex_unlock(&t->mm->lock);
    } else {
        e = finish_unlock(t);
        if (e < 0) {
            mm_operation_failed(t);
            addr = e;
        }
    }
    file_put(memory);
    return addr;
}

/* How far it may come to what lies below: Linux's stack_guard_gap. */
#define GUARD_GAP (256 * PAGE_BYTES)

/* mm->lock held. The part to be added, or an empty one. */
static struct vma growth_of(struct task *t, uint64_t addr)
{
    struct mm *mm = t->mm;
    struct vma *v = vma_find(&mm->set, addr), *below, more = {0};
    uint64_t start = addr & ~(PAGE_BYTES - 1);

    if (!v || addr >= v->start || !(v->flags & VMA_GROWSDOWN) || v->file || start < mm->min ||
        touches_reserved(mm, start, v->start) || v->end - start > task_rlimit(t, RLIMIT_STACK) ||
        check_limits(t, v->start - start, v->prot & PROT_WRITE) < 0)
        return more;
    below = vma_prev(&mm->set, v);
    if (below && below->prot && !(below->flags & VMA_GROWSDOWN) && start < below->end + GUARD_GAP)
        return more;
    more = *v;
    more.start = start;
    more.end = v->start;
    more.resident = 0;
    return more;
}

bool mm_grow_down(struct task *t, uint64_t addr)
{
    struct mm *mm = t->mm;
    struct vma more;
    int r;

    mutex_lock(&mm->lock);
    more = growth_of(t, addr);
    if (more.start == more.end || vma_insert(mm, &more) < 0) {
        mutex_unlock(&mm->lock);
        return false;
    }
    r = plat_mmap(t->th, more.start, more.end - more.start, more.prot,
                  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, NULL);
    if (r == 0)
        r = plat_flush(t->th);
    if (r < 0)
        (void)vma_remove(mm, more.start, more.end);
    mutex_unlock(&mm->lock);
    return r == 0;
}

void mm_operation_failed(struct task *t)
{
    if (!t->mm_undo_size)
        return;
    mutex_lock(&t->mm->lock);
    (void)vma_remove(t->mm, t->mm_undo, t->mm_undo + t->mm_undo_size);
    mutex_unlock(&t->mm->lock);
    t->mm_undo_size = 0;
}

int mm_unmap(struct task *t, uint64_t addr, uint64_t size)
{
    int e;

    size = PAGE_ALIGN(size);
    if (!range_ok(addr, size))
        return -EINVAL;
    if (touches_reserved(t->mm, addr, addr + size))
        return -EINVAL;
    mutex_lock(&t->mm->lock);
    t->mm_undo_size = 0;
    e = vma_remove(t->mm, addr, addr + size);
    if (e == 0)
        e = plat_munmap(t->th, addr, size);
    if (e < 0) {
        mutex_unlock(&t->mm->lock);
        return e;
    }
    return finish_unlock(t);
}

static int set_prot(struct vma *v, void *arg)
{
    int prot = *(int *)arg;

    if (prot & ~v->max_prot)
        return -EACCES;
    v->prot = prot;
    if ((prot & PROT_WRITE) && !(v->flags & VMA_SHARED))
        v->flags |= VMA_ACCOUNTED;
    return 0;
}

int mm_protect(struct task *t, uint64_t addr, uint64_t size, int prot)
{
    int e;

    size = PAGE_ALIGN(size);
    if (!size)
        return addr & (PAGE_BYTES - 1) ? -EINVAL : 0;
    if (addr & (PAGE_BYTES - 1))
        return -EINVAL;
    if (!range_ok(addr, size) || touches_reserved(t->mm, addr, addr + size))
        return -ENOMEM;
    mutex_lock(&t->mm->lock);
    t->mm_undo_size = 0;
    e = vma_change(t->mm, addr, addr + size, true, set_prot, &prot);
    if (e == 0)
        e = plat_mprotect(t->th, addr, size, prot);
    if (e < 0) {
        mutex_unlock(&t->mm->lock);
        return e;
    }
    return finish_unlock(t);
}

static long remap_move(struct task *t, struct vma v, uint64_t addr, uint64_t old_size,
                       uint64_t new_size, uint64_t to, int flags)
{
    struct mm *mm = t->mm;
    int e = 0;

    flags &= MREMAP_DONTUNMAP; /* the old place stays mapped, empty */
    if (flags || !old_size)
        e = check_limits(t, new_size, v.prot & PROT_WRITE);
    if (e < 0)
        return e;

    v.offset += addr - v.start;
    v.start = to;
    v.end = to + new_size;
    vma_hold(&v);
    if (!flags && old_size)
        e = vma_remove(mm, addr, addr + old_size);
    if (e == 0)
        e = vma_remove(mm, v.start, v.end);
    if (e == 0)
        e = vma_insert(mm, &v);
    if (e < 0) {
        vma_drop(&v);
        return e;
    }
    e = plat_mremap(t->th, addr, old_size, new_size, to, MREMAP_MAYMOVE | MREMAP_FIXED | flags);
    return e < 0 ? e : (long)to;
}

static long remap_in_place(struct task *t, const struct vma *v, uint64_t addr, uint64_t old_size,
                           uint64_t new_size)
{
    struct vma more = *v;
    int e;

    more.start = addr + old_size;
    more.end = addr + new_size;
    more.offset = v->offset + (more.start - v->start);
    vma_hold(&more);
    e = vma_insert(t->mm, &more);
    if (e < 0) {
        vma_drop(&more);
        return e;
    }
    e = plat_mremap(t->th, addr, old_size, new_size, addr, 0);
    return e < 0 ? e : (long)addr;
}

static long remap_locked(struct task *t, uint64_t addr, uint64_t old_size, uint64_t new_size,
                         int flags, uint64_t new_addr)
{
    struct mm *mm = t->mm;
    struct vma *v = vma_find(&mm->set, addr);
    uint64_t to = new_addr;
    int e;

    if (!v || v->start > addr)
        return -EFAULT;
    if (!old_size && !(v->flags & VMA_SHARED)) /* 0: another mapping of the same, this one stays */
        return -EINVAL;
    if (new_size < old_size && !(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
        e = vma_remove(mm, addr + new_size, addr + old_size); /* whatever is mapped there */
        if (e == 0)
            e = plat_munmap(t->th, addr + new_size, old_size - new_size);
        return e < 0 ? e : (long)addr;
    }
    if (addr + old_size > v->end)
        return -EFAULT;
    if ((flags & MREMAP_DONTUNMAP) && ((v->flags & (VMA_SHARED | VMA_SPECIAL)) || v->file))
        return -EINVAL;
    if (flags & MREMAP_FIXED) {
        if ((to & (PAGE_BYTES - 1)) || !range_ok(to, new_size) || to < mm->min ||
            touches_reserved(mm, to, to + new_size))
            return -EINVAL;
        if (to < addr + old_size && to + new_size > addr)
            return -EINVAL;
        if (!old_size && to <= addr && addr < to + new_size)
            return -EFAULT; /* what is to be copied would go first */
        return remap_move(t, *v, addr, old_size, new_size, to, flags);
    }
    if (flags & MREMAP_DONTUNMAP) {
        to = vma_find_room(mm, new_size, PAGE_BYTES);
        return to ? remap_move(t, *v, addr, old_size, new_size, to, flags) : -ENOMEM;
    }
    if (new_size == old_size)
        return (long)addr;
    e = check_limits(t, new_size - old_size, v->prot & PROT_WRITE);
    if (e == 0 && (v->flags & VMA_LOCKED))
        e = check_locked(t, new_size - old_size);
    if (e < 0)
        return e;
    if (addr + old_size == v->end && vma_range_free(mm, v->end, addr + new_size) &&
        addr + new_size <= TASK_SIZE_BYTES)
        return remap_in_place(t, v, addr, old_size, new_size);
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    to = vma_find_room(mm, new_size, PAGE_BYTES);
    return to ? remap_move(t, *v, addr, old_size, new_size, to, flags) : -ENOMEM;
}

long mm_remap(struct task *t, uint64_t addr, uint64_t old_size, uint64_t new_size, int flags,
              uint64_t new_addr)
{
    long r;
    int e;

    old_size = PAGE_ALIGN(old_size);
    new_size = PAGE_ALIGN(new_size);
    if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
        ((flags & MREMAP_DONTUNMAP) && (!(flags & MREMAP_MAYMOVE) || new_size != old_size)) ||
        (addr & (PAGE_BYTES - 1)) || !new_size ||
        ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
        return -EINVAL;
    if (!range_ok(addr, MAX(old_size, PAGE_BYTES)) || new_size > TASK_SIZE_BYTES ||
        touches_reserved(t->mm, addr, addr + old_size))
        return -EINVAL;
    mutex_lock(&t->mm->lock);
    t->mm_undo_size = 0;
    r = remap_locked(t, addr, old_size, new_size, flags, new_addr);
    if (r < 0) {
        mutex_unlock(&t->mm->lock);
        return r;
    }
    e = finish_unlock(t);
    return e < 0 ? e : r;
}

static int set_dontfork(struct vma *v, void *arg)
{
    v->flags = *(bool *)arg ? v->flags | VMA_DONTFORK : v->flags & ~(unsigned)VMA_DONTFORK;
    return 0;
}

/* What of an advice reaches the host: 1 yes, 0 accepted and ignored, -EINVAL unknown. */
static int advice_passes(int advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
        return 1;
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_COLD:
    case MADV_PAGEOUT:
        return 0;
    default:
        return -EINVAL;
    }
}

/* Holes are -ENOMEM; locked pages can't be thrown away, nor can a file's or shared ones be freed or
 * wiped. */
static int advice_fits(const struct mm *mm, uint64_t start, uint64_t end, int advice)
{
    const struct vma *v = vma_find(&mm->set, start);
    bool drops = advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_COLD ||
                 advice == MADV_PAGEOUT;
    bool own = advice == MADV_FREE || advice == MADV_WIPEONFORK;

    for (; v && v->start < end; v = vma_next(&mm->set, v))
        if ((drops && (v->flags & VMA_LOCKED)) || (own && (v->file || (v->flags & VMA_SHARED))))
            return -EINVAL;
    return vma_range_covered(mm, start, end) ? 0 : -ENOMEM;
}

int mm_advise(struct task *t, uint64_t addr, uint64_t size, int advice)
{
    bool dontfork = advice == MADV_DONTFORK;
    int passes = advice_passes(advice), e = 0;

    if (passes < 0 || (addr & (PAGE_BYTES - 1)))
        return -EINVAL;
    if (size > TASK_SIZE_BYTES)
        return -EINVAL;
    size = PAGE_ALIGN(size);
    if (!size)
        return 0;
    if (!range_ok(addr, size))
        return -ENOMEM;
    if (touches_reserved(t->mm, addr, addr + size))
        return -EINVAL;
    mutex_lock(&t->mm->lock);
    t->mm_undo_size = 0;
    if (dontfork || advice == MADV_DOFORK)
        e = vma_change(t->mm, addr, addr + size, false, set_dontfork, &dontfork);
    if (e == 0)
        e = advice_fits(t->mm, addr, addr + size, advice);
    if (e == 0 && passes)
        e = plat_madvise(t->th, addr, size, advice);
    if (e < 0) {
        mutex_unlock(&t->mm->lock);
        return e;
    }
    return finish_unlock(t);
}

uint64_t mm_set_brk(struct task *t, uint64_t brk)
{
    struct mm *mm = t->mm;
    uint64_t old, end, new_end;
    rlim_t limit = task_rlimit(t, RLIMIT_DATA);
    int e = 0;

    mutex_lock(&mm->lock);
    t->mm_undo_size = 0;
    old = mm->brk;
    end = PAGE_ALIGN(mm->brk);
    new_end = PAGE_ALIGN(brk);
    if (brk < mm->brk_start || brk > TASK_SIZE_BYTES ||
        (limit != RLIM_INFINITY && brk - mm->brk_start > limit)) {
        mutex_unlock(&mm->lock);
        return old;
    }
    if (new_end > end) {
        struct vma v = {.start = end,
                        .end = new_end,
                        .prot = PROT_READ | PROT_WRITE,
                        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
                        .flags = VMA_HEAP,
                        .name = "[heap]"};

        e = vma_range_free(mm, end, new_end) ? check_limits(t, new_end - end, true) : -ENOMEM;
        if (e == 0)
            e = vma_insert(mm, &v);
        if (e == 0)
            e = plat_mmap(t->th, end, new_end - end, v.prot,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, NULL);
    } else if (new_end < end) {
        e = vma_remove(mm, new_end, end);
        if (e == 0)
            e = plat_munmap(t->th, new_end, end - new_end);
    }
    if (e == 0)
        mm->brk = brk;
    if (e < 0) {
        mutex_unlock(&mm->lock);
        return old;
    }
    return finish_unlock(t) < 0 ? old : brk;
}

uint64_t vma_room(struct mm *mm, uint64_t size)
{
    uint64_t at;

    mutex_lock(&mm->lock);
    at = vma_find_room(mm, size, PAGE_BYTES);
    mutex_unlock(&mm->lock);
    return at;
}

bool mm_range_free(struct mm *mm, uint64_t start, uint64_t end)
{
    bool free;

    mutex_lock(&mm->lock);
    free = vma_range_free(mm, start, end);
    mutex_unlock(&mm->lock);
    return free;
}
