#pragma once
/* Between async.c (watching) and async_owner.c (whom to tell, and how). */
#include "runtime/sentry/vfs/async.h"

struct pid;

enum { ASYNC_HOOKS = 2 }; /* queues that a poll operation of such a type names */

struct async_owner {
    struct pid *pid; /* reference, or NULL */
    int type;        /* F_OWNER_* */
    int signal;      /* 0: SIGIO */
    uint32_t uid, euid;
};

struct async_hook {
    struct waiter w;
    struct async *a;
};

struct async {
    struct ref ref;    /* the file's, and who sends */
    struct mutex lock; /* guards the following, but for what says otherwise */
    struct async_owner owner;
    bool on;         /* O_ASYNC */
    int fd;          /* that it was set by */
    uint32_t wanted; /* POLL* that are watched; atomic */
    struct async_hook hooks[ASYNC_HOOKS];
    unsigned n_hooks;
    int host_fd; /* the file's, or -1; atomic */

    struct watch *dir;   /* inotify's lock: what dnotify watches */
    bool was_urgent;     /* g_send_lock */
    bool full;           /* atomic: a write found no room */
    uint32_t events;     /* atomic: that came and are not told yet */
    struct list pending; /* g_pending_lock */
    uint64_t id;         /* for host epolls; immutable */
    struct list known;   /* the same: by id */
    bool dead;           /* the same: its file is gone */
};

/* The watch of f, made if there is none; NULL: out of memory. */
struct async *async_of(struct file *f);
/* What is watched depends on the owner, too. a->lock held. */
void async_update_locked(struct task *t, struct file *f, struct async *a);
/* What was ready when the watching began is not told. Nothing is locked. */
void async_forget_present(struct async *a);
/* The caller is the owner if there is none yet; group: its group `group` (reference taken over).
 * a->lock held. */
void async_own_locked(struct task *t, struct async *a, struct pid *group);
void async_owner_fini(struct async_owner *o);
/* Sends what `events` mean. Nothing is locked. */
void async_tell(struct async *a, uint32_t events);
