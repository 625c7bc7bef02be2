#pragma once
/* A message queue, for the files of this folder. */
#include "runtime/sentry/fs/mqueue/mqueue.h"

#include <signal.h>

struct process;

enum { MQ_NAME_SIZE = 256 };

struct mqueue_table { /* guarded by ipcns->lock */
    struct list queues;
    unsigned count;
};

struct mqueue {
    struct ref ref;
    struct list link;        /* ipcns->lock */
    char name[MQ_NAME_SIZE]; /* immutable, as mode, uid, gid, attr */
    uint32_t mode, uid, gid;
    struct mq_attr attr;
    struct mutex lock; /* guards the following */
    struct list messages;
    unsigned n_messages, n_readers; /* readers that sleep */
    size_t bytes;
    struct process *notify; /* reference */
    struct sigevent notify_how;
    struct mqueue_thread *notify_thread; /* SIGEV_THREAD; owned */
    struct waitq read_wait, write_wait;
};

/* ns->lock held. NULL: out of memory. */
struct mqueue_table *mqueue_table_locked(struct ipcns *ns);
/* A reference, or NULL. */
struct mqueue *mqueue_find(struct ipcns *ns, const char *name);
void mqueue_put(struct mqueue *q);
int mqueue_show(struct mqueue *q, void *out /* struct buf */);
