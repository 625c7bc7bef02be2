/*
 * Pending signals. Standard signals are pending at most once; real-time ones queue, lowest number
 * first and in the order sent (signal(7)). All under sighand->lock.
 */
#include "runtime/sentry/signal/signal.h"

#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/time/timers.h"

#include <stdlib.h>

struct sighand *sighand_new(void)
{
    struct sighand *s = calloc(1, sizeof(*s));

    if (s)
        ref_init(&s->ref);
    return s;
}

struct sighand *sighand_get(struct sighand *s)
{
    ref_get(&s->ref);
    return s;
}

void sighand_put(struct sighand *s)
{
    if (s && ref_put(&s->ref))
        free(s);
}

void sigpending_init(struct sigpending *p)
{
    p->set = 0;
    p->count = 0;
    list_init(&p->queue);
}

static void entry_free(struct sigqueue_entry *e)
{
    list_remove(&e->link);
    if (!e->timer)
        free(e);
}

void sigpending_flush(struct sigpending *p, l_sigset_t which)
{
    struct sigqueue_entry *e, *next;

    list_for_each_entry_safe (e, next, &p->queue, link) {
        if (!(which & l_sigmask(e->info.signo)))
            continue;
        p->count--;
        entry_free(e);
    }
    p->set &= ~which;
}

/* A timer has one signal queued at most: what comes while it waits counts as overrun. */
static bool merge_timer(struct sigpending *p, int sig, const struct l_siginfo *info)
{
    struct sigqueue_entry *e;
    int32_t sum;

    list_for_each_entry (e, &p->queue, link)
        if (e->info.signo == sig && e->info.code == SI_TIMER &&
            e->info.timer.timerid == info->timer.timerid) {
            if (__builtin_add_overflow(e->info.timer.overrun, info->timer.overrun, &sum) ||
                __builtin_add_overflow(sum, 1, &sum))
                sum = INT32_MAX;
            e->info.timer.overrun = sum;
            return true;
        }
    return false;
}

int sigpending_add(struct sigpending *p, int sig, const struct l_siginfo *info, unsigned limit)
{
    struct sigqueue_entry *e;

    if (info->code == SI_TIMER && (p->set & l_sigmask(sig)) && merge_timer(p, sig, info))
        return 0;
    /* One of each, and one of each timer: its overruns are counted from when it is queued. */
    if (sig < SIGRTMIN_KERNEL && (p->set & l_sigmask(sig)) &&
        (info->code != SI_TIMER || p->count >= limit))
        return 0;
    e = p->count < limit || sig < SIGRTMIN_KERNEL ? calloc(1, sizeof(*e)) : NULL;
    if (!e) {
        if (sig >= SIGRTMIN_KERNEL)
            return -EAGAIN;
        p->set |= l_sigmask(sig);
        return 0;
    }
    list_init(&e->link);
    e->info = *info;
    e->info.signo = sig;
    list_append(&p->queue, &e->link);
    p->count++;
    p->set |= l_sigmask(sig);
    return 0;
}

/* Takes the oldest entry of sig; a bit without an entry (memory was short) gives bare information.
 */
static void take(struct sigpending *p, int sig, struct l_siginfo *ret)
{
    struct sigqueue_entry *e, *found = NULL;
    bool more = false;

    list_for_each_entry (e, &p->queue, link) {
        if (e->info.signo != sig)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = e;
    }
    *ret = (struct l_siginfo){.signo = sig, .code = SI_USER};
    if (found) {
        *ret = found->info;
        p->count--;
        entry_free(found);
    }
    if (!more)
        p->set &= ~l_sigmask(sig);
}

/* Synchronous signals first, then the lowest number (Linux's next_signal). */
static int lowest(l_sigset_t set)
{
    l_sigset_t synchronous = set & (l_sigmask(SIGSEGV) | l_sigmask(SIGBUS) | l_sigmask(SIGILL) |
                                    l_sigmask(SIGTRAP) | l_sigmask(SIGFPE) | l_sigmask(SIGSYS));

    return __builtin_ctzll(synchronous ? synchronous : set) + 1;
}

int signal_dequeue_locked(struct task *t, l_sigset_t mask, struct l_siginfo *ret_info)
{
    struct sigpending *own = &t->pending_own, *shared = &t->process->pending;
    int sig = 0;

    if (own->set & mask) {
        sig = lowest(own->set & mask);
        take(own, sig, ret_info);
    } else if (shared->set & mask) {
        sig = lowest(shared->set & mask);
        take(shared, sig, ret_info);
    }
    if (sig && ret_info->code == SI_TIMER)
        timers_signal_taken(t->process, ret_info->timer.timerid, ret_info->timer.overrun);
    if (sig)
        signal_recalc_locked(t);
    return sig;
}

l_sigset_t signal_pending_set_locked(const struct task *t)
{
    return t->pending_own.set | t->process->pending.set;
}

l_sigset_t signal_mask(const struct task *t)
{
    return t->th ? plat_mask(t->th) & ~SIGMASK_UNBLOCKABLE : t->blocked;
}

void signal_publish_mask(struct task *t)
{
    if (t->th)
        plat_set_mask(t->th, t->blocked);
}

void signal_recalc_locked(struct task *t)
{
    struct process *p = t->process;
    bool stop = task_stop_due(t) && !p->group_exit;
    l_sigset_t pending = signal_pending_set_locked(t);
    uint32_t v;

    if (t->th) /* first: from now on the stub doesn't change the mask */
        plat_signals(t->th, pending != 0);
    v = (pending & ~signal_mask(t)) != 0 || t->killed || p->group_exit || stop || t->trace_request;
    __atomic_store_n(&t->interrupt, v, __ATOMIC_SEQ_CST);
}

void signal_recalc_new(struct task *t)
{
    mutex_lock(&t->process->sighand->lock);
    signal_recalc_locked(t);
    mutex_unlock(&t->process->sighand->lock);
}

bool signal_pending(const struct task *t)
{
    return __atomic_load_n(&t->interrupt, __ATOMIC_SEQ_CST) != 0;
}

bool signal_fatal_pending(const struct task *t)
{
    return t->killed || t->process->group_exit ||
           ((t->pending_own.set | t->process->pending.set) & l_sigmask(SIGKILL));
}

struct waitq *signal_waitq(struct process *p)
{
    return &p->signal_wait;
}
