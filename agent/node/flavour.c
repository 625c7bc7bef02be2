#include "agent/node/flavour.h"

#include "common/cleanup.h"

#include <string.h>
#include <unistd.h>

#define RANCHER "/var/lib/rancher/"
/* A template that somebody else wrote does not begin so: it stays when the block goes. */
#define MADE "# This file came with berm, and goes with it.\n"
/* Both render config.toml from a template at each start; without one, from one of their own. */
#define RANCHER_ROW(NAME, UNITS)                                                                   \
    {                                                                                              \
        .name = NAME, .socket = "/run/k3s/containerd/containerd.sock",                             \
        .mark = RANCHER NAME "/agent", .config = RANCHER NAME "/agent/etc/containerd/config.toml", \
        .target = RANCHER NAME "/agent/etc/containerd/config.toml.tmpl",                           \
        .target_v3 = RANCHER NAME "/agent/etc/containerd/config-v3.toml.tmpl",                     \
        .preamble = MADE "{{ template \"base\" . }}\n", .place = PLACE_TEMPLATE,                   \
        .binaries = {RANCHER NAME "/data/current/bin/containerd", RANCHER NAME "/bin/containerd"}, \
        .units = UNITS, .unit_verb = "RestartUnit",                                                \
    }
#define LIST(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Distributions first: where one of them runs, a plain containerd may be there besides. */
const struct flavour flavours[] = {
    RANCHER_ROW("k3s", LIST("k3s.service", "k3s-agent.service")),
    RANCHER_ROW("rke2", LIST("rke2-agent.service", "rke2-server.service")),
    {.name = "k0s",
     .socket = "/run/k0s/containerd.sock",
     .mark = "/etc/k0s/containerd.toml",
     .config = "/etc/k0s/containerd.toml",
     .target = "/etc/k0s/containerd.d/berm.toml",
     .place = PLACE_DROP_IN,
     .binaries = {"/var/lib/k0s/bin/containerd"},
     .units = {"k0scontroller.service", "k0sworker.service"}},
    {.name = "microk8s",
     .socket = "/var/snap/microk8s/common/run/containerd.sock",
     .mark = "/var/snap/microk8s/current/args/containerd-template.toml",
     .config = "/var/snap/microk8s/current/args/containerd-template.toml",
     .place = PLACE_FILE,
     .binaries = {"/snap/microk8s/current/bin/containerd"},
     .units = {"snap.microk8s.daemon-containerd.service"},
     .unit_verb = "RestartUnit"},
    {.name = "crio",
     .socket = "/run/crio/crio.sock",
     .mark = "/etc/crio",
     .config = "",
     .target = "/etc/crio/crio.conf.d/99-berm.conf",
     .place = PLACE_DROP_IN,
     .format = FORMAT_CRIO,
     .binaries = {"/usr/bin/crio", "/usr/local/bin/crio"},
     .units = {"crio.service"},
     .unit_verb = "ReloadUnit"},
    {.name = "containerd",
     .socket = "/run/containerd/containerd.sock",
     .mark = "/etc/containerd",
     .config = "/etc/containerd/config.toml",
     .place = PLACE_FILE,
     .binaries = {"/usr/bin/containerd", "/usr/local/bin/containerd",
                  "/opt/containerd/bin/containerd", "/bin/containerd"},
     .units = {"containerd.service"},
     .unit_verb = "RestartUnit"},
};
const size_t n_flavours = ARRAY_SIZE(flavours);

const struct flavour *flavour_find(const char *name)
{
    for (size_t i = 0; i < n_flavours; i++)
        if (strcmp(flavours[i].name, name) == 0)
            return &flavours[i];
    return NULL;
}

const struct flavour *flavour_detect(void)
{
    /* k3s and rke2 share a socket's name: the mark tells them apart. */
    for (size_t i = 0; i < n_flavours; i++)
        if (access(flavours[i].socket, F_OK) == 0 && access(flavours[i].mark, F_OK) == 0)
            return &flavours[i];
    for (size_t i = 0; i < n_flavours; i++)
        if (access(flavours[i].socket, F_OK) == 0)
            return &flavours[i];
    for (size_t i = 0; i < n_flavours; i++)
        if (access(flavours[i].mark, F_OK) == 0)
            return &flavours[i];
    return NULL;
}
