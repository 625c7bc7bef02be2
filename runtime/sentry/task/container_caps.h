#pragma once
/* Names of capabilities and resource limits (capabilities(7), getrlimit(2)), as config.json writes
 * them. */
#include <sys/resource.h>

int capability_by_name(const char *name); /* "CAP_CHOWN"; -1 if unknown */
int rlimit_by_name(const char *name);     /* "RLIMIT_NOFILE"; -1 if unknown or NULL */
void rlimits_default(struct rlimit *out); /* what a container has if config.json says nothing */
