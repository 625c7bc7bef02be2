#pragma once
/*
 * What sentry and stub share: the layout of the stub region, the hand-over slots, and the messages.
 * Included by the libc-free stub too: no libc calls here.
 *
 * A slot is SLOT_SIZE bytes in a memfd that belongs to one guest process. Everything in it is
 * hostile to the sentry: it reads each word once and validates it.
 */
#include "runtime/platform/platform.h"

/* ---- the stub region of a guest process -------------------------------------------------------
 * base + 0          code: the stub's ELF file, read and execute
 * base + PROC_OFF   struct stub_proc, private
 * base + SLOTS_OFF  hand-over slots, shared with the sentry, MADV_DONTFORK
 * base + AREAS_OFF  one area a thread: its stack for signals, struct area on top
 * base + VDSO_OFF   a window in which vvar and vDSO lie at a random page
 */
enum {
    SLOTS_MAX = 4096, /* threads of one guest process */
    SLOT_SIZE = 16384,
    AREA_SIZE = 65536, /* up to four nested signal frames: 3.6 kB each, 12 where AMX is enabled */
    AREA_TOP = 1024,   /* of it, struct area */
    CODE_MAX = 65536,  /* of it, the size of the program is allowed */
    VDSO_WINDOW = 16 << 20,
};
#define PROC_OFF    ((uint64_t)CODE_MAX)
#define SLOTS_OFF   (PROC_OFF + 65536)
#define LENT_OFF    ((uint64_t)SLOTS_MAX * SLOT_SIZE) /* behind the slots: struct lent */
#define SLOTS_BYTES (LENT_OFF + 65536)
#define AREAS_OFF   (SLOTS_OFF + SLOTS_BYTES)
#define AREAS_BYTES ((uint64_t)SLOTS_MAX * AREA_SIZE)
#define VDSO_OFF    (AREAS_OFF + AREAS_BYTES)
#define REGION_SIZE (VDSO_OFF + VDSO_WINDOW)
#define TASK_TOP    0x7ffffffff000ULL

/* Descriptors of a stub; the filter names them. In the zygote: its socket and its program. */
enum { STUB_SOCK = 0, STUB_SLOTS = 1, STUB_FIRST_FREE = 2 };

/* The host signal that interrupts a guest thread: SIGURG, ignored where nobody handles it. */
enum { STUB_SIGNAL = 23 };

/* ---- hand-over --------------------------------------------------------------------------------
 */

enum { TURN_SENTRY = 0, TURN_STUB = 1 };
enum { CPU_NONE = 0xffff }; /* sentry_cpu: it sleeps */

/* On top of the event: mask or robust list changed. */
enum { EV_CHANGED = 0x100 };

enum slot_event {
    EV_SYSCALL = 1,
    EV_PATCHED, /* a system call from a patched site: vector state is still in the registers */
    EV_FAULT,
    EV_INTERRUPTED,
    EV_FUTEX,
    EV_HOT,       /* a call that the stub answers traps often: patch it, then CMD_CONTINUE */
    EV_DONE,      /* a flush succeeded */
    EV_OP_FAILED, /* op_index, op_errno */
};

enum slot_command { CMD_RUN = 1, CMD_FLUSH, CMD_EXIT, CMD_CONTINUE };
enum { CMD_FULL = 0x100 }; /* CMD_RUN: other registers than rax changed */

enum op_kind {
    OP_MMAP = 1,   /* addr, size, prot, flags, tag (0: anonymous), offset */
    OP_MUNMAP,     /* addr, size */
    OP_MPROTECT,   /* addr, size, prot */
    OP_MREMAP,     /* addr, size, new size, flags, new address */
    OP_MADVISE,    /* addr, size, advice */
    OP_COPY,       /* addr, size, offset in data[] */
    OP_STORE,      /* addr, value of four bytes; a fault is ignored */
    OP_POKE,       /* as copy, but a fault fails the operation; prot to restore, or -1 */
    OP_FP_STORE,   /* addr */
    OP_FP_LOAD,    /* addr or 0 */
    OP_THREAD,     /* index of the new thread */
    OP_FORK,       /* tag of the message with socket and slots */
    OP_FUTEX_WAKE, /* addr, n */
    OP_DONATE,     /* tag, guest descriptor, generation */
    OP_REVOKE,     /* guest descriptor */
    OP_PATCH,      /* rip behind the call, thunk, shape | prot << 8 | size of the
                       instruction behind << 16 | alone << 31, areas in use, number */
    OP_UNPATCH,    /* all sites */
    OP_RESIDENT,   /* addr, size; answers in a[2]: pages that are there */
    OP_MINCORE,    /* addr, size (at most SLOT_DATA pages): a byte a page in data[] */
    OP_USAGE,      /* who: struct rusage in data[] */
    OP_BARRIER,    /* of memory, for all threads of the process */
};

