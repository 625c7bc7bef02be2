#pragma once
/*
 * Fields of JSON objects by path, read without fear: what is missing, null or of another type gives
 * the default. Whether it had to be of that type is for agent/schema.h to say.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The value at "spec.securityContext" (keys without dots, at most 63 bytes each), borrowed; NULL if
 * it is missing or null. o may be NULL. */
json_t *get(const json_t *o, const char *path);
/* Borrowed from o, or def. */
const char *get_string(const json_t *o, const char *path, const char *def);
int64_t get_int(const json_t *o, const char *path, int64_t def);
bool get_bool(const json_t *o, const char *path, bool def);
