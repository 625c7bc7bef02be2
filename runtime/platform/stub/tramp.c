/*
 * The C side of the trampoline: a patched call without a signal frame. Vector registers still hold
 * the guest's values here; what needs them, or other registers than rax, leaves by a real trap.
 */
#include "runtime/platform/stub/stub.h"

enum { EFLAGS_SPECIAL = 0x40500 }; /* AC, DF, TF: restored by a frame only */

static int serve(struct area *a, struct slot *s)
{
    for (;;) {
        uint32_t command;
        int r;

        turn_wait(s);
        command = s->command;
        if (command == CMD_RUN)
            s->regs.rax = s->result; /* a copy that faults changes it */
        r = ops_run(a, s, NULL);
        if (r == OPS_NEED_FRAME) {
            s->command = command | CMD_FULL; /* rax is in its place already */
            return 1;
        }
        if ((command & 0xff) == CMD_EXIT)
            stub_exit(s);
        if (r == OPS_FAILED)
            turn_give(s, EV_OP_FAILED);
        else if ((command & 0xff) == CMD_RUN)
            return command & CMD_FULL ? 1 : 0;
        else
            turn_give(s, EV_DONE);
    }
}

/* The assembly saved the general ones. */
static void complete(const struct area *a, struct plat_regs *r)
{
    r->rip = r->rcx = a->rip;
    r->r11 = r->eflags;
    r->cs = 0x33;
    r->ss = 0x2b;
    r->gs_base = 0;
    __asm__ volatile("rdfsbase %0" : "=r"(r->fs_base));
}

int tramp_call(struct area *a, uint64_t nr)
{
    struct slot *s = slot_of(a);
    struct plat_regs *r = &s->regs;
    const uint64_t args[] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
    uint32_t event = r->eflags & EFLAGS_SPECIAL ? EV_SYSCALL : EV_PATCHED;

    a->resumes_at = 0;
    if (event == EV_PATCHED && (!s->trace || native_is_futex(nr))) {
        int done = native_call(a, nr, args, &r->rax);

        if (done > 0)
            return 0;
        if (done < 0)
            event = EV_FUTEX;
    }
    r->orig_rax = nr;
    r->rax = (uint64_t)-E_NOSYS;
    complete(a, r);
    copy_ahead(s, nr, args);
    turn_give(s, event);
    return serve(a, s);
}

/* On the way back, the result already in the slot. */
int tramp_interrupted(struct area *a)
{
    struct slot *s = slot_of(a);
    struct plat_regs *r = &s->regs;

    r->orig_rax = (uint64_t)-1;
    complete(a, r);
    turn_give(s, EV_INTERRUPTED);
    return serve(a, s);
}
