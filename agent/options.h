#pragma once
/* Command lines by a table: --key value or --key=value into the fields of a struct. */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_STRING, /* const char * */
    OPTION_BOOL,   /* bool: on or off */
    OPTION_UINT,   /* uint64_t, up to INT_MAX */
};

struct option_row {
    enum option_type type;
    size_t offset;
    const char *key, *def, *value, *help; /* value: its name in the help */
};

/* Defaults, then argv[1..]; strings borrow argv and the table. 0, -EINVAL, or 1: --help was asked
 * for. */
int options_parse(const struct option_row *rows, size_t n, void *out, int argc, char **argv,
                  struct error *err);
/* One line an option, to stdout. */
void options_usage(const struct option_row *rows, size_t n);
