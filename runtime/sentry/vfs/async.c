/*
 * Watching open files for signals (async.h). A wake notes what became true and puts the watch on a
 * list, under no lock but the queue's; whoever made the wake sends the signals when its call is
 * done, the thread here does so if none did. Host descriptors are in two epolls of that thread's:
 * one for what comes in, and one, armed when a write found no room, for room.
 *
 * Threats: a watch costs its file some memory, and nothing grows with the number of events.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/async_internal.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/poll.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { THREAD_STACK = 64 << 10, HOST_BATCH = 32, ID_HASHES = 64 };

uint32_t g_async_pending;

static struct mutex g_send_lock = MUTEX_INIT; /* who holds it takes from the list and sends */
static struct mutex g_pending_lock = MUTEX_INIT;
static struct list g_pending = LIST_INIT(g_pending); /* g_pending_lock */
static struct list g_known[ID_HASHES];               /* the same; by id */
static uint64_t g_last_id;                           /* the same */

static struct mutex g_start_lock = MUTEX_INIT;
static bool g_running;                                   /* atomic; written under g_start_lock */
static int g_kick = -1, g_host_in = -1, g_host_out = -1; /* immutable once g_running */

/* ---- what is to be told ---------------------------------------------------------------------- */
static void note(struct async *a, uint32_t events)
{
    uint64_t one = 1;

    if (!events)
        return;
    (void)__atomic_or_fetch(&a->events, events, __ATOMIC_RELAXED);
    mutex_lock(&g_pending_lock);
    if (!a->dead && list_empty(&a->pending))
        list_append(&g_pending, &a->pending);
    mutex_unlock(&g_pending_lock);
    __atomic_store_n(&g_async_pending, 1, __ATOMIC_RELEASE);
    (void)!write(g_kick, &one, sizeof(one));
}

/* Under the lock of the queue that the file owns. Room is told only to who asked for some. */
static bool hook_wake(struct waiter *w, uint32_t events)
{
    struct async *a = container_of(w, struct async_hook, w)->a;
    uint32_t told = events & __atomic_load_n(&a->wanted, __ATOMIC_RELAXED);

    if ((told & POLLOUT) && !__atomic_exchange_n(&a->full, false, __ATOMIC_RELAXED) &&
        !(events & (POLLERR | POLLHUP)))
        told &= ~(uint32_t)POLLOUT;
    note(a, told);
    return false;
}

static struct async *take(void)
{
    struct async *a;

    mutex_lock(&g_pending_lock);
    a = list_first(&g_pending, struct async, pending);
    if (a) {
        list_remove(&a->pending);
        ref_get(&a->ref);
    }
    mutex_unlock(&g_pending_lock);
    return a;
}

static void async_put(struct async *a)
{
    if (!ref_put(&a->ref))
        return;
    async_owner_fini(&a->owner);
    free(a);
}

/* The host tells of all that is the case: urgent data that is still there is no news. Under
 * g_send_lock. */
static uint32_t host_news(struct async *a, uint32_t events)
{
    bool was = a->was_urgent;

    if (events & POLLOUT) /* of the epoll for room, which tells nothing else */
        return events;
    a->was_urgent = events & POLLPRI;
    return was ? events & ~(uint32_t)POLLPRI : events;
}

static void note_host(uint64_t id, uint32_t events)
{
    struct async *a, *found = NULL;

    mutex_lock(&g_pending_lock);
    list_for_each_entry (a, &g_known[id % ID_HASHES], known)
        if (a->id == id) {
            found = a;
            ref_get(&a->ref);
            break;
        }
    mutex_unlock(&g_pending_lock);
    if (!found)
        return;
    note(found, host_news(found, events) & __atomic_load_n(&found->wanted, __ATOMIC_RELAXED));
    async_put(found);
}

/* but_id: what is ready there already is not news. g_send_lock held. */
static void drain(int epoll, uint32_t mask, uint64_t but_id)
{
    struct epoll_event e[HOST_BATCH];
    int n;

    do {
        n = epoll_wait(epoll, e, HOST_BATCH, 0);
        for (int i = 0; i < n; i++)
            if (e[i].data.u64 != but_id)
                note_host(e[i].data.u64, e[i].events & mask);
    } while (n == HOST_BATCH);
}

void async_flush_slow(void)
{
    struct async *a;

    mutex_lock(&g_send_lock);
    __atomic_store_n(&g_async_pending, 0, __ATOMIC_RELEASE);
    while ((a = take())) {
        async_tell(a, __atomic_exchange_n(&a->events, 0, __ATOMIC_RELAXED));
        async_put(a);
    }
    mutex_unlock(&g_send_lock);
}

