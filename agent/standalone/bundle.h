#pragma once
/* OCI bundles, with the annotations that containerd's CRI plugin writes. */
#include "agent/standalone/pod.h"

/* Makes BUNDLE/{rootfs,config.json,monitor.json} for c->attempt. May take long (image): in a
 * worker. On failure bundle_clean removes what is there. */
int bundle_make(const struct container *c, struct error *err);
/* Ends what may still run, unmounts, and removes all but the exit record. In a worker. */
int bundle_clean(const struct container *c, struct error *err);
/* argv prefix of the runtime: program, --root, DIR. */
void runtime_prefix(const struct pod *p, const char *ret[3]);
