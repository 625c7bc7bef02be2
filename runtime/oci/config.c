#include "runtime/oci/config.h"

#include "agent/arm/proto.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *agent_socket, *data_plane;
    bool require_agent, rootfs_overlay, host_unix_sockets;
};

static const struct oci_field fields[] = {
    {"agent-socket", OCI_STRING, .offset = offsetof(struct values, agent_socket)},
    {"data-plane", OCI_STRING, .offset = offsetof(struct values, data_plane)},
    {"require-agent", OCI_BOOL, .offset = offsetof(struct values, require_agent)},
    {"rootfs-overlay", OCI_BOOL, .offset = offsetof(struct values, rootfs_overlay)},
    {"host-unix-sockets", OCI_BOOL, .offset = offsetof(struct values, host_unix_sockets)},
    {0},
};

static int take(const char *file, const struct values *v, struct runtime_config *ret,
                struct error *err)
{
    if (strlen(v->agent_socket) >= sizeof(ret->agent_socket))
        return error_set(err, -EINVAL, "%s: agent-socket: is too long", file);
    if (strcmp(v->data_plane, "mediated") != 0 && strcmp(v->data_plane, "direct") != 0)
        return error_set(err, -EINVAL, "%s: data-plane: must be \"mediated\" or \"direct\"", file);
    (void)strcpy(ret->agent_socket, v->agent_socket);
    ret->data_plane_direct = strcmp(v->data_plane, "direct") == 0;
    ret->require_agent = v->require_agent;
    ret->rootfs_overlay = v->rootfs_overlay;
    ret->host_unix_sockets = v->host_unix_sockets;
    return 0;
}

int runtime_config_load(const char *path, struct runtime_config *ret, struct error *err)
{
    const char *file = path ? path : RUNTIME_CONFIG_DEFAULT;
    struct values v = {
        .agent_socket = ARM_SOCKET_DEFAULT,
        .data_plane = "mediated",
        .require_agent = true,
        .rootfs_overlay = true,
    };
    struct oci_reader reader = {.file = file, .err = err};
    CLEANUP(free_ptr) char *text = NULL;
    json_error_t je;
    json_t *json;
    size_t size;
    int r;

    r = file_read_all(AT_FDCWD, file, 65536, &text, &size, err);
    if (r == -ENOENT && !path)
        return take(file, &v, ret, err);
    if (r < 0)
        return r;
    json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &je);
    if (!json)
        return error_set(err, -EINVAL, "%s: line %d: %s", file, je.line, je.text);
    r = oci_read_fields(&reader, json, fields, &v);
    if (r == 0)
        r = take(file, &v, ret, err);
    json_decref(json);
    return r;
}
