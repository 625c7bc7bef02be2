#pragma once
/*
 * Finds the stub as hostile code can: its vDSO lies behind the stub region at a random page, so
 * that some hundred places remain, and reading tells which. The layout is that of
 * runtime/platform/slot.h.
 */
#include "attack.h"
#include <sys/auxv.h>
#include <ucontext.h>

#define STUB_CODE  65536UL
#define STUB_SLOTS (2 * 65536UL)
#define SLOT_BYTES 16384UL
#define SLOTS_END  (STUB_SLOTS + 4096 * SLOT_BYTES)
#define AREAS_END  (SLOTS_END + 4096 * 65536UL)
#define WINDOW     (16UL << 20)

static sigjmp_buf on_fault;
static volatile long fault_rax; /* what a call at `syscall; hlt` returned */

static inline void fault(int sig, siginfo_t *si, void *ctx)
{
    (void)si;
    fault_rax = ((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RAX];
    siglongjmp(on_fault, sig);
}

static inline void catch_faults(void)
{
    static char stack[65536];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = fault, .sa_flags = SA_NODEFER | SA_ONSTACK | SA_SIGINFO};
    static const int list[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS, SIGALRM};

    sigaltstack(&ss, NULL);
    for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
        sigaction(list[i], &sa, NULL);
}

static inline uint8_t *find_stub(void)
{
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    volatile uint64_t at = (vdso - AREAS_END) & ~65535UL;

    if (!vdso)
        return NULL;
    for (volatile uint64_t n = 0; n <= WINDOW / 65536 + 1; n++, at -= 65536) {
        if (sigsetjmp(on_fault, 1))
            continue;
        if (memcmp((void *)at,
                   "\x7f"
                   "ELF",
                   4) == 0)
            return (uint8_t *)at;
    }
    return NULL;
}

/* Executes the instruction at `at` with registers as for a call. May never come back. */
static inline long jump(const uint8_t *at, long nr, const uint64_t v[6])
{
    register uint64_t r10 __asm__("r10") = v[3];
    register uint64_t r8 __asm__("r8") = v[4];
    register uint64_t r9 __asm__("r9") = v[5];
    long ret;

    __asm__ volatile("sub $256, %%rsp\n\t"
                     "call *%[at]\n\t"
                     "add $256, %%rsp"
                     : "=a"(ret)
                     : "a"(nr), "D"(v[0]), "S"(v[1]), "d"(v[2]), "r"(r10), "r"(r8),
                       "r"(r9), [at] "b"(at)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}
