#pragma once
/*
 * The platform: how guest code runs. A guest address space is one host process (a "stub"), a guest
 * thread is one host thread in it; memory is the host process's own memory.
 *
 * Whoever calls plat_run(th) is the sentry thread of that guest thread; only it touches `th` and
 * what hangs on it, unless a function says "any thread".
 *
 * Everything that comes back from a stub is hostile: events are copied out of shared memory once,
 * validated, and only then handed to the caller.
 *
 * Memory operations are *queued* on the calling thread and executed by its own host thread on the
 * next plat_run (before guest code goes on) or plat_flush; so one hand-over carries a whole execve
 * or mmap.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct plat;        /* one per container: the zygote that all its stubs descend from */
struct plat_space;  /* one guest address space; reference counted by its threads */
struct plat_thread; /* one guest thread */

/* General registers of a stopped guest thread, in struct user_regs_struct order (ptrace's). */
struct plat_regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip,
        cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

enum plat_event {
    PLAT_SYSCALL, /* regs->orig_rax is the number, rip is behind the instruction, rax = -ENOSYS */
    PLAT_FAULT,   /* a hardware signal: exit->signo .. exit->trapno */
    PLAT_INTERRUPTED, /* plat_interrupt() was seen (before any guest instruction went on) */
    PLAT_FUTEX, /* a native futex call was broken off by plat_interrupt: decide restart or EINTR.
                   regs as for PLAT_SYSCALL */
    PLAT_OP_FAILED, /* a queued operation failed: exit->op_index, exit->op_errno; the ones after it
                       were not executed and the queue is now empty; the guest did not go on */
    PLAT_DEAD,      /* the host process is gone (killed, OOM): exit->signo is its host signal */
};

struct plat_exit {
    enum plat_event event;
    int signo, code;      /* PLAT_FAULT: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and its si_code */
    uint64_t address;     /* si_addr */
    uint64_t trapno, err; /* as in struct sigcontext */
    uint32_t op_index;
    int op_errno; /* positive */
    bool changed; /* plat_mask or plat_robust_list: calls that the stub answered */
};

/* What the stub answers by itself, without asking the sentry (design 2.2). Kept current by
 * plat_set_identity; `trace` switches every local answer (and native calls) off. */
struct plat_identity {
    int32_t pid, tid, ppid;
    uint32_t uid, euid, gid, egid;
    bool trace;
};

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * plat_new: takes over `zygote_sock`, a SOCK_SEQPACKET whose other end is held by the zygote
 * process (pid 1 of a nested pid namespace; see plat_zygote_exec). Called in the confined sentry.
 * direct: stream sockets may be lent to its stubs.
 * 0 or -errno (-EOPNOTSUPP: the machine has no FSGSBASE instructions).
 */
int plat_new(int zygote_sock, bool direct, struct plat **ret);
/* Any thread. Kills everything of this container (closes the socket; the zygote then exits, and the
 * kernel kills its pid namespace). */
void plat_free(struct plat *p);

/*
 * To be called in a forked, already namespaced, credential-less child, which is (or is about to be)
 * pid 1 of its pid namespace: closes everything but `sock`, installs filters, execs the libc-free
 * zygote program (embedded in this binary, from a sealed memfd). Returns only on failure, -errno.
 */
int plat_zygote_exec(int sock);

/* Fresh address space with one thread, stopped, nothing mapped but the stub region, vDSO and vvar.
 * Used by execve. 0 or -errno (-EAGAIN: process limit, -ENOMEM). */
int plat_space_new(struct plat *p, struct plat_thread **ret_thread);

/* Host range that is not the guest's: mappings may not touch [*ret_start, *ret_end). Usable guest
 * addresses are [*ret_min, *ret_start) and below TASK_SIZE. The vDSO is mapped at *ret_vdso
 * (AT_SYSINFO_EHDR) and is *ret_vdso_size bytes long, vvar included, starting at *ret_vvar. */
struct plat_layout {
    uint64_t min, reserved_start, reserved_end, vdso, vvar, vdso_end;
};
void plat_layout(struct plat_thread *th, struct plat_layout *ret);

/* Lives as long as th; with _get a reference of its own, for _put. */
struct plat_space *plat_space_of(struct plat_thread *th);
struct plat_space *plat_space_get(struct plat_space *s);
void plat_space_put(struct plat_space *s);
/* Any thread, while `th` exists: it is to end. Hostile code may never answer; when it owes an
 * answer for half a second, its whole host process is killed. */
void plat_doom(struct plat_thread *th);
/* By the owner: `th` is about to end. Each later hand-over waits for a second at most; if that was
 * not enough, it and all that follow fail with -ESRCH. */
void plat_ending(struct plat_thread *th);
/* Any thread. SIGKILL to the host process; its threads' plat_run return PLAT_DEAD. */
void plat_space_kill(struct plat_space *s);
/* Host pid of the address space, in the sentry's pid namespace (for accounting: /proc is not
 * there). */
