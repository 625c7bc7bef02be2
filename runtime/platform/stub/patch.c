/*
 * Call sites become jumps. All threads of the process may run meanwhile, so:
 *
 * - with several threads, the first byte is a breakpoint until the others are written, and every
 *   processor is made to fetch anew after each step; who runs into the breakpoint tries again;
 * - a jump of shape 2 covers the address behind the call, where threads that trapped there return
 *   to. Each thread notes where it returns to (resumes_at) before it looks whether a site is being
 *   patched; the patcher says which before it looks at the notes. One of the two sees the other.
 */
#include "runtime/platform/stub/stub.h"

enum { JMP = 0xe9, INT3 = 0xcc, BEHIND_MAX = 16 };

struct insn_lea {
    uint8_t op[3];
    int32_t rel;
} __attribute__((packed));
struct insn_jmp_gs {
    uint8_t op[4];
    uint32_t off;
} __attribute__((packed));
struct insn_rel {
    uint8_t op;
    int32_t rel;
} __attribute__((packed));

/* Writers work on a copy: the thunk itself is executable only. */
static uint8_t *put_lea_rcx(uint8_t *p, uint64_t at, uint64_t target)
{
    struct insn_lea *i = (struct insn_lea *)p;

    i->op[0] = 0x48;
    i->op[1] = 0x8d;
    i->op[2] = 0x0d;
    i->rel = (int32_t)(target - (at + sizeof(*i)));
    return p + sizeof(*i);
}

static uint8_t *put_jmp_gs(uint8_t *p, uint32_t off)
{
    struct insn_jmp_gs *i = (struct insn_jmp_gs *)p;

    i->op[0] = 0x65;
    i->op[1] = 0xff;
    i->op[2] = 0x24;
    i->op[3] = 0x25;
    i->off = off;
    return p + sizeof(*i);
}

static uint8_t *put_rel(uint8_t *p, uint8_t op, uint64_t at, uint64_t target)
{
    struct insn_rel *i = (struct insn_rel *)p;

    i->op = op;
    i->rel = (int32_t)(target - (at + sizeof(*i)));
    return p + sizeof(*i);
}

static uint64_t site_of(uint64_t rip, uint32_t shape)
{
    return shape == SHAPE_MOV ? rip - 7 : rip - 2;
}

/* `behind`: size of the instruction behind the call, for shape 2. */
static long make_thunk(struct thunk *t, uint64_t at, uint64_t rip, uint32_t shape, uint32_t behind,
                       uint32_t nr)
{
    uint8_t *p = (uint8_t *)t;
    uint64_t tail = at + offsetof(struct thunk, tail);

    (void)memset(t, 0xcc, sizeof(*t));
    if (shape == SHAPE_MOV) {
        p[0] = 0xb8;
        *(uint32_t *)(p + 1) = nr;
        p = put_lea_rcx(p + 5, at + 5, rip);
        (void)put_jmp_gs(p, AREA_TRAMPOLINE);
    } else {
        p = put_lea_rcx(p, at, tail);
        (void)put_jmp_gs(p, AREA_ENTRY2);
        t->rip = rip;
        if (behind > BEHIND_MAX || stub_copy(t->tail, (const void *)rip, behind) < 0)
            return -E_FAULT;
        (void)put_rel(t->tail + behind, JMP, tail + behind, rip + behind);
    }
    t->site = site_of(rip, shape);
    return 0;
}

static bool note_page(struct stub_proc *p, uint64_t page)
{
    uint32_t n = p->n_thunk_pages;

    for (uint32_t i = 0; i < n; i++)
        if (p->thunk_pages[i] == page)
            return true;
    if (n >= THUNK_PAGES_MAX)
        return false;
    p->thunk_pages[n] = page;
    __atomic_store_n(&p->n_thunk_pages, n + 1, __ATOMIC_RELEASE);
    return true;
}

static long write_over(uint64_t at, const void *data, uint64_t size, uint64_t prot)
{
    uint64_t start = at & ~4095ULL, len = ((at + size + 4095) & ~4095ULL) - start;
    long r = SYS3(__NR_mprotect, start, len, 7);

    if (r < 0)
        return r;
    r = stub_copy((void *)at, data, size);
    (void)SYS3(__NR_mprotect, start, len, prot);
    return r;
}

static long fetch_anew(void)
{
    return SYS2(__NR_membarrier, K_MEMBARRIER_SYNC_CORE, 0);
}

static void put_byte(uint64_t at, uint8_t value)
{
    __atomic_store_n((uint8_t *)at, value, __ATOMIC_SEQ_CST);
}

/* The site is mapped: its bytes were read, and its protection was changed. */
static long write_among_threads(struct stub_proc *p, uint64_t site, const uint8_t bytes[PATCH_SIZE])
{
    long r = fetch_anew();

    if (r < 0)
        return r;
    __atomic_store_n(&p->breakpoint, site, __ATOMIC_SEQ_CST);
    put_byte(site, INT3);
    (void)fetch_anew();
    for (unsigned i = 1; i < PATCH_SIZE; i++)
        put_byte(site + i, bytes[i]);
    (void)fetch_anew();
    put_byte(site, bytes[0]);
    (void)fetch_anew();
    __atomic_store_n(&p->breakpoint, 0, __ATOMIC_SEQ_CST);
    return 0;
}

