/*
 * Which call sites are worth patching: those that trap often, are of one of two shapes, lie in
 * private text, and that nothing jumps into the middle of. The stub does the writing.
 */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    HOT = 16,   /* traps before a site is patched: it costs as much as about twelve */
    LATER = 64, /* and before it is tried again if threads were in the way */
    SITES = 128,
    JMP_REL32 = 0xe9,
    WINDOW = 256, /* how far away jumps into the site are looked for */
};

struct site {
    uint64_t rip;
    int32_t left; /* traps until the next attempt; negative: refused */
};

struct patches {
    struct plat_patch_hooks hooks;
    void *ctx;
    pthread_mutex_t lock;
    uint64_t page; /* of thunks, not full yet; 0: none */
    unsigned used, n_pages;
    bool off;
    bool any; /* something was patched (or may have been, by the process that this was forked of) */
    struct site sites[SITES]; /* direct mapped: a collision starts counting again */
};

void plat_set_patch_hooks(struct plat_space *s, const struct plat_patch_hooks *hooks, void *ctx)
{
    struct patches *p = s->patches;

    if (!p) {
        p = calloc(1, sizeof(*p));
        if (!p)
            return; /* slower, not wrong */
        (void)pthread_mutex_init(&p->lock, NULL);
        s->patches = p;
    }
    p->hooks = *hooks;
    p->ctx = ctx;
}

