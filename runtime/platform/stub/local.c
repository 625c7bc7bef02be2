/*
 * Calls that the stub answers, and tells the sentry of with the next event: the mask of blocked
 * signals, the robust list; and pages given back, which are the host's. Whatever is out of the
 * ordinary goes to the sentry.
 */
#include "runtime/platform/stub/stub.h"

enum { HOW_BLOCK, HOW_UNBLOCK, HOW_SET };
enum { ADVICE_DONTNEED = 4, ADVICE_FREE = 8, PAGE = 4096 };
#define UNBLOCKABLE (1ULL << 8 | 1ULL << 18) /* SIGKILL, SIGSTOP */

static bool new_mask(uint64_t how, uint64_t old, uint64_t set, uint64_t *ret)
{
    switch ((uint32_t)how) {
    case HOW_BLOCK:
        *ret = old | set;
        break;
    case HOW_UNBLOCK:
        *ret = old & ~set;
        break;
    case HOW_SET:
        *ret = set;
        break;
    default:
        return false;
    }
    *ret &= ~UNBLOCKABLE;
    return true;
}

/*
 * The sender of a signal says so in `signals` before it looks at the mask, and this looks at
 * `signals` after changing the mask: one sees the other. The mask is then as it was, for the sentry
 * to do the whole call.
 */
static bool sigprocmask(struct slot *s, const uint64_t args[6])
{
    uint64_t old = s->mask, set, mask = old;

    if (args[3] != sizeof(mask) || __atomic_load_n(&s->signals, __ATOMIC_RELAXED))
        return false;
    if (args[1] && (stub_copy(&set, (const void *)args[1], sizeof(set)) < 0 ||
                    !new_mask(args[0], old, set, &mask)))
        return false;
    if (args[2] && stub_copy((void *)args[2], &old, sizeof(old)) < 0)
        return false;
    if (mask == old)
        return true;
    __atomic_store_n(&s->mask, mask, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->signals, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&s->mask, old, __ATOMIC_SEQ_CST);
        return false;
    }
    s->changed = 1;
    return true;
}

static bool overlaps(uint64_t start, uint64_t end, uint64_t at, uint64_t size)
{
    return start < at + size && end > at;
}

/* Pages given back: neither ours nor where call sites' thunks are. */
static bool advice(const struct area *a, const uint64_t args[6], uint64_t *ret)
{
    const struct stub_proc *p = proc_of(a);
    uint64_t start = args[0], size = args[1], end = start + size;
    uint32_t what = (uint32_t)args[2];

    if ((what != ADVICE_DONTNEED && what != ADVICE_FREE) || slot_of(a)->keep_pages)
        return false;
    if ((start | size) & (PAGE - 1) || !size || end < start || end > TASK_TOP ||
        overlaps(start, end, p->base, REGION_SIZE))
        return false;
    for (uint32_t i = 0; i < p->n_thunk_pages && i < THUNK_PAGES_MAX; i++)
        if (overlaps(start, end, p->thunk_pages[i], THUNK_PAGE))
            return false;
    *ret = (uint64_t)SYS3(__NR_madvise, start, size, what);
    return true;
}

bool local_is(uint64_t nr)
{
    return nr == __NR_rt_sigprocmask || nr == __NR_set_robust_list || nr == __NR_madvise ||
           nr == __NR_rseq;
}

bool local_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret)
{
    struct slot *s = slot_of(a);

    *ret = 0;
    switch (nr) {
    case __NR_rt_sigprocmask:
        return sigprocmask(s, args);
    case __NR_madvise:
        return advice(a, args, ret);
    case __NR_set_robust_list:
        if (args[1] != ROBUST_HEAD)
            return false;
        s->robust = args[0];
        s->changed = 1;
        return true;
    case __NR_rseq: /* the host's is not the guest's */
        *ret = (uint64_t)-E_NOSYS;
        return true;
    default:
        return false;
    }
}
