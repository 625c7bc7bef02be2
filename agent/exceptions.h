#pragma once
/*
 * Exceptions to the guard that the agent's configuration allows (--guard-exceptions FILE, or the
 * ConfigMap), and which of them a pod has. What was accepted last from a ConfigMap is kept on disk:
 * a restarted agent goes on with it before the API server answers.
 */
#include "agent/enforce/exceptions.h"
#include "common/error.h"

#include <jansson.h>
#include <stdint.h>

struct agent;

#define EXCEPTIONS_ANNOTATION "dev.berm.guard-exceptions"

/* The file that is configured, or what was kept; none of both: an empty list. A file that is wrong
 * is reported with its line. */
int exceptions_read(struct agent *a, struct enforce_exceptions *ret, struct error *err);
/* Reads the file again and puts it in force; pods must be armed again. What is wrong changes
 * nothing. */
int exceptions_load(struct agent *a, struct error *err);
/* The same from a ConfigMap's text. 1: in force, and something changed; 0: nothing did. */
int exceptions_set(struct agent *a, const char *text, struct error *err);
/* Bits for a pod: by its object, or by what is known of it (asked: its annotation, NULL: none). */
uint64_t exceptions_of(const struct agent *a, const char *ns, const json_t *pod);
uint64_t exceptions_for(const struct agent *a, const char *ns, const char *account,
                        const char *asked);
