/*
 * epoll(7): what is watched. A watch registers itself once on the wait queues that the file's poll
 * operation names, and on its host descriptors in a host epoll of this epoll's own (edge-triggered:
 * it only says "look again"). A wake puts the watch on the ready list; collecting (epoll_wait.c)
 * polls what is on it.
 *
 * Threats: loops and deep nesting of epolls are refused, since wakes recurse; the number of watches
 * is bounded.
 */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/epoll_internal.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { EPOLL_NESTS_MAX = 4, EPOLL_WATCHES_MAX = 1 << 20 };

static struct mutex g_epoll_lock = MUTEX_INIT;
static unsigned g_n_watches; /* atomic */

static const struct file_ops epoll_ops;

bool epoll_is(const struct file *f)
{
    return f->ops == &epoll_ops;
}

unsigned epoll_watches(const struct file *epf)
{
    const struct epoll *ep = epf->private;

    return (unsigned)__atomic_load_n(&ep->items.count, __ATOMIC_RELAXED);
}

/* ---- readiness ------------------------------------------------------------------------------- */
bool epoll_mark_ready(struct epoll_item *item)
{
    struct epoll *ep = item->ep;
    bool fresh;

    mutex_lock(&ep->ready_lock);
    fresh = list_empty(&item->ready_link);
    if (fresh)
        list_append(&ep->ready, &item->ready_link);
    mutex_unlock(&ep->ready_lock);
    return fresh;
}

/* Under the lock of the queue that the file owns. */
static bool hook_wake(struct waiter *w, uint32_t events)
{
    struct epoll_item *item = container_of(w, struct epoll_hook, w)->item;
    struct epoll *ep = item->ep;
    uint32_t wanted = item_events(item);
    bool consumed;

    if (events & EPOLL_REHOOK) {
        __atomic_store_n(&item->rehook, true, __ATOMIC_RELEASE);
        events = 0;
    }
    if (!(wanted & ~EPOLL_FLAGS))
        return false; /* one-shot, spent */
    if (events && !(events & wanted))
        return false;
    consumed = waitq_has_waiters(&ep->wait);
    if (epoll_mark_ready(item))
        waitq_wake_one(&ep->wait, POLLIN | POLLRDNORM);
    return consumed;
}

uint32_t epoll_item_poll(struct task *t, struct epoll_item *item, struct poll_table *pt)
{
    return vfs_poll(t, item->file, pt) & (item_events(item) & ~EPOLL_FLAGS);
}

/* ---- registration ---------------------------------------------------------------------------- */
struct registrar {
    struct poll_table pt;
    struct epoll_item *item;
};

static struct epoll_hook *hook_new(struct epoll_item *item)
{
    struct epoll_hook *h = &item->hook;

    if (item->hook_used) {
        h = calloc(1, sizeof(*h));
        if (!h) {
            item->failed = true;
            return NULL;
        }
    }
    item->hook_used = true;
    h->item = item;
    h->host_fd = -1;
    h->host_own = false;
    h->w.queue = NULL;
    list_init(&h->w.link);
    h->next = item->hooks;
    item->hooks = h;
    return h;
}

static void add_queue(struct poll_table *pt, struct waitq *q)
{
    struct epoll_item *item = container_of(pt, struct registrar, pt)->item;
    struct epoll_hook *h = hook_new(item);

    if (!h)
        return;
    h->w.wake = hook_wake;
    h->w.exclusive = h->w.always_exclusive = item_events(item) & EPOLLEXCLUSIVE;
    waitq_add(q, &h->w);
}

int epoll_host_fd_locked(struct epoll *ep)
{
    int fd = ep->host_fd;

    if (fd >= 0)
        return fd;
    fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return -ENOMEM;
    __atomic_store_n(&ep->host_fd, fd, __ATOMIC_RELEASE);
    /* Those who sleep already don't sleep on it yet, nor do epolls around this one watch it. */
    waitq_wake(&ep->wait, EPOLL_REHOOK);
    return fd;
}

