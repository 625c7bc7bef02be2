/*
 * Union of CIDRs and of blocks with exceptions.
 *
 * Everything rests on one order: by address, shorter prefix first. In it an entry is covered, if at
 * all, by the last one kept before it. Blocks whose exceptions touch another part of the union
 * can't share a group with it (the exception would take that part away): they get groups of their
 * own.
 */
#include "policy/compiler/cidr_set.h"

#include "common/cleanup.h"
#include "policy/address.h"

#include <errno.h>
#include <string.h>

static const struct policy_cidr all_v4 = {
    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, 96, false};

void cidr_list_fini(struct cidr_list *l)
{
    free(l->at);
    *l = (struct cidr_list){0};
}

int cidr_list_add(struct cidr_list *l, const struct policy_cidr *c)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 8;
        struct policy_cidr *at = reallocarray(l->at, capacity, sizeof(*at));

        if (!at)
            return -ENOMEM;
        l->at = at;
        l->capacity = capacity;
    }
    l->at[l->n++] = *c;
    return 0;
}

int cidr_list_add_address(struct cidr_list *l, const uint8_t addr[16])
{
    struct policy_cidr c = {.prefix = 128};

    memcpy(c.addr, addr, 16);
    return cidr_list_add(l, &c);
}

static int compare(const void *a, const void *b)
{
    const struct policy_cidr *x = a, *y = b;
    int r = memcmp(x->addr, y->addr, 16);

    return r ? r : (int)x->prefix - (int)y->prefix;
}

/* Halves of one larger CIDR; a and b are in order. The whole of IPv4 merges with nothing. */
static bool siblings(const struct policy_cidr *a, const struct policy_cidr *b)
{
    struct policy_cidr parent = *a;

    if (a->prefix != b->prefix || a->prefix == 0 ||
        (a->prefix == 96 && (address_is_v4(a->addr) || address_is_v4(b->addr))))
        return false;
    parent.prefix--;
    if (a->addr[parent.prefix / 8] & (0x80 >> (parent.prefix % 8)))
        return false; /* a is the upper half: its sibling lies before it */
    return cidr_covers(&parent, b);
}

void cidr_list_merge(struct cidr_list *l)
{
    size_t n = 0, sorted = 1;

    /* What comes out of a cache is in order already. */
    while (sorted < l->n && compare(&l->at[sorted - 1], &l->at[sorted]) <= 0)
        sorted++;
    if (sorted < l->n)
        qsort(l->at, l->n, sizeof(*l->at), compare);
    for (size_t i = 0; i < l->n; i++) {
        if (n && cidr_covers(&l->at[n - 1], &l->at[i]))
            continue;
        l->at[n++] = l->at[i];
        while (n > 1 && siblings(&l->at[n - 2], &l->at[n - 1])) {
            l->at[n - 2].prefix--;
            n--;
        }
    }
    l->n = n;
}

/* -- sets ------------------------------------------------------------------------------- */

static void blocks_fini(struct cidr_set *s)
{
    for (size_t i = 0; i < s->n_blocks; i++)
        cidr_list_fini(&s->blocks[i].excepts);
    free(s->blocks);
    s->blocks = NULL;
    s->n_blocks = s->capacity = 0;
}

void cidr_set_fini(struct cidr_set *s)
{
    cidr_list_fini(&s->plain);
    blocks_fini(s);
}

static bool spans_v4(const struct policy_cidr *c)
{
    return c->prefix < all_v4.prefix && cidr_covers(c, &all_v4);
}

int cidr_set_add_block(struct cidr_set *s, const struct policy_cidr *include,
                       const struct policy_cidr *excepts, size_t n)
{
    struct cidr_block *b;

    if (n == 0 && !spans_v4(include))
        return cidr_list_add(&s->plain, include);
    if (s->n_blocks == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4;
        struct cidr_block *blocks = reallocarray(s->blocks, capacity, sizeof(*blocks));

        if (!blocks)
            return -ENOMEM;
        s->blocks = blocks;
        s->capacity = capacity;
    }
    b = &s->blocks[s->n_blocks++];
    *b = (struct cidr_block){.include = *include};
    for (size_t i = 0; i < n; i++)
        if (cidr_list_add(&b->excepts, &excepts[i]) < 0)
            return -ENOMEM;
    if (spans_v4(include) && cidr_list_add(&b->excepts, &all_v4) < 0)
        return -ENOMEM;
    cidr_list_merge(&b->excepts);
    return 0;
}

