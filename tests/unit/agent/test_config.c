#include "agent/config.h"
#include "common/cleanup.h"

#include <criterion/criterion.h>

static int parse(struct config *c, char *a, char *b)
{
    char name[] = "bermd";
    char *argv[] = {name, a, b, NULL};
    struct error err = ERROR_INIT;

    return config_parse(c, b ? 3 : a ? 2 : 1, argv, &err);
}

Test(config, defaults_and_flags)
{
    struct config c;
    char a[] = "--mtu=9000", b[] = "--forward", on[] = "on";

    cr_assert_eq(parse(&c, NULL, NULL), 0);
    cr_expect_str_eq(c.state_dir, "/var/lib/berm");
    cr_expect_str_eq(c.root, "/run/berm/berm");
    cr_expect_eq(c.mtu, 1500);
    cr_expect_not(c.forward);
    cr_assert_eq(parse(&c, a, NULL), 0);
    cr_expect_eq(c.mtu, 9000);
    cr_assert_eq(parse(&c, b, on), 0);
    cr_expect(c.forward);
}

Test(config, bad_flags)
{
    static const char *const bad[][2] = {
        {"--nothing=1", NULL}, {"--mtu", NULL}, {"--mtu", "12x"},     {"--mtu", "-1"},
        {"--forward", "yes"},  {"word", NULL},  {"--run-dir", "rel"}, {"--mtu", ""}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct config c;
        char a[32], b[32];

        (void)snprintf(a, sizeof(a), "%s", bad[i][0]);
        (void)snprintf(b, sizeof(b), "%s", bad[i][1] ? bad[i][1] : "");
        cr_expect_lt(parse(&c, a, bad[i][1] ? b : NULL), 0, "%s %s", a, b);
    }
}
