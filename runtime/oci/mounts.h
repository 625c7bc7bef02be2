#pragma once
/*
 * The mounts of a container: host trees that its gofer serves (the root file system is number 0,
 * each bind mount has the next number), and the list of all mounts that the sentry gets. Trees are
 * opened detached from any mount namespace, read-only where they may only be read.
 */
#include "runtime/oci/config.h"
#include "runtime/oci/spec.h"

enum { MOUNT_TREES_MAX = 512 };

struct mount_tree {
    int fd;        /* open_tree(OPEN_TREE_CLONE) */
    bool readonly; /* as the guest sees it: the gofer refuses writes */
    bool slave;    /* receives mounts from the host: must be attached somewhere */
    bool directory;
    bool connect;
};

struct mount_set {
    struct mount_tree *trees;
    unsigned n_trees;
    int scratch; /* detached writable tree of the root file system for the scratch directory, or -1
                  */
    char hidden[160];     /* the scratch directory's name */
    uint64_t upper_limit; /* bytes that may be written to the root file system, 0: the default */
    bool host_root; /* in: the root is this machine's own: without mounts beneath, no scratch */
    bool overlay;   /* of the root file system */
    json_t *list;   /* the "mounts" member for the sentry */
};

#define MOUNT_SET_INIT                                                                             \
    {                                                                                              \
        .scratch = -1                                                                              \
    }

/* Opens everything. rootfs: absolute path of the root file system. */
int mount_set_open(struct mount_set *set, const struct oci_spec *spec, const char *bundle,
                   const char *rootfs, const char *id, const struct runtime_config *config,
                   struct error *err);
/* Closes descriptors and frees the list; safe to call twice. */
void mount_set_close(struct mount_set *set);
