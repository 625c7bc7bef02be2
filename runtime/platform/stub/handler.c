/*
 * The one signal handler: traps, faults and interrupts of guest code become events for the sentry;
 * its own faults and interrupts are mended by moving the instruction pointer.
 */
#include "runtime/platform/stub/stub.h"

static void regs_from(struct slot *s, const struct k_ucontext *uc, const struct area *a)
{
    struct plat_regs *r = &s->regs;
    uint64_t fs, gs;

    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    __asm__ volatile("rdgsbase %0" : "=r"(gs));
    r->r15 = uc->r15;
    r->r14 = uc->r14;
    r->r13 = uc->r13;
    r->r12 = uc->r12;
    r->rbp = uc->rbp;
    r->rbx = uc->rbx;
    r->r11 = uc->r11;
    r->r10 = uc->r10;
    r->r9 = uc->r9;
    r->r8 = uc->r8;
    r->rax = uc->rax;
    r->rcx = uc->rcx;
    r->rdx = uc->rdx;
    r->rsi = uc->rsi;
    r->rdi = uc->rdi;
    r->orig_rax = (uint64_t)-1;
    r->rip = uc->rip;
    r->cs = uc->cs;
    r->eflags = uc->eflags;
    r->rsp = uc->rsp;
    r->ss = uc->ss;
    r->fs_base = fs;
    r->gs_base = gs == a->self ? 0 : gs;
}

/* Segment selectors stay what they are: the guest's own, or the fresh ones. */
static void regs_to(const struct slot *s, struct k_ucontext *uc, const struct area *a)
{
    const struct plat_regs *r = &s->regs;
    uint64_t fs, gs, want = r->gs_base ? r->gs_base : a->self;

    uc->r15 = r->r15;
    uc->r14 = r->r14;
    uc->r13 = r->r13;
    uc->r12 = r->r12;
    uc->rbp = r->rbp;
    uc->rbx = r->rbx;
    uc->r11 = r->r11;
    uc->r10 = r->r10;
    uc->r9 = r->r9;
    uc->r8 = r->r8;
    uc->rax = r->rax;
    uc->rcx = r->rcx;
    uc->rdx = r->rdx;
    uc->rsi = r->rsi;
    uc->rdi = r->rdi;
    uc->rip = r->rip;
    uc->eflags = r->eflags;
    uc->rsp = r->rsp;
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    __asm__ volatile("rdgsbase %0" : "=r"(gs));
    if (fs != r->fs_base && r->fs_base < TASK_TOP)
        __asm__ volatile("wrfsbase %0" ::"r"(r->fs_base));
    if (gs != want && want < TASK_TOP)
        __asm__ volatile("wrgsbase %0" ::"r"(want));
}

void stub_serve(struct area *a, struct k_ucontext *uc)
{
    struct slot *s = slot_of(a);

    for (;;) {
        uint32_t command;
        int r;

        turn_wait(s);
        command = s->command;
        if (command == CMD_RUN)
            s->regs.rax =
                s->result; /* the call came by the trampoline, which fell into this frame */
        r = ops_run(a, s, uc);
        if ((command & 0xff) == CMD_EXIT)
            stub_exit(s);
        if (r == OPS_FAILED) {
            turn_give(s, EV_OP_FAILED);
            continue;
        }
        if ((command & 0xff) == CMD_RUN) {
            regs_to(s, uc, a);
            patch_settle(a, uc);
            stub_resume(uc, s);
        }
        turn_give(s, EV_DONE);
    }
}

void stub_interrupted(struct k_ucontext *uc)
{
    struct area *a = area_here();
    struct slot *s = slot_of(a);

    regs_from(s, uc, a);
    turn_give(s, EV_INTERRUPTED);
    stub_serve(a, uc);
}

/* A thread that was cloned: its frame is a copy of its maker's. */
void stub_thread_start(struct k_ucontext *uc)
{
    struct area *a = area_here();

    __asm__ volatile("wrgsbase %0" ::"r"(a));
    stub_serve(a, uc);
}

/* What the guest may know anyway: by the trampoline's table of offsets in the slot. */
static bool answer_here(const struct slot *s, struct k_ucontext *uc)
{
    if (!tramp_answers(uc->rax))
        return false;
    uc->rax = *(const uint32_t *)((const uint8_t *)s + local_table[uc->rax]);
    return true;
}