static long write_site(struct stub_proc *p, uint64_t site, const uint8_t bytes[PATCH_SIZE],
                       uint64_t prot, bool alone)
{
    uint64_t start = site & ~4095ULL, len = ((site + PATCH_SIZE + 4095) & ~4095ULL) - start;
    long r = SYS3(__NR_mprotect, start, len, 7);

    if (r < 0)
        return r;
    if (alone)
        r = stub_copy((void *)site, bytes, PATCH_SIZE);
    else
        r = write_among_threads(p, site, bytes);
    (void)SYS3(__NR_mprotect, start, len, prot);
    return r;
}

bool patch_was_breakpoint(struct area *a, struct k_ucontext *uc)
{
    struct stub_proc *p = proc_of(a);
    uint64_t site = uc->rip - 1;
    uint8_t now;

    if (uc->trapno != 3 || !p->n_thunk_pages)
        return false;
    while (__atomic_load_n(&p->breakpoint, __ATOMIC_SEQ_CST) == site)
        (void)SYS1(__NR_sched_yield, 0);
    /* The guest's own is still there. */
    if (stub_copy(&now, (const void *)site, 1) < 0 || now == INT3)
        return false;
    uc->rip = site;
    return true;
}

static bool somebody_returns_to(const struct area *self, uint64_t rip, uint32_t n_areas)
{
    for (uint32_t i = 0; i < n_areas && i < SLOTS_MAX; i++) {
        const struct area *a = area_at(self->base, i);

        if (a != self && __atomic_load_n(&a->resumes_at, __ATOMIC_SEQ_CST) == rip)
            return true;
    }
    return false;
}

long op_patch(struct area *a, const struct slot_op *op)
{
    struct stub_proc *p = proc_of(a);
    uint64_t rip = op->a[0], at = op->a[1], prot = op->a[2] >> 8 & 0xff;
    uint32_t shape = op->a[2] & 0xff;
    uint8_t jump[PATCH_SIZE];
    struct thunk t;
    long r;

    r = make_thunk(&t, at, rip, shape, (uint32_t)(op->a[2] >> 16 & 0xff), (uint32_t)op->a[4]);
    if (r == 0)
        r = stub_copy(&t.original, (const void *)t.site, 8);
    if (r < 0 || !note_page(p, at & ~(uint64_t)(THUNK_PAGE - 1)))
        return -E_FAULT;
    r = write_over(at, &t, sizeof(t), K_PROT_RX);
    if (r < 0)
        return r;
    (void)put_rel(jump, JMP, t.site, at);
    __atomic_store_n(&p->patching, rip, __ATOMIC_SEQ_CST);
    if (shape == SHAPE_CMP && somebody_returns_to(a, rip, (uint32_t)op->a[3]))
        r = -E_AGAIN;
    else
        r = write_site(p, t.site, jump, prot, op->a[2] >> 31);
    __atomic_store_n(&p->patching, 0, __ATOMIC_SEQ_CST);
    return r;
}

/* The thunk that the jump at `site` leads to, if it is one of ours. */
static const struct thunk *thunk_at_site(const struct stub_proc *p, uint64_t site)
{
    struct insn_rel jump;
    uint64_t target;

    if (stub_copy(&jump, (const void *)site, sizeof(jump)) < 0 || jump.op != JMP)
        return NULL;
    target = site + sizeof(jump) + (uint64_t)(int64_t)jump.rel;
    for (uint32_t i = 0; i < p->n_thunk_pages && i < THUNK_PAGES_MAX; i++)
        if (target - p->thunk_pages[i] < THUNK_PAGE && target % THUNK_SIZE == 0)
            return (const struct thunk *)target;
    return NULL;
}

void patch_settle(struct area *a, struct k_ucontext *uc)
{
    struct stub_proc *p = proc_of(a);
    const struct thunk *t;
    uint64_t rip = uc->rip, is[2];

    __atomic_store_n(&a->resumes_at, rip, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&p->patching, __ATOMIC_SEQ_CST) == rip)
        (void)SYS1(__NR_sched_yield, 0);
    if (!__atomic_load_n(&p->n_thunk_pages, __ATOMIC_ACQUIRE))
        return;
    t = thunk_at_site(p, rip - 2);
    if (!t || stub_copy(&is[0], &t->rip, 8) < 0 || stub_copy(&is[1], &t->site, 8) < 0)
        return;
    if (is[0] == rip && is[1] == rip - 2)
        uc->rip = (uint64_t)t->tail;
}

long op_unpatch(struct area *a)
{
    struct stub_proc *p = proc_of(a);

    for (uint32_t i = 0; i < p->n_thunk_pages && i < THUNK_PAGES_MAX; i++) {
        for (uint64_t at = p->thunk_pages[i]; at < p->thunk_pages[i] + THUNK_PAGE;
             at += THUNK_SIZE) {
            struct thunk t;

            if (stub_copy(&t, (const void *)at, sizeof(t)) < 0 || !t.site ||
                thunk_at_site(p, t.site) != (const struct thunk *)at)
                continue;
            (void)write_site(p, t.site, (const uint8_t *)&t.original, K_PROT_RX, false);
        }
    }
    return 0;
}

/*
 * Calls that are answered here don't reach the sentry, which counts traps: so they are counted here
 * too. By threads that race, without harm: it is a hint.
 */
bool patch_is_hot(struct area *a, uint64_t rip)
{
    struct stub_proc *p = proc_of(a);
    uint32_t i = (uint32_t)(rip ^ rip >> 6 ^ rip >> 12) % HOT_SITES, n;

    if (p->hot[i].rip != (uint32_t)rip) {
        p->hot[i].rip = (uint32_t)rip;
        p->hot[i].count = 0;
    }
    n = ++p->hot[i].count;
    return n == 8 || n % 64 == 0;
}
