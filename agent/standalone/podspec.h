#pragma once
/*
 * What the standalone runner accepts in a Pod: the tables of fields, and checks across fields.
 */
#include "agent/json.h"
#include "agent/schema.h"

/* Checks the whole Pod object. */
int podspec_check(const json_t *pod, struct schema_error *e);
/* ConfigMap, Secret, Namespace. */
int plain_object_check(const char *kind, const json_t *object, struct schema_error *e);

bool podspec_is_sandboxed(const json_t *pod); /* runtimeClassName: gvisor */
/* The volume named so, or NULL. */
json_t *podspec_volume(const json_t *pod, const char *name);
/* "500m", "1.5" -> 1/1000; "64Mi", "1e6" -> bytes. False if it is no quantity. */
bool quantity_milli(const char *text, int64_t *ret);
