#pragma once
/* The gofer process: confines itself, then serves. */
#include "common/error.h"
#include "runtime/gofer/server.h"

struct gofer_tree {
    int fd; /* detached tree (open_tree) */
    bool readonly, slave, directory, connect;
};

struct gofer_process {
    int sock;
    const struct gofer_tree *trees;
    unsigned n_trees;
    int scratch; /* or -1 */
    const char *hidden;
    int ready_fd; /* closed once everything is set up */
};

/* In a forked, single-threaded process, root in the host's user namespace, with a mount namespace
 * of its own. Returns when the sentry is gone (0), or with an error before serving. */
int gofer_run(const struct gofer_process *p, struct error *err);
