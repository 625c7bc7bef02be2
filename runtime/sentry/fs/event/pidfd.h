#pragma once
/* Descriptors of processes. */
#include "runtime/sentry/vfs/file.h"

struct process;

/* A new file for p (clone3's CLONE_PIDFD, pidfd_open). flags: O_NONBLOCK. 0 or -ENOMEM. */
int pidfd_new(struct process *p, unsigned flags, struct file **ret);
/* The process of a pidfd, borrowed from f; NULL if f is no pidfd. */
struct process *pidfd_process(const struct file *f);
