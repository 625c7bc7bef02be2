#pragma once
/*
 * The libc-free program behind every guest process. Nothing in its memory protects anything: guest
 * code may read, write and jump to all of it. The seccomp filter is the boundary.
 *
 * It has no writable data of its own: a thread finds its struct area by its stack pointer (areas
 * are aligned), the trampoline by %gs.
 */
#include "runtime/platform/slot.h"
#include "runtime/platform/stub/offsets.h"
#include "runtime/platform/stub/sys.h"
#include <linux/filter.h>

enum { TAGS_MAX = 64, HOT_SITES = 64 };

/* Private to the process, at base + PROC_OFF. */
struct stub_proc {
    uint64_t base;
    uint32_t code_size, lock;
    struct {
        uint32_t tag;
        int32_t n, fds[2];
    } tags[TAGS_MAX];           /* received, not yet used: threads share one socket */
    uint64_t donated[LENT_MAX]; /* by guest descriptor: generation << 32 | ours */
    uint64_t patching;          /* shape 2: the rip of the site that is being written */
    uint64_t breakpoint;        /* the site whose first byte is int3 at the moment */
    uint64_t thunk_pages[THUNK_PAGES_MAX];
    uint32_t n_thunk_pages;
    struct {
        uint32_t rip, count;
    } hot[HOT_SITES];
};

/* On top of each thread's area, where %gs points. Offsets are in offsets.h. */
struct area {
    uint64_t self;
    uint64_t trampoline; /* entry, for thunks */
    uint64_t slot;
    uint64_t ret, rip;    /* of the patched call under way: where to go on, what the guest sees */
    uint64_t trampoline2; /* entry for shape 2 */
    uint64_t base;
    uint32_t code_size, index;
    uint64_t resumes_at; /* where the last trap returned to: may still be about to execute it */
};

_Static_assert(offsetof(struct area, trampoline) == AREA_TRAMPOLINE, "offsets.h");
_Static_assert(offsetof(struct area, slot) == AREA_SLOT, "offsets.h");
_Static_assert(offsetof(struct area, ret) == AREA_RET, "offsets.h");
_Static_assert(offsetof(struct area, rip) == AREA_RIP, "offsets.h");
_Static_assert(offsetof(struct area, trampoline2) == AREA_ENTRY2, "offsets.h");
_Static_assert(offsetof(struct slot, regs) == SLOT_REGS, "offsets.h");
_Static_assert(offsetof(struct slot, intr) == SLOT_INTR && SLOT_INTR % 8 == 0, "offsets.h");
_Static_assert(offsetof(struct slot, trace) == SLOT_INTR + 4, "offsets.h");
_Static_assert(offsetof(struct slot, id) == SLOT_ID, "offsets.h");

/* What the zygote hands to the stub that it has forked, on the new stack. */
struct stub_boot {
    struct zygote_request req;
    uint64_t vvar, vdso, vdso_end; /* where they are now */
    uint32_t code_size, pad;
};

#define STACK_OF(proc_base, i) ((proc_base) + AREAS_OFF + (uint64_t)(i)*AREA_SIZE)

static inline struct area *area_at(uint64_t base, uint32_t index)
{
    return (struct area *)(STACK_OF(base, index) + AREA_SIZE - AREA_TOP);
}

static inline struct area *area_here(void)
{
    uint64_t sp;

    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
    return (struct area *)((sp & ~(uint64_t)(AREA_SIZE - 1)) + AREA_SIZE - AREA_TOP);
}

static inline struct stub_proc *proc_of(const struct area *a)
{
    return (struct stub_proc *)(a->base + PROC_OFF);
}

static inline struct slot *slot_of(const struct area *a)
{
    return (struct slot *)a->slot;
}

/* Relative to the instruction pointer, never by absolute address: the code is mapped anywhere. */
#pragma GCC visibility push(hidden)

/* entry.S */
extern char __ehdr_start[];
extern char stub_code_end[];
extern char stub_string_insn[], stub_string_fault[];
extern char stub_cmpxchg_insn[], stub_cmpxchg_fault[];
extern char stub_trap_ip[], stub_copy_insn[], stub_copy_fault[];
extern char resume_check[], resume_end[], futex_check[], futex_end[], futex_broken[];
extern char tramp_entry[], tramp_entry2[], tramp_local[], tramp_local_jump[], tramp_check[],
    tramp_end[];
void stub_restorer(void);
void stub_trap(void) __attribute__((noreturn)); /* a SIGSYS whose frame the handler takes over */
long stub_copy(void *dst, const void *src, uint64_t n); /* 0 or -EFAULT */
/* Up to n bytes, until behind a NUL or before a fault; how many. */
long stub_string(void *dst, const void *src, uint64_t n);
/* What the guest's word at `at` was; it is `to` now if that was `from`. -EFAULT. */
long stub_cmpxchg(uint64_t at, uint32_t from, uint32_t to);
void stub_resume(struct k_ucontext *uc, struct slot *s) __attribute__((noreturn));
/* A futex call on behalf of the guest; -EINTR also if the sentry wants this thread. */
/* futex(2) and its kin, which run natively always: their waiters are in the host's queues. */
enum { NR_FUTEX_WAITV = 449 };
bool native_is_futex(uint64_t nr);
long stub_futex(struct slot *s, uint64_t uaddr, uint64_t op, uint64_t val, uint64_t timeout,
                uint64_t uaddr2, uint64_t val3, uint64_t nr);
