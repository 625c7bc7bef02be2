/* Prints the stub's filter from the table that makes it. */
#include "runtime/platform/filter_build.h"
#include "runtime/platform/platform.h"

#include <stdio.h>

static const struct filter_rule rules[] = {STUB_FILTER(FILTER_ROW)};
static const struct filter_rule direct_rules[] = {STUB_FILTER_DIRECT(FILTER_ROW)};

static void print_rule(int fd, const struct filter_rule *r)
{
    char what[128] = "any arguments";

    switch (r->check) {
    case RULE_ANY:
        break;
    case RULE_MASK:
        (void)snprintf(what, sizeof(what), "argument %d within 0x%x", r->arg, r->value);
        break;
    case RULE_EQUAL:
        if (r->value == r->value2)
            (void)snprintf(what, sizeof(what), "argument %d = 0x%x", r->arg, r->value);
        else
            (void)snprintf(what, sizeof(what), "argument %d = 0x%x or 0x%x", r->arg, r->value,
                           r->value2);
        break;
    case RULE_BELOW:
        (void)snprintf(what, sizeof(what), "argument %d < %u", r->arg, r->value);
        break;
    case RULE_NOT:
        (void)snprintf(what, sizeof(what), "argument %d not %u, %u", r->arg, r->value, r->value2);
        break;
    case RULE_FUTEX:
        (void)snprintf(what, sizeof(what), "argument %d: no priority inheritance", r->arg);
        break;
    }
    (void)dprintf(fd, "allow  %-14s %-38s %s\n", r->name, what, r->why);
}

static void print_filter(int out_fd, const char *mode, const struct filter_rule *r, unsigned count)
{
    struct sock_filter insns[FILTER_MAX];
    unsigned n = filter_build_body(r, count, 0, CODE_MAX_BYTES, 0, insns);

    (void)dprintf(out_fd, "guest processes, data-plane %s: %u instructions\n", mode, n);
    (void)dprintf(out_fd, "kill   %-14s %-38s %s\n", "*", "another architecture's entry",
                  "no 32-bit calls");
    (void)dprintf(out_fd, "trap   %-14s %-38s %s\n", "*", "from outside of the stub's code",
                  "the guest's calls go to the sentry");
    for (unsigned i = 0; i < count; i++)
        print_rule(out_fd, &r[i]);
    (void)dprintf(out_fd, "trap   %-14s %-38s %s\n", "*", "everything else", "the same");
}

void plat_print_filter(int out_fd)
{
    print_filter(out_fd, "mediated", rules, sizeof(rules) / sizeof(rules[0]));
    print_filter(out_fd, "direct", direct_rules, sizeof(direct_rules) / sizeof(direct_rules[0]));
}
