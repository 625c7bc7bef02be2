#pragma once
/* Inside of cgroup*.c. */
#include "runtime/oci/cgroup.h"

/* The hierarchy that has the controller: v1's own, or v2; NULL if there is none. */
const struct cgroup_hierarchy *cgroup_find(const struct cgroup *cg, const char *controller);
bool cgroup_is_v2(const struct cgroup *cg, const char *controller);
/* Writes to the controller's file, whose name may be NULL in one version: -ENODEV if there is none.
 */
int cgroup_set(const struct cgroup *cg, const char *controller, const char *v1, const char *v2,
               const char *text, struct error *err);
