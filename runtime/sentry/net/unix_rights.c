/*
 * Descriptors in messages, and the collector of sockets that only such messages refer to.
 *
 * A guest can send a unix socket through itself and close it: then nothing but the queued message
 * keeps it alive. The collector finds such groups: sockets whose files are referred to by messages
 * only (candidates), less all that are referred to from queues of sockets outside the group. What
 * remains is unreachable; its messages are dropped.
 *
 * Threats: unbounded descriptors in flight (limits per sender and in all), deep recursion when a
 * chain of sockets is freed (unix_rights_free works through a list of the thread's, never nested).
 */
#include "runtime/sentry/net/unix.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <string.h>

enum { RIGHTS_MAX = 253 /* SCM_MAX_FD */, IN_FLIGHT_MAX = 65536, COLLECT_SHARE = 16 };

static struct mutex g_rights_lock = MUTEX_INIT;
static struct list g_flying = LIST_INIT(g_flying); /* unix sockets with in_flight > 0 */
static unsigned g_n_files;                         /* all files in flight; atomic to read */
static unsigned g_n_sockets;                       /* of them unix sockets; atomic to read */
static unsigned g_since_collect;                   /* atomic */

static struct unix_sock *unix_of_file(const struct file *f)
{
    struct socket *s = socket_of(f);

    return s && s->ops == &unix_ops ? unix_of(s) : NULL;
}

/* Collecting costs in proportion to what is in flight, so it is done once for a share of that in
 * sockets sent or closed: a guest can't make each of its calls pay for all. */
void unix_collect_sometimes(void)
{
    unsigned n = __atomic_load_n(&g_n_sockets, __ATOMIC_RELAXED);

    if (!n || __atomic_add_fetch(&g_since_collect, 1, __ATOMIC_RELAXED) < n / COLLECT_SHARE)
        return;
    __atomic_store_n(&g_since_collect, 0, __ATOMIC_RELAXED);
    unix_collect();
}

/* ---- making and installing --------------------------------------------------------------------
 */
int unix_rights_new(struct task *t, const struct control *c, struct unix_rights **ret)
{
    size_t n = c->size / sizeof(int), old = *ret ? (*ret)->n : 0;
    struct unix_rights *r;

    if (n + old > RIGHTS_MAX)
        return -EINVAL;
    if (!n)
        return 0;
    r = realloc(*ret, sizeof(*r) + (n + old) * sizeof(r->files[0]));
    if (!r)
        return -ENOMEM;
    *ret = r;
    r->n = (unsigned)old;
    list_init(&r->dead);
    for (size_t i = 0; i < n; i++) {
        struct file *f;
        int fd;

        memcpy(&fd, c->data + i * sizeof(fd), sizeof(fd));
        f = fd_get_any(t, fd);
        if (!f)
            return -EBADF;
        r->files[r->n++] = f;
    }
    return 0;
}

void unix_rights_install(struct task *t, struct unix_rights *r, struct sockmsg *m)
{
    size_t room = m->control_max - m->control_size, n = 0;
    int fds[RIGHTS_MAX];

    n = room < CMSG_LEN(sizeof(int)) ? 0 : (room - CMSG_LEN(0)) / sizeof(int);
    n = MIN(n, (size_t)r->n);
    for (size_t i = 0; i < n; i++) {
        fds[i] = fd_install(t, r->files[i], m->cloexec, 0);
        if (fds[i] < 0) {
            n = i;
            break;
        }
        r->files[i] = NULL;
    }
    if (n < r->n)
        m->flags |= MSG_CTRUNC;
    if (n)
        control_put(m, SOL_SOCKET, SCM_RIGHTS, fds, n * sizeof(int));
    unix_rights_free(r);
}

/* ---- counting ---------------------------------------------------------------------------------
 */
static unsigned in_flight_limit(struct task *t)
{
    rlim_t limit = task_rlimit(t, RLIMIT_NOFILE);

    if (limit > IN_FLIGHT_MAX || capable(t, CAP_SYS_RESOURCE) || capable(t, CAP_SYS_ADMIN))
        return IN_FLIGHT_MAX;
    return (unsigned)limit;
}

int unix_rights_attach(struct task *t, struct unix_rights *r)
{
    unsigned limit = in_flight_limit(t);

    unix_collect_sometimes();
    mutex_lock(&g_rights_lock);
    if (g_n_files + r->n > limit) {
        mutex_unlock(&g_rights_lock);
        return -ETOOMANYREFS;
    }
    g_n_files += r->n;
    for (unsigned i = 0; i < r->n; i++) {
        struct unix_sock *u = unix_of_file(r->files[i]);

        if (!u)
            continue;
        g_n_sockets++;
        if (!u->in_flight++)
            list_append(&g_flying, &u->flight_link);
    }
    mutex_unlock(&g_rights_lock);
    return 0;
}

void unix_rights_detach(struct unix_rights *r)
{
    mutex_lock(&g_rights_lock);
    g_n_files -= r->n;
    for (unsigned i = 0; i < r->n; i++) {
        struct unix_sock *u = unix_of_file(r->files[i]);

        if (!u)
            continue;
        g_n_sockets--;
        if (!--u->in_flight)
            list_remove(&u->flight_link);
    }
    mutex_unlock(&g_rights_lock);
}

