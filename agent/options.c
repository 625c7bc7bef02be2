#include "agent/options.h"

#include "common/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void options_usage(const struct option_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s %s", rows[i].key, rows[i].value);
        printf("  %-34s %s%s%s%s\n", left, rows[i].help, *rows[i].def ? " [" : "", rows[i].def,
               *rows[i].def ? "]" : "");
    }
}

static int assign(void *out, const struct option_row *row, const char *value, struct error *err)
{
    void *field = (char *)out + row->offset;
    char *end;
    unsigned long long n;

    switch (row->type) {
    case OPTION_STRING:
        *(const char **)field = value;
        return 0;
    case OPTION_BOOL:
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return error_set(err, -EINVAL, "--%s: '%s' is neither on nor off", row->key, value);
        *(bool *)field = strcmp(value, "on") == 0;
        return 0;
    case OPTION_UINT:
        errno = 0;
        n = strtoull(value, &end, 10);
        if (errno || end == value || *end || *value == '-' || n > INT_MAX)
            return error_set(err, -EINVAL, "--%s: '%s' is not a number", row->key, value);
        *(uint64_t *)field = n;
        return 0;
    }
    return -EINVAL;
}

static const struct option_row *find_row(const struct option_row *rows, size_t n, const char *key,
                                         size_t size)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(rows[i].key) == size && strncmp(rows[i].key, key, size) == 0)
            return &rows[i];
    return NULL;
}

int options_parse(const struct option_row *rows, size_t n, void *out, int argc, char **argv,
                  struct error *err)
{
    int r;

    for (size_t i = 0; i < n; i++) {
        r = assign(out, &rows[i], rows[i].def, err);
        if (r < 0)
            return r;
    }
    for (int i = 1; i < argc; i++) {
        const char *key = argv[i] + 2, *eq;
        const struct option_row *row;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
        if (strncmp(argv[i], "--", 2) != 0)
            return error_set(err, -EINVAL, "unexpected argument '%s'", argv[i]);
        eq = strchr(key, '=');
        row = find_row(rows, n, key, eq ? (size_t)(eq - key) : strlen(key));
        if (!row)
            return error_set(err, -EINVAL, "unknown flag '%s' (see --help)", argv[i]);
        if (!eq && i + 1 >= argc)
            return error_set(err, -EINVAL, "flag '%s' needs a value", argv[i]);
        r = assign(out, row, eq ? eq + 1 : argv[++i], err);
        if (r < 0)
            return r;
    }
    return 0;
}
