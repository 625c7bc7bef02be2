#pragma once
/*
 * Control groups of a container: a directory of the same path in every hierarchy that is mounted
 * and writable (v1 controllers, v2). Others' groups are never touched. What a machine does not have
 * is left out; limits that can't be set are warned of.
 */
#include "runtime/oci/spec.h"

enum { CGROUP_MAX = 24, CGROUP_CONTROLLERS = 64 };

struct cgroup_hierarchy {
    char mount[256];
    char controllers[CGROUP_CONTROLLERS]; /* ",memory," style; "" for v2 */
    bool v2;
};

struct cgroup {
    char path[2048]; /* "/kubepods/.../ID", "" = none */
    bool systemd;    /* a scope that systemd makes and keeps: systemd.h */
    unsigned n;
    struct cgroup_hierarchy hierarchies[CGROUP_MAX];
};

/* Works out the path: linux.cgroupsPath (systemd form "slice:prefix:name" if systemd), or /berm/ID
 * if limits are set without one, or none; and finds the hierarchies. */
int cgroup_init(struct cgroup *cg, const struct oci_spec *spec, const char *id, bool systemd,
                struct error *err);
/* Finds the hierarchies for a known path; one that ends in ".scope" is taken for systemd's. */
int cgroup_init_path(struct cgroup *cg, const char *path, struct error *err);
/* The leaf beside it, for the sentry of the sandbox `id`. */
void cgroup_sibling(const struct cgroup *cg, const char *id, struct cgroup *ret);
/* Makes the directories where that is possible; a scope of systemd is only made by cgroup_begin. */
void cgroup_create(const struct cgroup *cg);
/* Moves the calling process in. */
void cgroup_enter(const struct cgroup *cg);
/* The groups that the calling process is in now: to be opened before it enters, and to go back to
 * before they are removed. (cgroup_origin.c) */
struct cgroup_origin {
    int procs[CGROUP_MAX];
    unsigned n;
};
void cgroup_origin_open(const struct cgroup *cg, struct cgroup_origin *ret);
/* Goes back, and closes. */
void cgroup_origin_return(struct cgroup_origin *o);
/* The same for a process that is about to end and has not noted where it was: to the root of each.
 */
void cgroup_leave(const struct cgroup *cg);
/* Makes it, sets limits (res may be NULL) and moves the calling process in. */
int cgroup_begin(const struct cgroup *cg, const struct oci_resources *res, struct error *err);
/* shares of v1 as weight of v2. */
int64_t cgroup_v2_weight(int64_t shares);
/* Sets limits; -errno with a message if the kernel refuses a value (not: if the controller is
 * missing). */
int cgroup_apply(const struct cgroup *cg, const struct oci_resources *res, struct error *err);
/* Removes the directories; processes that still die get some time. */
void cgroup_remove(const struct cgroup *cg);
/* Lifts the CPU quota: what is to die must not wait for its next period to do so. */
void cgroup_unthrottle(const struct cgroup *cg);
/* SIGKILL to all that is in it; nothing if the caller itself is. */
void cgroup_kill(const struct cgroup *cg);
/* Pids of all processes in it, host's view: count, or 0 if there is no group. */
unsigned cgroup_pids(const struct cgroup *cg, pid_t *pids, unsigned max);
/* Descriptor of the v2 directory of the group, or of its parent; -1 if none. */
int cgroup_v2_open(const struct cgroup *cg, bool parent);
/* The file in which the kernel counts processes that it killed for memory; -1 if there is none. */
int cgroup_oom_open(const struct cgroup *cg);
/* That count; 0 if fd is -1. Reads from the start, once. */
unsigned long cgroup_oom_kills(int fd);
/* One number from a controller's file: 0, or -errno. v1 and v2 names may differ; NULL: not there.
 */
int cgroup_read_number(const struct cgroup *cg, const char *controller, const char *v1_file,
                       const char *v2_file, unsigned long long *ret);
