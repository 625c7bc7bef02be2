/*
 * ptrace(2): requests are rows. A tracee is stopped (or the request does not need that), its state
 * is looked at with g_tasks_lock held; data of the tracer's moves before or after.
 */
#include "runtime/sentry/syscalls/sys_ptrace.h"
#include "runtime/sentry/task/access.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/mm/trace_memory.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"

#include <asm/ptrace-abi.h>
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/ptrace.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_ALL ((unsigned long)PTRACE_O_MASK)
enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS };

/* ---- beginning ------------------------------------------------------------------------------- */

static long trace_me(struct task *t)
{
    long r = -EPERM;

    mutex_lock(&g_tasks_lock);
    if (t->process->parent)
        r = trace_attach_locked(t, t->process->parent, 0, false);
    mutex_unlock(&g_tasks_lock);
    return r;
}

static bool may_attach_locked(const struct task *t, const struct task *target)
{
    return target->process != t->process && !target->exiting &&
           task_may_access_locked(t, target, ACCESS_BY_FSIDS);
}

/* One that job control had stopped already is a stopped tracee when ptrace returns. */
static void await_stop_locked(struct task *t, struct task *target)
{
    (void)task_get(target);
    while (target->trace && target->trace->tracer == t->process && !target->trace->stopped &&
           target->process->stopped && !target->exiting)
        if (wait_interruptible(&t->process->child_wait, &g_tasks_lock, DEADLINE_NONE) < 0)
            break;
    task_put(target);
}

