#pragma once
/*
 * OCI hooks that run on the host. prestart, createRuntime and createContainer run in `create`, in
 * the pod's network namespace and otherwise in those of the caller, before the mounts are opened:
 * what they put into the root file system is there. (In a sandbox there is no mount namespace of
 * the container's that a host program could enter, so createContainer is as createRuntime.)
 * poststart runs in `start`, poststop in `delete`; their failures are only logged. startContainer
 * runs inside (runtime/cli/verb_simple.c).
 */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

/* 0 or -EINVAL with the member named. */
int hooks_check(json_t *hooks, struct error *err);
/* Is there any hook of that name? */
bool hooks_any(const json_t *hooks, const char *name);
/* Runs one list in order, each with `state` on its standard input, until one fails or is over its
 * timeout (then it is killed). The message holds the end of what it wrote. */
int hooks_run(const json_t *hooks, const char *name, const json_t *state, struct error *err);
