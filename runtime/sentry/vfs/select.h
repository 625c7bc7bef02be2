#pragma once
/* poll(2) and select(2) without their guest structures: the core of vfs/poll.c. */
#include "runtime/sentry/vfs/poll.h"

struct poll_entry {
    struct file *file; /* reference, or NULL: skipped */
    uint32_t events;   /* wanted; POLLERR and POLLHUP always count */
    uint32_t revents;  /* out */
};

/* Waits until an entry is ready: number of ready ones, 0 at the deadline (<= now: does not sleep),
 * -ERESTARTSYS, -ENOMEM. */
long poll_entries(struct task *t, struct poll_entry *e, unsigned n, nsec_t deadline);
