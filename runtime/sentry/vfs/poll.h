#pragma once
/*
 * Readiness. A file's poll op says what is ready now and registers where changes are announced:
 * wait queues of the sentry (poll_wait) and host descriptors (poll_host). Two kinds of tables
 * exist: poll/select's, for one sleep, and epoll's, which stays registered.
 */
#include "runtime/sentry/vfs/file.h"

#include <poll.h>

struct poll_table {
    void (*add_queue)(struct poll_table *pt, struct waitq *q);
    void (*add_host)(struct poll_table *pt, int host_fd, uint32_t events);
    uint32_t events; /* that the caller is interested in (a hint) */
};

static inline void poll_wait(struct poll_table *pt, struct waitq *q)
{
    if (pt)
        pt->add_queue(pt, q);
}

static inline void poll_host(struct poll_table *pt, int host_fd, uint32_t events)
{
    if (pt)
        pt->add_host(pt, host_fd, events);
}

/* Blocks the current task until f has one of `events` (POLLERR and POLLHUP always count).
 * 0, -ERESTARTSYS, -ETIMEDOUT. */
int vfs_wait(struct task *t, struct file *f, uint32_t events, nsec_t deadline);