static void *watcher(void *arg)
{
    struct pollfd fds[] = {{g_kick, POLLIN, 0}, {g_host_in, POLLIN, 0}, {g_host_out, POLLIN, 0}};
    uint64_t n;

    (void)arg;
    for (;;) {
        (void)poll(fds, ARRAY_SIZE(fds), -1);
        (void)!read(g_kick, &n, sizeof(n));
        mutex_lock(&g_send_lock);
        drain(g_host_in, ~(uint32_t)POLLOUT, 0);
        drain(g_host_out, POLLOUT, 0);
        mutex_unlock(&g_send_lock);
        async_flush_slow();
    }
    return NULL;
}

/* All signals stay blocked: they are for the tasks' threads. */
static int start_thread(void)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t thread;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, THREAD_STACK);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&thread, &attr, watcher, NULL);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r == 0 ? 0 : -ENOMEM;
}

static int start_locked(void)
{
    int r;

    for (size_t i = 0; i < ID_HASHES; i++)
        list_init(&g_known[i]);
    g_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_host_in = epoll_create1(EPOLL_CLOEXEC);
    g_host_out = epoll_create1(EPOLL_CLOEXEC);
    r = g_kick < 0 || g_host_in < 0 || g_host_out < 0 ? -ENOMEM : start_thread();
    if (r == 0) {
        __atomic_store_n(&g_running, true, __ATOMIC_RELEASE);
        return 0;
    }
    (void)close(g_kick);
    (void)close(g_host_in);
    (void)close(g_host_out);
    return r;
}

static int start(void)
{
    int r = 0;

    if (__atomic_load_n(&g_running, __ATOMIC_ACQUIRE))
        return 0;
    mutex_lock(&g_start_lock);
    if (!g_running)
        r = start_locked();
    mutex_unlock(&g_start_lock);
    return r;
}

/* ---- watching -------------------------------------------------------------------------------- */
struct registrar {
    struct poll_table pt;
    struct async *a;
};

static void add_queue(struct poll_table *pt, struct waitq *q)
{
    struct async *a = container_of(pt, struct registrar, pt)->a;
    struct async_hook *h = &a->hooks[a->n_hooks];

    assert(a->n_hooks < ASYNC_HOOKS);
    *h = (struct async_hook){.w = {.wake = hook_wake}, .a = a};
    list_init(&h->w.link);
    a->n_hooks++;
    waitq_add(q, &h->w);
}

/* The host can't tell of some (EPERM): they are always ready, and never become so. */
static void add_host(struct poll_table *pt, int host_fd, uint32_t events)
{
    struct async *a = container_of(pt, struct registrar, pt)->a;
    struct epoll_event e = {.events = (events & ~(uint32_t)POLLOUT) | POLLRDHUP | (uint32_t)EPOLLET,
                            .data.u64 = a->id};

    if (epoll_ctl(g_host_in, EPOLL_CTL_ADD, host_fd, &e) == 0)
        __atomic_store_n(&a->host_fd, host_fd, __ATOMIC_RELEASE);
}

static void unwatch(struct async *a)
{
    int host = __atomic_exchange_n(&a->host_fd, -1, __ATOMIC_ACQ_REL);

    for (unsigned i = 0; i < a->n_hooks; i++)
        waitq_remove(&a->hooks[i].w);
    a->n_hooks = 0;
    if (host < 0)
        return;
    (void)epoll_ctl(g_host_in, EPOLL_CTL_DEL, host, NULL);
    (void)epoll_ctl(g_host_out, EPOLL_CTL_DEL, host, NULL);
}

void async_update_locked(struct task *t, struct file *f, struct async *a)
{
    uint32_t mask = f->ops->async, wanted;
    struct registrar r = {{add_queue, add_host, 0}, a};

    mutex_assert_held(&a->lock);
    wanted = (a->on ? mask : 0) | (a->owner.pid ? mask & POLLPRI : 0);
    if (wanted == a->wanted)
        return;
    unwatch(a);
    __atomic_store_n(&a->wanted, wanted, __ATOMIC_RELAXED);
    if (!wanted)
        return;
    r.pt.events = wanted;
    (void)vfs_poll(t, f, &r.pt);
}

