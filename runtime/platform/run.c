/*
 * plat_run: execute the queue, let the guest go on, take its next event apart.
 *
 * Threats: the slot belongs to hostile code as much as to us. Registers are copied out once; an
 * event number that we don't know kills the process.
 */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All but the data segments, which are always 0: one cache line less. */
#define SHARED_REGS offsetof(struct plat_regs, ds)

struct plat_regs *plat_regs(struct plat_thread *th)
{
    return &th->regs;
}

void plat_set_identity(struct plat_thread *th, const struct plat_identity *id)
{
    th->slot->id = *id;
    th->slot->trace = id->trace;
}

uint64_t plat_mask(const struct plat_thread *th)
{
    return __atomic_load_n(&th->slot->mask, __ATOMIC_SEQ_CST);
}

void plat_set_mask(struct plat_thread *th, uint64_t mask)
{
    __atomic_store_n(&th->slot->mask, mask, __ATOMIC_SEQ_CST);
}

void plat_signals(struct plat_thread *th, bool pending)
{
    __atomic_store_n(&th->slot->signals, pending, __ATOMIC_SEQ_CST);
}

uint64_t plat_robust_list(const struct plat_thread *th)
{
    return __atomic_load_n(&th->slot->robust, __ATOMIC_RELAXED);
}

void plat_set_robust_list(struct plat_thread *th, uint64_t head)
{
    __atomic_store_n(&th->slot->robust, head, __ATOMIC_RELAXED);
}

void plat_keep_pages(struct plat_space *s)
{
    (void)pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n_indices; i++)
        if (s->threads[i])
            __atomic_store_n(&slot_at(s, i)->keep_pages, 1, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&s->lock);
}

bool plat_waits(const struct plat_thread *th)
{
    return __atomic_load_n(&th->slot->waits, __ATOMIC_RELAXED) != 0;
}

void plat_interrupt(struct plat_thread *th)
{
    pid_t pid, tid;

    atomic_store(&th->interrupt, true);
    __atomic_store_n(&th->slot->intr, 1, __ATOMIC_SEQ_CST);
    if (atomic_load(&th->place) != IN_GUEST)
        return;
    pid = atomic_load(&th->space->pid);
    tid = th->tid ? th->tid : pid; /* a space's first thread has its pid */
    if (pid)
        (void)syscall(SYS_tgkill, pid, tid, STUB_SIGNAL);
}

void plat_blocking(struct plat_thread *th)
{
    __atomic_store_n(&th->slot->sentry_cpu, CPU_NONE, __ATOMIC_RELAXED);
}

static void clear_interrupt(struct plat_thread *th)
{
    atomic_store(&th->interrupt, false);
    __atomic_store_n(&th->slot->intr, 0, __ATOMIC_SEQ_CST);
    /* One that came between the two must not be lost. */
    if (atomic_load(&th->interrupt))
        __atomic_store_n(&th->slot->intr, 1, __ATOMIC_SEQ_CST);
}

static void read_fault(const struct slot *s, struct plat_exit *ret)
{
    ret->signo = s->signo;
    ret->code = s->code;
    ret->address = s->address;
    ret->trapno = s->trapno;
    ret->err = s->err;
    switch (ret->signo) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
        break;
    default:
        ret->signo = SIGSEGV;
    }
    if (ret->code <= 0 && ret->code != SI_KERNEL)
        ret->code = SI_KERNEL;
}

static void dead(struct plat_exit *ret)
{
    ret->event = PLAT_DEAD;
    ret->signo = SIGKILL;
}

/* Registers of a call site's trampoline are the general ones only. */
static void read_regs(struct plat_thread *th)
{
    memcpy(&th->regs, (const void *)&th->slot->regs, SHARED_REGS);
    th->regs.fs_base &= 0x7fffffffffffULL;
    th->seen = th->regs;
}

static void op_failed(struct plat_thread *th, struct plat_exit *ret)
{
    ret->event = PLAT_OP_FAILED;
    ret->op_index = th->slot->op_index % SLOT_OPS;
    ret->op_errno = (int)(th->slot->op_errno & 0xfff);
    if (ret->op_errno == 0)
        ret->op_errno = EFAULT;
}

static void decode(struct plat_thread *th, uint32_t event, struct plat_exit *ret)
{
    ret->changed = event & EV_CHANGED;
    event &= ~(uint32_t)EV_CHANGED;
    th->patched = event == EV_PATCHED;
    switch (event) {
    case EV_OP_FAILED:
        op_failed(th, ret);
        return;
    case EV_SYSCALL:
    case EV_PATCHED:
        ret->event = PLAT_SYSCALL;
        break;
    case EV_FUTEX:
        ret->event = PLAT_FUTEX;
        clear_interrupt(th);
        break;
    case EV_INTERRUPTED:
        ret->event = PLAT_INTERRUPTED;
        clear_interrupt(th);
        break;
    case EV_FAULT:
        ret->event = PLAT_FAULT;
        read_fault(th->slot, ret);
        break;
    default:
        plat_space_kill(th->space);
        dead(ret);
        return;
    }
    read_regs(th);
    th->ahead = event == EV_SYSCALL || event == EV_PATCHED;
    if (event == EV_SYSCALL)
        patch_consider(th, false);
}

/* A patched call whose result is all that changed goes back without a frame. */
static uint32_t write_regs(struct plat_thread *th)
{
    if (th->regs.gs_base)
        patch_off(th);
    if (th->patched) {
        th->seen.rax = th->regs.rax;
        th->seen.orig_rax = th->regs.orig_rax;
        if (!memcmp(&th->seen, &th->regs, SHARED_REGS)) {
            th->slot->result = th->regs.rax;
            return CMD_RUN;
        }
    }
    memcpy(&th->slot->regs, &th->regs, SHARED_REGS);
    return CMD_RUN | CMD_FULL;
}

/* False: an interrupt is to be reported first. */
static bool enter_guest(struct plat_thread *th)
{
    atomic_store(&th->place, IN_GUEST);
    if (!atomic_load(&th->interrupt))
        return true;
    atomic_store(&th->place, IN_SENTRY);
    clear_interrupt(th);
    return false;
}

void plat_start(struct plat_thread *th)
{
    if (atomic_load(&th->interrupt) || atomic_load(&th->space->dead))
        return;
    atomic_store(&th->place, IN_GUEST);
    th->started = true;
    atomic_store(&th->waits, true);
    turn_post(th, write_regs(th));
}

void plat_run(struct plat_thread *th, struct plat_exit *ret)
{
    uint32_t event, changed = 0;

    memset(ret, 0, sizeof(*ret));
    if (space_ready(th->space) < 0) {
        dead(ret);
        return;
    }
    th->ahead = false;
    if (th->started) {
        th->started = false;
        if (atomic_load(&th->interrupt)) /* it came when nobody knew a fork's pid yet */
            plat_interrupt(th);
        event = turn_wait(th);
    } else if (!enter_guest(th)) {
        ret->event = PLAT_INTERRUPTED;
        return;
    } else {
        event = turn_exchange(th, write_regs(th));
    }
    while ((event & ~(uint32_t)EV_CHANGED) == EV_HOT) {
        changed |= event & EV_CHANGED;
        read_regs(th);
        patch_consider(th, true);
        event = turn_exchange(th, CMD_CONTINUE);
    }
    atomic_store(&th->place, IN_SENTRY);
    if (event == 0)
        dead(ret);
    else
        decode(th, event | changed, ret);
}
