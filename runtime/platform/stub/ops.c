/* What the sentry tells a thread to do to its own address space. */
#include "runtime/platform/stub/stub.h"

/* again: the next operation maps the same file. */
static long op_mmap(struct stub_proc *p, const struct slot_op *op, bool again)
{
    int32_t fds[2] = {-1, -1};
    long r;
    int n = 0;

    if (op->tag) {
        n = fds_take(p, op->tag, fds);
        if (n < 1)
            return -E_INVAL;
    }
    r = sys6(__NR_mmap, op->a[0], op->a[1], op->a[2], op->a[3], (uint64_t)(int64_t)fds[0],
             op->a[4]);
    if (again && n > 0)
        fds_put_back(p, op->tag, fds, n);
    while (!again && n > 0)
        fds_close(fds[--n]);
    return r;
}

/* The text is made writable, and left as the sentry says. */
static long op_poke(const struct slot *s, const struct slot_op *op)
{
    uint64_t start = op->a[0] & ~4095ULL, end = (op->a[0] + op->a[1] + 4095) & ~4095ULL;
    bool protect = op->a[3] != (uint64_t)-1;
    long r = 0;

    if (protect)
        r = SYS3(__NR_mprotect, start, end - start, 7);
    if (r < 0)
        return r;
    r = stub_copy((void *)op->a[0], s->data + op->a[2], op->a[1]);
    if (protect)
        (void)SYS3(__NR_mprotect, start, end - start, op->a[3]);
    return r;
}

static long op_wake(const struct slot_op *op)
{
    long a = SYS3(__NR_futex, op->a[0], K_FUTEX_WAKE | K_FUTEX_PRIVATE, op->a[1]);
    long b = SYS3(__NR_futex, op->a[0], K_FUTEX_WAKE, op->a[1]);

    return a < 0 && b < 0 ? a : 0;
}

/* Counts in parts: the vector has a byte a page. */
static long op_resident(struct slot_op *op)
{
    enum { PART = 1024, PAGE = 4096 };
    uint8_t vec[PART];
    uint64_t count = 0;

    for (uint64_t at = op->a[0], end = at + op->a[1]; at < end; at += PART * PAGE) {
        uint64_t n = (end - at) / PAGE < PART ? (end - at) / PAGE : PART;

        if (SYS3(__NR_mincore, at, n * PAGE, vec) < 0)
            break;
        for (uint64_t i = 0; i < n; i++)
            count += vec[i] & 1;
    }
    op->a[2] = count;
    return 0;
}

static bool same_tag(const struct slot *s, uint32_t i)
{
    return i + 1 < SLOT_OPS && s->ops[i].tag && s->ops[i].tag == s->ops[i + 1].tag;
}

static long run_one(struct area *a, struct slot *s, const struct slot_op *op, struct k_ucontext *uc)
{
    switch (op->kind) {
    case OP_MMAP:
        return op_mmap(proc_of(a), op, s->op_index + 1 < s->n_ops && same_tag(s, s->op_index));
    case OP_MUNMAP:
        return SYS2(__NR_munmap, op->a[0], op->a[1]);
    case OP_MPROTECT:
        return SYS3(__NR_mprotect, op->a[0], op->a[1], op->a[2]);
    case OP_MREMAP:
        return SYS5(__NR_mremap, op->a[0], op->a[1], op->a[2], op->a[3], op->a[4]);
    case OP_MADVISE:
        return SYS3(__NR_madvise, op->a[0], op->a[1], op->a[2]);
    case OP_COPY:
        if (stub_copy((void *)op->a[0], s->data + op->a[2], op->a[1]) < 0)
            s->regs.rax = (uint64_t)-E_FAULT;
        return 0;
    case OP_STORE:
        (void)stub_copy((void *)op->a[0], &op->a[1], sizeof(uint32_t));
        return 0;
    case OP_POKE:
        return op_poke(s, op);
    case OP_FP_STORE:
        return op_fp_store(uc, op->a[0]);
    case OP_FP_LOAD:
        return op_fp_load(uc, op->a[0]);
    case OP_THREAD:
        return op_thread(a, (uint32_t)op->a[0], uc);
    case OP_FORK:
        return op_fork(a, op->tag, uc);
    case OP_PATCH:
        return op_patch(a, op);
    case OP_UNPATCH:
        return op_unpatch(a);
    case OP_DONATE:
        return op_donate(a, op);
    case OP_REVOKE:
        return op_revoke(a, op);
    case OP_FUTEX_WAKE:
        return op_wake(op);
    case OP_RESIDENT:
        return op_resident(&s->ops[s->op_index]);
    case OP_MINCORE:
        return op->a[1] <= SLOT_DATA * 4096UL ? SYS3(__NR_mincore, op->a[0], op->a[1], s->data)
                                              : -E_INVAL;
    case OP_USAGE:
        return SYS2(__NR_getrusage, op->a[0], s->data);
    case OP_BARRIER: /* the one that is registered and let through; it does the plain one's, too */
        return SYS2(__NR_membarrier, K_MEMBARRIER_SYNC_CORE, 0);
    default:
        return -E_NOSYS;
    }
}

static bool needs_frame(uint32_t kind)
{
    return kind == OP_FP_STORE || kind == OP_FP_LOAD || kind == OP_THREAD || kind == OP_FORK;
}

/* Descriptors that were sent for operations that now won't be done. */
static void drop_tags(struct area *a, const struct slot *s, uint32_t from, uint32_t n)
{
    int32_t fds[2];

    for (uint32_t i = from; i < n; i++) {
        int k = 0;

        if (s->ops[i].tag && !(i > from && same_tag(s, i - 1)))
            k = fds_take(proc_of(a), s->ops[i].tag, fds);
        while (k > 0)
            fds_close(fds[--k]);
    }
}

int ops_run(struct area *a, struct slot *s, struct k_ucontext *uc)
{
    uint32_t n = s->n_ops;

    if (n > SLOT_OPS)
        n = SLOT_OPS;
    while (s->op_index < n) {
        const struct slot_op *op = &s->ops[s->op_index];
        long r;

        if (!uc && needs_frame(op->kind))
            return OPS_NEED_FRAME;
        r = run_one(a, s, op, uc);
        if (r < 0 && r > -4096) {
            s->op_errno = (uint32_t)-r;
            drop_tags(a, s, s->op_index + 1, n);
            s->n_ops = 0;
            return OPS_FAILED;
        }
        s->op_index++;
    }
    s->n_ops = 0;
    return OPS_OK;
}

void stub_exit(struct slot *s)
{
    uint64_t at = s->clear_tid;
    uint32_t zero = 0;

    if (at && stub_copy((void *)at, &zero, sizeof(zero)) == 0)
        (void)SYS3(__NR_futex, at, K_FUTEX_WAKE, 1);
    for (;;)
        (void)SYS1(__NR_exit, 0);
}
