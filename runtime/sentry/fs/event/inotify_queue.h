#pragma once
/* The events that wait in an inotify instance. Its own lock guards it; a full one says so once. */
#include "runtime/sentry/vfs/file.h"

struct event_queue {
    struct mutex lock; /* guards the following */
    struct list events;
    unsigned n;
    size_t bytes; /* as read would return */
    struct waitq wait;
};

void event_queue_init(struct event_queue *q);
void event_queue_fini(struct event_queue *q);
/* Adds one, unless the last one says the same; name may be NULL. */
void event_queue_put(struct event_queue *q, int wd, uint32_t mask, uint32_t cookie,
                     const char *name);
/* read(2): waits unless `nonblock`. Bytes or -errno. */
ssize_t event_queue_read(struct event_queue *q, struct uio *u, bool nonblock);
bool event_queue_any(struct event_queue *q);
size_t event_queue_bytes(struct event_queue *q);
