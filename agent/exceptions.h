#pragma once
/* The file of exceptions to the guard (--guard-exceptions) and which of them a pod has. */
#include "common/error.h"

#include <jansson.h>
#include <stdint.h>

struct agent;

/* Reads the file and puts it in force; pods must be armed again. A file that is wrong changes
 * nothing and is reported with its line. No file configured: no exceptions. */
int exceptions_load(struct agent *a, struct error *err);
/* Bits for enforce_arm of a pod, by its object. */
uint64_t exceptions_of(const struct agent *a, const char *ns, const json_t *pod);
