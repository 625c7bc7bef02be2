/* Operations that a guest thread executes on its own address space, queued until it runs. */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { MREMAP_FLAGS = MREMAP_MAYMOVE | MREMAP_FIXED };

int plat_flush(struct plat_thread *th)
{
    struct slot *s = th->slot;
    uint32_t event, failed;

    if (th->n_ops == 0)
        return 0;
    if (space_ready(th->space) < 0)
        return -ESRCH;
    /* The guest's rax: a copy that faults changes it. */
    s->regs.rax = th->regs.rax;
    event = turn_exchange(th, CMD_FLUSH);
    if (event == 0)
        return -ESRCH;
    th->regs.rax = s->regs.rax;
    if (event == EV_DONE)
        return 0;
    /* Once: the guest may write it at any time, and a failure must not become a success. */
    failed = __atomic_load_n(&s->op_errno, __ATOMIC_RELAXED) & 0xfff;
    if (event == EV_OP_FAILED && failed)
        return -(int)failed;
    plat_space_kill(th->space);
    return -ESRCH;
}

struct slot_op *ops_add(struct plat_thread *th, uint32_t kind)
{
    struct slot_op *op;

    if (th->n_ops >= SLOT_OPS && plat_flush(th) < 0)
        return NULL;
    op = &th->slot->ops[th->n_ops++];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    return op;
}

static int add(struct plat_thread *th, uint32_t kind, uint64_t a, uint64_t b, uint64_t c,
               uint64_t d, uint64_t e)
{
    struct slot_op *op = ops_add(th, kind);

    if (!op)
        return -ENOMEM;
    op->a[0] = a;
    op->a[1] = b;
    op->a[2] = c;
    op->a[3] = d;
    op->a[4] = e;
    return 0;
}

/* Whether the operation before this one maps the same file: the stub has its descriptor then. */
static bool was_sent(const struct plat_thread *th, int fd, const void *file)
{
    return file && th->n_ops && th->n_ops == th->mapped.n_ops && th->n_ops < SLOT_OPS &&
           th->mapped.file == file && th->mapped.fd == fd;
}

int plat_mmap(struct plat_thread *th, uint64_t addr, uint64_t size, int prot, int flags, int fd,
              uint64_t offset, const void *file)
{
    uint32_t tag = 0;
    int r = 0;

    if (fd >= 0 && was_sent(th, fd, file))
        tag = th->mapped.tag;
    else if (fd >= 0)
        r = ops_send_fds(th, &fd, 1, &tag);
    if (r == 0)
        r = add(th, OP_MMAP, addr, size, (uint64_t)(uint32_t)prot,
                (uint64_t)(uint32_t)(flags | MAP_FIXED), offset);
    if (r == 0)
        th->slot->ops[th->n_ops - 1].tag = tag;
    th->mapped.n_ops = 0;
    if (r == 0 && tag) {
        th->mapped.file = file;
        th->mapped.fd = fd;
        th->mapped.tag = tag;
        th->mapped.n_ops = th->n_ops;
    }
    return r;
}

int plat_munmap(struct plat_thread *th, uint64_t addr, uint64_t size)
{
    return add(th, OP_MUNMAP, addr, size, 0, 0, 0);
}

int plat_mprotect(struct plat_thread *th, uint64_t addr, uint64_t size, int prot)
{
    return add(th, OP_MPROTECT, addr, size, (uint64_t)(uint32_t)prot, 0, 0);
}

int plat_mremap(struct plat_thread *th, uint64_t addr, uint64_t size, uint64_t new_size,
                uint64_t new_addr, int flags)
{
    uint64_t f = (uint32_t)flags & ~(uint32_t)MREMAP_FLAGS;

    if (new_addr != addr)
        f |= MREMAP_FLAGS;
    return add(th, OP_MREMAP, addr, size, new_size, f, new_addr);
}

int plat_madvise(struct plat_thread *th, uint64_t addr, uint64_t size, int advice)
{
    return add(th, OP_MADVISE, addr, size, (uint64_t)(uint32_t)advice, 0, 0);
}

int plat_futex_wake(struct plat_thread *th, uint64_t addr, int n)
{
    return add(th, OP_FUTEX_WAKE, addr, (uint64_t)(uint32_t)n, 0, 0, 0);
}

int plat_barrier(struct plat_thread *th)
{
    return add(th, OP_BARRIER, 0, 0, 0, 0, 0);
}

/* Bytes into data[]; their offset, or -ENOSPC. */
static int stage(struct plat_thread *th, const void *data, size_t size, uint32_t *ret_at)
{
    uint32_t at = (th->data_used + 7) & ~7U;

    if (size > SLOT_DATA || at > SLOT_DATA - size || th->n_ops >= SLOT_OPS)
        return -ENOSPC;
    memcpy(th->slot->data + at, data, size);
    th->data_used = at + (uint32_t)size;
    *ret_at = at;
    return 0;
}

int plat_copy_out(struct plat_thread *th, uint64_t addr, const void *data, size_t size)
{
    uint32_t at;
    int r;

    if (size == 0)
        return 0;
    r = stage(th, data, size, &at);
    if (r < 0)
        return r;
    th->copies_queued = true;
    th->ahead = false;
    return add(th, OP_COPY, addr, size, at, 0, 0);
}

int plat_store(struct plat_thread *th, uint64_t addr, uint32_t value)
{
    th->copies_queued = true;
    th->ahead = false;
    return add(th, OP_STORE, addr, value, 0, 0, 0);
}

int plat_poke(struct plat_thread *th, uint64_t addr, const void *data, size_t size, int prot)
{
    uint32_t at;
    int r = stage(th, data, size, &at);

    if (r < 0)
        return r;
    th->copies_queued = true;
    th->ahead = false;
    return add(th, OP_POKE, addr, size, at, prot < 0 ? ~0ULL : (uint64_t)(uint32_t)prot, 0);
}

int plat_fp_store(struct plat_thread *th, uint64_t addr)
{
    return add(th, OP_FP_STORE, addr, 0, 0, 0, 0);
}

int plat_fp_load(struct plat_thread *th, uint64_t addr)
{
    return add(th, OP_FP_LOAD, addr, 0, 0, 0, 0);
}
