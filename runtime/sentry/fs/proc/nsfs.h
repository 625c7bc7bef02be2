#pragma once
/* Files that stand for namespaces: what /proc/PID/ns/NAME leads to, and setns(2) takes. */
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/inode.h"

/* Number of the sandbox's initial user namespace. */
#define NSFS_INITIAL_USERNS 4026531837ULL

struct nsfs_ref {
    int type; /* CLONE_NEW* */
    uint64_t ino;
    struct namespaces *all; /* reference: where to take uts, ipc, mnt, net from */
    struct pidns *pidns;    /* reference: CLONE_NEWPID */
    struct cred *cred;      /* reference: ->userns for CLONE_NEWUSER */
};

/* A path to the namespace; takes over the references. 0 or -ENOMEM. */
int nsfs_path(const struct nsfs_ref *what, const char *name, struct path *ret);
/* What f stands for, borrowed from f; NULL: f is no namespace. */
const struct nsfs_ref *nsfs_of(const struct file *f);
