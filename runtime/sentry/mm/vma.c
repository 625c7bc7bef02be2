/* Mappings: a sorted sequence in chunks (vma.h), merging, splitting, and the search for room. */
#include "runtime/sentry/mm/vma.h"

#include "runtime/sentry/vfs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = ARRAY_SIZE(((struct vma_chunk *)0)->v) };

struct at {
    size_t chunk;
    unsigned i;
};

/* Position of the first mapping with end > addr; chunk == n_chunks if none. */
static struct at locate(const struct vma_set *s, uint64_t addr)
{
    size_t lo = 0, hi = s->n_chunks;
    unsigned a = 0, b;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct vma_chunk *c = s->chunks[mid];

        if (c->v[c->n - 1].end > addr)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo == s->n_chunks)
        return (struct at){lo, 0};
    b = s->chunks[lo]->n;
    while (a < b) {
        unsigned mid = (a + b) / 2;

        if (s->chunks[lo]->v[mid].end > addr)
            b = mid;
        else
            a = mid + 1;
    }
    return (struct at){lo, a};
}

static struct vma *vma_at(const struct vma_set *s, struct at p)
{
    return p.chunk < s->n_chunks ? &s->chunks[p.chunk]->v[p.i] : NULL;
}

struct vma *vma_find(const struct vma_set *s, uint64_t addr)
{
    return vma_at(s, locate(s, addr));
}

struct vma *vma_next(const struct vma_set *s, const struct vma *v)
{
    struct at p = locate(s, v->start);

    if (p.chunk == s->n_chunks)
        return NULL;
    if (++p.i == s->chunks[p.chunk]->n)
        p = (struct at){p.chunk + 1, 0};
    return vma_at(s, p);
}

struct vma *vma_prev(const struct vma_set *s, const struct vma *v)
{
    struct at p = locate(s, v->start);

    if (p.i)
        return &s->chunks[p.chunk]->v[p.i - 1];
    return p.chunk ? &s->chunks[p.chunk - 1]->v[s->chunks[p.chunk - 1]->n - 1] : NULL;
}

static int add_chunk(struct vma_set *s, size_t where)
{
    struct vma_chunk *c;

    if (s->n_chunks == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4;
        struct vma_chunk **chunks = realloc(s->chunks, capacity * sizeof(struct vma_chunk *));

        if (!chunks)
            return -ENOMEM;
        s->chunks = chunks;
        s->capacity = capacity;
    }
    c = malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->n = 0;
    memmove(&s->chunks[where + 1], &s->chunks[where],
            (s->n_chunks - where) * sizeof(struct vma_chunk *));
    s->chunks[where] = c;
    s->n_chunks++;
    return 0;
}

static int split_chunk(struct vma_set *s, size_t at)
{
    struct vma_chunk *c, *n;
    unsigned half = CHUNK / 2;

    if (add_chunk(s, at + 1) < 0)
        return -ENOMEM;
    c = s->chunks[at];
    n = s->chunks[at + 1];
    memcpy(n->v, &c->v[half], (c->n - half) * sizeof(struct vma));
    n->n = c->n - half;
    c->n = half;
    return 0;
}

/* Puts *v before position p. */
static int insert_at(struct vma_set *s, struct at p, const struct vma *v)
{
    struct vma_chunk *c;

    if (p.chunk == s->n_chunks) {
        if (s->n_chunks && s->chunks[s->n_chunks - 1]->n < CHUNK)
            p = (struct at){s->n_chunks - 1, s->chunks[s->n_chunks - 1]->n};
        else if (add_chunk(s, s->n_chunks) < 0)
            return -ENOMEM;
    }
    if (s->chunks[p.chunk]->n == CHUNK) {
        if (split_chunk(s, p.chunk) < 0)
            return -ENOMEM;
        if (p.i > CHUNK / 2)
            p = (struct at){p.chunk + 1, p.i - CHUNK / 2};
    }
    c = s->chunks[p.chunk];
    memmove(&c->v[p.i + 1], &c->v[p.i], (c->n - p.i) * sizeof(*v));
    c->v[p.i] = *v;
    c->n++;
    s->count++;
    return 0;
}

static void erase_at(struct vma_set *s, struct at p)
{
    struct vma_chunk *c = s->chunks[p.chunk];

    c->n--;
    s->count--;
    memmove(&c->v[p.i], &c->v[p.i + 1], (c->n - p.i) * sizeof(c->v[0]));
    if (c->n)
        return;
    free(c);
    s->n_chunks--;
    memmove(&s->chunks[p.chunk], &s->chunks[p.chunk + 1],
            (s->n_chunks - p.chunk) * sizeof(struct vma_chunk *));
}

