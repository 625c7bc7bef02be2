#pragma once
/* Socket addresses between guest and sentry memory. */
#include "runtime/sentry/net/socket.h"

/* 0, -EINVAL (length), -EFAULT. */
int sockname_copy_in(struct task *t, struct sockname *name, gaddr_t addr, int size);
/* As Linux: as much as fits, and the whole length to *size_addr. */
int sockname_copy_out(struct task *t, const struct sockname *name, gaddr_t addr, gaddr_t size_addr);
