#pragma once
/* systemd of the host, by its private socket (no bus daemon needed), else by the system bus. */
#include "common/error.h"

/* RestartUnit or ReloadUnit on the first of the units (NULL ends them) that is active; waits until
 * the job is done. -ENOENT: none is active, or there is no systemd. */
int systemd_act(const char *const *units, const char *verb, struct error *err);
