/*
 * A stub's first steps, before any guest code runs: own place for vDSO and region, nothing else
 * mapped, signal handlers, filter, and the word to the sentry that it is there.
 */
#include "runtime/platform/stub/stub.h"
#include "runtime/platform/filter_build.h"
#include <linux/prctl.h>

enum { PAGE = 4096 };

#define K_SA_FLAGS   0x0c000004U /* SIGINFO | RESTORER | ONSTACK */
#define K_SA_NODEFER 0x40000000U /* faults may come within handlers: a copy to the guest */

static void die(int code)
{
    (void)SYS1(__NR_exit_group, code);
}

void area_init(struct area *a, uint64_t base, uint32_t code_size, uint32_t index)
{
    a->self = (uint64_t)a;
    a->trampoline = (uint64_t)tramp_entry;
    a->trampoline2 = (uint64_t)tramp_entry2;
    a->resumes_at = 0;
    a->slot = base + SLOTS_OFF + (uint64_t)index * SLOT_SIZE;
    a->base = base;
    a->code_size = code_size;
    a->index = index;
}

/*
 * Special mappings refuse to be split, so the right length is the first one that can be moved.
 * False where the kernel does not let them go (sealed system mappings).
 */
static bool move_range(uint64_t from, uint64_t end, uint64_t to)
{
    while (from < end) {
        uint64_t size = PAGE;

        while (from + size <= end && SYS5(__NR_mremap, from, size, size, K_MREMAP_FIXED, to) < 0)
            size += PAGE;
        if (from + size > end)
            return false;
        from += size;
        to += size;
    }
    return true;
}

static void unmap_between(uint64_t start, uint64_t end)
{
    if (start < end)
        (void)SYS2(__NR_munmap, start, end - start);
}

static void place_vdso(struct stub_boot *b)
{
    uint64_t size = b->vdso_end - b->vvar;

    if (!size || !move_range(b->vvar, b->vdso_end, b->req.vdso_at))
        return;
    b->vdso = b->req.vdso_at + (b->vdso - b->vvar);
    b->vvar = b->req.vdso_at;
    b->vdso_end = b->vvar + size;
}

static void unmap_rest(const struct stub_boot *b)
{
    uint64_t end = b->req.base + REGION_SIZE;

    if (b->vvar >= b->req.base && b->vvar < end) {
        unmap_between(0, b->req.base);
        unmap_between(end, TASK_TOP);
        return;
    }
    if (b->vvar < b->req.base) {
        unmap_between(0, b->vvar);
        unmap_between(b->vdso_end, b->req.base);
        unmap_between(end, TASK_TOP);
        return;
    }
    unmap_between(0, b->req.base);
    unmap_between(end, b->vvar);
    unmap_between(b->vdso_end, TASK_TOP);
}

static void install_handlers(struct area *a)
{
    static const uint8_t signals[] = {K_SIGILL,  K_SIGTRAP, K_SIGBUS,   K_SIGFPE,
                                      K_SIGSEGV, K_SIGSYS,  STUB_SIGNAL};
    struct k_sigaction sa = {0};
    struct k_stack st = {(uint64_t)a + AREA_TOP - AREA_SIZE, 0, 0, AREA_SIZE - AREA_TOP};
    uint64_t none = 0;

    /* Not by an initializer: its template would hold the addresses of where this was linked. */
    sa.handler = (void *)stub_handler;
    sa.restorer = (void *)stub_restorer;
    for (unsigned i = 0; i < sizeof(signals); i++) {
        /* Interrupts don't nest, or a flood of them would fill the stack. */
        sa.flags = K_SA_FLAGS | (signals[i] == STUB_SIGNAL ? 0 : K_SA_NODEFER);
        if (SYS4(__NR_rt_sigaction, signals[i], &sa, 0, 8) < 0)
            die(2);
    }
    if (SYS2(__NR_sigaltstack, &st, 0) < 0 || SYS4(__NR_rt_sigprocmask, 2, &none, 0, 8) < 0)
        die(2);
}

/* Without the texts: they would need relocation. */
#define BARE_ROW(nr, name, check, arg, value, value2, why)                                         \
    {nr, NULL, check, arg, value, value2, NULL},

static void install_filter(uint64_t base, uint32_t code_size, uint64_t which)
{
    bool direct = which & ZYGOTE_FILTER_DIRECT;
    static const struct filter_rule mediated[] = {STUB_FILTER(BARE_ROW)};
    static const struct filter_rule directly[] = {STUB_FILTER_DIRECT(BARE_ROW)};
    const struct filter_rule *rules = direct ? directly : mediated;
    unsigned n = direct ? sizeof(directly) / sizeof(*rules) : sizeof(mediated) / sizeof(*rules);
    struct sock_filter insns[FILTER_MAX];
    struct sock_fprog prog;

    prog.len =
        (uint16_t)filter_build_body(rules, n, base, code_size, which >> ZYGOTE_FILTER_BITS, insns);
    prog.filter = insns;
    /* No speculative store bypass mitigation: a stub holds nothing that its guest may not see. */
    if (SYS3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) < 0)
        die(3);
}

void stub_main(struct stub_boot *boot)
{
    struct area *a = area_here();
    uint64_t base = boot->req.base;
    struct stub_proc *p = (struct stub_proc *)(base + PROC_OFF);
    struct slot *s;

    place_vdso(boot);
    unmap_rest(boot);
    p->base = base;
    p->code_size = boot->code_size;
    area_init(a, base, boot->code_size, 0);
    s = slot_of(a);
    s->vvar = boot->vvar;
    s->vdso = boot->vdso;
    s->vdso_end = boot->vdso_end;
    __asm__ volatile("wrgsbase %0" ::"r"(a));
    /* Now, while there is one thread: later it would wait for all processors. */
    (void)SYS2(__NR_membarrier, K_MEMBARRIER_REGISTER_SYNC_CORE, 0);
    install_handlers(a);
    install_filter(base, boot->code_size, boot->req.filter);
    if (SYS5(__NR_sendto, STUB_SOCK, "r", 1, STUB_SEND_FLAGS, 0) != 1)
        die(4);
    stub_trap();
}
