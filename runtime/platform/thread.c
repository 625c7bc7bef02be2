/* Guest threads: indices of slots, creation by clone and fork, the end. */
#include "common/cleanup.h"
#include "runtime/platform/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { INDEX_STEP = 16 };

/* Room for an index; called with the space's lock. */
static int grow_locked(struct plat_space *s, unsigned index)
{
    unsigned have = (s->n_indices + INDEX_STEP - 1) / INDEX_STEP * INDEX_STEP;
    unsigned want = (index + INDEX_STEP) / INDEX_STEP * INDEX_STEP;
    struct plat_thread **t;

    if (want > have) {
        t = reallocarray(s->threads, want, sizeof(void *));
        if (!t)
            return -ENOMEM;
        memset(t + have, 0, (want - have) * sizeof(void *));
        s->threads = t;
    }
    if (index >= s->n_indices)
        s->n_indices = index + 1;
    return 0;
}

int thread_alloc(struct plat_space *s, unsigned index, struct plat_thread **ret)
{
    struct plat_thread *th = calloc(1, sizeof(*th));
    int r;

    if (!th)
        return -ENOMEM;
    (void)pthread_mutex_lock(&s->lock);
    r = grow_locked(s, index);
    if (r == 0) {
        s->threads[index] = th;
        s->n_threads++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        free(th);
        return r;
    }
    th->space = plat_space_get(s);
    th->index = index;
    th->slot = slot_at(s, index);
    th->regs.eflags = 0x202;
    th->regs.cs = 0x33;
    th->regs.ss = 0x2b;
    th->slot->spin_ticks = turn_spin_ticks();
    th->slot->alive = 1;
    *ret = th;
    return 0;
}

/* True if it was the last of its space. */
static bool forget(struct plat_thread *th)
{
    struct plat_space *s = th->space;
    bool last;

    (void)pthread_mutex_lock(&s->lock);
    s->threads[th->index] = NULL;
    last = --s->n_threads == 0;
    (void)pthread_mutex_unlock(&s->lock);
    return last;
}

void thread_free(struct plat_thread *th)
{
    struct plat_space *s = th->space;

    if (th->n_tags)
        atomic_fetch_sub(&s->tags_under_way, (int)th->n_tags);
    free(th);
    plat_space_put(s);
}

/* Lowest index whose former host thread has left its stack. Only the maker of threads calls it. */
static int free_index(struct plat_space *s)
{
    unsigned i;

    (void)pthread_mutex_lock(&s->lock);
    for (i = 0; i < s->n_indices; i++)
        if (!s->threads[i] && !__atomic_load_n(&slot_at(s, i)->alive, __ATOMIC_ACQUIRE))
            break;
    (void)pthread_mutex_unlock(&s->lock);
    return i < SLOTS_MAX ? (int)i : -EAGAIN;
}

static void start_as_copy(struct plat_thread *child, const struct plat_thread *of)
{
    struct slot *s = child->slot;

    child->regs = of->regs;
    s->id = of->slot->id;
    s->trace = of->slot->trace;
    s->intr = 0;
    s->mask = of->slot->mask;
    s->robust = 0;
    s->signals = 1; /* until the sentry says otherwise */
    s->keep_pages = of->slot->keep_pages;
    s->changed = 0;
    s->stub_sleeps = s->sentry_sleeps = 0;
    s->n_ops = 0;
    s->stub_cpu = ~0U;
    __atomic_store_n(&s->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
}

/* The owner of the shared open file: set by the stub in its numbers, read in ours. */
static pid_t announced_tid(const struct plat_space *s)
{
    struct f_owner_ex owner = {0};

    if (fcntl(s->memfd, F_GETOWN_EX, &owner) < 0 || owner.type != F_OWNER_TID)
        return 0;
    return owner.pid;
}

static int clone_locked(struct plat_thread *th, struct plat_thread **ret)
{
    struct plat_space *s = th->space;
    struct plat_thread *child = NULL;
    struct slot_op *op;
    int index = free_index(s), r;

    if (index < 0)
        return index;
    r = thread_alloc(s, (unsigned)index, &child);
    if (r < 0)
        return r;
    start_as_copy(child, th);
    op = ops_add(th, OP_THREAD);
    if (op) {
        op->a[0] = (uint64_t)index;
        r = plat_flush(th);
    } else {
        r = -ENOMEM;
    }
    if (r < 0) {
        child->slot->alive = 0;
        (void)forget(child);
        thread_free(child);
        return r;
    }
    child->tid = announced_tid(s);
    *ret = child;
    return 0;
}

int plat_clone_thread(struct plat_thread *th, struct plat_thread **ret_child)
{
    int r = plat_flush(th);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&th->space->clone_lock);
    r = clone_locked(th, ret_child);
    (void)pthread_mutex_unlock(&th->space->clone_lock);
    return r;
}

