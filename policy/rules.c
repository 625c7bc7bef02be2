/* Compiled rules as values: freeing them. */
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
