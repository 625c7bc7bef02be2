#pragma once
/*
 * The runtime's own configuration: /etc/berm/runtime.json (or --config FILE); every member is
 * optional. agent-socket       path of the agent's arming socket require-agent      false:
 * sandboxes with a network start without the agent's guard. Dangerous; logged each time.
 *   rootfs-overlay     true (default): writes to the root file system stay in the sandbox
 *   host-unix-sockets  true: unix sockets on bind mounts can be connected to
 *   data-plane         "mediated" (default) or "direct"
 */
#include "common/error.h"

#include <stdbool.h>

struct runtime_config {
    char agent_socket[108];
    bool require_agent, rootfs_overlay, host_unix_sockets, data_plane_direct;
};

#define RUNTIME_CONFIG_DEFAULT "/etc/berm/runtime.json"

/* path NULL: the default one, which may be missing. */
int runtime_config_load(const char *path, struct runtime_config *ret, struct error *err);
