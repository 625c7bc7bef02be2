/*
 * What is resident. The pages are the guest process's own, and only it can ask the host about them
 * (mincore and getrusage by its stub). So a reader of /proc asks a thread of the process to look:
 * one in guest code is interrupted for it, one asleep in a call does it and sleeps on. Threads that
 * wait in native futex calls are left alone: their time-outs would start over.
 */
#include "common/cleanup.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stdlib.h>

enum {
    FRESH_MS = 20, /* a look is good for that long */
    WAIT_MS = 10,  /* and not waited for longer than that */
    STEP_US = 100,
    RANGES = 128, /* mappings a flush */
};
static const uint64_t RANGE_MAX = 64ULL << 30; /* larger ones are address space, hardly memory */

static bool counts(const struct vma *v)
{
    return v->prot && !(v->flags & VMA_SPECIAL) && v->end - v->start <= RANGE_MAX;
}

/* Those from *at on. mm->lock held. */
static size_t gather(struct mm *mm, uint64_t *at, struct plat_range *ranges)
{
    size_t n = 0;

    for (struct vma *v = vma_find(&mm->set, *at); v && n < RANGES; v = vma_next(&mm->set, v)) {
        *at = v->end;
        v->resident = 0;
        if (counts(v))
            ranges[n++] = (struct plat_range){v->start, v->end - v->start, 0};
    }
    return n;
}

static uint64_t spread(struct mm *mm, const struct plat_range *ranges, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        struct vma *v = vma_find(&mm->set, ranges[i].addr);

        sum += ranges[i].resident;
        if (v && v->start == ranges[i].addr)
            v->resident = ranges[i].resident;
    }
    return sum;
}

void mm_sample(struct task *t)
{
    CLEANUP(free_ptr) struct plat_range *ranges = malloc(RANGES * sizeof(*ranges));
    struct mm *mm = t->mm;
    uint64_t at = 0, sum = 0;
    size_t n;
    int r = ranges ? 0 : -ENOMEM;

    mutex_lock(&mm->lock);
    while (r == 0 && (n = gather(mm, &at, ranges)) > 0) {
        r = plat_resident(t->th, ranges, n);
        sum += spread(mm, ranges, n);
    }
    mutex_unlock(&mm->lock);
    if (r == 0)
        __atomic_store_n(&mm->rss, MAX(sum, (uint64_t)1) * PAGE_BYTES, __ATOMIC_RELAXED);
    __atomic_store_n(&mm->sampled, time_monotonic(), __ATOMIC_RELAXED);
    __atomic_store_n(&mm->sample_wanted, 0, __ATOMIC_RELEASE);
}

/* One that can look at once; tasks_lock held. */
static struct task *somebody(struct process *p, const struct mm *mm)
{
    struct task *t;

    list_for_each_entry (t, &p->threads, thread_link)
        if (t->mm == mm && t->th && !t->exiting && !t->vfork_waiting && !plat_waits(t->th))
            return t;
    return NULL;
}

static bool ask(struct task *target, struct mm *mm)
{
    struct task *t;

    mutex_lock(&g_tasks_lock);
    t = target->mm == mm && target->process->state == PROCESS_ALIVE ? somebody(target->process, mm)
                                                                    : NULL;
    if (t) {
        __atomic_store_n(&mm->sample_wanted, 1, __ATOMIC_SEQ_CST);
        task_kick(t);
    }
    mutex_unlock(&g_tasks_lock);
    return t;
}

void mm_refresh(struct task *target)
{
    struct task *me = current_task();
    struct mm *mm;

    mutex_lock(&g_tasks_lock);
    mm = target->mm ? mm_get(target->mm) : NULL;
    mutex_unlock(&g_tasks_lock);
    if (!mm)
        return;
    if (me && me->mm == mm)
        mm_sample(me);
    else if (time_monotonic() - __atomic_load_n(&mm->sampled, __ATOMIC_RELAXED) >
                 FRESH_MS * NSEC_PER_SEC / 1000 &&
             ask(target, mm))
        for (int us = 0; us < WAIT_MS * 1000; us += STEP_US) {
            struct timespec ts = {0, STEP_US * 1000L};

            if (!__atomic_load_n(&mm->sample_wanted, __ATOMIC_ACQUIRE))
                break;
            (void)nanosleep(&ts, NULL);
        }
    mm_put(mm);
}

uint64_t mm_rss(struct task *target)
{
    struct mm *mm = target->mm;
    uint64_t rss;

    if (!mm)
        return 0;
    rss = __atomic_load_n(&mm->rss, __ATOMIC_RELAXED);
    /* Nobody has looked yet: half of what it may write, and of its files a megabyte at most. */
    return rss ? rss
               : mm->data / 2 + MIN(mm->total - MIN(mm->data, mm->total), 1UL << 20) + PAGE_BYTES;
}

bool mm_usage(struct task *t, bool of_thread, struct rusage *ret)
{
    struct mm *mm = t->mm;

    if (!t->th || !mm || plat_usage(t->th, of_thread, ret) < 0)
        return false;
    __atomic_store_n(&mm->peak_kb, ret->ru_maxrss, __ATOMIC_RELAXED);
    if (!of_thread) {
        __atomic_store_n(&mm->min_faults, ret->ru_minflt, __ATOMIC_RELAXED);
        __atomic_store_n(&mm->maj_faults, ret->ru_majflt, __ATOMIC_RELAXED);
    }
    return true;
}
