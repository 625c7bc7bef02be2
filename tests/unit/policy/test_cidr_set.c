/* Unions of CIDRs and blocks: against a bitmap of a tiny address space, and what rules.h promises.
 */
#include "policy/compiler/cidr_set.h"

#include "policy/address.h"
#include "policy/evaluate.h"

#include <criterion/criterion.h>
#include <string.h>

/* 10.0.0.0/26 and fd00::/122: 64 addresses each. */
enum { SPACE = 64 };

static void address(bool v6, unsigned i, uint8_t out[16])
{
    cr_assert(address_parse(v6 ? "fd00::" : "10.0.0.0", out));
    out[15] = (uint8_t)i;
}

static struct policy_cidr cidr(bool v6, unsigned start, unsigned bits)
{
    struct policy_cidr c = {.prefix = (uint8_t)(128 - bits)};

    address(v6, start & ~((1u << bits) - 1), c.addr);
    return c;
}

static bool group_holds(const struct cidr_group *g, const uint8_t addr[16])
{
    bool in = false;

    for (size_t i = 0; i < g->n_cidrs; i++)
        if (policy_cidr_contains(&g->cidrs[i], addr)) {
            if (i >= g->n_includes)
                return false;
            in = true;
        }
    return in;
}

static void check_promises(const struct cidr_group *g)
{
    for (size_t i = 0; i < g->n_cidrs; i++) {
        bool inside = false;

        cr_expect_eq(g->cidrs[i].except, i >= g->n_includes);
        if (i && i != g->n_includes) {
            cr_expect(memcmp(g->cidrs[i - 1].addr, g->cidrs[i].addr, 16) < 0, "not sorted");
            cr_expect_not(cidr_covers(&g->cidrs[i - 1], &g->cidrs[i]), "not disjoint");
        }
        for (size_t k = 0; i >= g->n_includes && k < g->n_includes; k++) {
            inside |= cidr_covers(&g->cidrs[k], &g->cidrs[i]);
            cr_expect_not(cidr_covers(&g->cidrs[i], &g->cidrs[k]), "include within an except");
        }
        cr_expect(i < g->n_includes || inside, "except outside of the includes");
    }
}

static void check(struct cidr_set *s, const bool expected[2][SPACE])
{
    struct cidr_group *groups;
    size_t n;
    bool any;

    cr_assert_eq(cidr_set_groups(s, &groups, &n, &any), 0);
    cr_assert_not(any);
    for (size_t g = 0; g < n; g++)
        check_promises(&groups[g]);
    for (unsigned v6 = 0; v6 < 2; v6++)
        for (unsigned i = 0; i < SPACE; i++) {
            uint8_t addr[16];
            bool in = false;

            address(v6, i, addr);
            for (size_t g = 0; g < n; g++)
                in |= group_holds(&groups[g], addr);
            cr_expect_eq(in, expected[v6][i], "v6 %u address %u", v6, i);
        }
    cidr_groups_free(groups, n);
    cidr_set_fini(s);
}

static unsigned seed = 1;
static unsigned below(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

Test(cidr_set, random_unions)
{
    for (int round = 0; round < 3000; round++) {
        bool expected[2][SPACE] = {{false}};
        struct cidr_set s = {0};

        for (unsigned k = below(6); k > 0; k--) {
            bool v6 = below(2);
            unsigned bits = below(6), start = below(SPACE), n = bits ? below(4) : 0;
            struct policy_cidr block = cidr(v6, start, bits), except[4];
            bool holes[SPACE] = {false};

            start &= ~((1u << bits) - 1);
            for (unsigned i = 0; i < n; i++) {
                unsigned b = below(bits), at = start + below(1u << bits);

                except[i] = cidr(v6, at, b);
                at &= ~((1u << b) - 1);
                memset(&holes[at], 1, 1u << b);
            }
            for (unsigned i = start; i < start + (1u << bits); i++)
                expected[v6][i] |= !holes[i];
            cr_assert_eq(cidr_set_add_block(&s, &block, except, n), 0);
        }
        check(&s, expected);
    }
}

static struct policy_cidr parse(const char *text)
{
    struct policy_cidr c;
    const char *why;

    cr_assert(cidr_parse(text, &c, &why), "%s", text);
    return c;
}

Test(cidr_set, merges_neighbours)
{
    struct cidr_list l = {0};
    uint8_t addr[16];

    for (unsigned i = 0; i < SPACE; i++) {
        address(false, (i * 29) % SPACE, addr);
        cr_assert_eq(cidr_list_add_address(&l, addr), 0);
    }
    cidr_list_merge(&l);
    cr_expect_eq(l.n, 1);
    cr_expect_eq(l.at[0].prefix, 122);
    cidr_list_fini(&l);
}

Test(cidr_set, ipv6_default_is_not_ipv4)
{
    struct policy_cidr all = parse("::/0");
    struct cidr_set s = {0};
    struct cidr_group *g;
    uint8_t v4[16], v6[16];
    size_t n;
    bool any;

    cr_assert_eq(cidr_set_add_block(&s, &all, NULL, 0), 0);
    cr_assert_eq(cidr_set_groups(&s, &g, &n, &any), 0);
    cr_assert_eq(n, 1);
    address(false, 1, v4);
    address(true, 1, v6);
    cr_expect_not(group_holds(&g[0], v4));
    cr_expect(group_holds(&g[0], v6));
    cidr_groups_free(g, n);
    cidr_set_fini(&s);
}

Test(cidr_set, both_defaults_are_everything)
{
    struct policy_cidr v6 = parse("::/0"), v4 = parse("0.0.0.0/0");
    struct cidr_set s = {0};
    struct cidr_group *g;
    size_t n;
    bool any;

    cr_assert_eq(cidr_set_add_block(&s, &v6, NULL, 0), 0);
    cr_assert_eq(cidr_set_add_block(&s, &v4, NULL, 0), 0);
    cr_assert_eq(cidr_set_groups(&s, &g, &n, &any), 0);
    cr_expect(any);
    cidr_groups_free(g, n);
    cidr_set_fini(&s);
}

Test(cidr_set, exceptions_are_not_multiplied_out)
{
    struct policy_cidr block = parse("10.0.0.0/8"), except = parse("10.77.1.3/32");
    struct cidr_set s = {0};
    struct cidr_group *g;
    size_t n;
    bool any;

    cr_assert_eq(cidr_set_add_block(&s, &block, &except, 1), 0);
    cr_assert_eq(cidr_set_groups(&s, &g, &n, &any), 0);
    cr_assert_eq(n, 1);
    cr_expect_eq(g[0].n_cidrs, 2);
    cidr_groups_free(g, n);
    cidr_set_fini(&s);
}
