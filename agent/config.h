#pragma once
/*
 * bermd's configuration: one table, config.def. Values come from flags (--key value or
 * --key=value) and are validated here once; everything else reads struct config.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct config {
#define STRING                                     const char *
#define BOOL                                       bool
#define UINT                                       uint64_t
#define CONFIG(type, field, key, def, value, help) type field;
#include "agent/config.def"
#undef CONFIG
#undef STRING
#undef BOOL
#undef UINT
};

/* Fills c from defaults and argv; strings borrow argv and literals, derived ones are allocated for
 * the life of the process. Returns 0, -errno, or 1 if --help was printed. */
int config_parse(struct config *c, int argc, char **argv, struct error *err);
void config_usage(void);