static void account(struct mm *mm, const struct vma *v, int sign)
{
    uint64_t size = (v->end - v->start) * (uint64_t)sign;

    mm->total += size;
    if ((v->prot & PROT_WRITE) && !(v->flags & (VMA_SHARED | VMA_STACK)))
        mm->data += size;
    if (v->flags & VMA_STACK)
        mm->stack += size;
    if (v->flags & VMA_LOCKED)
        mm->locked += size;
}

static bool alike(const struct vma *a, const struct vma *b)
{
    return a->end == b->start && a->prot == b->prot && a->max_prot == b->max_prot &&
           a->flags == b->flags && a->file == b->file && a->name == b->name &&
           (!a->file || a->offset + (a->end - a->start) == b->offset) && !(a->flags & VMA_SHM);
}

/* Shared and perhaps writable: what F_SEAL_WRITE must not come upon (fcntl(2)). */
static unsigned *shared_count(const struct vma *v)
{
    struct inode *i = v->file ? v->file->inode : NULL;

    return i && (v->flags & VMA_SHARED) && (v->max_prot & PROT_WRITE) ? &i->shared_writable : NULL;
}

void vma_hold(const struct vma *v)
{
    unsigned *n = shared_count(v);

    if (n)
        (void)__atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
    if (v->file)
        (void)file_get(v->file);
}

void vma_drop(const struct vma *v)
{
    unsigned *n = shared_count(v);

    if (n)
        (void)__atomic_sub_fetch(n, 1, __ATOMIC_SEQ_CST);
    file_put(v->file);
}

/* Merges the mapping at p into the one before it, if alike. */
static void merge_with_previous(struct vma_set *s, struct at p)
{
    struct vma *v = vma_at(s, p), *before;

    if (!v)
        return;
    before = vma_prev(s, v);
    if (!before || !alike(before, v))
        return;
    before->end = v->end;
    vma_drop(v);
    erase_at(s, p);
}

static void merge_around(struct vma_set *s, uint64_t start, uint64_t end)
{
    for (uint64_t at = end + 1; at > start;) {
        struct at p = locate(s, at - 1);
        struct vma *v = vma_at(s, p), *before;

        before = v ? vma_prev(s, v) : NULL;
        merge_with_previous(s, p);
        if (!before || before->end <= start)
            break;
        at = before->end;
    }
    merge_with_previous(s, locate(s, start));
}

int vma_insert(struct mm *mm, const struct vma *v)
{
    struct at p = locate(&mm->set, v->start);
    struct vma *next = vma_at(&mm->set, p), *before;

    before = next ? vma_prev(&mm->set, next)
                  : (mm->set.n_chunks ? &mm->set.chunks[mm->set.n_chunks - 1]
                                             ->v[mm->set.chunks[mm->set.n_chunks - 1]->n - 1]
                                      : NULL);
    if (before && alike(before, v)) {
        before->end = v->end;
        vma_drop(v);
        account(mm, v, 1);
        merge_with_previous(&mm->set, locate(&mm->set, v->end));
        return 0;
    }
    if (next && alike(v, next)) {
        next->start = v->start;
        next->offset = v->offset;
        vma_drop(v);
        account(mm, v, 1);
        return 0;
    }
    if (insert_at(&mm->set, p, v) < 0)
        return -ENOMEM;
    account(mm, v, 1);
    return 0;
}

/* Makes sure that no mapping crosses addr. */
static int split(struct mm *mm, uint64_t addr)
{
    struct at p = locate(&mm->set, addr);
    struct vma *v = vma_at(&mm->set, p), tail;

    if (!v || v->start >= addr)
        return 0;
    tail = *v;
    tail.start = addr;
    tail.offset += addr - v->start;
    if (insert_at(&mm->set, (struct at){p.chunk, p.i + 1}, &tail) < 0)
        return -ENOMEM;
    vma_hold(&tail);
    v = vma_find(&mm->set, addr - 1);
    if (v)
        v->end = addr;
    return 0;
}

int vma_remove(struct mm *mm, uint64_t start, uint64_t end)
{
    if (split(mm, start) < 0 || split(mm, end) < 0)
        return -ENOMEM;
    for (;;) {
        struct at p = locate(&mm->set, start);
        struct vma *v = vma_at(&mm->set, p);

        if (!v || v->start >= end)
            break;
        account(mm, v, -1);
        vma_drop(v);
        erase_at(&mm->set, p);
    }
    if (end > mm->search_from)
        mm->search_from = MIN(end, mm->mmap_base);
    return 0;
}

