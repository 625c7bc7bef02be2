#pragma once
/*
 * The runtime's own configuration: /etc/berm/runtime.json (or --config FILE). Its members, all
 * optional, are a table in docs/containerd.md.
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
