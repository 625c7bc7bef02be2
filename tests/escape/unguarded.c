/*
 * The part of a build without protection (`make unguarded`) that says which ones are off: the names
 * in BERM_TEST_UNGUARDED, separated by commas. Without any, or with one that is unknown, it does
 * not run at all.
 */
#include "runtime/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *what;
} guards[GUARD_COUNT] = {
#define X(id, name, what) [GUARD_##id] = {name, what},
    GUARDS(X)
#undef X
};

static unsigned long off;

unsigned long unguarded_set(void)
{
    return off;
}

static void refuse(const char *why)
{
    (void)fprintf(
        stderr, "berm: TEST BUILD WITHOUT PROTECTION: %s. BERM_TEST_UNGUARDED is a list of\n", why);
    for (int i = 0; i < GUARD_COUNT; i++)
        (void)fprintf(stderr, "  %-14s %s\n", guards[i].name, guards[i].what);
    exit(1);
}

static void leave_out(const char *name)
{
    for (int i = 0; i < GUARD_COUNT; i++) {
        if (strcmp(name, guards[i].name) != 0)
            continue;
        off |= 1UL << i;
        (void)fprintf(stderr, "berm: TEST BUILD: what runs in it is NOT confined: no %s\n", name);
        return;
    }
    refuse("no such protection");
}

__attribute__((constructor)) static void choose(void)
{
    char *list = getenv("BERM_TEST_UNGUARDED"), *save = NULL;

    if (!list)
        refuse("it does not run unasked");
    list = strdup(list);
    for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
        leave_out(name);
    free(list);
}
