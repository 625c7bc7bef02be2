/* Rules compiled for longest-prefix maps against rules read one after the other. */
#include "policy/backends/bpf/tables.h"
#include "policy/guard.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 12, CIDRS_MAX = 6, PORTS_MAX = 4 };

static uint64_t state = 88172645463325252ULL;

static uint32_t rnd(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

/* Few bits, so that prefixes overlap and ports meet. */
static void random_address(uint8_t addr[16])
{
    memset(addr, 0, 16);
    if (rnd(2)) {
        addr[10] = addr[11] = 0xff;
        addr[12] = 10;
        addr[13] = (uint8_t)rnd(2);
    } else {
        addr[0] = 0xfd;
    }
    addr[14] = (uint8_t)rnd(3);
    addr[15] = (uint8_t)rnd(5);
}

static uint16_t random_port(void)
{
    static const uint16_t ports[] = {0, 1, 52, 53, 54, 79, 80, 81, 1023, 1024, 8080, 65534, 65535};

    return ports[rnd(sizeof(ports) / sizeof(*ports))];
}

static uint8_t random_protocol(void)
{
    static const uint8_t protocols[] = {6, 17, 132, 1, 58, 47, 6, 17};

    return protocols[rnd(sizeof(protocols))];
}

struct set {
    struct policy_rules rules;
    struct policy_rule list[RULES_MAX];
    struct policy_cidr cidrs[RULES_MAX][CIDRS_MAX];
    struct policy_ports ports[RULES_MAX][PORTS_MAX];
};

static void random_rule(struct set *s, size_t i)
{
    struct policy_rule *rule = &s->list[i];

    memset(rule, 0, sizeof(*rule));
    rule->verdict = rnd(3) ? POLICY_ALLOW : rnd(2) ? POLICY_DENY : POLICY_PASS;
    rule->pass_to = (uint32_t)i + 1 + rnd(4);
    rule->origin = POLICY_ORIGIN_NETWORKPOLICY;
    rule->name = (uint32_t)i + 1;
    rule->any_peer = !rnd(4);
    rule->any_port = !rnd(4);
    rule->cidrs = s->cidrs[i];
    rule->ports = s->ports[i];
    rule->n_cidrs = rule->any_peer ? 0 : rnd(CIDRS_MAX + 1);
    rule->n_ports = rule->any_port ? 0 : rnd(PORTS_MAX + 1);
    for (size_t k = 0; k < rule->n_cidrs; k++) {
        static const uint8_t prefixes[] = {0, 8, 96, 104, 112, 113, 120, 122, 127, 128, 128, 128};

        random_address(s->cidrs[i][k].addr);
        s->cidrs[i][k].prefix = prefixes[rnd(sizeof(prefixes))];
        s->cidrs[i][k].except = !rnd(4);
    }
    for (size_t k = 0; k < rule->n_ports; k++) {
        uint16_t a = random_port(), b = random_port();

        s->ports[i][k].protocol = rnd(8) ? random_protocol() : 0;
        s->ports[i][k].from = a < b ? a : b;
        s->ports[i][k].to = a < b ? b : a;
    }
}

static bool in_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    for (unsigned i = 0; i < bits; i++) {
        if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
            return false;
    }
    return true;
}

static bool peer_matches(const struct policy_rule *rule, const uint8_t peer[16])
{
    bool held = rule->any_peer;

    for (size_t i = 0; i < rule->n_cidrs; i++) {
        if (!in_prefix(rule->cidrs[i].addr, peer, rule->cidrs[i].prefix))
            continue;
        if (rule->cidrs[i].except)
            return false;
        held = true;
    }
    return held;
}

static bool port_matches(const struct policy_rule *rule, uint8_t protocol, bool portless,
                         uint16_t port)
{
    if (rule->any_port)
        return true;
    for (size_t i = 0; i < rule->n_ports; i++) {
        const struct policy_ports *p = &rule->ports[i];

        if (!p->protocol)
            return true;
        if (p->protocol == protocol && !portless && port >= p->from && port <= p->to)
            return true;
    }
    return false;
}

/* Name of the rule that decides; 0 = the fallback. */
static uint32_t slow(const struct policy_rules *rules, int d, const uint8_t peer[16],
                     uint8_t protocol, bool portless, uint16_t port)
{
    for (size_t i = 0; i < rules->dir[d].n_rules; i++) {
        const struct policy_rule *rule = &rules->dir[d].rules[i];

        if (!peer_matches(rule, peer) || !port_matches(rule, protocol, portless, port))
            continue;
        if (rule->verdict != POLICY_PASS)
            return rule->name;
        i = rule->pass_to - 1;
    }
    return 0;
}

