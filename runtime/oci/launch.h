#pragma once
/*
 * Makes the processes of a container: sentry (for a sandbox), gofer, zygote. The caller is the
 * container's monitor: single-threaded, root, and the parent of sentry and gofer. It ends up in the
 * sandbox's network namespace and in the container's cgroup.
 */
#include "runtime/oci/arm.h"
#include "runtime/oci/cgroup.h"
#include "runtime/oci/config.h"
#include "runtime/oci/mounts.h"
#include "runtime/oci/net.h"
#include "runtime/oci/spec.h"
#include "runtime/oci/state.h"

struct launch {
    /* In. */
    const char *id, *sandbox; /* sandbox: whose sentry it is; equal to id for a sandbox */
    const struct oci_spec *spec;
    const struct runtime_config *config;
    struct mount_set *mounts; /* opened, if there are hooks, and closed by launch_container */
    const char *bundle, *rootfs;
    struct net *net;
    const struct cgroup *cgroup;
    const char *pidns_of;      /* id of the container whose pid namespace this one joins, or NULL */
    bool new_sandbox;          /* false: join the one of `sandbox` */
    const struct cgroup *leaf; /* of a pod: where its sentry and gofers are, beside the containers'
                                  groups; or NULL */
    bool die_with_caller;      /* the sandbox ends when the monitor does (do, run) */
    bool strace;
    bool net_raw; /* asked for by the caller: raw sockets without an agent, too */
    int stdio[3];
    bool tty;
    int log_fd;  /* for the sentry, or -1 */
    int control; /* new sandbox: listening; otherwise: connected to its sentry */
    uid_t uid;   /* of the sandbox on the host */
    /* In for joining, out for a new sandbox. */
    struct process_ref sentry;
    /* Out. */
    struct process_ref gofer;
    struct arm_answer armed;
};

/* Returns when the sentry has the container in state "created"; on failure all processes it made
 * are gone. */
int launch_container(struct launch *l, struct error *err);
/* Are there hooks that run before the mounts are opened? */
bool launch_has_hooks(const struct oci_spec *spec);
/* The "create" request of l's container. New reference, NULL if out of memory. */
json_t *launch_request(const struct launch *l);