/* What the host's epoll says at once of a new one is no news. */
void async_forget_present(struct async *a)
{
    mutex_lock(&g_send_lock);
    drain(g_host_in, ~(uint32_t)POLLOUT, a->id);
    mutex_unlock(&g_send_lock);
}

int async_set(struct task *t, struct file *f, int fd, bool on)
{
    struct async *a;

    if (!f->ops->async)
        return 0;
    a = async_of(f);
    if (!a)
        return -ENOMEM;
    mutex_lock(&a->lock);
    a->on = on;
    if (on) {
        a->fd = fd;
        if (!a->owner.pid && f->ops->async_owner)
            async_own_locked(t, a, f->ops->async_owner(f));
    }
    async_update_locked(t, f, a);
    mutex_unlock(&a->lock);
    if (on)
        async_forget_present(a);
    return 0;
}

void async_dir_changed(struct async *a)
{
    note(a, POLLMSG);
}

static uint32_t dir_mask(uint32_t events)
{
    static const struct {
        uint32_t dn, in;
    } rows[] = {
        {DN_ACCESS, IN_ACCESS},
        {DN_MODIFY, IN_MODIFY},
        {DN_CREATE, IN_CREATE | IN_MOVED_TO},
        {DN_DELETE, IN_DELETE | IN_MOVED_FROM},
        {DN_RENAME, DNOTIFY_RENAMED},
        {DN_ATTRIB, IN_ATTRIB},
    };
    uint32_t mask = events & DN_MULTISHOT ? 0 : IN_ONESHOT;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (events & rows[i].dn)
            mask |= rows[i].in;
    return mask;
}

int async_watch_dir(struct task *t, struct file *f, int fd, uint32_t events)
{
    struct async *a = __atomic_load_n(&f->async, __ATOMIC_ACQUIRE);

    if (!(events & ~(uint32_t)DN_MULTISHOT)) {
        if (a)
            dnotify_remove(&a->dir);
        return 0;
    }
    if (!f->inode || !S_ISDIR(f->inode->mode))
        return -ENOTDIR;
    a = async_of(f);
    if (!a)
        return -ENOMEM;
    mutex_lock(&a->lock);
    a->fd = fd;
    if (!a->owner.pid)
        async_own_locked(t, a, NULL);
    mutex_unlock(&a->lock);
    return dnotify_add(&a->dir, f->inode, dir_mask(events), a);
}

void async_full(struct file *f)
{
    struct async *a = __atomic_load_n(&f->async, __ATOMIC_ACQUIRE);
    struct epoll_event e = {.events = EPOLLOUT | EPOLLONESHOT};
    int host;

    if (!a || !(__atomic_load_n(&a->wanted, __ATOMIC_RELAXED) & POLLOUT))
        return;
    __atomic_store_n(&a->full, true, __ATOMIC_RELAXED);
    host = __atomic_load_n(&a->host_fd, __ATOMIC_ACQUIRE);
    if (host < 0)
        return;
    e.data.u64 = a->id;
    if (epoll_ctl(g_host_out, EPOLL_CTL_MOD, host, &e) < 0)
        (void)epoll_ctl(g_host_out, EPOLL_CTL_ADD, host, &e);
}

/* ---- life ------------------------------------------------------------------------------------ */
static struct async *async_new(void)
{
    struct async *a = start() == 0 ? calloc(1, sizeof(*a)) : NULL;

    if (!a)
        return NULL;
    ref_init(&a->ref);
    a->host_fd = -1;
    a->owner.type = F_OWNER_TID;
    list_init(&a->pending);
    mutex_lock(&g_pending_lock);
    a->id = ++g_last_id;
    list_append(&g_known[a->id % ID_HASHES], &a->known);
    mutex_unlock(&g_pending_lock);
    return a;
}

static void drop(struct async *a)
{
    mutex_lock(&g_pending_lock);
    a->dead = true;
    list_remove(&a->pending);
    list_remove(&a->known);
    mutex_unlock(&g_pending_lock);
    async_put(a);
}

struct async *async_of(struct file *f)
{
    struct async *a = __atomic_load_n(&f->async, __ATOMIC_ACQUIRE), *none = NULL;

    if (a)
        return a;
    a = async_new();
    if (a && !__atomic_compare_exchange_n(&f->async, &none, a, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE)) {
        drop(a);
        return none;
    }
    return a;
}

void async_forget(struct file *f)
{
    struct async *a = TAKE_PTR(f->async);

    dnotify_remove(&a->dir);
    unwatch(a);
    drop(a);
}
