#pragma once
/*
 * Guest memory layout. The pages are the host process's; what is kept here is the list of mappings,
 * for validation, limits, /proc, and to find room. See design: "memory belongs to the guest
 * process".
 */
#include "runtime/platform/platform.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"
#include "runtime/sentry/time/time.h"
#include "runtime/sentry/uio.h"

#include <sys/mman.h>
#include <sys/resource.h>

struct file;
struct task;
struct buf;

enum vma_flags {
    VMA_SHARED = 1,
    VMA_STACK = 2,
    VMA_HEAP = 4,
    VMA_DONTFORK = 8,
    VMA_SHM = 16,
    VMA_SPECIAL = 32,
    VMA_LOCKED = 64,
    VMA_GROWSDOWN = 128,
    VMA_NORESERVE = 256,
    VMA_WIPEONFORK = 512,
    VMA_ACCOUNTED = 1024, /* private, and once writable: its pages may differ from the file's */
};

struct vma {
    uint64_t start, end; /* page aligned */
    int prot, max_prot;
    unsigned flags;
    struct file *file; /* reference, or NULL: anonymous */
    uint64_t offset;   /* of start in the file */
    const char *name;  /* static: "[heap]", "[stack]", "[vdso]" or NULL */
    uint64_t resident; /* pages that were there when it was last looked (mm_sample) */
};

/* Sorted, in chunks: a change moves at most a chunk, whatever the number of mappings. */
struct vma_chunk {
    unsigned n;
    struct vma v[64];
};

struct vma_set {
    struct vma_chunk **chunks;
    size_t n_chunks, capacity, count;
};

struct mm {
    struct ref ref;
    struct mutex lock; /* guards all below */
    struct vma_set set;
    uint64_t total, data, stack, locked; /* bytes by kind, for limits and /proc */
    uint64_t search_from, largest_hole;  /* no hole above search_from is larger than largest_hole */
    uint64_t brk_start, brk;
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t start_code, end_code, start_data, end_data, start_stack;
    uint64_t mmap_base, min, reserved_start, reserved_end, vdso;
    uint64_t auxv[64];
    unsigned n_auxv;
    struct file *exe; /* reference */
    bool dumpable;
    bool def_locked;                      /* mlockall(MCL_FUTURE) */
    int users;                            /* tasks; atomic */
    unsigned barriers;                    /* registrations of membarrier(2); atomic */
    uint64_t rss;                         /* bytes, when last looked; 0: never. atomic */
    nsec_t sampled;                       /* when; atomic */
    uint32_t sample_wanted;               /* a reader of /proc waits for the next look; atomic */
    nsec_t cpu_gone;                      /* of processes that shared it and are gone; atomic */
    long peak_kb, min_faults, maj_faults; /* the host's figures when last asked; atomic */
    void *aio;                            /* contexts of io_setup(2); NULL until first used */
    void (*aio_free)(void *);             /* set with them */
};

/* Tasks that use mm, this one included. Atomic. */
int mm_users(const struct mm *mm);
void mm_task_enters(struct mm *mm);
void mm_task_exits(struct task *t);
struct mm *mm_get(struct mm *mm);
void mm_put(struct mm *mm);

/* ---- access to the current task's memory (mm/usercopy.c) --------------------------------------
 */
int copy_in(struct task *t, void *dst, gaddr_t src, size_t size); /* 0 or -EFAULT */
int copy_out(struct task *t, gaddr_t dst, const void *src,
             size_t size); /* 0 or -EFAULT (queued if small) */
/* As copy_out but done when it returns: for words that other threads look at. */
int copy_out_now(struct task *t, gaddr_t dst, const void *src, size_t size);
/* Does the queued ones now; they must be the first of the call: 0 or -EFAULT. */
int copy_out_settle(struct task *t);
/* NUL-terminated; length without NUL, -EFAULT, -ENAMETOOLONG if no NUL within size. */
ssize_t copy_in_string(struct task *t, char *dst, gaddr_t src, size_t size);
/* Fresh path string of at most PATH_MAX: 0, -EFAULT, -ENAMETOOLONG, -ENOENT if empty (unless
 * allow_empty). buf must hold PATH_MAX bytes. */
int copy_in_path(struct task *t, char *buf, gaddr_t src, bool allow_empty);
/* Of another task's memory (ptrace, /proc/PID/mem, process_vm_*): bytes or -errno. A reference to
 * the task suffices, it may end meanwhile; _locked: g_tasks_lock held. */
ssize_t mm_access(struct task *target, gaddr_t addr, void *data, size_t size, bool write);
ssize_t mm_access_locked(struct task *target, gaddr_t addr, void *data, size_t size, bool write);

/* ---- for /proc ----------------------------------------------------------------------------------
 */
int mm_show_maps(struct task *reader, struct task *target, struct buf *out, bool smaps);
/* Memory that is really there: only the process itself can ask the host, by one of its threads.
 * mm_rss: bytes, as last looked (an estimate if never). mm_refresh has that done now, by whichever
 * thread of target's can within some milliseconds; nothing is locked. */
uint64_t mm_rss(struct task *target);
void mm_refresh(struct task *target);
/* By the current task for itself, nothing locked (or on its way to sleep). */
void mm_sample(struct task *t);
/* Faults and peak, for getrusage(2). Current task; false: not to be had. */
bool mm_usage(struct task *t, bool of_thread, struct rusage *ret);