/* Index of the first entry that starts after c's address. */
static size_t after(const struct cidr_list *l, const struct policy_cidr *c)
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (memcmp(l->at[mid].addr, c->addr, 16) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool covered(const struct cidr_list *l, const struct policy_cidr *c)
{
    size_t i = after(l, c);

    return i && cidr_covers(&l->at[i - 1], c);
}

static bool overlaps(const struct cidr_list *l, const struct policy_cidr *c)
{
    size_t i = after(l, c);

    return (i && (cidr_covers(&l->at[i - 1], c) || cidr_covers(c, &l->at[i - 1]))) ||
           (i < l->n && cidr_covers(c, &l->at[i]));
}

static int compare_blocks(const void *a, const void *b)
{
    return compare(&((const struct cidr_block *)a)->include,
                   &((const struct cidr_block *)b)->include);
}

int cidr_list_intersect(const struct cidr_list *a, const struct cidr_list *b, struct cidr_list *ret)
{
    int r = 0;

    *ret = (struct cidr_list){0};
    for (size_t i = 0; r == 0 && i < a->n; i++)
        if (covered(b, &a->at[i]))
            r = cidr_list_add(ret, &a->at[i]);
    for (size_t i = 0; r == 0 && i < b->n; i++)
        if (covered(a, &b->at[i]))
            r = cidr_list_add(ret, &b->at[i]);
    cidr_list_merge(ret);
    return r;
}

static int intersect(struct cidr_list *a, const struct cidr_list *b)
{
    struct cidr_list both;
    int r = cidr_list_intersect(a, b, &both);

    cidr_list_fini(a);
    *a = both;
    return r;
}

/* Blocks of the same address range become one: what both leave out stays out. */
static int unite_blocks(struct cidr_set *s)
{
    size_t n = 0;
    int r = 0;

    if (s->n_blocks > 1)
        qsort(s->blocks, s->n_blocks, sizeof(*s->blocks), compare_blocks);
    for (size_t i = 0; i < s->n_blocks; i++) {
        if (n && compare_blocks(&s->blocks[n - 1], &s->blocks[i]) == 0) {
            if (r == 0)
                r = intersect(&s->blocks[n - 1].excepts, &s->blocks[i].excepts);
            cidr_list_fini(&s->blocks[i].excepts);
        } else {
            s->blocks[n++] = s->blocks[i];
        }
    }
    s->n_blocks = n;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (s->blocks[i].excepts.n == 0)
            r = cidr_list_add(&s->plain, &s->blocks[i].include);
    return r;
}

static bool fits(const struct cidr_list *plain, const struct cidr_block *b)
{
    for (size_t i = 0; i < b->excepts.n; i++)
        if (overlaps(plain, &b->excepts.at[i]))
            return false;
    return true;
}

static int append(struct cidr_list *l, const struct cidr_list *more, bool except)
{
    for (size_t i = 0; i < more->n; i++) {
        struct policy_cidr c = more->at[i];

        c.except = except;
        if (cidr_list_add(l, &c) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Appends one group made of includes and excepts. */
static int emit(struct cidr_group *g, const struct cidr_list *includes,
                const struct cidr_list *excepts)
{
    struct cidr_list all = {0};

    if (append(&all, includes, false) < 0 || append(&all, excepts, true) < 0) {
        cidr_list_fini(&all);
        return -ENOMEM;
    }
    *g = (struct cidr_group){all.at, all.n, includes->n};
    return 0;
}

/* The group that most goes into, and one for each block that can't share it. */
static int place(struct cidr_set *s, struct cidr_group *groups, size_t *n)
{
    struct cidr_list includes = {0}, excepts = {0};
    const struct cidr_block *last = NULL;
    int r = append(&includes, &s->plain, false);

    for (size_t i = 0; r == 0 && i < s->n_blocks; i++) {
        const struct cidr_block *b = &s->blocks[i];

        if (b->excepts.n == 0 || covered(&s->plain, &b->include) ||
            covered(&b->excepts, &b->include)) /* nothing is left of it */
            continue;
        if ((last && cidr_covers(&last->include, &b->include)) || !fits(&s->plain, b)) {
            struct cidr_list one = {(struct policy_cidr *)(uintptr_t)&b->include, 1, 1};

            r = emit(&groups[(*n)++], &one, &b->excepts);
            continue;
        }
        last = b;
        if ((r = cidr_list_add(&includes, &b->include)) == 0)
            r = append(&excepts, &b->excepts, true);
    }
    cidr_list_merge(&includes);
    cidr_list_merge(&excepts);
    if (r == 0 && includes.n)
        r = emit(&groups[(*n)++], &includes, &excepts);
    cidr_list_fini(&includes);
    cidr_list_fini(&excepts);
    return r;
}

static bool is_everything(const struct cidr_set *s)
{
    bool v6 = false;

    for (size_t i = 0; i < s->n_blocks; i++)
        v6 |= s->blocks[i].include.prefix == 0 && s->blocks[i].excepts.n == 1 &&
              compare(&s->blocks[i].excepts.at[0], &all_v4) == 0;
    return v6 && covered(&s->plain, &all_v4);
}

int cidr_set_groups(struct cidr_set *s, struct cidr_group **ret, size_t *ret_n, bool *ret_any)
{
    struct cidr_group *groups;
    size_t n = 0;
    int r;

    if ((r = unite_blocks(s)) < 0)
        return r;
    cidr_list_merge(&s->plain);
    *ret_any = is_everything(s);
    if (!(groups = calloc(s->n_blocks + 1, sizeof(*groups))))
        return -ENOMEM;
    if (!*ret_any && (r = place(s, groups, &n)) < 0) {
        cidr_groups_free(groups, n);
        return r;
    }
    *ret = groups;
    *ret_n = n;
    return 0;
}

void cidr_groups_free(struct cidr_group *g, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(g[i].cidrs);
    free(g);
}
