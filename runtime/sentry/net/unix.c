/*
 * AF_UNIX: making, closing, names of ends, readiness, options. Stream, datagram and seqpacket
 * sockets live in the sentry alone; see unix.h for life and locks. Not there: MSG_OOB, SO_PEEK_OFF,
 * SO_PASSSEC.
 */
#include "runtime/sentry/net/unix.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"

#include <asm-generic/socket.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- owners and addresses ---------------------------------------------------------------------
 */
struct unix_addr *unix_addr_get(struct unix_addr *a)
{
    if (a)
        ref_get(&a->ref);
    return a;
}

void unix_addr_put(struct unix_addr *a)
{
    if (a && ref_put(&a->ref))
        free(a);
}

void unix_owner_fill(struct unix_owner *o, struct task *t)
{
    /* The process's own number stays while one of its tasks runs this. */
    *o = (struct unix_owner){pid_get(t->process->pid), t->cred->euid, t->cred->egid};
}

void unix_owner_fini(struct unix_owner *o)
{
    if (o->pid)
        pid_put(o->pid);
    o->pid = NULL;
}

struct ucred unix_owner_ucred(const struct unix_owner *o, const struct task *t)
{
    return (struct ucred){o->pid ? pid_in(o->pid, task_pidns(t)) : 0, o->uid, o->gid};
}

/* ---- life -------------------------------------------------------------------------------------
 */
int unix_sock_new(struct netns *ns, int type, struct unix_sock **ret)
{
    struct unix_sock *u = calloc(1, sizeof(*u));
    int r = u ? socket_init(&u->s, &unix_ops, ns, AF_UNIX, type, 0) : -ENOMEM;

    if (r < 0) {
        free(u);
        return r;
    }
    ref_init(&u->ref);
    list_init(&u->queue);
    list_init(&u->accept);
    list_init(&u->accept_link);
    list_init(&u->peers);
    list_init(&u->peer_link);
    list_init(&u->flight_link);
    waitq_init(&u->wait);
    waitq_init(&u->room);
    *ret = u;
    return 0;
}

int unix_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret)
{
    struct unix_sock *u;
    int r;

    (void)family;
    if (protocol && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW) /* as Linux, for BSD's sake */
        type = SOCK_DGRAM;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    r = unix_sock_new(t->ns->net, type, &u);
    if (!r)
        *ret = &u->s;
    return r;
}

struct unix_sock *unix_get(struct unix_sock *u)
{
    ref_get(&u->ref);
    return u;
}

void unix_put(struct unix_sock *u)
{
    if (!u || !ref_put(&u->ref))
        return;
    socket_fini(&u->s); /* first: /proc/net looks at it until then */
    unix_addr_put(u->addr);
    unix_owner_fini(&u->own);
    unix_owner_fini(&u->peer_owner);
    if (u->s.host_fd >= 0)
        (void)close(u->s.host_fd);
    free(u);
}