void unix_rights_free(struct unix_rights *r)
{
    static __thread struct list waiting;
    static __thread bool active;

    if (!waiting.next)
        list_init(&waiting);
    list_append(&waiting, &r->dead);
    if (active)
        return; /* a file that was just dropped freed more: the outermost call goes on */
    active = true;
    while ((r = list_first(&waiting, struct unix_rights, dead))) {
        list_remove(&r->dead);
        for (unsigned i = 0; i < r->n; i++)
            file_put(r->files[i]);
        free(r);
    }
    active = false;
}

/* ---- collecting: g_rights_lock is held throughout ----------------------------------------------
 */
/* Calls fn for each unix socket in flight in u's queue. */
static void each_child(struct unix_sock *u, void (*fn)(struct unix_sock *child, struct list *arg),
                       struct list *arg)
{
    struct unix_msg *msg;

    mutex_lock(&u->lock);
    list_for_each_entry (msg, &u->queue, link) {
        for (unsigned i = 0; msg->rights && i < msg->rights->n; i++) {
            struct unix_sock *child = unix_of_file(msg->rights->files[i]);

            if (child)
                fn(child, arg);
        }
    }
    mutex_unlock(&u->lock);
}

/* The same, and of the connections in u's queue that nobody accepted yet. */
static void each_reachable(struct unix_sock *u, void (*fn)(struct unix_sock *, struct list *),
                           struct list *arg)
{
    struct unix_sock *ends[64], *x;
    size_t n;

    each_child(u, fn, arg);
    n = 0;
    mutex_lock(&u->lock);
    list_for_each_entry (x, &u->accept, accept_link) {
        if (n == ARRAY_SIZE(ends))
            break; /* what isn't seen counts as reachable from outside: never freed too early */
        ends[n++] = unix_get(x);
    }
    mutex_unlock(&u->lock);
    for (size_t i = 0; i < n; i++) {
        each_child(ends[i], fn, arg);
        unix_put(ends[i]); /* its listener holds another */
    }
}

static void explain(struct unix_sock *child, struct list *arg)
{
    (void)arg;
    if (child->marked && child->candidate)
        child->candidate--;
}

/* Reachable from outside after all: it leaves the candidates, and is to be looked through. */
static void rescue(struct unix_sock *child, struct list *live)
{
    if (!child->marked)
        return;
    child->marked = false;
    list_remove(&child->flight_link);
    list_append(live, &child->flight_link);
}

static void find_garbage_locked(struct list *garbage)
{
    struct list live = LIST_INIT(live), done = LIST_INIT(done);
    struct unix_sock *u, *next;

    list_for_each_entry_safe (u, next, &g_flying, flight_link) {
        u->marked = __atomic_load_n(&u->s.file->ref.n, __ATOMIC_ACQUIRE) == u->in_flight;
        u->candidate = u->in_flight;
        if (!u->marked)
            continue;
        list_remove(&u->flight_link);
        list_append(garbage, &u->flight_link);
    }
    list_for_each_entry (u, garbage, flight_link)
        each_reachable(u, explain, NULL);
    list_for_each_entry_safe (u, next, garbage, flight_link)
        if (u->candidate)
            rescue(u, &live);
    while ((u = list_first(&live, struct unix_sock, flight_link))) {
        list_remove(&u->flight_link);
        list_append(&done, &u->flight_link);
        each_reachable(u, rescue, &live);
    }
    while ((u = list_first(&done, struct unix_sock, flight_link))) {
        list_remove(&u->flight_link);
        list_append(&g_flying, &u->flight_link);
    }
}

/* Moves messages with descriptors out of u's queue. */
static void take_rights(struct unix_sock *u, struct list *hit)
{
    struct unix_msg *msg, *next;

    mutex_lock(&u->lock);
    list_for_each_entry_safe (msg, next, &u->queue, link) {
        if (!msg->rights)
            continue;
        list_remove(&msg->link);
        u->n_queued--;
        u->queued -= msg->size - msg->at;
        list_append(hit, &msg->link);
    }
    mutex_unlock(&u->lock);
}

/* Also from connections that wait in its queue; they stay alive while the listener's lock is
 * held only, so one reference at a time is taken. */
static void take_all_rights(struct unix_sock *u, struct list *hit)
{
    struct unix_sock *ends[64], *x;
    size_t n = 0;

    take_rights(u, hit);
    mutex_lock(&u->lock);
    list_for_each_entry (x, &u->accept, accept_link) {
        if (n == ARRAY_SIZE(ends))
            break;
        ends[n++] = unix_get(x);
    }
    mutex_unlock(&u->lock);
    for (size_t i = 0; i < n; i++) {
        take_rights(ends[i], hit);
        unix_put(ends[i]);
    }
}

void unix_collect(void)
{
    struct list garbage = LIST_INIT(garbage), hit = LIST_INIT(hit);
    struct unix_sock *u;
    struct unix_msg *msg;

    if (!mutex_trylock(&g_rights_lock))
        return; /* someone else is at it, or will be when he closes */
    find_garbage_locked(&garbage);
    while ((u = list_first(&garbage, struct unix_sock, flight_link))) {
        list_remove(&u->flight_link);
        list_append(&g_flying, &u->flight_link);
        u->marked = false;
        take_all_rights(u, &hit);
    }
    mutex_unlock(&g_rights_lock);
    while ((msg = list_first(&hit, struct unix_msg, link))) {
        list_remove(&msg->link);
        unix_msg_free(msg);
    }
}
