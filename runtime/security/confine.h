#pragma once
/*
 * Steps by which a forked process gives up what it does not need. All are for single-threaded
 * processes. Each fails with a message that names the step; callers treat any failure as fatal.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The sandboxes' user ids on the host: one for each, above everything that a system hands out by
 * itself, below 2^31 so that ping_group_range can hold it. A host pid makes it unique among live
 * ones. */
enum { CONFINE_UID_BASE = 0x70000000, CONFINE_UID_INSIDE = 65534 };

/* To be called from outside, as root: maps the one id of a fresh user namespace to `id`. */
int confine_map_ids(pid_t pid, uid_t id, struct error *err);
/* Becomes uid and gid `id`, without supplementary groups. */
int confine_become(uid_t id, struct error *err);
/*
 * An empty, read-only root in a mount namespace of the caller's own: nothing of the host is left in
 * it. Between begin and finish the new root is at CONFINE_PLACE (which every system has), and up to
 * `inodes` entries can be made there.
 */
#define CONFINE_PLACE "/proc"
int confine_root_begin(unsigned inodes, struct error *err);
int confine_root_finish(struct error *err);
/* Drops all capabilities but the bits in keep, from every set; the bounding set too. */
int confine_capabilities(uint64_t keep, struct error *err);
int confine_no_new_privs(struct error *err);
/* Not to be attached to, or looked into by /proc, by anybody but root. */
int confine_undumpable(struct error *err);
/* No core files and no piped core handlers. */
void confine_no_core(void);
/* Closes every descriptor >= 3 that is not in keep (sorted in place). */
int confine_descriptors(int *keep, unsigned n_keep, struct error *err);
/* Points 0, 1 and 2 to /dev/null. */
int confine_stdio(struct error *err);
/* A core-scheduling cookie for the caller and its children to come: a fresh one, or (with != 0)
 * that process's. Silently none where the kernel has no core scheduling. */
void confine_core_scheduling(pid_t with);
/* Landlock: beneath each root only what read-only or writable use needs. 1 if in force, 0 if this
 * kernel has none. */
struct confine_tree {
    int root; /* O_PATH */
    bool readonly;
};
int confine_landlock(const struct confine_tree *trees, unsigned n, struct error *err);
