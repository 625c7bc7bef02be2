#pragma once
/* Asks the agent to guard a sandbox before it runs (agent/arm/proto.h). */
#include "runtime/oci/config.h"
#include "runtime/oci/spec.h"

struct arm_request {
    const char *id, *sandbox;
    const struct oci_spec *spec; /* for the pod's identity */
    int netns, pidfd, cgroup;    /* cgroup may be -1 */
    const char *cgroup_path;
};

struct arm_answer {
    bool armed, net_raw, direct;
};

/* Returns when guard and policy are in force. If the agent cannot be reached: an error, or, where
 * the configuration does not require it, a warning and an answer that is not armed. */
int arm(const struct runtime_config *config, const struct arm_request *req, struct arm_answer *ret,
        struct error *err);
/* At deletion; best effort. */
void disarm(const struct runtime_config *config, const char *sandbox);