void patches_free(struct patches *p)
{
    if (!p)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* A jump to rip (shape 2's cmp) from its neighbourhood would land within our jump. */
static bool is_target(const uint8_t *code, size_t size, uint64_t base, uint64_t rip)
{
    for (size_t i = 0; i + 6 <= size; i++) {
        uint8_t op = code[i];
        int32_t rel;

        if (((op >= 0x70 && op <= 0x7f) || op == 0xeb) &&
            base + i + 2 + (uint64_t)(int64_t)(int8_t)code[i + 1] == rip)
            return true;
        memcpy(&rel, code + i + 1, 4);
        if ((op == 0xe9 || op == 0xe8) && base + i + 5 + (uint64_t)(int64_t)rel == rip)
            return true;
        memcpy(&rel, code + i + 2, 4);
        if (op == 0x0f && (code[i + 1] & 0xf0) == 0x80 &&
            base + i + 6 + (uint64_t)(int64_t)rel == rip)
            return true;
    }
    return false;
}

static bool jumped_into(struct plat_space *s, uint64_t rip)
{
    uint8_t code[2 * WINDOW];
    uint64_t page = rip & ~4095ULL, start = rip - WINDOW, end = rip + WINDOW;
    ssize_t n;

    /* The neighbouring pages may not be there. */
    if (start < page)
        start = page;
    if (end > page + 4096)
        end = page + 4096;
    n = plat_space_read(s, start, code, end - start);
    return n < 0 || is_target(code, (size_t)n, start, rip);
}

/*
 * Size of the instruction behind a call, if it may be executed elsewhere: no jump, nothing relative
 * to the instruction pointer, and with the call's two bytes at least a jump long. 0: unknown.
 */
static unsigned behind_size(const uint8_t code[6])
{
    static const struct {
        uint8_t op, modrm_min, size;
    } known[] = {
        {0x3d, 0, 6},                     /* cmp $imm32,%rax: libc, Go */
        {0x83, 0xc0, 4},                  /* add, or, .. cmp $imm8,%reg */
        {0x85, 0xc0, 3},                  /* test %reg,%reg */
        {0x89, 0xc0, 3},                  /* mov %reg,%reg: musl */
        {0x8b, 0xc0, 3}, {0x63, 0xc0, 3}, /* movslq %reg,%reg */
    };

    if ((code[0] & 0xf8) != 0x48) /* a REX prefix with W */
        return 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (code[1] == known[i].op && code[2] >= known[i].modrm_min)
            return known[i].size;
    return 0;
}

/* 0 if it is of no shape that we know. */
static int shape_of(struct plat_thread *th, uint64_t rip, uint32_t nr, unsigned *ret_behind)
{
    uint8_t code[13] = {0}; /* seven bytes before, six behind rip */
    uint32_t imm;

    /* The page before may not be there. */
    if (plat_space_read(th->space, rip - 7, code, sizeof(code)) < (ssize_t)sizeof(code) &&
        plat_space_read(th->space, rip - 2, code + 5, sizeof(code) - 5) < 2)
        return 0;
    memcpy(&imm, code + 1, 4);
    if (code[0] == 0xb8 && imm == nr && code[5] == 0x0f && code[6] == 0x05)
        return SHAPE_MOV;
    /* The mov is a jump already: a call that started over traps at the bare `syscall`. Others are
     * on their way back to rip, unnoted; no second jump may cover it. */
    if (code[0] == JMP_REL32)
        return 0;
    *ret_behind = behind_size(code + 7);
    if (code[5] != 0x0f || code[6] != 0x05 || !*ret_behind || jumped_into(th->space, rip))
        return 0;
    return SHAPE_CMP;
}

/* Only one guest thread: nobody can execute what is being written. */
static bool is_alone(struct plat_space *s)
{
    unsigned n;

    (void)pthread_mutex_lock(&s->lock);
    n = s->n_threads;
    (void)pthread_mutex_unlock(&s->lock);
    return n == 1;
}

static bool near_enough(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) < 0x7fff0000ULL;
}

/* Room for a thunk near the site; 0 if there is none. With p->lock. */
static uint64_t thunk_room(struct plat_thread *th, struct patches *p, uint64_t site)
{
    uint64_t at;

    if (!p->page || p->used == THUNK_PAGE / THUNK_SIZE || !near_enough(p->page, site)) {
        if (p->n_pages == THUNK_PAGES_MAX)
            return 0;
        at = p->hooks.alloc_near(p->ctx, site, THUNK_PAGE);
        if (!at || !near_enough(at, site) ||
            plat_mmap(th, at, THUNK_PAGE, PROT_READ | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, NULL) < 0)
            return 0;
        p->page = at;
        p->used = 0;
        p->n_pages++;
    }
    return p->page + (uint64_t)p->used++ * THUNK_SIZE;
}

static int patch_locked(struct plat_thread *th, struct patches *p, uint64_t rip, uint32_t nr)
{
    unsigned behind = 0;
    int shape = shape_of(th, rip, nr, &behind), prot;
    uint64_t site = shape == SHAPE_MOV ? rip - 7 : rip - 2, at;
    struct slot_op *op;

    if (!shape)
        return -EOPNOTSUPP;
    prot = p->hooks.site_prot(p->ctx, site);
    if (prot < 0 || prot != p->hooks.site_prot(p->ctx, site + PATCH_SIZE - 1))
        return -EOPNOTSUPP;
    at = thunk_room(th, p, site);
    op = at ? ops_add(th, OP_PATCH) : NULL;
    if (!op)
        return -ENOMEM;
    op->a[0] = rip;
    op->a[1] = at;
    op->a[2] = (uint64_t)shape | (uint64_t)prot << 8 | (uint64_t)behind << 16 |
               (uint64_t)is_alone(th->space) << 31;
    op->a[3] = th->space->n_indices;
    op->a[4] = nr;
    return plat_flush(th);
}

/* Right after a trap, the queue empty: so a flush of our own disturbs nobody's. */
void patch_consider(struct plat_thread *th, bool hot)
{
    struct patches *p = th->space->patches;
    uint64_t rip = th->regs.rip;
    struct site *site;
    int r;

    if (!p || p->off || !p->hooks.alloc_near || th->n_ops)
        return;
    if (th->regs.gs_base) {
        patch_off(th);
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    site = &p->sites[(rip ^ rip >> 7 ^ rip >> 14) % SITES];
    if (site->rip != rip)
        *site = (struct site){rip, HOT};
    if (hot && site->left > 0)
        site->left = 1;
    if (site->left > 0 && --site->left == 0 && !p->off) {
        r = patch_locked(th, p, rip, (uint32_t)th->regs.orig_rax);
        p->any |= r == 0;
        site->left = r == -EAGAIN ? LATER : -1; /* once more when threads are out of the way */
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* The thread uses GS itself: trampolines would read its memory. */
void patch_off(struct plat_thread *th)
{
    struct patches *p = th->space->patches;

    if (!p || p->off)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->off = true;
    (void)pthread_mutex_unlock(&p->lock);
    (void)ops_add(th, OP_UNPATCH);
}

int plat_patch_off(struct plat_thread *th)
{
    patch_off(th);
    return plat_flush(th);
}
