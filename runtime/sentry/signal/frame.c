/*
 * Signal frames, byte for byte as arch/x86/kernel/signal_64.c lays them out: unwinders, debuggers
 * and garbage collectors read them. Vector state is stored and loaded by the stub in the guest's
 * own memory.
 */
#include "runtime/sentry/signal/frame.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
    RED_ZONE = 128,
    USER_CS = 0x33,
    USER_SS = 0x2b,
    UC_FP_XSTATE = 1,
    UC_SIGCONTEXT_SS = 2,
    UC_STRICT_RESTORE_SS = 4
};
#define SS_AUTODISARM_FLAG (1U << 31)
/* Flags that user code may set: CF PF AF ZF SF TF DF OF RF AC ID. */
#define EFLAGS_USER 0x250dd5UL

static bool within_altstack(const struct task *t, uint64_t sp)
{
    const struct l_stack *s = &t->altstack;

    return s->size && sp > s->sp && sp - s->sp <= s->size;
}

static bool on_altstack(const struct task *t, uint64_t sp)
{
    return !(t->altstack.flags & (int)SS_AUTODISARM_FLAG) && within_altstack(t, sp);
}

int signal_altstack_flags(const struct task *t, uint64_t sp)
{
    if (!t->altstack.size)
        return SS_DISABLE;
    return on_altstack(t, sp) ? SS_ONSTACK : 0;
}

static void save_registers(struct l_sigcontext *c, const struct plat_regs *r)
{
    c->r8 = r->r8, c->r9 = r->r9, c->r10 = r->r10, c->r11 = r->r11;
    c->r12 = r->r12, c->r13 = r->r13, c->r14 = r->r14, c->r15 = r->r15;
    c->rdi = r->rdi, c->rsi = r->rsi, c->rbp = r->rbp, c->rbx = r->rbx;
    c->rdx = r->rdx, c->rax = r->rax, c->rcx = r->rcx, c->rsp = r->rsp;
    c->rip = r->rip, c->eflags = r->eflags;
    c->cs = USER_CS, c->ss = USER_SS;
}

static void load_registers(struct plat_regs *r, const struct l_sigcontext *c)
{
    r->r8 = c->r8, r->r9 = c->r9, r->r10 = c->r10, r->r11 = c->r11;
    r->r12 = c->r12, r->r13 = c->r13, r->r14 = c->r14, r->r15 = c->r15;
    r->rdi = c->rdi, r->rsi = c->rsi, r->rbp = c->rbp, r->rbx = c->rbx;
    r->rdx = c->rdx, r->rax = c->rax, r->rcx = c->rcx, r->rsp = c->rsp;
    r->rip = c->rip;
    r->eflags = (r->eflags & ~EFLAGS_USER) | (c->eflags & EFLAGS_USER);
}

int signal_push_frame(struct task *t, const struct l_sigaction *action,
                      const struct l_siginfo *info, l_sigset_t old_mask)
{
    struct plat_regs *regs = plat_regs(t->th);
    struct l_rt_sigframe frame = {0};
    uint64_t sp = regs->rsp - RED_ZONE, fp, at;
    bool alternate = on_altstack(t, regs->rsp);
    ssize_t r;

    if ((action->flags & SA_ONSTACK) && t->altstack.size && !alternate) {
        sp = t->altstack.sp + t->altstack.size;
        alternate = true;
    }
    fp = (sp - plat_fp_size()) & ~63ULL;
    at = ((fp - sizeof(frame)) & ~15ULL) - 8;
    if (alternate && !within_altstack(t, at))
        return -EFAULT; /* its end: what lies below is not of it */

    frame.pretcode = action->restorer;
    frame.uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    frame.uc.stack = t->altstack;
    frame.uc.stack.flags = signal_altstack_flags(t, regs->rsp);
    save_registers(&frame.uc.mcontext, regs);
    frame.uc.mcontext.fpstate = fp;
    frame.uc.mcontext.oldmask = old_mask;
    frame.uc.mcontext.err = t->fault_err;
    frame.uc.mcontext.trapno = t->fault_trapno;
    frame.uc.mcontext.cr2 = t->fault_address;
    frame.uc.sigmask = old_mask;
    frame.info = *info;
    r = plat_fp_store(t->th, fp);
    if (r == 0)
        r = plat_flush(t->th);
    if (r == 0)
        r = plat_write(t->th, at, &frame, sizeof(frame));
    if (r != sizeof(frame))
        return r == -ESRCH ? -ESRCH : -EFAULT;
    r = plat_fp_load(t->th, 0); /* a handler begins with a clean state */
    if (r < 0)
        return (int)r;
    if (t->altstack.flags & (int)SS_AUTODISARM_FLAG)
        t->altstack = (struct l_stack){.flags = SS_DISABLE};
    regs->rdi = (uint64_t)info->signo;
    regs->rsi = at + offsetof(struct l_rt_sigframe, info);
    regs->rdx = at + offsetof(struct l_rt_sigframe, uc);
    regs->rax = 0;
    regs->rip = action->handler;
    regs->rsp = at;
    regs->eflags &= ~0x10500UL; /* DF, RF, TF */
    t->no_restart = true;
    return 0;
}

int signal_pop_frame(struct task *t)
{
    struct plat_regs *regs = plat_regs(t->th);
    struct l_rt_sigframe frame;
    uint64_t at = regs->rsp - sizeof(frame.pretcode);

    if (copy_in(t, &frame, at, offsetof(struct l_rt_sigframe, info)) < 0)
        return -EFAULT;
    if (plat_fp_load(t->th, frame.uc.mcontext.fpstate) < 0 || plat_flush(t->th) < 0)
        return -EFAULT;
    load_registers(regs, &frame.uc.mcontext);
    signal_set_mask(t, frame.uc.sigmask);
    if (!on_altstack(t, regs->rsp)) {
        t->altstack.sp = frame.uc.stack.sp;
        t->altstack.size = frame.uc.stack.flags & SS_DISABLE ? 0 : frame.uc.stack.size;
        t->altstack.flags = frame.uc.stack.flags & (int)SS_AUTODISARM_FLAG;
    }
    t->no_restart = true;
    return 0;
}
