/* Address spaces as objects: life, users, fork's copy. */
#include "runtime/sentry/mm/mm.h"

#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/task.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { RANDOM_PAGES = 1 << 16 };

static void set_layout(struct mm *mm, struct plat_thread *th)
{
    struct plat_layout l;

    plat_layout(th, &l);
    mm->min = MAX(l.min, 0x10000UL);
    mm->reserved_start = l.reserved_start;
    mm->reserved_end = l.reserved_end;
    mm->vdso = l.vdso;
}

struct mm *mm_new(struct plat_thread *th)
{
    struct mm *mm = calloc(1, sizeof(*mm));
    struct plat_layout l;
    uint64_t random = 0;

    if (!mm)
        return NULL;
    ref_init(&mm->ref);
    mm->users = 1;
    mm->dumpable = true;
    set_layout(mm, th);
    plat_layout(th, &l);
    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    /* Below the stack's largest extent (set by execve at the top), with a random gap as Linux
     * leaves. */
    mm->mmap_base = MIN(TASK_SIZE_BYTES, l.reserved_start > TASK_SIZE_BYTES / 2 ? l.reserved_start
                                                                                : TASK_SIZE_BYTES);
    mm->mmap_base -= PAGE_BYTES * (0x40000 + random % RANDOM_PAGES);
    if (l.vdso) {
        struct vma v = {.start = l.vdso,
                        .end = l.vdso_end,
                        .prot = PROT_READ | PROT_EXEC,
                        .max_prot = PROT_READ | PROT_EXEC,
                        .flags = VMA_SPECIAL,
                        .name = "[vdso]"};
        struct vma vvar = {.start = l.vvar,
                           .end = l.vdso,
                           .prot = PROT_READ,
                           .max_prot = PROT_READ,
                           .flags = VMA_SPECIAL,
                           .name = "[vvar]"};

        (void)vma_insert(mm, &v);
        if (l.vvar && l.vvar < l.vdso)
            (void)vma_insert(mm, &vvar);
    }
    return mm;
}

struct mm *mm_copy(struct mm *from, struct plat_thread *th)
{
    struct mm *mm = calloc(1, sizeof(*mm));

    if (!mm)
        return NULL;
    mutex_lock(&from->lock);
    memcpy(mm, from, sizeof(*mm));
    mm->lock = (struct mutex)MUTEX_INIT;
    ref_init(&mm->ref);
    mm->users = 1;
    memset(&mm->set, 0, sizeof(mm->set));
    mm->total = mm->data = mm->stack = mm->locked = 0;
    mm->def_locked = false;
    mm->aio = NULL;
    if (mm->exe)
        (void)file_get(mm->exe);
    if (vma_set_copy(mm, from) < 0) {
        mutex_unlock(&from->lock);
        mm_put(mm);
        return NULL;
    }
    mutex_unlock(&from->lock);
    set_layout(mm, th);
    return mm;
}

struct mm *mm_get(struct mm *mm)
{
    ref_get(&mm->ref);
    return mm;
}

void mm_put(struct mm *mm)
{
    if (!mm || !ref_put(&mm->ref))
        return;
    if (mm->aio)
        mm->aio_free(mm->aio);
    vma_set_fini(mm);
    file_put(mm->exe);
    free(mm);
}

int mm_users(const struct mm *mm)
{
    return __atomic_load_n(&mm->users, __ATOMIC_ACQUIRE);
}

void mm_task_enters(struct mm *mm)
{
    (void)__atomic_fetch_add(&mm->users, 1, __ATOMIC_ACQ_REL);
}

void mm_task_exits(struct task *t)
{
    if (t->mm)
        (void)__atomic_fetch_sub(&t->mm->users, 1, __ATOMIC_ACQ_REL);
}
