/* Where the platform may patch and put its thunks: private, executable, unwritable mappings only.
 */
#include "runtime/sentry/mm/patch.h"

#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"

enum { REACH = 0x70000000 };

static int site_prot(void *ctx, uint64_t site)
{
    struct mm *mm = ctx;
    const struct vma *v;
    int prot = -1;

    mutex_lock(&mm->lock);
    v = vma_find(&mm->set, site);
    if (v && v->start <= site && (v->prot & PROT_EXEC) && !(v->prot & PROT_WRITE) &&
        !(v->flags & (VMA_SHARED | VMA_SPECIAL)))
        prot = v->prot;
    mutex_unlock(&mm->lock);
    return prot;
}

/* First hole above the site, else the first below it. mm->lock held. */
static uint64_t hole_near(const struct mm *mm, uint64_t site, uint64_t size)
{
    uint64_t at = PAGE_FLOOR(site);
    const struct vma *v = vma_find(&mm->set, at);

    for (; v && v->start <= at + size - 1 && at - site < REACH; v = vma_next(&mm->set, v))
        at = v->end;
    if (at > site && at - site < REACH && at + size < TASK_SIZE_BYTES &&
        vma_range_free(mm, at, at + size))
        return at;
    v = vma_find(&mm->set, site);
    while (v) {
        const struct vma *below = vma_prev(&mm->set, v);
        uint64_t floor = below ? below->end : mm->min;

        if (v->start < site && site - v->start > REACH)
            return 0;
        if (v->start >= floor + size && vma_range_free(mm, v->start - size, v->start))
            return v->start - size;
        v = below;
    }
    return 0;
}

static uint64_t alloc_near(void *ctx, uint64_t site, uint64_t size)
{
    struct mm *mm = ctx;
    struct vma v = {.prot = PROT_READ | PROT_EXEC,
                    .max_prot = PROT_READ | PROT_EXEC,
                    .flags = VMA_SPECIAL,
                    .name = "[berm]"};

    mutex_lock(&mm->lock);
    v.start = hole_near(mm, site, size);
    v.end = v.start + size;
    if (v.start && vma_insert(mm, &v) < 0)
        v.start = 0;
    mutex_unlock(&mm->lock);
    return v.start;
}

void mm_allow_patching(struct mm *mm, struct plat_thread *th)
{
    static const struct plat_patch_hooks hooks = {.site_prot = site_prot, .alloc_near = alloc_near};

    plat_set_patch_hooks(plat_space_of(th), &hooks, mm);
}
