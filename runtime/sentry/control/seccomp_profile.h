#pragma once
/* The container's own seccomp profile (OCI linux.seccomp), compiled to a program for seccomp(2) as
 * guests have it. */
#include "common/error.h"

#include <jansson.h>

/* A filter for seccomp_inherit(), NULL if profile is NULL. Names that the kernel does not have are
 * left out, as runc does. 0 or -EINVAL, -EOPNOTSUPP with the member named. */
int seccomp_profile_compile(const json_t *profile, void **ret_filter, struct error *err);
