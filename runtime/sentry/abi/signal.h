#pragma once
/* Signal structures of the x86-64 kernel ABI that libc hides (arch/x86/include/uapi/asm/signal.h,
 * sigcontext.h). */
#include <signal.h>
#include <stdint.h>

enum { L_NSIG = 64, L_SA_RESTORER = 0x04000000 };
typedef uint64_t l_sigset_t; /* bit n-1 is signal n */

static inline l_sigset_t l_sigmask(int sig)
{
    return 1ULL << (sig - 1);
}

struct l_sigaction {
    uint64_t handler; /* L_SIG_DFL 0, L_SIG_IGN 1 */
    uint64_t flags;
    uint64_t restorer;
    l_sigset_t mask;
};

struct l_stack {
    uint64_t sp;
    int32_t flags, pad;
    uint64_t size;
};

struct l_siginfo { /* 128 bytes */
    int32_t signo, error, code, pad;
    union {
        struct {
            int32_t pid;
            uint32_t uid;
            uint64_t value;
        } rt; /* kill, sigqueue */
        struct {
            int32_t timerid, overrun;
            uint64_t value;
            int32_t sys_private;
        } timer;
        struct {
            int32_t pid;
            uint32_t uid;
            int32_t status, pad;
            int64_t utime, stime;
        } chld;
        struct {
            uint64_t addr;
            int16_t addr_lsb;
        } fault;
        struct {
            int64_t band;
            int32_t fd;
        } poll;
        struct {
            uint64_t call_addr;
            int32_t syscall;
            uint32_t arch;
        } sys;
        uint8_t bytes[112];
    };
};
_Static_assert(sizeof(struct l_siginfo) == 128, "siginfo");

struct l_sigcontext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
        eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2, fpstate;
    uint64_t reserved[8];
};

struct l_ucontext {
    uint64_t flags, link;
    struct l_stack stack;
    struct l_sigcontext mcontext;
    l_sigset_t sigmask;
};

struct l_rt_sigframe {
    uint64_t pretcode;
    struct l_ucontext uc;
    struct l_siginfo info;
};
