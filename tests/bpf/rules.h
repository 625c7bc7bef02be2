#pragma once
/* Rules by hand, for tests: `rules_add(&r, POLICY_EGRESS, POLICY_ALLOW, "10.0.0.0/8", 17, 53, 53)`.
 */
#include "policy/rules.h"

#include <stdint.h>

enum { TEST_RULES_MAX = 4096 };

struct test_rules {
    struct policy_rules rules;
    struct policy_rule list[POLICY_DIRECTION_MAX][TEST_RULES_MAX];
    struct policy_cidr cidrs[POLICY_DIRECTION_MAX][TEST_RULES_MAX];
    struct policy_ports ports[POLICY_DIRECTION_MAX][TEST_RULES_MAX];
    char text[2 * TEST_RULES_MAX + 2][24];
    char *names[2 * TEST_RULES_MAX + 2];
};

/* No rules; the verdict of each direction is its fallback. */
struct test_rules *rules_new(enum policy_verdict egress, enum policy_verdict ingress);
/* cidr NULL: any peer; protocol -1: any port. */
void rules_add(struct test_rules *t, enum policy_direction direction, enum policy_verdict verdict,
               const char *cidr, int protocol, int from, int to);
