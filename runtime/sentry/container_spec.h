#pragma once
/* What the sentry needs of an OCI process and config, taken from the JSON of the control socket. */
#include "common/error.h"
#include "runtime/sentry/task/cred.h"
#include "runtime/sentry/task/exec.h"
#include "runtime/sentry/vfs/setup.h"

#include <jansson.h>
#include <sys/resource.h>

struct process_spec {
    struct exec_strings argv, envp;
    char *cwd;
    uint32_t uid, gid, umask;
    uint32_t *groups;
    unsigned n_groups;
    capset_t bounding, effective, permitted, inheritable, ambient;
    bool no_new_privileges, has_rlimits;
    struct rlimit rlimits[RLIM_NLIMITS];
    int oom_score_adj;
    const json_t *devices_of; /* the whole config, if its linux.devices are to be made; borrowed */
};

/* json: the OCI `process` object. -EINVAL with the member named. */
int process_spec_parse(const json_t *json, struct process_spec *ret, struct error *err);
void process_spec_fini(struct process_spec *p);
/* Most nodes give NET_RAW to everybody; here a pod has it only if it was granted (boot.h). */
capset_t capabilities_withheld(void);
struct cred *process_spec_cred(const struct process_spec *p);

/* The mount tree of a create request (strings stay owned by `request`). free() ret->mounts, masked,
 * readonly. */
int tree_spec_parse(const json_t *request, struct tree_spec *ret, struct error *err);
void tree_spec_fini(struct tree_spec *t);
