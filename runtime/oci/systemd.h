#pragma once
/*
 * The systemd cgroup driver: a container's group is a transient scope that systemd makes, with the
 * limits as the unit's properties, so that it keeps them when it is reloaded. libsystemd is loaded
 * when it is wanted, in a child of its own: nobody else's start pays for it, and no process of a
 * sandbox has it.
 */
#include "runtime/oci/spec.h"

/* True if systemd manages this machine's groups and can be asked. */
bool systemd_running(void);
/* Makes scope `unit` ("x.scope") in `slice` ("a-b.slice") with the calling process in it, and waits
 * until it is. res may be NULL. */
int systemd_scope_start(const char *slice, const char *unit, const struct oci_resources *res,
                        struct error *err);
/* Changes the limits that are set in res. */
int systemd_scope_update(const char *unit, const struct oci_resources *res, struct error *err);
/* Forgets an empty scope: systemd may miss that its directory is gone. */
int systemd_scope_stop(const char *unit, struct error *err);
