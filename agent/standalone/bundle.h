#pragma once
/* OCI bundles, with the annotations that containerd's CRI plugin writes. */
#include "agent/standalone/pod.h"

/* Makes BUNDLE/{rootfs,config.json,monitor.json} for c->attempt. May take long (image): in a
 * worker. On failure bundle_clean removes what is there. */
int bundle_make(const struct container *c, struct error *err);
/* Ends what may still run, unmounts, and removes all but the exit record. In a worker. */
int bundle_clean(const struct container *c, struct error *err);
/* How the pod's runtime is called, before the verb: program and global flags, then NULL. */
enum { RUNTIME_PREFIX_MAX = 6 };
void runtime_prefix(const struct pod *p, const char *ret[RUNTIME_PREFIX_MAX]);
/* The same with verb and arguments; NULL ends both lists. In a worker. */
enum { RUNTIME_ARGS_MAX = 16 };
void runtime_argv(const struct pod *p, const char *const *more, char *ret[RUNTIME_ARGS_MAX]);
