#pragma once
/* What ConfigMaps and Secrets of a pod's namespace hold. */
#include "agent/schema.h"
#include "agent/standalone/pod.h"

/* The object; NULL if it isn't there. */
const json_t *source_object(const struct pod *p, bool secret, const char *name);
/* Value of a key, decoded; free it. -ENOENT if it isn't there. */
int source_value(const struct pod *p, bool secret, const char *name, const char *key,
                 char **ret_data, size_t *ret_size, struct error *err);
