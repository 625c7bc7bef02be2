#pragma once
/*
 * The broker: opens for the sentry, which has no capabilities, what takes one. It exists only in
 * sandboxes that were granted something of it. It sees no files, and its filter allows little more
 * than socket(2) of its own kinds, setsockopt(2) and bind(2).
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker_grants {
    bool raw;       /* NET_RAW: raw sockets */
    bool packet;    /* packet sockets, too: not on the host's own network */
    bool low_ports; /* NET_BIND_SERVICE */
};

/* Confines the calling process (a fork with a mount namespace of its own) and serves sock until the
 * sentry is gone. ready_fd is closed once it is confined. */
int broker_run(const struct broker_grants *grants, int sock, int ready_fd, struct error *err);
/* Answers one packet: 0 or -errno; *ret_fd: a socket to send along, or -1. fd: what came with the
 * packet, or -1; it stays the caller's. Public for the fuzzer. */
int broker_handle(const struct broker_grants *grants, const void *packet, size_t size, int fd,
                  int *ret_fd);