struct slot_op {
    uint32_t kind, tag;
    uint64_t a[5];
};

enum { SLOT_OPS = 148, SLOT_DATA = 8192, SLOT_AHEAD = 512 };
/* At exit_group, in ahead[]: the head of the robust list, and here its struct rusage. */
enum { ROBUST_HEAD = 24, AHEAD_USAGE = 64 };

struct slot {
    /* The two sides poll this line; what a patched call needs on its way back is in it too. */
    uint32_t turn;
    uint32_t sentry_sleeps, stub_sleeps;
    uint32_t n_ops;
    uint32_t sentry_cpu, stub_cpu; /* where each last ran */
    uint32_t intr;                 /* set by the sentry: return to it */
    uint32_t trace;                /* by the sentry: no answers from the stub; tested with intr */
    uint32_t event;                /* by the stub */
    uint32_t command;              /* by the sentry, as n_ops and spin_ticks */
    uint64_t result;               /* by the sentry: rax of a CMD_RUN that is not full */
    uint32_t op_index;             /* by the stub */
    uint32_t given;                /* by the stub: time stamp of the event, its low half */
    uint32_t spin_ticks;
    uint32_t alive; /* the kernel clears it when the thread is gone */
    int32_t signo, code;
    uint64_t address, trapno, err; /* of a fault */
    uint64_t clear_tid;            /* CMD_EXIT */
    uint64_t ahead_addr;           /* what is in ahead[]: guest address, size */
    uint32_t ahead_size, op_errno;
    uint64_t mask, robust; /* answers of the stub's, kept for the sentry: blocked signals (never
                              those that can't be), head of the robust list */
    uint32_t signals;      /* by the sentry: one is pending, so the mask is its business */
    uint32_t keep_pages;   /* by the sentry: pages are locked, so advice is */
    uint32_t changed;      /* mask or robust, since the last event; the stub's own */
    uint32_t waits;        /* by the stub: in a native futex call (shown only) */
    uint64_t vvar, vdso, vdso_end; /* by a fresh stub */
    struct plat_identity id;
    struct plat_regs regs __attribute__((aligned(64)));
    uint8_t ahead[SLOT_AHEAD] __attribute__((aligned(64))); /* copied by the stub: arguments */
    struct slot_op ops[SLOT_OPS] __attribute__((aligned(64)));
    uint8_t data[SLOT_DATA] __attribute__((aligned(4096)));
};
_Static_assert(sizeof(struct slot) == SLOT_SIZE, "slot size");
_Static_assert(offsetof(struct slot, data) == 8192, "one page of registers, one of operations");

/* ---- descriptors lent to the stub -------------------------------------------------------------
 * By guest number. The stub holds a descriptor for it with a generation; it is valid as long as the
 * two are equal, so that the sentry takes it back by one store, from any thread.
 */
