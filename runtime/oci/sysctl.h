#pragma once
/* linux.sysctl: who has which. */
#include "runtime/oci/net.h"
#include "runtime/oci/spec.h"

/* -EINVAL for what belongs to the machine, not to the pod: everything but net.*, System V and POSIX
 * ipc, and names. net.* not in the host's network namespace. */
int sysctl_check(const struct oci_spec *spec, enum net_kind net, struct error *err);
/* Sets net.* in the network namespace that the caller is in. The others are the sentry's. */
int sysctl_apply_net(const struct oci_spec *spec, struct error *err);