pid_t plat_space_pid(const struct plat_space *s);

/*
 * New host thread in th's address space (clone with CLONE_VM), made by th's host thread right now
 * (this flushes the queue). The new thread is stopped; its registers, fs_base and vector state
 * start as a copy of th's. 0 or -errno.
 */
int plat_clone_thread(struct plat_thread *th, struct plat_thread **ret_child);
/* New address space as a copy-on-write copy of th's (host fork). Otherwise as above. */
int plat_clone_space(struct plat_thread *th, struct plat_thread **ret_child);
/*
 * As plat_clone_space, but queued: th's host thread makes the copy before its guest goes on, and a
 * child that was started with plat_start by then runs at once. If the host refuses,
 * the queue fails (PLAT_OP_FAILED, or plat_flush), and the child's plat_run says PLAT_DEAD. th must
 * be the only thread of its space, and what it does next is plat_flush or plat_run: whoever asks
 * for the child's process waits for it.
 */
int plat_fork(struct plat_thread *th, struct plat_thread **ret_child);

/*
 * Ends this host thread and frees th. If `clear_tid` is not 0 and other threads remain in the
 * space, the host thread first stores 0 there (faults ignored) and wakes one futex waiter. The last
 * thread's exit ends the space.
 */
void plat_thread_exit(struct plat_thread *th, uint64_t clear_tid);

/* ---- running ------------------------------------------------------------------------------- */

struct plat_regs *plat_regs(struct plat_thread *th); /* read and change while stopped */
/*
 * Executes the queue, resumes the guest, returns at its next event. Spins and sleeps as the design
 * says. The only way it fails is PLAT_DEAD.
 */
void plat_run(struct plat_thread *th, struct plat_exit *ret);
/*
 * Lets a thread that never ran go on at once, before its own sentry thread is awake: called by its
 * maker, who then leaves it to plat_run, which must be the next call. Interrupts reach it as in
 * plat_run.
 */
void plat_start(struct plat_thread *th);
/* Any thread (even before th runs): make the current or next plat_run return PLAT_INTERRUPTED or
 * PLAT_FUTEX soon, even if guest code spins. Idempotent until seen. Async-signal-safe. */
void plat_interrupt(struct plat_thread *th);
/* The call is going to block: the waiting stub need not spin any longer. Optional, cheap. */
void plat_blocking(struct plat_thread *th);
/* Any thread, while th exists: does its guest say that it is in a native futex call? To be shown,
 * no more: the guest may lie. */
bool plat_waits(const struct plat_thread *th);
void plat_set_identity(struct plat_thread *th, const struct plat_identity *id);
/*
 * rt_sigprocmask and set_robust_list are answered by the stub while no signal is pending. What it
 * has answered is here; any thread may ask. A sender calls plat_signals before it reads the mask.
 */
uint64_t plat_mask(const struct plat_thread *th);
void plat_set_mask(struct plat_thread *th, uint64_t mask); /* the thread's own sentry thread */
void plat_signals(struct plat_thread *th, bool pending);
uint64_t plat_robust_list(const struct plat_thread *th);
void plat_set_robust_list(struct plat_thread *th, uint64_t head);
/* Any thread. Pages of the space are locked: MADV_DONTNEED is not to be answered by the stub. */
void plat_keep_pages(struct plat_space *s);

/* ---- memory: queued ------------------------------------------------------------------------- */
/* Arguments must be validated by the caller (page aligned, outside the reserved range). `prot` and
 * `flags` are the host's; MAP_FIXED is implied. `fd` is the sentry's descriptor (-1 for anonymous)
 * and is passed on at once, the caller may close it after the call. `file` names what is behind it,
 * as long as it is mapped: it is passed once for mappings of the same file that follow each other
 * (NULL: each time). Return 0 or -errno (-ENOMEM; -EMFILE). */
int plat_mmap(struct plat_thread *th, uint64_t addr, uint64_t size, int prot, int flags, int fd,
              uint64_t offset, const void *file);
int plat_munmap(struct plat_thread *th, uint64_t addr, uint64_t size);
int plat_mprotect(struct plat_thread *th, uint64_t addr, uint64_t size, int prot);
/* MREMAP_MAYMOVE|MREMAP_FIXED to new_addr, or in place if new_addr == addr. */
int plat_mremap(struct plat_thread *th, uint64_t addr, uint64_t size, uint64_t new_size,
                uint64_t new_addr, int flags);
int plat_madvise(struct plat_thread *th, uint64_t addr, uint64_t size, int advice);

/*
 * Copies size bytes (<= PLAT_COPY_MAX) to guest memory when the queue is executed. If the guest
 * memory faults, the guest's rax becomes -EFAULT and it goes on (nothing returns to the sentry).
 * -ENOSPC: no room in the queue: use plat_write. For the thread's *own* results only.
 */
