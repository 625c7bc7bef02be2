/*
 * The guard's programs for cgroups as they are, but that the pod's record is a variable: what the
 * kernel keeps with an attachment is empty in BPF_PROG_TEST_RUN.
 */
#include "bpf/lib/cgroup_guard.h"

struct berm_cgroup planes_pod;
#define bpf_get_local_storage(map, flags) ((void *)&planes_pod)

#include "bpf/cgroup_guard.bpf.c"
