#include "agent/kube/known.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void note(void *ctx, const char *ns, const char *name)
{
    size_t n = strlen(ctx);

    (void)snprintf((char *)ctx + n, 200 - n, "%s/%s ", ns, name);
}

Test(known, sweep_takes_what_was_not_seen)
{
    struct hashmap m = HASHMAP_INIT;
    char gone[200] = "";

    cr_assert_eq(known_put(&m, "a", "x", "1", 1), 0);
    cr_assert_eq(known_put(&m, "a", "y", "2", 1), 0);
    cr_assert_eq(known_put(&m, "", "x", "3", 1), 0);
    cr_assert_eq(m.count, 3);
    cr_assert_eq(known_put(&m, "a", "y", "5", 2), 0);
    cr_assert_eq(known_put(&m, "", "x", "6", 2), 0);
    known_sweep(&m, 2, note, gone);
    cr_assert_str_eq(gone, "a/x ");
    cr_assert_eq(m.count, 2);
    cr_assert(known_drop(&m, "a", "y"));
    cr_assert(!known_drop(&m, "a", "y"));
    known_free(&m);
}

Test(known, versions)
{
    struct hashmap m = HASHMAP_INIT;

    cr_assert_eq(known_put(&m, "a", "x", "100", 1), 0);
    cr_assert(known_is_newer(&m, "a", "x", "99"));
    cr_assert(!known_is_newer(&m, "a", "x", "100"));
    cr_assert(!known_is_newer(&m, "a", "x", "101"));
    cr_assert(!known_is_newer(&m, "a", "other", "1"));
    /* Not numbers: nothing can be said. */
    cr_assert(!known_is_newer(&m, "a", "x", "99a"));
    cr_assert(!known_is_newer(&m, "a", "x", ""));
    cr_assert(!known_is_newer(&m, "a", "x", "99999999999999999999999"));
    known_free(&m);
}