static void add_host(struct poll_table *pt, int host_fd, uint32_t events)
{
    struct epoll_item *item = container_of(pt, struct registrar, pt)->item;
    struct epoll_event e = {.events = (events & item_events(item) & ~EPOLL_FLAGS) |
                                      (uint32_t)EPOLLET | EPOLLERR | EPOLLHUP,
                            .data.ptr = item};
    int ep = epoll_host_fd_locked(item->ep), r;
    struct epoll_hook *h = ep < 0 ? NULL : hook_new(item);

    if (!h) {
        item->failed = true;
        return;
    }
    h->host_fd = host_fd;
    r = epoll_ctl(ep, EPOLL_CTL_ADD, host_fd, &e);
    if (r < 0 && errno == EEXIST) {
        /* Another watch has the same descriptor. */
        h->host_fd = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
        h->host_own = true;
        r = h->host_fd < 0 ? -1 : epoll_ctl(ep, EPOLL_CTL_ADD, h->host_fd, &e);
    }
    /* EPERM: the host can't wait for it, so it is always ready. The host's own limit of nesting is
     * met by epolls that all have host descriptors. */
    if (r < 0 && errno != EPERM)
        item->failed = true;
}

static void unregister(struct epoll_item *item)
{
    struct epoll_hook *h, *next;

    for (h = item->hooks; h; h = next) {
        next = h->next;
        waitq_remove(&h->w);
        if (h->host_fd >= 0)
            (void)epoll_ctl(item->ep->host_fd, EPOLL_CTL_DEL, h->host_fd, NULL);
        if (h->host_own && h->host_fd >= 0)
            (void)close(h->host_fd);
        if (h != &item->hook)
            free(h);
    }
    item->hooks = NULL;
    item->hook_used = false;
}

bool epoll_registers(const struct poll_table *pt)
{
    return pt->add_queue == add_queue;
}

void epoll_rehook(struct task *t, struct epoll_item *item)
{
    struct registrar r = {{add_queue, add_host, item_events(item) & ~EPOLL_FLAGS}, item};

    unregister(item);
    (void)epoll_item_poll(t, item, &r.pt);
}

/* Registers, and notes if the file is ready already. Lock held. */
static int register_item(struct task *t, struct epoll_item *item)
{
    struct registrar r = {{add_queue, add_host, item_events(item) & ~EPOLL_FLAGS}, item};

    item->failed = false;
    if (epoll_item_poll(t, item, &r.pt) && epoll_mark_ready(item))
        waitq_wake_one(&item->ep->wait, POLLIN | POLLRDNORM);
    return item->failed ? -ENOMEM : 0;
}

/* ---- items ----------------------------------------------------------------------------------- */
static uint64_t item_hash(const struct file *f, int fd)
{
    return hash_u64((uintptr_t)f ^ ((uint64_t)(unsigned)fd << 48));
}

static struct epoll_item *find_item(struct epoll *ep, const struct file *f, int fd)
{
    struct hash_node *n = hashmap_first(&ep->items, item_hash(f, fd));

    for (; n; n = hashmap_next_same(n)) {
        struct epoll_item *item = hash_entry(n, struct epoll_item, node);

        if (item->file == f && item->fd == fd)
            return item;
    }
    return NULL;
}

/* Lock held. */
static void remove_item(struct epoll_item *item)
{
    struct epoll *ep = item->ep;

    unregister(item);
    mutex_lock(&item->file->lock);
    list_remove(&item->file_link);
    mutex_unlock(&item->file->lock);
    mutex_lock(&ep->ready_lock);
    list_remove(&item->ready_link);
    mutex_unlock(&ep->ready_lock);
    (void)hashmap_remove(&ep->items, &item->node);
    (void)__atomic_fetch_sub(&g_n_watches, 1, __ATOMIC_RELAXED);
    free(item);
}