int vma_change(struct mm *mm, uint64_t start, uint64_t end, bool whole,
               int (*fn)(struct vma *v, void *arg), void *arg)
{
    uint64_t at = start;
    int r = 0;

    if (whole && !vma_range_covered(mm, start, end))
        return -ENOMEM;
    if (split(mm, start) < 0 || split(mm, end) < 0)
        return -ENOMEM;
    while (r == 0) {
        struct vma *v = vma_find(&mm->set, at);

        if (!v || v->start >= end)
            break;
        account(mm, v, -1);
        r = fn(v, arg);
        account(mm, v, 1);
        at = v->end;
    }
    merge_around(&mm->set, start, end);
    return r;
}

bool vma_range_free(const struct mm *mm, uint64_t start, uint64_t end)
{
    const struct vma *v = vma_find(&mm->set, start);

    return (!v || v->start >= end) && !(start < mm->reserved_end && end > mm->reserved_start);
}

bool vma_range_covered(const struct mm *mm, uint64_t start, uint64_t end)
{
    while (start < end) {
        const struct vma *v = vma_find(&mm->set, start);

        if (!v || v->start > start)
            return false;
        start = v->end;
    }
    return true;
}

/* Highest hole of at least size below `top`; remembers the largest one that was too small. */
static uint64_t search(struct mm *mm, uint64_t top, uint64_t size, uint64_t align)
{
    uint64_t end = top;
    struct at p = locate(&mm->set, top);
    const struct vma *v = vma_at(&mm->set, p);

    if (v && v->start < top)
        end = v->start;
    for (;;) {
        const struct vma *below;
        uint64_t floor, at;

        below = p.i ? &mm->set.chunks[p.chunk]->v[p.i - 1]
                    : (p.chunk ? &mm->set.chunks[p.chunk - 1]->v[mm->set.chunks[p.chunk - 1]->n - 1]
                               : NULL);
        if (v && v->start >= top && below && below->end > end)
            end = below->end;
        floor = below && below->end > mm->min ? below->end : mm->min;
        if (mm->reserved_end > floor && mm->reserved_start < end) {
            /* The reserved range lies in this hole: try above it, then go on below. */
            if (end > mm->reserved_end && end - mm->reserved_end >= size) {
                at = (end - size) & ~(align - 1);
                if (at >= mm->reserved_end)
                    return at;
            }
            end = MIN(end, mm->reserved_start);
        }
        if (end > floor && end - floor >= size) {
            at = (end - size) & ~(align - 1);
            if (at >= floor)
                return at;
        }
        if (end > floor && end - floor > mm->largest_hole)
            mm->largest_hole = end - floor;
        if (!below)
            return 0;
        end = below->start;
        p = p.i ? (struct at){p.chunk, p.i - 1}
                : (struct at){p.chunk - 1, mm->set.chunks[p.chunk - 1]->n - 1};
        v = below;
    }
}

uint64_t vma_find_room(struct mm *mm, uint64_t size, uint64_t align)
{
    uint64_t at;

    if (size <= mm->largest_hole || mm->search_from > mm->mmap_base || !mm->search_from) {
        mm->search_from = mm->mmap_base;
        mm->largest_hole = 0;
    }
    at = search(mm, mm->search_from, size, align);
    if (!at && mm->search_from != mm->mmap_base) {
        mm->largest_hole = 0;
        at = search(mm, mm->mmap_base, size, align);
    }
    if (at)
        mm->search_from = at;
    return at;
}

int vma_set_copy(struct mm *to, const struct mm *from)
{
    for (size_t c = 0; c < from->set.n_chunks; c++)
        for (unsigned i = 0; i < from->set.chunks[c]->n; i++) {
            struct vma v = from->set.chunks[c]->v[i];

            if (v.flags & VMA_DONTFORK)
                continue;
            v.flags &= ~(unsigned)VMA_LOCKED; /* a child has none (mlock(2)) */
            if (insert_at(&to->set, (struct at){to->set.n_chunks, 0}, &v) < 0)
                return -ENOMEM;
            vma_hold(&v);
            account(to, &v, 1);
        }
    return 0;
}

void vma_set_fini(struct mm *mm)
{
    for (size_t c = 0; c < mm->set.n_chunks; c++) {
        for (unsigned i = 0; i < mm->set.chunks[c]->n; i++)
            vma_drop(&mm->set.chunks[c]->v[i]);
        free(mm->set.chunks[c]);
    }
    free(mm->set.chunks);
    memset(&mm->set, 0, sizeof(mm->set));
}
