#pragma once
/* Listening unix sockets of the agent: mode 0600, peers checked, a stale one replaced. */
#include "common/error.h"

#include <stdbool.h>

/* type: SOCK_STREAM or SOCK_SEQPACKET. */
int unix_listen(const char *path, int type, int *ret_fd, struct error *err);
/* Accepts one peer; -EPERM (and closed) if it isn't root, or has not this process's user. */
int unix_accept(int fd, int *ret_fd);