/* The other end of a connection learns that this one is gone. */
static void tell_peer(struct unix_sock *u, struct unix_sock *peer, bool unread)
{
    mutex_lock(&peer->lock);
    if (unix_is_datagram(u)) {
        list_remove(&u->peer_link);
    } else {
        peer->recv_shut = peer->send_shut = true;
        if (unread)
            __atomic_store_n(&peer->s.error, ECONNRESET, __ATOMIC_RELAXED);
    }
    mutex_unlock(&peer->lock);
    waitq_wake(&peer->wait, unix_is_datagram(u) ? 0 : POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

static void free_messages(struct list *queue)
{
    struct unix_msg *msg;

    while ((msg = list_first(queue, struct unix_msg, link))) {
        list_remove(&msg->link);
        unix_msg_free(msg);
    }
}

static void steal(struct list *from, struct list *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    list_insert(from->prev, from, to); /* put the new head in, take the old one out */
    list_remove(from);
}

void unix_close(struct unix_sock *u)
{
    struct list messages, waiting;
    struct unix_sock *peer, *x;

    unix_unbind(u);
    mutex_lock(&u->lock);
    u->dead = u->recv_shut = u->send_shut = true;
    steal(&u->queue, &messages);
    steal(&u->accept, &waiting);
    u->queued = 0;
    u->n_queued = 0;
    peer = TAKE_PTR(u->peer);
    /* Senders that wait for room in our queue find us dead. */
    list_for_each_entry (x, &u->peers, peer_link)
        waitq_wake(&x->wait, POLLOUT);
    mutex_unlock(&u->lock);
    waitq_wake(&u->room, POLLOUT);
    waitq_wake(&u->wait, POLLIN | POLLOUT | POLLHUP);
    if (peer)
        tell_peer(u, peer, !list_empty(&messages));
    while ((x = list_first(&waiting, struct unix_sock, accept_link))) {
        list_remove(&x->accept_link);
        if (x->peer)
            __atomic_store_n(&x->peer->s.error, ECONNRESET, __ATOMIC_RELAXED);
        unix_close(x);
    }
    free_messages(&messages);
    unix_put(peer);
    unix_put(u);
}

static void unix_release(struct socket *s)
{
    unix_close(unix_of(s));
    unix_collect_sometimes();
}

int unix_socket_pair(struct task *t, struct socket *a, struct socket *b)
{
    struct unix_sock *ua = unix_of(a), *ub = unix_of(b);

    /* Nobody else knows either of them yet. */
    ua->state = ub->state = UNIX_CONNECTED;
    unix_owner_fill(&ua->peer_owner, t);
    unix_owner_fill(&ub->peer_owner, t);
    ua->peer = unix_get(ub);
    ub->peer = unix_get(ua);
    if (unix_is_datagram(ua)) {
        list_append(&ub->peers, &ua->peer_link);
        list_append(&ua->peers, &ub->peer_link);
    }
    return 0;
}

/* ---- names, shutdown --------------------------------------------------------------------------
 */
static int unix_getname(struct task *t, struct socket *s, bool peer, struct sockname *ret)
{
    struct unix_sock *u = unix_of(s), *of = u;
    struct unix_addr *a;

    (void)t;
    if (s->host_fd >= 0) {
        *ret = (struct sockname){.size = sizeof(sa_family_t), .sa = {.sa_family = AF_UNIX}};
        return 0;
    }
    mutex_lock(&u->lock);
    if (peer)
        of = u->peer ? unix_get(u->peer) : NULL;
    mutex_unlock(&u->lock);
    if (!of)
        return -ENOTCONN;
    mutex_lock(&of->lock);
    a = unix_addr_get(of->addr);
    mutex_unlock(&of->lock);
    if (a)
        *ret = a->name;
    else
        *ret = (struct sockname){.size = sizeof(sa_family_t), .sa = {.sa_family = AF_UNIX}};
    unix_addr_put(a);
    if (peer)
        unix_put(of);
    return 0;
}

static int unix_shutdown(struct task *t, struct socket *s, int how)
{
    struct unix_sock *u = unix_of(s), *peer;
    bool rd = how != SHUT_WR, wr = how != SHUT_RD;

    (void)t;
    if (s->host_fd >= 0)
        return shutdown(s->host_fd, how) < 0 ? -errno : 0;
    mutex_lock(&u->lock);
    u->recv_shut |= rd;
    u->send_shut |= wr;
    peer = u->peer && !unix_is_datagram(u) ? unix_get(u->peer) : NULL;
    mutex_unlock(&u->lock);
    waitq_wake(&u->wait, 0);
    waitq_wake(&u->room, POLLOUT);
    if (peer) {
        mutex_lock(&peer->lock);
        peer->recv_shut |= wr;
        peer->send_shut |= rd;
        mutex_unlock(&peer->lock);
        waitq_wake(&peer->wait, POLLIN | POLLOUT | POLLRDHUP | (rd && wr ? POLLHUP : 0));
        unix_put(peer);
    }
    return 0;
}

/* ---- readiness --------------------------------------------------------------------------------
 */
/* A datagram socket's destination is full, and not one that only talks to us. */
static bool peer_is_full(struct unix_sock *u, struct unix_sock *peer)
{
    bool full;

    mutex_lock(&peer->lock);
    full = peer->peer != u && peer->n_queued > UNIX_QUEUE_MAX && !peer->dead;
    mutex_unlock(&peer->lock);
    return full;
}

static uint32_t unix_poll(struct socket *s, struct poll_table *pt)
{
    struct unix_sock *u = unix_of(s), *peer = NULL;
    uint32_t ready = 0;
    bool writable;

    if (s->host_fd >= 0) {
        struct pollfd p = {.fd = s->host_fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};

        poll_host(pt, p.fd, pt ? pt->events & (uint32_t)p.events : 0);
        return poll(&p, 1, 0) > 0 ? (uint32_t)p.revents : 0;
    }
    poll_wait(pt, &u->wait);
    mutex_lock(&u->lock);
    if (__atomic_load_n(&s->error, __ATOMIC_RELAXED))
        ready |= POLLERR;
    if (u->recv_shut && u->send_shut)
        ready |= POLLHUP;
    if (u->recv_shut)
        ready |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (!list_empty(&u->queue) || !list_empty(&u->accept))
        ready |= POLLIN | POLLRDNORM;
    if (!unix_is_datagram(u) && u->state == UNIX_UNCONNECTED)
        ready |= POLLHUP;
    writable = u->state != UNIX_LISTENING && u->charged * 4 <= (size_t)s->send_buf;
    if (writable && unix_is_datagram(u) && u->peer)
        peer = unix_get(u->peer);
    mutex_unlock(&u->lock);
    if (peer) {
        writable = !peer_is_full(u, peer);
        unix_put(peer);
    }
    return writable ? ready | POLLOUT | POLLWRNORM | POLLWRBAND : ready;
}

static long unix_ioctl(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg)
{
    struct unix_sock *u = unix_of(s);
    struct unix_msg *first;
    int v;

    if (cmd != SIOCINQ && cmd != SIOCOUTQ)
        return -ENOTTY;
    mutex_lock(&u->lock);
    first = list_first(&u->queue, struct unix_msg, link);
    if (cmd == SIOCOUTQ)
        v = (int)u->charged;
    else if (u->state == UNIX_LISTENING)
        v = -EINVAL;
    else if (s->type == SOCK_DGRAM)
        v = first ? (int)first->size : 0;
    else
        v = (int)u->queued;
    mutex_unlock(&u->lock);
    return v < 0 ? v : copy_out(t, arg, &v, sizeof(v));
}

/* ---- options ----------------------------------------------------------------------------------
 */
static int unix_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                           unsigned *size)
{
    struct unix_sock *u = unix_of(s);
    struct ucred peer = {0, (uid_t)-1, (gid_t)-1};
    int listening;

    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    mutex_lock(&u->lock);
    listening = u->state == UNIX_LISTENING;
    if (u->peer_owner.pid)
        peer = unix_owner_ucred(&u->peer_owner, t);
    mutex_unlock(&u->lock);
    switch (name) {
    case SO_PEERCRED:
        *size = MIN(*size, (unsigned)sizeof(peer));
        memcpy(value, &peer, *size);
        return 0;
    case SO_ACCEPTCONN:
        *size = MIN(*size, (unsigned)sizeof(listening));
        memcpy(value, &listening, *size);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int unix_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                           unsigned size)
{
    (void)t, (void)s, (void)name, (void)value, (void)size;
    return level == SOL_SOCKET ? -ENOPROTOOPT : -EOPNOTSUPP;
}

const struct socket_ops unix_ops = {
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .getname = unix_getname,
    .send = unix_send,
    .recv = unix_recv,
    .shutdown = unix_shutdown,
    .set_option = unix_set_option,
    .get_option = unix_get_option,
    .poll = unix_poll,
    .ioctl = unix_ioctl,
    .release = unix_release,
};