static int add_item(struct task *t, struct epoll *ep, int fd, struct file *target,
                    const struct epoll_event *event)
{
    struct epoll_item *item;
    int r;

    if (__atomic_fetch_add(&g_n_watches, 1, __ATOMIC_RELAXED) >= EPOLL_WATCHES_MAX) {
        (void)__atomic_fetch_sub(&g_n_watches, 1, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    item = calloc(1, sizeof(*item));
    if (!item || hashmap_add(&ep->items, &item->node, item_hash(target, fd)) < 0) {
        (void)__atomic_fetch_sub(&g_n_watches, 1, __ATOMIC_RELAXED);
        free(item);
        return -ENOMEM;
    }
    item->ep = ep;
    item->file = target;
    item->fd = fd;
    item->events = event->events | EPOLLERR | EPOLLHUP;
    item->data = event->data.u64;
    list_init(&item->ready_link);
    mutex_lock(&target->lock);
    list_append(&target->epoll_items, &item->file_link);
    mutex_unlock(&target->lock);
    r = register_item(t, item);
    if (r < 0)
        remove_item(item);
    return r;
}

/* What is asked of the host's epoll: it tells at once if the file is ready already. */
static uint32_t host_events(const struct epoll_item *item)
{
    return (item_events(item) & ~EPOLL_FLAGS) | (uint32_t)EPOLLET | EPOLLERR | EPOLLHUP;
}

/* In one call of the host's, for a file that is one host descriptor and nothing else. */
static bool modify_on_host(struct epoll_item *item)
{
    const struct epoll_hook *h = item->hooks;
    struct epoll_event e = {.events = host_events(item), .data.ptr = item};

    return h && h == &item->hook && !h->next && h->host_fd >= 0 &&
           epoll_ctl(item->ep->host_fd, EPOLL_CTL_MOD, h->host_fd, &e) == 0;
}

static int modify_item(struct task *t, struct epoll_item *item, const struct epoll_event *event)
{
    if (item_events(item) & EPOLLEXCLUSIVE)
        return -EINVAL;
    __atomic_store_n(&item->events, event->events | EPOLLERR | EPOLLHUP, __ATOMIC_RELAXED);
    item->data = event->data.u64;
    if (modify_on_host(item))
        return 0;
    unregister(item);
    return register_item(t, item);
}

static int control_locked(struct task *t, struct epoll *ep, int op, int fd, struct file *target,
                          const struct epoll_event *event)
{
    struct epoll_item *item = find_item(ep, target, fd);

    switch (op) {
    case EPOLL_CTL_ADD:
        return item ? -EEXIST : add_item(t, ep, fd, target, event);
    case EPOLL_CTL_MOD:
        return item ? modify_item(t, item, event) : -ENOENT;
    case EPOLL_CTL_DEL:
        if (item)
            remove_item(item);
        return item ? 0 : -ENOENT;
    default:
        return -EINVAL;
    }
}

/* ---- nesting --------------------------------------------------------------------------------- */
/* Levels of epolls below ep, or more than the limit if `self` is among them. g_epoll_lock held. */
static int levels_below(struct epoll *ep, const struct epoll *self, int depth)
{
    struct hash_node *n = NULL;
    int most = 0;

    if (ep == self || depth > EPOLL_NESTS_MAX)
        return EPOLL_NESTS_MAX + 1;
    mutex_lock(&ep->lock);
    while ((n = hashmap_next(&ep->items, n))) {
        struct epoll_item *item = hash_entry(n, struct epoll_item, node);

        if (epoll_is(item->file)) {
            int below = levels_below(item->file->private, self, depth + 1) + 1;

            most = MAX(most, below);
        }
    }
    mutex_unlock(&ep->lock);
    return most;
}

static int levels_above(struct file *epf, int depth)
{
    struct epoll_item *item;
    int most = 0;

    if (depth > EPOLL_NESTS_MAX)
        return depth;
    mutex_lock(&epf->lock);
    list_for_each_entry (item, &epf->epoll_items, file_link) {
        int above = levels_above(item->ep->file, depth + 1) + 1;

        most = MAX(most, above);
    }
    mutex_unlock(&epf->lock);
    return most;
}

static bool exclusive_allowed(int op, const struct file *target, uint32_t events)
{
    const uint32_t ok =
        EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | (uint32_t)EPOLLET | EPOLLEXCLUSIVE;

    return op == EPOLL_CTL_ADD && !epoll_is(target) && !(events & ~ok);
}

int epoll_control(struct task *t, struct file *epf, int op, int fd, struct file *target,
                  const struct epoll_event *event)
{
    struct epoll *ep = epf->private;
    bool nested;
    int r = 0;

    if (!target->ops->poll)
        return -EPERM;
    if (!epoll_is(epf) || epf == target)
        return -EINVAL;
    if (op != EPOLL_CTL_DEL && event->events & EPOLLEXCLUSIVE &&
        !exclusive_allowed(op, target, event->events))
        return -EINVAL;
    nested = op == EPOLL_CTL_ADD && epoll_is(target);
    if (nested) {
        mutex_lock(&g_epoll_lock);
        if (levels_below(target->private, ep, 0) + levels_above(epf, 0) + 1 > EPOLL_NESTS_MAX)
            r = -ELOOP;
    }
    if (r == 0) {
        mutex_lock(&ep->lock);
        r = control_locked(t, ep, op, fd, target, event);
        mutex_unlock(&ep->lock);
    }
    if (nested)
        mutex_unlock(&g_epoll_lock);
    return r;
}

/* ---- the file -------------------------------------------------------------------------------- */
void epoll_forget_file(struct file *f)
{
    struct epoll_item *item;

    mutex_lock(&g_epoll_lock);
    while ((item = list_first(&f->epoll_items, struct epoll_item, file_link))) {
        struct epoll *ep = item->ep;

        mutex_lock(&ep->lock);
        remove_item(item);
        mutex_unlock(&ep->lock);
    }
    mutex_unlock(&g_epoll_lock);
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->private;
    struct hash_node *n;

    mutex_lock(&g_epoll_lock);
    mutex_lock(&ep->lock);
    while ((n = hashmap_next(&ep->items, NULL)))
        remove_item(hash_entry(n, struct epoll_item, node));
    mutex_unlock(&ep->lock);
    mutex_unlock(&g_epoll_lock);
    hashmap_fini(&ep->items);
    if (ep->host_fd >= 0)
        (void)close(ep->host_fd);
    free(ep);
}

static void epoll_show_fdinfo(struct file *f, void *buf)
{
    struct epoll *ep = f->private;
    struct hash_node *n = NULL;

    mutex_lock(&ep->lock);
    while ((n = hashmap_next(&ep->items, n))) {
        struct epoll_item *item = hash_entry(n, struct epoll_item, node);

        (void)buf_printf(buf, "tfd: %8d events: %8x data: %16lx  pos:%ld ino:%lx sdev:%x\n",
                         item->fd, item_events(item), item->data, item->file->pos,
                         item->file->inode ? item->file->inode->ino : item->file->ino, 0U);
    }
    mutex_unlock(&ep->lock);
}

static const struct file_ops epoll_ops = {
    .poll = epoll_poll,
    .release = epoll_release,
    .show_fdinfo = epoll_show_fdinfo,
    .name = "anon_inode:[eventpoll]",
};

int epoll_new(struct file **ret)
{
    struct epoll *ep = calloc(1, sizeof(*ep));
    int r;

    if (!ep)
        return -ENOMEM;
    ep->host_fd = -1;
    list_init(&ep->ready);
    waitq_init(&ep->wait);
    r = file_new(&epoll_ops, O_RDWR, ep, &ep->file);
    if (r < 0) {
        free(ep);
        return r;
    }
    *ret = ep->file;
    return 0;
}
