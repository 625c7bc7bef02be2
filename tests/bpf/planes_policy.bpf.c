/* The same of the policy engine's. */
#include "bpf/lib/peer.h"

struct berm_cgroup_rules planes_pod;
#define bpf_get_local_storage(map, flags) ((void *)&planes_pod)

#include "bpf/cgroup_policy.bpf.c"
