/*
 * Robust futexes (Documentation/robust-futexes.rst): words that a dying thread still owns get
 * FUTEX_OWNER_DIED, and one waiter is woken. The list is guest memory: at most ROBUST_LIST_LIMIT
 * steps, any bad address ends it.
 */
#include "runtime/sentry/task/robust.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <linux/futex.h>

static void owner_died(struct task *t, gaddr_t word_at)
{
    uint32_t word;

    if (word_at & 3 || copy_in(t, &word, word_at, sizeof(word)) < 0)
        return;
    if ((word & FUTEX_TID_MASK) != (uint32_t)task_tid(t))
        return;
    word = (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    if (copy_out_now(t, word_at, &word, sizeof(word)) == 0)
        (void)plat_space_futex_wake(plat_space_of(t->th), word_at, 1);
}

void robust_list_exit(struct task *t)
{
    struct {
        uint64_t next, offset, pending;
    } head;
    gaddr_t at;

    if (!t->robust_list || !t->th || copy_in(t, &head, t->robust_list, sizeof(head)) < 0)
        return;
    at = head.next;
    for (int i = 0; i < ROBUST_LIST_LIMIT && (at & ~1ULL) != t->robust_list; i++) {
        gaddr_t next;

        if (copy_in(t, &next, at & ~1ULL, sizeof(next)) < 0)
            break;
        if ((at & ~1ULL) != head.pending)
            owner_died(t, (at & ~1ULL) + head.offset);
        at = next;
    }
    if (head.pending)
        owner_died(t, (head.pending & ~1ULL) + head.offset);
}