/* The sentry may patch the site; then the call goes on here. */
static void ask_for_patch(struct area *a, struct slot *s, struct k_ucontext *uc)
{
    uint64_t nr = uc->rax;

    regs_from(s, uc, a);
    s->regs.orig_rax = nr;
    turn_give(s, EV_HOT);
    for (;;) {
        int r;

        turn_wait(s);
        r = ops_run(a, s, uc);
        if ((s->command & 0xff) == CMD_CONTINUE)
            return;
        if ((s->command & 0xff) == CMD_EXIT)
            stub_exit(s);
        turn_give(s, r == OPS_FAILED ? EV_OP_FAILED : EV_DONE);
    }
}

static bool is_answered_here(uint64_t nr)
{
    return tramp_answers(nr) || nr == __NR_futex || nr == __NR_sched_yield || nr == __NR_pread64 ||
           nr == __NR_pwrite64 || told_is(nr) || local_is(nr);
}

static void system_call(struct area *a, struct slot *s, struct k_ucontext *uc)
{
    uint64_t nr = uc->rax;
    const uint64_t args[] = {uc->rdi, uc->rsi, uc->rdx, uc->r10, uc->r8, uc->r9};
    uint32_t event = EV_SYSCALL;

    /* Futexes stay native even then: their waiters are in the host's queue, and only there. */
    if (!s->trace || native_is_futex(nr)) {
        if (is_answered_here(nr) && patch_is_hot(a, uc->rip))
            ask_for_patch(a, s, uc);
        int r = answer_here(s, uc) ? 1 : native_call(a, nr, args, &uc->rax);

        if (r > 0) {
            patch_settle(a, uc);
            stub_resume(uc, s);
        }
        if (r < 0)
            event = EV_FUTEX;
    }
    regs_from(s, uc, a);
    s->regs.orig_rax = nr;
    s->regs.rax = (uint64_t)-E_NOSYS;
    copy_ahead(s, nr, args);
    turn_give(s, event);
    stub_serve(a, uc);
}

static bool within(uint64_t ip, const char *start, const char *end)
{
    return ip >= (uint64_t)start && ip < (uint64_t)end;
}

/* True if the stub's own instruction pointer needed and got mending. */
static bool mend(int sig, struct k_ucontext *uc)
{
    if (sig == K_SIGSEGV || sig == K_SIGBUS) {
        if (uc->rip == (uint64_t)stub_copy_insn)
            uc->rip = (uint64_t)stub_copy_fault;
        else if (uc->rip == (uint64_t)stub_string_insn)
            uc->rip = (uint64_t)stub_string_fault;
        else if (uc->rip == (uint64_t)stub_cmpxchg_insn)
            uc->rip = (uint64_t)stub_cmpxchg_fault;
        else
            return false;
        return true;
    }
    if (sig != STUB_SIGNAL)
        return false;
    if (uc->rip == (uint64_t)tramp_local_jump) {
        uc->rip = uc->rcx; /* answered: as if the jump were done */
        return false;
    }
    if (within(uc->rip, resume_check, resume_end))
        uc->rip = (uint64_t)resume_check;
    else if (within(uc->rip, tramp_check, tramp_end))
        uc->rip = (uint64_t)tramp_check;
    else if (within(uc->rip, tramp_local, tramp_local_jump))
        uc->rip = (uint64_t)tramp_local;
    else if (within(uc->rip, futex_check, futex_end))
        uc->rip = (uint64_t)futex_check;
    return true;
}

static void fault(struct slot *s, int sig, const struct k_siginfo *si, const struct k_ucontext *uc)
{
    s->signo = sig;
    s->code = si->code;
    s->address = si->address;
    s->trapno = uc->trapno;
    s->err = uc->err;
}

void stub_handler(int sig, struct k_siginfo *si, struct k_ucontext *uc)
{
    struct area *a = area_here();
    struct slot *s = slot_of(a);

    if (uc->rip - a->base < a->code_size) {
        if (sig == K_SIGSYS && uc->rip == (uint64_t)stub_trap_ip)
            stub_serve(a, uc);
        if (mend(sig, uc))
            return;
    }
    if (sig == K_SIGSYS) {
        system_call(a, s, uc);
        return;
    }
    if (sig == STUB_SIGNAL) {
        if (__atomic_load_n(&s->intr, __ATOMIC_ACQUIRE))
            stub_interrupted(uc);
        return;
    }
    if (sig == K_SIGTRAP && patch_was_breakpoint(a, uc))
        return;
    regs_from(s, uc, a);
    fault(s, sig, si, uc);
    turn_give(s, EV_FAULT);
    stub_serve(a, uc);
}