/* Queues it: the space's process is there when that has been done. */
static int fork_into(struct plat_thread *th, struct plat_space *child, const int theirs[2])
{
    struct slot_op *op;
    uint32_t tag;
    int r;

    r = ops_send_fds(th, theirs, 2, &tag);
    if (r < 0)
        return r;
    op = ops_add(th, OP_FORK);
    if (!op)
        return -ENOMEM;
    op->tag = tag;
    child->layout = th->space->layout;
    child->base = th->space->base;
    return 0;
}

static int clone_space(struct plat_thread *th, bool now, struct plat_thread **ret_child)
{
    struct plat_space *s = NULL;
    struct plat_thread *child = NULL;
    int theirs[2], r;

    r = plat_flush(th);
    if (r < 0)
        return r;
    r = space_take_spare(th->space->plat, theirs, &s);
    if (r < 0)
        return r;
    r = thread_alloc(s, th->index, &child);
    if (r == 0) {
        start_as_copy(child, th);
        r = fork_into(th, s, theirs);
        if (r == 0 && now)
            r = plat_flush(th);
        if (r < 0) {
            (void)forget(child);
            thread_free(child);
        }
    }
    (void)close(theirs[0]);
    plat_space_put(s);
    if (r == 0)
        *ret_child = child;
    return r;
}

int plat_clone_space(struct plat_thread *th, struct plat_thread **ret_child)
{
    return clone_space(th, true, ret_child);
}

int plat_fork(struct plat_thread *th, struct plat_thread **ret_child)
{
    return clone_space(th, false, ret_child);
}

int plat_space_futex_wake(struct plat_space *s, uint64_t addr, int n)
{
    int r = -ENOSPC;

    (void)pthread_mutex_lock(&s->lock);
    if (s->n_wakes < WAKES_MAX) {
        s->wakes[s->n_wakes].addr = addr;
        s->wakes[s->n_wakes++].n = n;
        r = 0;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static void do_wakes(struct plat_thread *th)
{
    struct plat_space *s = th->space;
    unsigned n;

    (void)pthread_mutex_lock(&s->lock);
    n = s->n_wakes;
    s->n_wakes = 0;
    for (unsigned i = 0; i < n; i++)
        (void)plat_futex_wake(th, s->wakes[i].addr, s->wakes[i].n);
    (void)pthread_mutex_unlock(&s->lock);
    (void)plat_flush(th);
}

void plat_ending(struct plat_thread *th)
{
    th->ending = true;
}

void plat_thread_exit(struct plat_thread *th, uint64_t clear_tid)
{
    struct plat_space *s = th->space;
    bool last;

    plat_ending(th);
    if (s->n_wakes)
        do_wakes(th);
    else if (th->n_tags) /* descriptors that are under way must be taken by somebody */
        (void)plat_flush(th);
    last = forget(th);
    if (last) {
        plat_space_kill(s);
    } else if (!atomic_load(&s->dead)) {
        th->n_ops = 0;
        th->slot->clear_tid = clear_tid;
        turn_post(th, CMD_EXIT);
    }
    thread_free(th);
}
