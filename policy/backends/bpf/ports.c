/*
 * The rules of one class -> entries by protocol and port. Rules are asked in order: the first whose
 * ports match decides. For each protocol that a rule names, the port line 0..65535 is painted with
 * the first verdict; what stays bare gets the verdict of "any protocol".
 */
#include "common/cleanup.h"
#include "policy/backends/bpf/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_LINE = 65536, SEGMENTS_MAX = 2 * PORT_LINE };

struct segment {
    uint32_t from, to; /* inclusive */
    struct berm_verdict verdict;
};

/* What all of one class's entries have in common. */
struct work {
    const struct policy_rules *rules;
    const struct classes *classes;
    struct bpf_tables *t;
    enum policy_direction direction;
    uint32_t class_id;
    struct segment *bare, *painted; /* bare: not yet decided */
    size_t n_bare, n_painted, cap_bare, cap_painted;
};

static uint8_t reason_of(enum policy_origin origin, bool fallback)
{
    if (origin == POLICY_ORIGIN_UNKNOWN_POD)
        return BERM_REASON_UNKNOWN_POD;
    if (origin == POLICY_ORIGIN_INEXPRESSIBLE)
        return BERM_REASON_POLICY_CLOSED;
    return fallback ? BERM_REASON_POLICY_DEFAULT : BERM_REASON_POLICY;
}

static struct berm_verdict verdict_of(enum policy_verdict verdict, enum policy_origin origin,
                                      uint32_t name, bool fallback)
{
    struct berm_verdict v = {
        .allow = verdict == POLICY_ALLOW, .origin = (uint16_t)origin, .name = name};

    if (!v.allow)
        v.reason = reason_of(origin, fallback);
    return v;
}

static bool in_class(const struct work *w, size_t rule)
{
    return w->rules->dir[w->direction].rules[rule].any_peer ||
           bit_get(w->classes->bits + w->class_id * w->classes->words, rule);
}

static bool every_port(const struct policy_rule *rule)
{
    if (rule->any_port)
        return true;
    for (size_t i = 0; i < rule->n_ports; i++) {
        if (rule->ports[i].protocol == 0)
            return true;
    }
    return false;
}

/* Verdict for a packet that no port-bound rule can match. portless: a packet of `protocol` whose
 * ports are not visible, which a rule for all of that protocol's ports does match. */
static struct berm_verdict unbound(const struct work *w, uint8_t protocol)
{
    const struct policy_rules *all = w->rules;

    for (size_t i = 0; i < all->dir[w->direction].n_rules; i++) {
        const struct policy_rule *rule = &all->dir[w->direction].rules[i];
        bool match = every_port(rule);

        if (!in_class(w, i))
            continue;
        for (size_t k = 0; protocol && !match && k < rule->n_ports; k++)
            match = rule->ports[k].protocol == protocol && rule->ports[k].from == 0 &&
                    rule->ports[k].to == PORT_LINE - 1;
        if (match)
            return verdict_of(rule->verdict, rule->origin, rule->name, false);
    }
    return verdict_of(all->dir[w->direction].fallback, all->dir[w->direction].fallback_origin,
                      all->dir[w->direction].fallback_name, true);
}

static bool verdict_equal(const struct berm_verdict *a, const struct berm_verdict *b)
{
    return a->allow == b->allow && a->reason == b->reason && a->origin == b->origin &&
           a->name == b->name;
}

