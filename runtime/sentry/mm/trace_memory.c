/*
 * Writes go through the protection of private mappings: the tracee's own host thread makes the page
 * writable, stores, and protects it again; the copy is private to the process, as on Linux. A
 * shared mapping without the right stays what it is.
 */
#include "runtime/sentry/mm/trace_memory.h"

#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/trace.h"

#include <errno.h>

enum { POKE_MAX = 4096 };

struct poke {
    uint64_t addr;
    void *data;
    size_t size;
    bool write;
};

/* Within one mapping: its protection, or -1 if it may not be looked into by force. */
static int forced_prot(struct mm *mm, const struct poke *p)
{
    const struct vma *v;
    int prot = -1;

    mutex_lock(&mm->lock);
    v = vma_find(&mm->set, p->addr);
    if (v && v->start <= p->addr && p->addr + p->size <= v->end &&
        !(v->flags & (VMA_SHARED | VMA_SPECIAL)))
        prot = v->prot;
    mutex_unlock(&mm->lock);
    return prot;
}

static int poke(struct task *t, const struct poke *p, int prot)
{
    int r = plat_poke(t->th, p->addr, p->data, p->size, prot);

    return r < 0 ? r : plat_flush(t->th);
}

static int peek(struct task *t, const struct poke *p, int prot)
{
    uint64_t start = PAGE_FLOOR(p->addr), size = PAGE_ALIGN(p->addr + p->size) - start;
    ssize_t n = -EIO;

    if (plat_mprotect(t->th, start, size, prot | PROT_READ) == 0 && plat_flush(t->th) == 0)
        n = plat_space_read(plat_space_of(t->th), p->addr, p->data, p->size);
    (void)plat_mprotect(t->th, start, size, prot);
    (void)plat_flush(t->th);
    return n == (ssize_t)p->size ? 0 : -EIO;
}

static int by_force(struct task *t, void *arg)
{
    const struct poke *p = arg;
    int prot = t->th ? forced_prot(t->mm, p) : -1;

    if (prot < 0)
        return -EIO;
    return p->write ? poke(t, p, prot) : peek(t, p, prot);
}

ssize_t trace_memory_locked(struct task *t, uint64_t addr, void *data, size_t size, bool write)
{
    struct poke p = {.addr = addr, .data = data, .size = size, .write = write};
    ssize_t n;

    if (size > POKE_MAX)
        size = p.size = POKE_MAX;
    n = mm_access_locked(t, addr, data, size, write);
    if (n == (ssize_t)size)
        return n;
    return trace_call_locked(t, by_force, &p) < 0 ? (n > 0 ? n : -EIO) : (ssize_t)size;
}

ssize_t trace_memory(struct task *t, struct task *target, uint64_t addr, void *data, size_t size,
                     bool write)
{
    const struct trace *tr;
    ssize_t n = mm_access(target, addr, data, size, write);

    if (n == (ssize_t)size)
        return n;
    if (target == t) {
        struct poke p = {.addr = addr, .data = data, .size = size, .write = write};

        return by_force(t, &p) < 0 ? n : (ssize_t)size;
    }
    mutex_lock(&g_tasks_lock);
    tr = target->trace;
    if (tr && tr->tracer == t->process && tr->stopped)
        n = trace_memory_locked(target, addr, data, size, write);
    mutex_unlock(&g_tasks_lock);
    return n;
}
