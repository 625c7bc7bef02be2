#pragma once
#include "runtime/sentry/task/task.h"

/* Credentials after execve of f: set-id bits, file capabilities, ambient set (capabilities(7),
 * "Transformation of capabilities during execve()"). *ret is a new reference. Sets
 * t->exec_gained_caps. */
int exec_new_cred(struct task *t, struct file *f, uint32_t setuid, uint32_t setgid,
                  struct cred **ret);
