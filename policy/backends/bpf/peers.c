/*
 * Peer sets -> prefixes with classes. All prefixes of all rules are sorted so that a prefix follows
 * the one that holds it; walking them with a stack gives each the sets of what encloses it. An
 * `except` beats every other entry of its own set and none of another's.
 */
#include "common/cleanup.h"
#include "policy/backends/bpf/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct berm_addr addr; /* host bits cleared */
    uint32_t rule;
    uint8_t prefix;
    bool except;
};

/* One level of the stack: the prefix, and which rules hold or except it. */
struct level {
    struct berm_addr addr;
    uint32_t class_id;
    uint8_t prefix;
};

static void clear_host_bits(struct berm_addr *a, unsigned prefix)
{
    for (unsigned i = 0; i < 16; i++) {
        if (prefix >= (i + 1) * 8)
            continue;
        a->b[i] &= prefix <= i * 8 ? 0 : (uint8_t)(0xff << ((i + 1) * 8 - prefix));
    }
}

static bool holds(const struct berm_addr *net, unsigned prefix, const struct berm_addr *a)
{
    struct berm_addr masked = *a;

    clear_host_bits(&masked, prefix);
    return !memcmp(&masked, net, 16);
}

static int entry_compare(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int r = memcmp(&a->addr, &b->addr, 16);

    return r ? r : (int)a->prefix - (int)b->prefix;
}

static int collect(const struct policy_rule *rules, size_t n_rules, struct entry **ret,
                   size_t *ret_n, struct error *err)
{
    struct entry *entries;
    size_t n = 0, at = 0;

    for (size_t i = 0; i < n_rules; i++)
        n += rules[i].any_peer ? 0 : rules[i].n_cidrs;
    entries = calloc(n ? n : 1, sizeof(*entries));
    if (!entries)
        return error_set(err, -ENOMEM, "compile rules: out of memory");
    for (size_t i = 0; i < n_rules; i++) {
        for (size_t k = 0; !rules[i].any_peer && k < rules[i].n_cidrs; k++) {
            const struct policy_cidr *c = &rules[i].cidrs[k];
            struct entry *e = &entries[at++];

            if (c->prefix > 128) {
                free(entries);
                return error_set(err, -EINVAL, "compile rules: rule %zu: prefix %u", i, c->prefix);
            }
            memcpy(&e->addr, c->addr, 16);
            clear_host_bits(&e->addr, c->prefix);
            e->prefix = c->prefix;
            e->rule = (uint32_t)i;
            e->except = c->except;
        }
    }
    qsort(entries, n, sizeof(*entries), entry_compare);
    *ret = entries;
    *ret_n = n;
    return 0;
}

/* Stack of enclosing prefixes, at most 129 deep; each level has two bit sets of `words` words. */
struct stack {
    struct level level[130];
    uint64_t *in, *out; /* rules that hold the level's prefix; rules that except it */
    size_t depth, words;
};

static int stack_init(struct stack *s, size_t words)
{
    memset(s, 0, sizeof(*s));
    s->words = words;
    s->in = calloc(130 * words, sizeof(*s->in));
    s->out = calloc(130 * words, sizeof(*s->out));
    return s->in && s->out ? 0 : -ENOMEM;
}

static void stack_fini(struct stack *s)
{
    free(s->in);
    free(s->out);
}

/* Level 0 is "everything", with empty sets: the class of addresses in no entry. */
static void stack_push(struct stack *s, const struct entry *e)
{
    size_t bytes = s->words * sizeof(uint64_t);

    while (s->depth && !(s->level[s->depth].prefix <= e->prefix &&
                         holds(&s->level[s->depth].addr, s->level[s->depth].prefix, &e->addr)))
        s->depth--;
    s->depth++;
    s->level[s->depth].addr = e->addr;
    s->level[s->depth].prefix = e->prefix;
    memcpy(s->in + s->depth * s->words, s->in + (s->depth - 1) * s->words, bytes);
    memcpy(s->out + s->depth * s->words, s->out + (s->depth - 1) * s->words, bytes);
}

static void stack_add(struct stack *s, const struct entry *e)
{
    bit_set((e->except ? s->out : s->in) + s->depth * s->words, e->rule);
}

static int add_peer(struct stack *s, enum policy_direction direction, struct classes *classes,
                    uint64_t *scratch, struct bpf_tables *t)
{
    struct level *level = &s->level[s->depth];
    struct bpf_peer peer = {.direction = (uint8_t)direction, .prefix = level->prefix};
    int64_t id;

    for (size_t w = 0; w < s->words; w++)
        scratch[w] = s->in[s->depth * s->words + w] & ~s->out[s->depth * s->words + w];
    id = classes_id(classes, scratch);
    if (id < 0)
        return (int)id;
    level->class_id = (uint32_t)id;
    if (level[-1].class_id == level->class_id) /* the enclosing prefix says the same */
        return 0;
    peer.addr = level->addr;
    peer.class_id = level->class_id;
    return bpf_tables_add_peer(t, &peer);
}

static int walk(struct stack *s, const struct entry *entries, size_t n,
                enum policy_direction direction, struct classes *classes, struct bpf_tables *t,
                struct error *err)
{
    CLEANUP(free_ptr) uint64_t *scratch = calloc(s->words, sizeof(*scratch));
    int r;

    if (!scratch)
        return error_set(err, -ENOMEM, "compile rules: out of memory");
    for (size_t i = 0; i < n;) {
        size_t same = i;

        stack_push(s, &entries[i]);
        for (; same < n && !entry_compare(&entries[i], &entries[same]); same++)
            stack_add(s, &entries[same]);
        r = add_peer(s, direction, classes, scratch, t);
        if (r < 0)
            return error_errno(err, r, "compile rules: peers");
        i = same;
    }
    return 0;
}

int bpf_peers_build(const struct policy_rules *rules, enum policy_direction direction,
                    struct classes *classes, struct bpf_tables *t, struct error *err)
{
    CLEANUP(free_ptr) struct entry *entries = NULL;
    struct stack stack;
    size_t n = 0;
    int r;

    r = collect(rules->dir[direction].rules, rules->dir[direction].n_rules, &entries, &n, err);
    if (r < 0)
        return r;
    r = stack_init(&stack, classes->words);
    r = r < 0 ? error_set(err, r, "compile rules: out of memory")
              : walk(&stack, entries, n, direction, classes, t, err);
    stack_fini(&stack);
    return r;
}
