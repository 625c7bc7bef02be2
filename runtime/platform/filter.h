#pragma once
/*
 * The stub's seccomp filter, as a table. What it lets through from the stub's code is the whole of
 * what hostile guest code can ask of the host kernel, with any arguments that the constraints
 * leave: it can jump to every instruction of the stub. Everything else is trapped (SIGSYS).
 *
 * Used by the zygote, which makes the BPF program of it, and by plat_print_filter.
 */
#include <linux/filter.h>
#include <stdint.h>

enum rule_check {
    RULE_ANY,   /* no constraint */
    RULE_MASK,  /* args[arg] has no other bits than value */
    RULE_EQUAL, /* args[arg] is value or value2 */
    RULE_BELOW, /* args[arg] < value */
    RULE_NOT,   /* args[arg] is neither value nor value2 */
    RULE_FUTEX, /* args[arg] is a futex operation without priority inheritance */
};

struct filter_rule {
    int nr;
    const char *name;
    enum rule_check check;
    int arg;
    uint32_t value, value2;
    const char *why;
};

/* X(nr, name, check, arg, value, value2, why): rows of one system call follow each other, and all
 * of them must hold. The most frequent first. */
#define STUB_FILTER_READ(X)                                                                        \
    X(17, pread64, RULE_ANY, 0, 0, 0, "files that the sentry lent for reading")
#define STUB_FILTER_COMMON(X)                                                                      \
    X(202, futex, RULE_FUTEX, 1, 0, 0, "hand-over, and the guest's own futexes")                   \
    X(449, futex_waitv, RULE_ANY, 0, 0, 0, "the guest's own: waits for several")                   \
    X(15, rt_sigreturn, RULE_ANY, 0, 0, 0, "back to the guest after a trap")                       \
    X(9, mmap, RULE_MASK, 2, 7, 0, "guest memory; PROT_READ, WRITE, EXEC")                         \
    X(9, mmap, RULE_MASK, 3, STUB_MAP_FLAGS, 0, "no hugetlb, no locking, no droppable pages")      \
    X(11, munmap, RULE_ANY, 0, 0, 0, "guest memory")                                               \
    X(10, mprotect, RULE_MASK, 2, 7, 0, "guest memory; no grows-down tricks")                      \
    X(25, mremap, RULE_ANY, 0, 0, 0, "guest memory")                                               \
    X(28, madvise, RULE_BELOW, 2, 26, 0, "guest memory; no poisoning")                             \
    X(28, madvise, RULE_NOT, 2, 12, 21, "no pages merged with other sandboxes', none paged out")   \
    X(56, clone, RULE_EQUAL, 0, STUB_CLONE_THREAD, STUB_CLONE_FORK, "a thread; a fork")            \
    X(47, recvmsg, RULE_EQUAL, 0, 0, 0, "descriptors to map, from the sentry's socket only")       \
    X(33, dup2, RULE_BELOW, 1, 2, 0, "a fork puts its own socket and slots in place")              \
    X(436, close_range, RULE_ANY, 0, 0, 0, "mapped descriptors are closed")                        \
    X(72, fcntl, RULE_EQUAL, 1, 15, 15, "F_SETOWN_EX: lets the sentry translate a thread id")      \
    X(324, membarrier, RULE_EQUAL, 0, 32, 32,                                                      \
      "other threads see a patched call site; the guest's own barriers")                           \
    X(27, mincore, RULE_ANY, 0, 0, 0, "which of its pages are there")                              \
    X(98, getrusage, RULE_ANY, 0, 0, 0, "faults and peak of memory")                               \
    X(24, sched_yield, RULE_ANY, 0, 0, 0, "answered by the host")                                  \
    X(60, exit, RULE_ANY, 0, 0, 0, "the end of a thread")

/* data-plane: mediated */
#define STUB_FILTER(X)                                                                             \
    STUB_FILTER_READ(X)                                                                            \
    STUB_FILTER_COMMON(X)                                                                          \
    X(44, sendto, RULE_EQUAL, 0, 0, 0, "a fork says that it is there")
/* data-plane: direct */
#define STUB_FILTER_DIRECT(X)                                                                      \
    STUB_FILTER_READ(X)                                                                            \
    X(18, pwrite64, RULE_NOT, 0, 0, 1, "files that the sentry lent for writing")                   \
    X(44, sendto, RULE_EQUAL, 3, STUB_SEND_FLAGS, STUB_SEND_FLAGS, "sockets that the sentry lent") \
    X(45, recvfrom, RULE_EQUAL, 3, 0x40, 0x40, "the same; MSG_DONTWAIT")                           \
    X(19, readv, RULE_NOT, 0, 0, 1, "the same; not its own socket and slots")                      \
    X(20, writev, RULE_NOT, 0, 0, 1, "the same")                                                   \
    STUB_FILTER_COMMON(X)

/* MSG_NOSIGNAL | MSG_DONTWAIT */
#define STUB_SEND_FLAGS 0x4040
/* MAP_SHARED, PRIVATE, FIXED, ANONYMOUS, GROWSDOWN, NORESERVE, POPULATE, STACK */
#define STUB_MAP_FLAGS 0x2c133
/* VM FS FILES SIGHAND THREAD SYSVSEM CHILD_CLEARTID */
#define STUB_CLONE_THREAD 0x250f00
/* CLONE_PARENT | SIGCHLD */
#define STUB_CLONE_FORK 0x8011

/* A number that no kernel knows: by being trapped the stub enters its own handler (entry.S). */
#define STUB_TRAP_NR 0x3fffffff

enum { FILTER_MAX = 80, CODE_MAX_BYTES = 65536 };
