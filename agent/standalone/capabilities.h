#pragma once
/* Capabilities of a container: the usual default set, less `drop`, plus `add`. */
#include "common/error.h"

#include <jansson.h>

/* OCI "capabilities" object from a securityContext (may be NULL). */
int capabilities_make(const json_t *security_context, json_t **ret, struct error *err);
