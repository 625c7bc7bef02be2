#include "agent/standalone/env.h"
#include "common/cleanup.h"

#include <criterion/criterion.h>

static const struct {
    const char *text, *result;
} cases[] = {
    {"plain", "plain"}, {"$(A)", "1"},    {"x$(A)y$(B)z", "x1y2=2z"},
    {"$$(A)", "$(A)"},  {"$$$(A)", "$1"}, {"$(MISSING)", "$(MISSING)"},
    {"$(A", "$(A"},     {"$", "$"},       {"$()", "$()"},
    {"$A", "$A"},       {"", ""},
};

Test(env, expand)
{
    json_t *env = json_pack("[s,s]", "A=1", "B=2=2");

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *v = env_expand(cases[i].text, env);

        cr_expect_str_eq(json_string_value(v), cases[i].result, "'%s'", cases[i].text);
        json_decref(v);
    }
    json_decref(env);
}