enum { PLAT_COPY_MAX = 8192 };
int plat_copy_out(struct plat_thread *th, uint64_t addr, const void *data, size_t size);
/* Queued: one word; nobody hears of a fault. */
int plat_store(struct plat_thread *th, uint64_t addr, uint32_t value);

/*
 * Queued: writes to guest memory whatever its protection is, for ptrace: the pages are made
 * writable, and `prot` afterwards (-1: they are writable already). A fault is PLAT_OP_FAILED.
 * -ENOSPC as above.
 */
int plat_poke(struct plat_thread *th, uint64_t addr, const void *data, size_t size, int prot);
/* Queued: wakes up to n waiters of the futex word at addr, private or shared (robust lists). */
int plat_futex_wake(struct plat_thread *th, uint64_t addr, int n);
/* Queued: before th goes on, all running threads of its space have passed a barrier of memory and
 * fetch their instructions anew. */
int plat_barrier(struct plat_thread *th);

/* Vector state. Bytes of the kernel's signal frame fpstate (with FP_XSTATE_MAGIC2), the same for
 * all. */
size_t plat_fp_size(void);
/* Queued: stores the thread's current vector state at guest address addr (64-byte aligned), as a
 * kernel signal frame would hold it; or loads it from there (the stub sanitises it). A fault is
 * PLAT_OP_FAILED with EFAULT. addr 0 in load: reset to the initial state (execve). */
int plat_fp_store(struct plat_thread *th, uint64_t addr);
int plat_fp_load(struct plat_thread *th, uint64_t addr);

/* The same between the stub and a buffer of plat_fp_size() bytes, at once (ptrace); the queue is
 * executed first. 0 or -errno. */
int plat_fp_get(struct plat_thread *th, void *data);
int plat_fp_set(struct plat_thread *th, const void *data);

/* At once, the queue first. What the host knows of th's memory and faults; hostile code can make it
 * lie. 0 or -errno. */
struct plat_range {
    uint64_t addr, size;
    uint64_t resident; /* out: pages that are there */
};
int plat_resident(struct plat_thread *th, struct plat_range *ranges, size_t n);
/* A byte for each of `pages` pages, at most PLAT_MINCORE_MAX. */
enum { PLAT_MINCORE_MAX = 8192 };
int plat_mincore(struct plat_thread *th, uint64_t addr, size_t pages, uint8_t *vec);
/* Any thread, while th exists. Bit n of mask: it may run on the n-th processor that the sentry may.
 * 0 or -errno. Its children inherit it, plat_space_new's threads don't. */
int plat_set_affinity(struct plat_thread *th, uint64_t mask);
struct rusage;
int plat_usage(struct plat_thread *th, bool of_thread, struct rusage *ret);

/* Executes the queue now and returns 0 or the first failure as -errno (-ESRCH: dead). The guest
 * does not go on. */
int plat_flush(struct plat_thread *th);

/* ---- memory: at once ------------------------------------------------------------------------ */
/* Any thread. Bytes copied (short at the first bad page) or -EFAULT if none, -ESRCH if dead. */
ssize_t plat_space_read(struct plat_space *s, uint64_t addr, void *data, size_t size);
ssize_t plat_space_write(struct plat_space *s, uint64_t addr, const void *data, size_t size);
/* The same for the thread's own memory; may use what the stub copied ahead into the shared page.
 * Queued copies to the guest are executed first if there are any. */
ssize_t plat_read(struct plat_thread *th, uint64_t addr, void *data, size_t size);
ssize_t plat_write(struct plat_thread *th, uint64_t addr, const void *data, size_t size);
/* NUL-terminated string of at most size bytes with its NUL: its length, -EFAULT, -ENAMETOOLONG. */
ssize_t plat_read_string(struct plat_thread *th, uint64_t addr, char *data, size_t size);
/* Any thread. Notes that up to n waiters of a futex word, private or shared, are to be woken; done
 * by the next thread of s that goes through plat_thread_exit (robust lists of dying threads: only a
 * thread of the space reaches its private words). 0, -ENOSPC: too many. */
int plat_space_futex_wake(struct plat_space *s, uint64_t addr, int n);

/* ---- direct reads (design 2.2, data plane) --------------------------------------------------- */
/*
 * Lends the host process a file's descriptor under guest number `guest_fd` (below PLAT_LENT_MAX,
 * else -ERANGE), for native pread64; with `pos` also for read, whose position is the stub's
 * meanwhile (only if the space has one thread). `limit`: where plat_new was told `direct`, also for
 * pwrite64 (with `pos`: write), of bytes below it. Takes effect before the guest goes on. The stub
 * falls back to the mediated call on error. A fork starts without any. All threads of the space see
 * it: only while they share one table of descriptors.
 */
