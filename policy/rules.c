/* Compiled rules as values: free and compare. */
#include "policy/rules.h"

#include <stdlib.h>
#include <string.h>

void policy_rules_free(struct policy_rules *r)
{
    if (!r)
        return;
    for (int d = 0; d < POLICY_DIRECTION_MAX; d++) {
        for (size_t i = 0; i < r->dir[d].n_rules; i++) {
            free(r->dir[d].rules[i].cidrs);
            free(r->dir[d].rules[i].ports);
        }
        free(r->dir[d].rules);
    }
    for (size_t i = 0; i < r->n_names; i++)
        free(r->names[i]);
    free(r->names);
    free(r);
}

static bool ports_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a->n_ports != b->n_ports)
        return false;
    for (size_t i = 0; i < a->n_ports; i++)
        if (a->ports[i].protocol != b->ports[i].protocol || a->ports[i].from != b->ports[i].from ||
            a->ports[i].to != b->ports[i].to)
            return false;
    return true;
}

static bool cidrs_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a->n_cidrs != b->n_cidrs || a->n_includes != b->n_includes)
        return false;
    for (size_t i = 0; i < a->n_cidrs; i++)
        if (a->cidrs[i].prefix != b->cidrs[i].prefix ||
            memcmp(a->cidrs[i].addr, b->cidrs[i].addr, 16) != 0)
            return false;
    return true;
}

static bool rule_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    return a->verdict == b->verdict && a->origin == b->origin && a->name == b->name &&
           a->pass_to == b->pass_to && a->any_peer == b->any_peer && a->any_port == b->any_port &&
           ports_equal(a, b) && cidrs_equal(a, b);
}

bool policy_rules_equal(const struct policy_rules *a, const struct policy_rules *b)
{
    if (a->n_names != b->n_names)
        return false;
    for (size_t i = 0; i < a->n_names; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    for (int d = 0; d < POLICY_DIRECTION_MAX; d++) {
        if (a->dir[d].n_rules != b->dir[d].n_rules || a->dir[d].fallback != b->dir[d].fallback ||
            a->dir[d].fallback_origin != b->dir[d].fallback_origin ||
            a->dir[d].fallback_name != b->dir[d].fallback_name ||
            a->dir[d].isolated != b->dir[d].isolated)
            return false;
        for (size_t i = 0; i < a->dir[d].n_rules; i++)
            if (!rule_equal(&a->dir[d].rules[i], &b->dir[d].rules[i]))
                return false;
    }
    return true;
}