static long attach(struct task *t, int pid, unsigned long options, bool seize)
{
    struct l_siginfo info;
    struct task *target;
    long r = -ESRCH;

    if (seize && (options & ~OPTIONS_ALL))
        return -EIO;
    if (options & PTRACE_O_SUSPEND_SECCOMP)
        return -EPERM;
    mutex_lock(&g_tasks_lock);
    target = task_find_locked(task_pidns(t), pid);
    if (target)
        r = may_attach_locked(t, target)
                ? trace_attach_locked(target, t->process, (unsigned)options, seize)
                : -EPERM;
    if (r == 0 && !seize) {
        siginfo_user(&info, SIGSTOP, t);
        (void)signal_send_task_locked(target, SIGSTOP, &info);
    }
    if (r == 0)
        await_stop_locked(t, target);
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* ---- what a tracer asks of its tracee -----------------------------------------------------------
 */

struct request {
    struct task *t, *tracee;
    uint64_t addr, data;
    bool unlocked; /* the request gave up the lock */
};

static void unlock(struct request *q)
{
    if (!q->unlocked)
        mutex_unlock(&g_tasks_lock);
    q->unlocked = true;
}

/* The answer, once nothing is locked. */
static long answer(struct request *q, uint64_t at, const void *data, size_t size)
{
    unlock(q);
    return copy_out(q->t, at, data, size);
}

static long peek(struct request *q)
{
    uint64_t word;
    ssize_t n = trace_memory_locked(q->tracee, q->addr, &word, sizeof(word), false);

    return n == sizeof(word) ? answer(q, q->data, &word, sizeof(word)) : -EIO;
}

static long poke(struct request *q)
{
    ssize_t n = trace_memory_locked(q->tracee, q->addr, &q->data, sizeof(q->data), true);

    return n == sizeof(q->data) ? 0 : -EIO;
}

static long peek_user(struct request *q)
{
    uint64_t word;
    int r = ptrace_peek_user(q->tracee, q->addr, &word);

    return r < 0 ? r : answer(q, q->data, &word, sizeof(word));
}

static long poke_user(struct request *q)
{
    return ptrace_poke_user(q->tracee, q->addr, q->data);
}

static long get_set(struct request *q, unsigned type, uint64_t at, size_t room, size_t *ret)
{
    uint8_t *data = calloc(1, PTRACE_SET_MAX);
    long r = data ? ptrace_get_set(q->tracee, type, data, ret) : -ENOMEM;

    if (r == 0) {
        if (*ret > room)
            *ret = room;
        r = answer(q, at, data, *ret);
        if (r == 0) /* data is copied out before it is freed */
            r = plat_flush(q->t->th);
    }
    free(data);
    return r;
}

static long put_set(struct request *q, unsigned type, uint64_t at, size_t size)
{
    uint8_t *data;
    long r;

    if (size > PTRACE_SET_MAX)
        size = PTRACE_SET_MAX;
    data = calloc(1, PTRACE_SET_MAX);
    if (!data)
        return -ENOMEM;
    /* The tracer's own memory may not be read under the lock; its tracee cannot run meanwhile. */
    mutex_unlock(&g_tasks_lock);
    r = copy_in(q->t, data, at, size);
    mutex_lock(&g_tasks_lock);
    if (r == 0)
        r = q->tracee->trace && q->tracee->trace->stopped && q->tracee->th
                ? ptrace_put_set(q->tracee, type, data, size)
                : -ESRCH;
    free(data);
    return r;
}

static long get_regs(struct request *q)
{
    size_t size;

    return get_set(q, NT_PRSTATUS, q->data, sizeof(struct plat_regs), &size);
}

static long set_regs(struct request *q)
{
    return put_set(q, NT_PRSTATUS, q->data, sizeof(struct plat_regs));
}

static long get_fpregs(struct request *q)
{
    size_t size;

    return get_set(q, NT_PRFPREG, q->data, 512, &size);
}

static long set_fpregs(struct request *q)
{
    return put_set(q, NT_PRFPREG, q->data, 512);
}

struct l_iovec {
    uint64_t base, size;
};

static int read_tracer(struct request *q, void *to, uint64_t at, size_t size)
{
    int r;

    mutex_unlock(&g_tasks_lock);
    r = copy_in(q->t, to, at, size);
    mutex_lock(&g_tasks_lock);
    if (r == 0 && !(q->tracee->trace && q->tracee->trace->stopped && q->tracee->th))
        r = -ESRCH;
    return r;
}

static long get_regset(struct request *q)
{
    struct l_iovec v;
    size_t size;
    long r = read_tracer(q, &v, q->data, sizeof(v));

    if (r == 0)
        r = get_set(q, (unsigned)q->addr, v.base, v.size, &size);
    if (r < 0)
        return r;
    v.size = size;
    return answer(q, q->data + offsetof(struct l_iovec, size), &v.size, sizeof(v.size));
}

static long set_regset(struct request *q)
{
    struct l_iovec v;
    long r = read_tracer(q, &v, q->data, sizeof(v));

    return r < 0 ? r : put_set(q, (unsigned)q->addr, v.base, v.size);
}

static long arch_prctl(struct request *q)
{
    struct plat_regs *regs = plat_regs(q->tracee->th);

    switch (q->data) {
    case ARCH_GET_FS:
        return answer(q, q->addr, &regs->fs_base, sizeof(regs->fs_base));
    case ARCH_GET_GS:
        return answer(q, q->addr, &regs->gs_base, sizeof(regs->gs_base));
    case ARCH_SET_FS:
        return ptrace_poke_user(q->tracee, offsetof(struct plat_regs, fs_base), q->addr);
    case ARCH_SET_GS:
        return ptrace_poke_user(q->tracee, offsetof(struct plat_regs, gs_base), q->addr);
    default:
        return -EINVAL;
    }
}

static long get_siginfo(struct request *q)
{
    if (!q->tracee->trace->has_info)
        return -EINVAL;
    return answer(q, q->data, &q->tracee->trace->info, sizeof(struct l_siginfo));
}

static long set_siginfo(struct request *q)
{
    struct l_siginfo info;
    long r = read_tracer(q, &info, q->data, sizeof(info));

    if (r == 0 && !q->tracee->trace->has_info)
        r = -EINVAL;
    if (r == 0)
        q->tracee->trace->info = info;
    return r;
}

static long peek_siginfo(struct request *q)
{
    struct {
        uint64_t off;
        uint32_t flags;
        int32_t n;
    } args;
    struct l_siginfo found[8];
    struct sigqueue_entry *e;
    struct process *p = q->tracee->process;
    uint64_t i = 0;
    int n = 0;
    long r = read_tracer(q, &args, q->addr, sizeof(args));

    if (r < 0)
        return r;
    if ((args.flags & ~1U) || args.n < 0)
        return -EINVAL;
    mutex_lock(&p->sighand->lock);
    list_for_each_entry (e, args.flags & 1 ? &p->pending.queue : &q->tracee->pending_own.queue,
                         link)
        if (i++ >= args.off && n < args.n && n < (int)ARRAY_SIZE(found))
            found[n++] = e->info;
    mutex_unlock(&p->sighand->lock);
    r = n ? answer(q, q->data, found, (size_t)n * sizeof(found[0])) : 0;
    return r < 0 ? r : n;
}

static long get_sigmask(struct request *q)
{
    const struct task *o = q->tracee;
    l_sigset_t mask = o->restore_mask ? o->saved_mask : o->blocked;

    return q->addr != sizeof(mask) ? -EINVAL : answer(q, q->data, &mask, sizeof(mask));
}

static long set_sigmask(struct request *q)
{
    struct task *o = q->tracee;
    l_sigset_t mask;
    long r = q->addr != sizeof(mask) ? -EINVAL : read_tracer(q, &mask, q->data, sizeof(mask));

    if (r < 0)
        return r;
    mutex_lock(&o->process->sighand->lock);
    o->blocked = mask & ~SIGMASK_UNBLOCKABLE;
    signal_publish_mask(o);
    signal_publish_mask(o);
    o->restore_mask = false;
    signal_recalc_locked(o);
    mutex_unlock(&o->process->sighand->lock);
    return 0;
}

static long set_options(struct request *q)
{
    if (q->data & ~OPTIONS_ALL)
        return -EINVAL;
    if (q->data & PTRACE_O_SUSPEND_SECCOMP)
        return -EPERM;
    q->tracee->trace->options = (unsigned)q->data;
    return 0;
}

static long get_message(struct request *q)
{
    return answer(q, q->data, &q->tracee->trace->message, sizeof(uint64_t));
}

/* Its answer is its whole size; what fits is copied. */
static long get_syscall_info(struct request *q)
{
    const struct plat_regs *r = plat_regs(q->tracee->th);
    const struct trace *tr = q->tracee->trace;
    struct ptrace_syscall_info info = {.op = tr->op,
                                       .arch = AUDIT_ARCH_X86_64,
                                       .instruction_pointer = r->rip,
                                       .stack_pointer = r->rsp};
    const uint64_t args[] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
    size_t size = offsetof(struct ptrace_syscall_info, entry);
    long e;

    switch (tr->op) {
    case PTRACE_SYSCALL_INFO_ENTRY:
        info.entry.nr = r->orig_rax;
        memcpy(info.entry.args, args, sizeof(args));
        size = offsetof(struct ptrace_syscall_info, entry.args) + sizeof(args);
        break;
    case PTRACE_SYSCALL_INFO_SECCOMP:
        info.seccomp.nr = r->orig_rax;
        memcpy(info.seccomp.args, args, sizeof(args));
        info.seccomp.ret_data = (uint32_t)tr->message;
        size = offsetof(struct ptrace_syscall_info, seccomp.ret_data) + sizeof(uint32_t);
        break;
    case PTRACE_SYSCALL_INFO_EXIT:
        info.exit.rval = (int64_t)r->rax;
        info.exit.is_error = info.exit.rval < 0 && info.exit.rval >= -4095;
        size = offsetof(struct ptrace_syscall_info, exit.is_error) + 1;
        break;
    default:
        break;
    }
    e = answer(q, q->data, &info, MIN(size, q->addr));
    return e < 0 ? e : (long)size;
}

static long resume(struct request *q, enum trace_mode mode, bool step)
{
    if (q->data > L_NSIG)
        return -EIO;
    trace_resume_locked(q->tracee, mode, step, (int)q->data);
    return 0;
}

static long cont(struct request *q)
{
    return resume(q, TRACE_RUN, false);
}

static long syscall_stop(struct request *q)
{
    return resume(q, TRACE_SYSCALL, false);
}

static long single_step(struct request *q)
{
    return resume(q, TRACE_RUN, true);
}

static long emulate(struct request *q)
{
    return resume(q, TRACE_EMULATE, false);
}

static long emulate_step(struct request *q)
{
    return resume(q, TRACE_EMULATE, true);
}

static long detach(struct request *q)
{
    if (q->data > L_NSIG)
        return -EIO;
    trace_detach_locked(q->tracee, (int)q->data);
    return 0;
}

static long listen_on(struct request *q)
{
    struct trace *tr = q->tracee->trace;

    if (!tr->seized || !tr->event_stop)
        return -EIO;
    tr->listening = true;
    if (tr->want_stop) /* something happened since it stopped */
        trace_resume_locked(q->tracee, TRACE_RUN, false, 0);
    return 0;
}

static long interrupt(struct request *q)
{
    if (!q->tracee->trace->seized)
        return -EIO;
    trace_interrupt_locked(q->tracee);
    return 0;
}

static long kill_it(struct request *q)
{
    return signal_send_process_locked(q->tracee->process, SIGKILL, NULL);
}

static const struct {
    unsigned number;
    long (*fn)(struct request *q);
    bool running_too; /* the tracee need not be stopped */
} requests[] = {
    {PTRACE_PEEKTEXT, peek, false},
    {PTRACE_PEEKDATA, peek, false},
    {PTRACE_PEEKUSR, peek_user, false},
    {PTRACE_POKETEXT, poke, false},
    {PTRACE_POKEDATA, poke, false},
    {PTRACE_POKEUSR, poke_user, false},
    {PTRACE_CONT, cont, false},
    {PTRACE_KILL, kill_it, true},
    {PTRACE_SINGLESTEP, single_step, false},
    {PTRACE_GETREGS, get_regs, false},
    {PTRACE_SETREGS, set_regs, false},
    {PTRACE_GETFPREGS, get_fpregs, false},
    {PTRACE_SETFPREGS, set_fpregs, false},
    {PTRACE_DETACH, detach, false},
    {PTRACE_SYSCALL, syscall_stop, false},
    {PTRACE_ARCH_PRCTL, arch_prctl, false},
    {PTRACE_SYSEMU, emulate, false},
    {PTRACE_SYSEMU_SINGLESTEP, emulate_step, false},
    {PTRACE_SETOPTIONS, set_options, false},
    {PTRACE_GETEVENTMSG, get_message, false},
    {PTRACE_GETSIGINFO, get_siginfo, false},
    {PTRACE_SETSIGINFO, set_siginfo, false},
    {PTRACE_GETREGSET, get_regset, false},
    {PTRACE_SETREGSET, set_regset, false},
    {PTRACE_INTERRUPT, interrupt, true},
    {PTRACE_LISTEN, listen_on, false},
    {PTRACE_PEEKSIGINFO, peek_siginfo, false},
    {PTRACE_GETSIGMASK, get_sigmask, false},
    {PTRACE_SETSIGMASK, set_sigmask, false},
    {PTRACE_GET_SYSCALL_INFO, get_syscall_info, false},
};

static long ask(struct request *q, unsigned number, int pid)
{
    const struct trace *tr;
    size_t i = 0;
    long r;

    while (i < ARRAY_SIZE(requests) && requests[i].number != number)
        i++;
    mutex_lock(&g_tasks_lock);
    q->tracee = task_find_locked(task_pidns(q->t), pid);
    tr = q->tracee ? q->tracee->trace : NULL;
    if (!tr || tr->tracer != q->t->process)
        r = -ESRCH;
    else if (i < ARRAY_SIZE(requests) && !requests[i].running_too &&
             (!tr->stopped || tr->listening || !q->tracee->th))
        r = -ESRCH;
    else if (i == ARRAY_SIZE(requests))
        r = -EIO;
    else {
        (void)task_get(q->tracee);
        r = requests[i].fn(q);
        unlock(q);
        task_put(q->tracee);
        return r;
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

long sys_ptrace(struct task *t, const struct sysargs *a)
{
    struct request q = {.t = t, .addr = a->v[2], .data = a->v[3]};

    switch (a->v[0]) {
    case PTRACE_TRACEME:
        return trace_me(t);
    case PTRACE_ATTACH:
        return attach(t, (int)a->v[1], 0, false);
    case PTRACE_SEIZE:
        return a->v[2] ? -EIO : attach(t, (int)a->v[1], a->v[3], true);
    default:
        return ask(&q, a->v[0] > UINT32_MAX ? UINT32_MAX : (unsigned)a->v[0], (int)a->v[1]);
    }
}