static int segment_add(struct segment **list, size_t *n, size_t *capacity, uint32_t from,
                       uint32_t to, const struct berm_verdict *v)
{
    if (*n == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 16;
        struct segment *grown = realloc(*list, more * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        *list = grown;
        *capacity = more;
    }
    (*list)[(*n)++] = (struct segment){from, to, *v};
    return 0;
}

/* Gives [from, to] the verdict where nothing was decided yet. */
static int paint(struct work *w, uint32_t from, uint32_t to, const struct berm_verdict *v)
{
    struct segment *bare = NULL;
    size_t n = 0, capacity = 0;
    int r = 0;

    for (size_t i = 0; i < w->n_bare && r == 0; i++) {
        struct segment s = w->bare[i];
        uint32_t a = MAX(s.from, from), b = MIN(s.to, to);

        if (a > b) {
            r = segment_add(&bare, &n, &capacity, s.from, s.to, v);
            continue;
        }
        if (s.from < a)
            r = segment_add(&bare, &n, &capacity, s.from, a - 1, v);
        if (r == 0)
            r = segment_add(&w->painted, &w->n_painted, &w->cap_painted, a, b, v);
        if (r == 0 && b < s.to)
            r = segment_add(&bare, &n, &capacity, b + 1, s.to, v);
    }
    free(w->bare);
    w->bare = bare;
    w->n_bare = n;
    w->cap_bare = capacity;
    return r;
}

static int emit(struct work *w, uint32_t prefix, uint8_t protocol, bool portless, uint32_t port,
                const struct berm_verdict *v)
{
    struct bpf_port entry = {.verdict = *v};

    entry.key.prefix = prefix;
    entry.key.scope = (uint32_t)w->direction;
    entry.key.class_id = w->class_id;
    entry.key.protocol = protocol;
    entry.key.portless = portless;
    entry.key.port[0] = (uint8_t)(port >> 8);
    entry.key.port[1] = (uint8_t)port;
    return bpf_tables_add_port(w->t, &entry);
}

/* A range as the fewest aligned powers of two. */
static int emit_range(struct work *w, uint8_t protocol, const struct segment *s)
{
    uint32_t from = s->from;

    while (from <= s->to) {
        uint32_t size = 1, bits = 16;
        int r;

        while (bits && !(from & size) && from + 2 * size - 1 <= s->to) {
            size *= 2;
            bits--;
        }
        r = emit(w, BERM_PORT_PREFIX_KIND + bits, protocol, false, from, &s->verdict);
        if (r < 0)
            return r;
        from += size;
    }
    return 0;
}

static int protocol_build(struct work *w, uint8_t protocol, const struct berm_verdict *other)
{
    struct berm_verdict portless = unbound(w, protocol), bare = *other;
    const struct policy_rules *all = w->rules;
    int r;

    w->n_bare = w->n_painted = 0;
    r = segment_add(&w->bare, &w->n_bare, &w->cap_bare, 0, PORT_LINE - 1, other);
    for (size_t i = 0; r == 0 && w->n_bare && i < all->dir[w->direction].n_rules; i++) {
        const struct policy_rule *rule = &all->dir[w->direction].rules[i];
        struct berm_verdict v = verdict_of(rule->verdict, rule->origin, rule->name, false);

        if (!in_class(w, i))
            continue;
        if (every_port(rule)) {
            bare = v; /* all that is left; `other` names the same rule */
            break;
        }
        for (size_t k = 0; r == 0 && k < rule->n_ports; k++) {
            if (rule->ports[k].protocol == protocol && rule->ports[k].from <= rule->ports[k].to)
                r = paint(w, rule->ports[k].from, rule->ports[k].to, &v);
        }
    }
    if (r == 0)
        r = emit(w, BERM_PORT_PREFIX_KIND, protocol, false, 0, &bare);
    if (r == 0 && !verdict_equal(&portless, other))
        r = emit(w, BERM_PORT_PREFIX_KIND, protocol, true, 0, &portless);
    for (size_t i = 0; r == 0 && i < w->n_painted; i++)
        r = emit_range(w, protocol, &w->painted[i]);
    return r;
}

static void protocols_of(const struct work *w, bool named[256])
{
    memset(named, 0, 256);
    for (size_t i = 0; i < w->rules->dir[w->direction].n_rules; i++) {
        const struct policy_rule *rule = &w->rules->dir[w->direction].rules[i];

        for (size_t k = 0; !rule->any_port && k < rule->n_ports && in_class(w, i); k++)
            named[rule->ports[k].protocol] = true;
    }
    named[0] = false;
}

static int class_build(struct work *w)
{
    struct berm_verdict other = unbound(w, 0);
    bool named[256];
    int r = emit(w, BERM_PORT_PREFIX_CLASS, 0, false, 0, &other);

    protocols_of(w, named);
    for (int protocol = 1; r == 0 && protocol < 256; protocol++) {
        if (named[protocol])
            r = protocol_build(w, (uint8_t)protocol, &other);
    }
    return r;
}

int bpf_ports_build(const struct policy_rules *rules, enum policy_direction direction,
                    const struct classes *classes, struct bpf_tables *t, struct error *err)
{
    struct work w = {.rules = rules, .classes = classes, .t = t, .direction = direction};
    int r = 0;

    for (size_t i = 0; r == 0 && i < classes->n; i++) {
        w.class_id = (uint32_t)i;
        r = class_build(&w);
    }
    free(w.bare);
    free(w.painted);
    return r < 0 ? error_errno(err, r, "compile rules: ports") : 0;
}
