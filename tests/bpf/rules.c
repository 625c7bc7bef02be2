#include "tests/bpf/rules.h"

#include "tests/bpf/lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t add_name(struct test_rules *t, const char *kind, size_t number)
{
    size_t n = t->rules.n_names++;

    snprintf(t->text[n], sizeof(t->text[n]), "%s[%zu]", kind, number);
    t->names[n] = t->text[n];
    return (uint32_t)n;
}

struct test_rules *rules_new(enum policy_verdict egress, enum policy_verdict ingress)
{
    struct test_rules *t = calloc(1, sizeof(*t));

    t->rules.names = t->names;
    for (int d = 0; d < POLICY_DIRECTION_MAX; d++) {
        enum policy_verdict v = d == POLICY_EGRESS ? egress : ingress;

        t->rules.dir[d].rules = t->list[d];
        t->rules.dir[d].fallback = v;
        t->rules.dir[d].isolated = v == POLICY_DENY;
        t->rules.dir[d].fallback_origin =
            v == POLICY_DENY ? POLICY_ORIGIN_NETWORKPOLICY : POLICY_ORIGIN_DEFAULT;
        t->rules.dir[d].fallback_name =
            add_name(t, d == POLICY_EGRESS ? "egress-default" : "ingress-default", 0);
    }
    return t;
}

void rules_add(struct test_rules *t, enum policy_direction direction, enum policy_verdict verdict,
               const char *cidr, int protocol, int from, int to)
{
    size_t n = t->rules.dir[direction].n_rules++;
    struct policy_rule *rule = &t->list[direction][n];

    rule->verdict = verdict;
    rule->origin = POLICY_ORIGIN_NETWORKPOLICY;
    rule->name = add_name(t, direction == POLICY_EGRESS ? "egress" : "ingress", n);
    rule->any_peer = !cidr;
    rule->any_port = protocol < 0;
    if (cidr) {
        struct policy_cidr *c = &t->cidrs[direction][n];
        char text[64];
        char *slash;
        int bits;

        snprintf(text, sizeof(text), "%s", cidr);
        slash = strchr(text, '/');
        bits = slash ? atoi(slash + 1) : strchr(text, ':') ? 128 : 32;
        if (slash)
            *slash = '\0';
        lab_address(text, c->addr);
        c->prefix = (uint8_t)(strchr(text, ':') ? bits : bits + 96);
        rule->cidrs = c;
        rule->n_cidrs = 1;
    }
    if (protocol >= 0) {
        t->ports[direction][n] =
            (struct policy_ports){(uint8_t)protocol, (uint16_t)from, (uint16_t)to};
        rule->ports = &t->ports[direction][n];
        rule->n_ports = 1;
    }
}
