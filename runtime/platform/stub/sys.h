#pragma once
/* System calls and kernel structures for code without a libc. */
#include <asm/unistd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline long sys6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                        uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}

#define SYS5(nr, a, b, c, d, e)                                                                    \
    sys6(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), 0)
#define SYS4(nr, a, b, c, d) SYS5(nr, a, b, c, d, 0)
#define SYS3(nr, a, b, c)    SYS5(nr, a, b, c, 0, 0)
#define SYS2(nr, a, b)       SYS5(nr, a, b, 0, 0, 0)
#define SYS1(nr, a)          SYS5(nr, a, 0, 0, 0, 0)

enum {
    E_PERM = 1,
    E_INTR = 4,
    E_AGAIN = 11,
    E_FAULT = 14,
    E_INVAL = 22,
    E_PIPE = 32,
    E_DEADLK = 35,
    E_NOSYS = 38,
    K_PROT_RW = 3,
    K_PROT_RX = 5,
    K_MAP_SHARED = 1,
    K_MAP_PRIVATE = 2,
    K_MAP_FIXED = 0x10,
    K_MAP_ANON = 0x20,
    K_MAP_NORESERVE = 0x4000,
    K_MREMAP_FIXED = 3, /* MAYMOVE | FIXED */
    K_MADV_DONTFORK = 10,
    K_MADV_DOFORK = 11,
    K_FUTEX_WAIT = 0,
    K_FUTEX_WAKE = 1,
    K_FUTEX_PRIVATE = 128,
    K_MEMBARRIER_SYNC_CORE = 1 << 5,
    K_MEMBARRIER_REGISTER_SYNC_CORE = 1 << 6,
    K_SIGILL = 4,
    K_SIGTRAP = 5,
    K_SIGBUS = 7,
    K_SIGFPE = 8,
    K_SIGSEGV = 11,
    K_SIGPIPE = 13,
    K_SIGCHLD = 17,
    K_SIGXFSZ = 25,
    K_SIGSYS = 31,
};

struct k_sigaction {
    void *handler;
    uint64_t flags;
    void *restorer;
    uint64_t mask;
};

struct k_stack {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
};

/* struct ucontext of rt_sigreturn. */
struct k_ucontext {
    uint64_t flags, link;
    struct k_stack stack;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
        eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2;
    uint64_t fpstate;
    uint64_t reserved[8];
    uint64_t mask;
};

struct k_siginfo {
    int32_t signo, err, code, pad;
    uint64_t address;
};

struct k_iovec {
    void *base;
    uint64_t len;
};

struct k_msghdr {
    void *name;
    uint32_t namelen, pad;
    struct k_iovec *iov;
    uint64_t iovlen;
    void *control;
    uint64_t controllen;
    uint32_t flags, pad2;
};

struct k_cmsg {
    uint64_t len;
    int32_t level, type;
    int32_t fds[4];
};
