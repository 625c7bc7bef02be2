#pragma once
/* The first task of a process that comes from outside the sandbox: a container's, an exec's. */
#include "common/error.h"

#include <stdbool.h>

struct container;
struct file;
struct process_spec;
struct task;

/* A task of c as p says, with its image, not started; *ret is the caller's, for task_start() or
 * first_task_discard(). fds: three descriptors; those that it keeps become -1. tty: fds[0] is the
 * terminal's host side, and *ret_tty a reference on it (unless ret_tty is NULL). 0, or negative
 * with a message as runc words it (execvp's search, chdir). */
int first_task_new(struct container *c, struct process_spec *p, int *fds, bool tty,
                   struct task **ret, struct file **ret_tty, struct error *err);
/* Ends one that was never started, and puts it. */
void first_task_discard(struct task *t);