enum {
    LENT_MAX = 256,
    LENT_POS = 1,    /* a file: read(2) too, the position is here meanwhile */
    LENT_RECV = 2,   /* a stream socket: received from by the stub, if anything is there */
    LENT_SEND = 4,   /* and sent to: the guest's is non-blocking */
    LENT_FILE = 8,   /* a regular file */
    LENT_WRITE = 16, /* and it may be written to, up to limit */
    LENT_TIMES = 32, /* and the sentry wants to know when it was used */
};
struct lent {
    uint32_t generation; /* by the sentry; 0: not lent */
    uint16_t flags;      /* by the sentry */
    uint16_t busy;       /* by the stub: so many calls that move pos or write are under way */
    int64_t pos;
    int64_t limit;          /* by the sentry: no byte from here on is written */
    uint64_t read, written; /* by the stub: time stamps of the last time, 0: not since asked */
    uint64_t known;         /* PLAT_KNOWN_*, by the sentry; taken by a close */
};
/* What fstat says of the descriptor that KNOWN_OFF (from LENT_OFF) names. */
enum { KNOWN_OFF = 24576 };
struct known_stat {
    uint64_t fd;
    uint8_t st[144];
    uint64_t size; /* of data: all of the file */
    uint8_t data[PLAT_KNOWN_BYTES] __attribute__((aligned(4096)));
};
_Static_assert(KNOWN_OFF + sizeof(struct known_stat) <= 65536, "what was kept for it");

/* ---- watches of an epoll ----------------------------------------------------------------------
 * Where one thread alone can use an epoll, nobody sees when a watch changes before that thread's
 * next call: the stub answers epoll_ctl by the state here, and the sentry does it then. One
 * operation a descriptor is kept, the sum of those since.
 */
enum {
    WATCH_OFF = 16384, /* from LENT_OFF */
    WATCH_OPS = PLAT_TOLD_OPS,
    WATCH_GRANTED = 1,  /* fd[]: the stub may answer */
    WATCH_PRESENT = 2,  /* and it is watched */
    WATCH_OP_SHIFT = 8, /* and what is to be done is ops[this - 1], unless 0 */
};
struct watches {
    uint32_t epoll; /* by the sentry: the epoll's guest number + 1; 0: none */
    uint32_t n;     /* by the stub, cleared by the sentry */
    uint32_t fd[LENT_MAX];
    struct plat_told ops[WATCH_OPS];
};
_Static_assert(LENT_MAX * sizeof(struct lent) <= WATCH_OFF, "lent before watches");
_Static_assert(WATCH_OFF + sizeof(struct watches) <= KNOWN_OFF, "all behind the slots");

/* ---- patched sites ---------------------------------------------------------------------------
 * A thunk replaces `mov $nr,%eax; syscall` (shape 1: the mov becomes the jump, the syscall stays)
 * or `syscall` and the instruction behind it, mostly `cmp $-4096,%rax` (shape 2: the jump covers
 * the beginning of both).
 */
enum { SHAPE_MOV = 1, SHAPE_CMP = 2 };
enum { PATCH_SIZE = 5, THUNK_SIZE = 64, THUNK_PAGE = 4096, THUNK_PAGES_MAX = 64 };
struct thunk {
    uint8_t code[16]; /* shape 2: lea tail, jmp; shape 1 takes more */
    uint64_t rip; /* behind the call, as the guest shall see it; shape 2: right before the tail */
    uint8_t tail[24];  /* shape 2: that instruction, jmp back */
    uint64_t site;     /* first byte of the jump, 0 if unused */
    uint64_t original; /* its 8 bytes before */
};
_Static_assert(sizeof(struct thunk) == THUNK_SIZE, "thunk size");

/* ---- messages ---------------------------------------------------------------------------------
 */

/* To the zygote, with the stub's socket and slots: make a stub. */
struct zygote_request {
    uint64_t base, vdso_at; /* where its region and its vvar+vDSO go */
    uint64_t filter;        /* ZYGOTE_FILTER_DIRECT, and from ZYGOTE_FILTER_BITS on what a test
                               build leaves out of it */
};
enum { ZYGOTE_FILTER_DIRECT = 1, ZYGOTE_FILTER_BITS = 8 };

/* To a stub, with descriptors. */
struct stub_message {
    uint32_t tag;
};

/* ---- helpers for both sides -------------------------------------------------------------------
 */

static inline uint32_t current_cpu(void)
{
    uint32_t v;

    /* The limit of this segment holds node and CPU: works on CPUs without RDPID. */
    __asm__ volatile("lsl %1, %0" : "=r"(v) : "r"(0x7b));
    return v & 0xfff;
}

static inline uint64_t read_tsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}