long stub_clone(uint64_t flags, void *stack, uint32_t *child_tid, struct k_ucontext *uc);
void stub_enter(uint64_t entry, struct stub_boot *boot, uint64_t stack) __attribute__((noreturn));

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

/* stub.c */
void stub_main(struct stub_boot *boot) __attribute__((noreturn));
void area_init(struct area *a, uint64_t base, uint32_t code_size, uint32_t index);

/* handler.c */
void stub_handler(int sig, struct k_siginfo *si, struct k_ucontext *uc);
void stub_serve(struct area *a, struct k_ucontext *uc) __attribute__((noreturn));
void stub_thread_start(struct k_ucontext *uc) __attribute__((noreturn));
void stub_interrupted(struct k_ucontext *uc) __attribute__((noreturn));

/* turn.c */
void turn_give(struct slot *s, uint32_t event);
void turn_wait(struct slot *s);

/* ops.c */
enum { OPS_OK = 0, OPS_FAILED = -1, OPS_NEED_FRAME = 1 };
/* Runs the slot's operations. `uc` is NULL in the trampoline, where some can't be done. */
int ops_run(struct area *a, struct slot *s, struct k_ucontext *uc);
void stub_exit(struct slot *s) __attribute__((noreturn));

/* tramp.c */
/* 0: back to the call site with general registers only; 1: by a trap, with all of them. */
int tramp_call(struct area *a, uint64_t nr);
int tramp_interrupted(struct area *a);

/* trampoline.S: by system call number, where in the slot the answer lies; 0: not there. */
enum { LOCAL_CALLS = 187 };
extern const uint8_t local_table[LOCAL_CALLS];
static inline bool tramp_answers(uint64_t nr)
{
    return nr < LOCAL_CALLS && local_table[nr];
}

/* local.c */
/* Calls that need nothing from the sentry but that it hears of them later. True: done. */
bool local_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret);
bool local_is(uint64_t nr);

/* native.c */
/* Futexes, sched_yield, calls on lent descriptors, by the host. 1: done, result in *ret; 0: not
 * such a call; -1: broken off. */
int native_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret);

/* pi.c */
bool pi_is(uint64_t op);                              /* of futex(2) */
long pi_call(struct slot *s, const uint64_t args[6]); /* -EINTR: broken off, to be done anew */

/* told.c */
/* epoll_ctl, fstat, read, close. True: done, as far as the guest can tell. */
bool told_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret);
bool told_is(uint64_t nr);

/* lent.c */
/* guest_fd: below LENT_MAX. */
static inline struct lent *lent_at(const struct area *a, uint64_t guest_fd)
{
    return (struct lent *)(a->base + SLOTS_OFF + LENT_OFF) + guest_fd;
}

/* True: done, by the host. */
int lent_call(const struct area *a, uint64_t nr, const uint64_t args[6], uint64_t *ret);
long op_donate(const struct area *a, const struct slot_op *op);
long op_revoke(const struct area *a, const struct slot_op *op);

/* ahead.c */
/* Copies what the sentry is going to read of the arguments. */
void copy_ahead(struct slot *s, uint64_t nr, const uint64_t args[6]);

/* patch.c */
long op_patch(struct area *a, const struct slot_op *op);
long op_unpatch(struct area *a);
/* Before every return by a frame: whoever returns behind a call that is a jump now goes on in its
 * thunk. */
void patch_settle(struct area *a, struct k_ucontext *uc);
bool patch_is_hot(struct area *a, uint64_t rip);
/* True if the breakpoint at rip - 1 was ours, and the guest executes that place again. */
bool patch_was_breakpoint(struct area *a, struct k_ucontext *uc);

/* fds.c */
/* The descriptors of the message with this tag, from the table or the socket. Count or -errno. */
int fds_take(struct stub_proc *p, uint32_t tag, int32_t fds[2]);
/* For the next operation with this tag. */
void fds_put_back(struct stub_proc *p, uint32_t tag, const int32_t fds[2], int n);
int fds_receive(int sock, void *data, uint64_t size, int32_t fds[2], int *n_fds);
void fds_close(int32_t fd);

/* fork.c */
long op_thread(struct area *a, uint32_t index, struct k_ucontext *uc);
long op_fork(struct area *a, uint32_t tag, struct k_ucontext *uc);

/* fp.c */
long op_fp_store(struct k_ucontext *uc, uint64_t addr);
long op_fp_load(struct k_ucontext *uc, uint64_t addr);

#pragma GCC visibility pop