enum { PLAT_LENT_MAX = 256 };
struct plat_lend {
    const int64_t *pos;
    int64_t limit; /* 0: not for writing */
    bool times;    /* plat_lent_used will be asked */
};
int plat_lend(struct plat_thread *th, int guest_fd, int host_fd, const struct plat_lend *how);
/* Any thread. How long ago the stub last read and wrote, if it did since this was last asked; true:
 * one of the two. Hostile code can make it lie. */
struct plat_lent_use {
    bool read, written;
    uint64_t read_ago, written_ago; /* ns */
};
bool plat_lent_used(struct plat_space *s, int guest_fd, struct plat_lent_use *ret);
/* The same for a connected stream socket, if plat_new was told `direct` (else -EPERM): the stub
 * receives what is there; and sends, if the guest's socket is non-blocking. */
int plat_lend_stream(struct plat_thread *th, int guest_fd, int host_fd, bool nonblock);
/* Any thread. Takes it back: later calls are the sentry's. Its position, if that was lent. */
int64_t plat_take_back(struct plat_space *s, int guest_fd);
/* Any thread. Keeps the space's shared memory, for plat_take_back. */
void plat_space_hold(struct plat_space *s);
void plat_space_release(struct plat_space *s);
/* Queued: the stub closes what it holds for a number that was taken back. */
int plat_revoke(struct plat_thread *th, int guest_fd);

/* ---- calls that are told later --------------------------------------------------------------- */
/*
 * The stub answers epoll_ctl of this epoll and descriptor by itself from now on, knowing whether
 * there is a watch; plat_run reports it as `changed`, and plat_told says what is to be done. For
 * spaces of one thread whose epoll nobody else can use. One epoll a space: the first that isn't
 * dropped. Numbers from PLAT_LENT_MAX on are ignored.
 */
void plat_watch_grant(struct plat_space *s, int epfd, int fd, bool watched);
/* Either number means something else from now on. */
void plat_watch_drop(struct plat_space *s, int fd);
void plat_watch_drop_all(struct plat_space *s);

/* The same for what is known of an open file until the guest's next call on it, or plat_known with
 * nothing: what fstat says (of one descriptor a space, the last), that a read finds its end, that
 * closing it can wait, and all of its data, for a read from its start. For spaces of one thread. */
enum { PLAT_KNOWN_STAT = 1, PLAT_KNOWN_END = 2, PLAT_KNOWN_CLOSE = 4, PLAT_KNOWN_DATA = 8 };
enum { PLAT_KNOWN_BYTES = 32768 };
struct stat;
void plat_known(struct plat_space *s, int fd, unsigned what, const struct stat *st);
/* Where its data goes, before plat_known. */
void *plat_known_data(struct plat_space *s);

/* After plat_run, before anything else is done for the guest: what the stub has answered for, in
 * order, and the epoll's number. Hostile code can write anything: each is to be checked as a call's
 * arguments are. */
enum { PLAT_TOLD_OPS = 64, PLAT_TOLD_CLOSE = 4, PLAT_TOLD_READ = 5 };
struct plat_told {
    int32_t fd, op; /* EPOLL_CTL_*; _CLOSE; _READ: up to position data; 0: nothing after all */
    uint32_t events, unused;
    uint64_t data;
};
unsigned plat_told(struct plat_thread *th, int *ret_epfd, struct plat_told ret[PLAT_TOLD_OPS]);

/* ---- patching of hot call sites (design 2.2) ---------------------------------------------------
 */
/*
 * A call site that traps often is replaced by a jump into a thunk near it. The memory manager says
 * where: without hooks nothing is patched. Called by plat_run, on the thread's own sentry thread,
 * with no lock of the platform held; the caller of plat_run must not hold what they take.
 */
struct plat_patch_hooks {
    /* Host protection of the mapping at `site` if it is private, executable and neither writable
     * nor watched; otherwise -1: the site is left alone. */
    int (*site_prot)(void *ctx, uint64_t site);
    /* A free, page aligned range of `size` bytes that lies within 2 GiB of `site` whole, which the
     * memory manager from now on treats as taken (never placing a mapping there); 0 if there is
     * none. The platform maps it. */
    uint64_t (*alloc_near)(void *ctx, uint64_t site, uint64_t size);
};
/* Any thread, before the space first runs. A fork inherits patches, not hooks. */
void plat_set_patch_hooks(struct plat_space *s, const struct plat_patch_hooks *hooks, void *ctx);
/* Undoes all patches of th's space and makes no more: somebody steps through its code. */
int plat_patch_off(struct plat_thread *th);

/* ---- for `berm debug filters` -----------------------------------------------------------------
 */
/* Prints the stub's filter, one rule a line, from the same table that generated it. */
void plat_print_filter(int out_fd);
