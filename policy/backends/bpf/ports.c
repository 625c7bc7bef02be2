/*
 * The rules of one class -> entries by protocol and port. Rules are asked in order: the first whose
 * ports match decides, or passes on to a later one. For each protocol that a rule names, the port
 * line 0..65535 is painted with verdicts; what has the verdict of "any protocol" needs no entry.
 */
#include "common/cleanup.h"
#include "policy/backends/bpf/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_LINE = 65536 };

struct segment {
    uint32_t from, to; /* inclusive */
    size_t resume;     /* bare: first rule that may decide it */
    struct berm_verdict verdict;
};

struct segments {
    struct segment *list;
    size_t n, capacity;
};

/* What all of one class's entries have in common. */
struct work {
    const struct policy_rules *rules;
    const struct classes *classes;
    struct bpf_tables *t;
    enum policy_direction direction;
    uint32_t class_id;
    struct segments bare, painted; /* bare: not yet decided */
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

/* Verdict for packets that match no entry bound to a protocol: without ports, or none visible. */
static struct berm_verdict unbound(const struct work *w)
{
    const struct policy_rules *all = w->rules;

    for (size_t i = 0; i < all->dir[w->direction].n_rules; i++) {
        const struct policy_rule *rule = &all->dir[w->direction].rules[i];

        if (!in_class(w, i) || !every_port(rule))
            continue;
        if (rule->verdict != POLICY_PASS)
            return verdict_of(rule->verdict, rule->origin, rule->name, false);
        i = MAX(rule->pass_to, i + 1) - 1;
    }
    return verdict_of(all->dir[w->direction].fallback, all->dir[w->direction].fallback_origin,
                      all->dir[w->direction].fallback_name, true);
}

static bool verdict_equal(const struct berm_verdict *a, const struct berm_verdict *b)
{
    return a->allow == b->allow && a->reason == b->reason && a->origin == b->origin &&
           a->name == b->name;
}

static int segment_add(struct segments *s, const struct segment *segment)
{
    if (s->n == s->capacity) {
        size_t more = s->capacity ? s->capacity * 2 : 16;
        struct segment *grown = realloc(s->list, more * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        s->list = grown;
        s->capacity = more;
    }
    s->list[s->n++] = *segment;
    return 0;
}

static int segment_part(struct segments *s, struct segment segment, uint32_t from, uint32_t to)
{
    segment.from = from;
    segment.to = to;
    return from > to ? 0 : segment_add(s, &segment);
}

/* What rule number i says about [from, to], where nothing was decided yet and it may speak. */
static int paint(struct work *w, size_t i, uint32_t from, uint32_t to)
{
    const struct policy_rule *rule = &w->rules->dir[w->direction].rules[i];
    struct segments bare = {0};
    int r = 0;

    for (size_t k = 0; k < w->bare.n && r == 0; k++) {
        struct segment s = w->bare.list[k], hit = s;
        uint32_t a = MAX(s.from, from), b = MIN(s.to, to);

        if (a > b || s.resume > i) {
            r = segment_add(&bare, &s);
            continue;
        }
        hit.resume = MAX(rule->pass_to, i + 1);
        hit.verdict = verdict_of(rule->verdict, rule->origin, rule->name, false);
        if (a > s.from)
            r = segment_part(&bare, s, s.from, a - 1);
        if (r == 0)
            r = segment_part(rule->verdict == POLICY_PASS ? &bare : &w->painted, hit, a, b);
        if (r == 0)
            r = segment_part(&bare, s, b + 1, s.to);
    }
    free(w->bare.list);
    w->bare = bare;
    return r;
}

/* A rule's ports of one protocol. A part that a rule passes on is not met again by the same rule:
 * it resumes later. */
static int paint_rule(struct work *w, size_t i, uint8_t protocol)
{
    const struct policy_rule *rule = &w->rules->dir[w->direction].rules[i];
    int r = 0;

    if (!in_class(w, i))
        return 0;
    if (every_port(rule))
        return paint(w, i, 0, PORT_LINE - 1);
    for (size_t k = 0; r == 0 && k < rule->n_ports; k++) {
        if (rule->ports[k].protocol == protocol && rule->ports[k].from <= rule->ports[k].to)
            r = paint(w, i, rule->ports[k].from, rule->ports[k].to);
    }
    return r;
}

static int emit(struct work *w, uint32_t prefix, uint8_t protocol, uint32_t port,
                const struct berm_verdict *v)
{
    struct bpf_port entry = {.verdict = *v};

    entry.key.prefix = prefix;
    entry.key.scope = (uint32_t)w->direction;
    entry.key.class_id = w->class_id;
    entry.key.protocol = protocol;
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
        r = emit(w, BERM_PORT_PREFIX_KIND + bits, protocol, from, &s->verdict);
        if (r < 0)
            return r;
        from += size;
    }
    return 0;
}

static int protocol_build(struct work *w, uint8_t protocol, const struct berm_verdict *other)
{
    const struct segment line = {.to = PORT_LINE - 1};
    const struct policy_rules *all = w->rules;
    int r;

    w->bare.n = w->painted.n = 0;
    r = segment_add(&w->bare, &line);
    for (size_t i = 0; r == 0 && w->bare.n && i < all->dir[w->direction].n_rules; i++)
        r = paint_rule(w, i, protocol);
    for (size_t i = 0; r == 0 && i < w->bare.n; i++) {
        struct segment s = w->bare.list[i];

        s.verdict =
            verdict_of(all->dir[w->direction].fallback, all->dir[w->direction].fallback_origin,
                       all->dir[w->direction].fallback_name, true);
        r = segment_add(&w->painted, &s);
    }
    for (size_t i = 0; r == 0 && i < w->painted.n; i++) {
        if (!verdict_equal(&w->painted.list[i].verdict, other))
            r = emit_range(w, protocol, &w->painted.list[i]);
    }
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
    struct berm_verdict other = unbound(w);
    bool named[256];
    int r = emit(w, BERM_PORT_PREFIX_CLASS, 0, 0, &other);

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
    free(w.bare.list);
    free(w.painted.list);
    return r < 0 ? error_errno(err, r, "compile rules: ports") : 0;
}
