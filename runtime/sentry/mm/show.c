/* /proc/PID/maps and smaps, in the kernel's own format (proc(5)): debuggers and collectors parse
 * them. */
#include "common/buf.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/path.h"

#include <limits.h>

static const char *label(struct task *reader, const struct vma *v, char *buf, size_t size)
{
    if (v->name)
        return v->name;
    if (v->file && file_name(reader, v->file, buf, size) >= 0)
        return buf;
    return "";
}

static int show_one(struct task *reader, const struct vma *v, struct buf *out)
{
    char name[PATH_MAX];
    struct stat st = {0};

    if (v->file)
        (void)vfs_stat_file(reader, v->file, &st);
    return buf_printf(out, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %-26lu %s\n", v->start, v->end,
                      v->prot & PROT_READ ? 'r' : '-', v->prot & PROT_WRITE ? 'w' : '-',
                      v->prot & PROT_EXEC ? 'x' : '-', v->flags & VMA_SHARED ? 's' : 'p',
                      v->file ? v->offset : 0UL, (unsigned)(st.st_dev >> 8) & 0xff,
                      (unsigned)st.st_dev & 0xff, st.st_ino, label(reader, v, name, sizeof(name)));
}

/* What is there is the private memory of the process, but for what it shares by mapping. A page of
 * a file that was never writable here is clean. */
static int show_detail(const struct vma *v, struct buf *out)
{
    unsigned long kb = (v->end - v->start) >> 10, rss = v->resident * (PAGE_BYTES >> 10);
    bool shared = v->flags & VMA_SHARED, own = !v->file || (v->flags & VMA_ACCOUNTED);
    bool dirty = shared ? v->prot & PROT_WRITE : own;

    return buf_printf(out,
                      "Size:           %8lu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\n"
                      "Rss:            %8lu kB\nPss:            %8lu kB\nShared_Clean:   %8lu kB\n"
                      "Shared_Dirty:   %8lu kB\nPrivate_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n"
                      "Referenced:     %8lu kB\nAnonymous:      %8lu kB\nSwap:           %8u kB\n"
                      "SwapPss:        %8u kB\nLocked:         %8lu kB\n",
                      kb, 4U, 4U, rss, rss, shared && !dirty ? rss : 0, shared && dirty ? rss : 0,
                      !shared && !dirty ? rss : 0, !shared && dirty ? rss : 0, rss,
                      own && !shared ? rss : 0, 0U, 0U, v->flags & VMA_LOCKED ? rss : 0);
}

int mm_show_maps(struct task *reader, struct task *target, struct buf *out, bool smaps)
{
    struct mm *mm;
    int r = 0;

    if (smaps)
        mm_refresh(target);
    mutex_lock(&g_tasks_lock);
    mm = target->mm ? mm_get(target->mm) : NULL;
    mutex_unlock(&g_tasks_lock);
    if (!mm)
        return 0;
    mutex_lock(&mm->lock);
    for (struct vma *v = vma_find(&mm->set, 0); v && r == 0; v = vma_next(&mm->set, v)) {
        r = show_one(reader, v, out);
        if (r == 0 && smaps)
            r = show_detail(v, out);
    }
    mutex_unlock(&mm->lock);
    mm_put(mm);
    return r;
}
