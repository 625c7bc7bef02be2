#pragma once
/* Cgroups of pods, by what kubelet puts into linux.cgroupsPath of a container. */
#include <stddef.h>

/* The pod's cgroup ("/kubepods/burstable/podUID") of "/kubepods/burstable/podUID/CONTAINER", or of
 * systemd's "kubepods-burstable-podUID.slice:PREFIX:NAME". 0, or -EINVAL. */
int cgroup_pod_path(const char *cgroups_path, char *ret, size_t size);
/* Its directory in the v2 hierarchy; -errno if there is none (it is not made). */
int cgroup_open_pod(const char *cgroups_path);
