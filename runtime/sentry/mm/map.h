#pragma once
/* Changing the layout: what mmap(2) and its kin, execve and shmat are made of. All for the current
 * task; each takes mm->lock itself, validates, changes the list and queues the host's part. */
#include "runtime/sentry/mm/mm.h"

#define PAGE_BYTES      4096ULL
#define PAGE_ALIGN(x)   (((x) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1))
#define PAGE_FLOOR(x)   ((x) & ~(PAGE_BYTES - 1))
#define TASK_SIZE_BYTES 0x7ffffffff000ULL
enum { MAP_COUNT_LIMIT = 65530 };

struct map_request {
    uint64_t addr;     /* hint, or exact with MAP_FIXED / MAP_FIXED_NOREPLACE */
    uint64_t size;     /* > 0; rounded up to pages */
    int prot, flags;   /* the guest's MAP_* */
    struct file *file; /* borrowed; NULL: anonymous */
    uint64_t offset;
    unsigned vma_flags; /* VMA_STACK, VMA_HEAP, VMA_SHM ... */
    const char *name;
};

/* Address or -errno. */
long mm_map(struct task *t, const struct map_request *r);
int mm_unmap(struct task *t, uint64_t addr, uint64_t size);
int mm_protect(struct task *t, uint64_t addr, uint64_t size, int prot);
long mm_remap(struct task *t, uint64_t addr, uint64_t old_size, uint64_t new_size, int flags,
              uint64_t new_addr);
int mm_advise(struct task *t, uint64_t addr, uint64_t size, int advice);
uint64_t mm_set_brk(struct task *t, uint64_t brk); /* the new break, or the old one */
/* A fault at addr, where nothing is mapped: true if a mapping above it that grows down now covers
 * it (MAP_GROWSDOWN; mmap(2)). */
bool mm_grow_down(struct task *t, uint64_t addr);
/* After PLAT_OP_FAILED: the list is made to agree with what the host did not do. */
void mm_operation_failed(struct task *t);

/* A fresh, empty mm for the layout of th; -ENOMEM: NULL. */
struct mm *mm_new(struct plat_thread *th);
struct mm *mm_copy(struct mm *from, struct plat_thread *th); /* fork */

/* Where a mapping of size bytes would go / is [start, end) free? Takes mm->lock. 0: nowhere. */
uint64_t vma_room(struct mm *mm, uint64_t size);
bool mm_range_free(struct mm *mm, uint64_t start, uint64_t end);
