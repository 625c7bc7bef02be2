#pragma once
/* Shared by epoll.c (watches) and epoll_wait.c (collecting). */
#include "common/hashmap.h"
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/vfs/poll.h"

/*
 * Locks: g_epoll_lock (files that go away, nested epolls) > epoll->lock > locks that poll
 * operations take, nested epolls' locks > wait queues' locks > epoll->ready_lock > epoll->wait's
 * lock. Nesting is without cycles, so wakes that travel outwards cannot deadlock.
 */
struct epoll {
    struct mutex lock; /* guards items, their registrations, host_fd */
    struct hashmap items;
    int host_fd; /* host epoll with the host descriptors of items, -1 until needed; atomic */
    struct mutex ready_lock;
    struct list ready; /* items to look at; ready_lock */
    struct waitq wait; /* epoll_wait and polls of the epoll itself */
    struct file *file; /* ours, not counted */
};

/* A registration on a wait queue, or on a host descriptor. */
struct epoll_hook {
    struct epoll_hook *next;
    struct epoll_item *item;
    struct waiter w;
    int host_fd;   /* -1: a wait queue */
    bool host_own; /* a duplicate made by us */
};

struct epoll_item { /* epoll->lock unless noted */
    struct hash_node node;
    struct epoll *ep;
    struct file *file; /* not counted: epoll_forget_file comes before its end */
    int fd;
    uint32_t events; /* with flags; atomic: wakes read it */
    uint64_t data;
    struct list file_link;  /* file->lock */
    struct list ready_link; /* ready_lock */
    struct epoll_hook hook; /* the usual one */
    bool hook_used, failed;
    bool rehook; /* atomic: register anew when next looked at */
    struct epoll_hook *hooks;
};

#define EPOLL_FLAGS (EPOLLWAKEUP | EPOLLONESHOT | (uint32_t)EPOLLET | EPOLLEXCLUSIVE)

/* A wake that says: what there is to register on has changed. No POLL* event has this bit. */
#define EPOLL_REHOOK (1U << 27)

static inline uint32_t item_events(const struct epoll_item *item)
{
    return __atomic_load_n(&item->events, __ATOMIC_RELAXED);
}

/* Puts item on the ready list. True if it wasn't there. Any thread. */
bool epoll_mark_ready(struct epoll_item *item);
/* Looks at the item's file; pt NULL: no registration. Lock held. */
uint32_t epoll_item_poll(struct task *t, struct epoll_item *item, struct poll_table *pt);
/* The host epoll, made at the first use. Lock held. -ENOMEM if it can't be. */
int epoll_host_fd_locked(struct epoll *ep);
/* Registers item anew. Lock held. */
void epoll_rehook(struct task *t, struct epoll_item *item);
/* Poll operation of an epoll file. */
uint32_t epoll_poll(struct task *t, struct file *f, struct poll_table *pt);