Test(tables, agree_with_the_rules)
{
    for (int round = 0; round < 1500; round++) {
        struct bpf_tables tables;
        struct error err = ERROR_INIT;
        struct set s = {0};
        int d = (int)rnd(2);

        s.rules.dir[d].rules = s.list;
        s.rules.dir[d].n_rules = rnd(RULES_MAX + 1);
        s.rules.dir[d].fallback = rnd(2) ? POLICY_ALLOW : POLICY_DENY;
        for (size_t i = 0; i < s.rules.dir[d].n_rules; i++)
            random_rule(&s, i);
        cr_assert_eq(bpf_tables_build(&s.rules, &tables, &err), 0, "%s", err.msg);
        for (int probe = 0; probe < 200; probe++) {
            uint8_t peer[16], protocol = random_protocol();
            bool has_ports = protocol == 6 || protocol == 17 || protocol == 132;
            bool portless = !has_ports || !rnd(4);
            uint16_t port = random_port();
            const struct berm_verdict *v;
            uint32_t name;

            random_address(peer);
            name = slow(&s.rules, d, peer, protocol, portless, port);
            v = bpf_tables_ask(&tables, d, peer, protocol, portless, port);
            cr_assert_not_null(v);
            cr_assert_eq(v->name, name,
                         "round %d: rule %u, tables say %u; protocol %u portless %d port %u", round,
                         name, v->name, protocol, portless, port);
            cr_assert_eq(v->allow, (name ? s.list[name - 1].verdict : s.rules.dir[d].fallback) ==
                                       POLICY_ALLOW);
        }
        bpf_tables_fini(&tables);
    }
}

Test(tables, no_rules_say_the_fallback)
{
    struct policy_rules rules = {0};
    struct bpf_tables tables;
    uint8_t peer[16] = {0};

    rules.dir[POLICY_EGRESS].fallback = POLICY_DENY;
    rules.dir[POLICY_EGRESS].fallback_origin = POLICY_ORIGIN_UNKNOWN_POD;
    rules.dir[POLICY_INGRESS].fallback = POLICY_ALLOW;
    cr_assert_eq(bpf_tables_build(&rules, &tables, NULL), 0);
    cr_assert_eq(tables.n_peers, 0);
    cr_assert_eq(tables.n_ports, 2);
    cr_assert(!bpf_tables_ask(&tables, POLICY_EGRESS, peer, 6, false, 80)->allow);
    cr_assert_eq(bpf_tables_ask(&tables, POLICY_EGRESS, peer, 6, false, 80)->reason,
                 BERM_REASON_UNKNOWN_POD);
    cr_assert(bpf_tables_ask(&tables, POLICY_INGRESS, peer, 1, true, 0)->allow);
    bpf_tables_fini(&tables);
}

Test(tables, a_range_of_ports_is_few_entries)
{
    struct policy_ports ports = {6, 1, 65534};
    struct policy_rule rule = {
        .verdict = POLICY_ALLOW, .any_peer = true, .ports = &ports, .n_ports = 1};
    struct policy_rules rules = {0};
    struct bpf_tables tables;

    rules.dir[POLICY_EGRESS].rules = &rule;
    rules.dir[POLICY_EGRESS].n_rules = 1;
    cr_assert_eq(bpf_tables_build(&rules, &tables, NULL), 0);
    cr_assert_leq(tables.n_ports, 30 + 3, "%zu entries", tables.n_ports);
    bpf_tables_fini(&tables);
}

Test(tables, a_bad_prefix_is_refused)
{
    struct policy_cidr cidr = {.prefix = 129};
    struct policy_rule rule = {.cidrs = &cidr, .n_cidrs = 1, .any_port = true};
    struct policy_rules rules = {0};
    struct bpf_tables tables;
    struct error err = ERROR_INIT;

    rules.dir[POLICY_INGRESS].rules = &rule;
    rules.dir[POLICY_INGRESS].n_rules = 1;
    cr_assert_eq(bpf_tables_build(&rules, &tables, &err), -22);
    cr_assert(strstr(err.msg, "129"));
}

/* The kernel's table is one longest match per address: what guard.def says must fit that. */
Test(guard_table, rows_fit_one_longest_match)
{
    unsigned allowed = 0;

    for (size_t i = 0; i < guard_n_rows; i++) {
        bool found = guard_rows[i].action == GUARD_DENY;

        allowed += guard_rows[i].action == GUARD_ALLOW;
        for (size_t k = 0; k < guard_n_rows; k++) {
            const struct policy_cidr *a = &guard_rows[i].cidr, *b = &guard_rows[k].cidr;
            unsigned common = a->prefix < b->prefix ? a->prefix : b->prefix;

            if (i == k || guard_rows[k].action != GUARD_DENY ||
                !in_prefix(a->addr, b->addr, common))
                continue;
            if (guard_rows[i].action == GUARD_DENY)
                cr_assert_fail("%s and %s overlap", guard_rows[i].name, guard_rows[k].name);
            found = found || a->prefix == b->prefix;
        }
        cr_assert(found, "exception %s belongs to no row with its prefix", guard_rows[i].name);
    }
    cr_assert_leq(allowed, BERM_EXCEPTIONS_MAX);
}
