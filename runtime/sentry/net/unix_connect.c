/*
 * Connections of unix sockets. connect() makes the server's end itself and puts it into the
 * listener's queue; accept() takes it out. Both ends are connected before either is seen.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/unix.h"
#include "runtime/sentry/task/task.h"

#include <string.h>

void unix_set_peer(struct unix_sock *u, struct unix_sock *peer)
{
    struct unix_sock *old;

    mutex_lock(&u->lock);
    old = TAKE_PTR(u->peer);
    mutex_unlock(&u->lock);
    if (old) {
        mutex_lock(&old->lock);
        list_remove(&u->peer_link);
        mutex_unlock(&old->lock);
        unix_put(old);
    }
    if (!peer)
        return;
    mutex_lock(&peer->lock);
    list_append(&peer->peers, &u->peer_link);
    mutex_unlock(&peer->lock);
    mutex_lock(&u->lock);
    u->peer = peer;
    u->state = UNIX_CONNECTED;
    mutex_unlock(&u->lock);
    waitq_wake(&u->wait, POLLOUT);
}

static int connect_datagram(struct task *t, struct unix_sock *u, const struct sockname *name)
{
    struct unix_sock *peer = NULL;
    bool allowed;
    int host = -1, r;

    if (name->size >= sizeof(sa_family_t) && name->sa.sa_family == AF_UNSPEC) {
        mutex_lock(&u->iolock);
        unix_set_peer(u, NULL);
        mutex_unlock(&u->iolock);
        return 0;
    }
    r = unix_find(t, u->s.netns, name, SOCK_DGRAM, &peer, &host);
    if (r < 0)
        return r;
    if (socket_bit(&u->s, SO_PASSCRED) && !u->addr)
        (void)unix_autobind(u);
    if (!peer) {
        u->s.host_fd = host;
        return 0;
    }
    mutex_lock(&peer->lock);
    allowed = !peer->peer || peer->peer == u;
    mutex_unlock(&peer->lock);
    if (!allowed) {
        unix_put(peer);
        return -EPERM;
    }
    mutex_lock(&u->iolock); /* one connect at a time */
    unix_set_peer(u, peer);
    mutex_unlock(&u->iolock);
    return 0;
}

/* ---- streams ----------------------------------------------------------------------------------
 */
/* Waits for a place in the listener's queue and reserves it. */
static int reserve(struct unix_sock *listener, bool nonblock, nsec_t timeout)
{
    nsec_t deadline = socket_deadline(timeout);
    int r = 0;

    mutex_lock(&listener->lock);
    for (;;) {
        if (listener->dead || listener->recv_shut || listener->state != UNIX_LISTENING)
            r = -ECONNREFUSED;
        else if (listener->n_accept > (unsigned)listener->backlog)
            r = nonblock
                    ? -EAGAIN
                    : socket_wait_error(
                          wait_interruptible(&listener->room, &listener->lock, deadline), timeout);
        else
            break;
        if (r < 0)
            break;
    }
    if (!r)
        listener->n_accept++;
    mutex_unlock(&listener->lock);
    return r;
}

/* Makes the server's end of a connection from u. */
static int make_end(struct task *t, struct unix_sock *u, struct unix_sock *listener,
                    struct unix_sock **ret)
{
    struct unix_sock *end;
    int r = unix_sock_new(u->s.netns, u->s.type, &end);

    if (r < 0)
        return r;
    end->state = UNIX_CONNECTED;
    end->peer = unix_get(u);
    unix_owner_fill(&end->peer_owner, t);
    mutex_lock(&listener->lock);
    end->addr = unix_addr_get(listener->addr);
    if (socket_bit(&listener->s, SO_PASSCRED))
        end->s.bits |= 1u << SO_PASSCRED;
    mutex_unlock(&listener->lock);
    *ret = end;
    return 0;
}

/* u was CONNECTING: it and the new end become one connection. */
static int establish(struct unix_sock *u, struct unix_sock *listener, struct unix_sock *end)
{
    struct unix_owner server = {0};
    bool refused;

    mutex_lock(&listener->lock);
    server = listener->own;
    if (server.pid)
        (void)pid_get(server.pid);
    mutex_unlock(&listener->lock);

    mutex_lock(&u->lock);
    u->peer = unix_get(end);
    u->peer_owner = server;
    u->state = UNIX_CONNECTED;
    mutex_unlock(&u->lock);

    mutex_lock(&listener->lock);
    refused = listener->dead;
    if (!refused)
        list_append(&listener->accept, &end->accept_link);
    mutex_unlock(&listener->lock);
    if (!refused) {
        waitq_wake_one(&listener->wait, POLLIN);
        return 0;
    }
    mutex_lock(&u->lock);
    u->peer = NULL;
    unix_owner_fini(&u->peer_owner);
    mutex_unlock(&u->lock);
    unix_put(end); /* the peer's; the other reference is the caller's */
    return -ECONNREFUSED;
}

static void unreserve(struct unix_sock *listener)
{
    mutex_lock(&listener->lock);
    listener->n_accept--;
    mutex_unlock(&listener->lock);
    waitq_wake(&listener->room, POLLOUT);
}

static int connect_to(struct task *t, struct unix_sock *u, struct unix_sock *listener,
                      bool nonblock)
{
    struct unix_sock *end;
    int r = reserve(listener, nonblock, u->s.send_timeout);

    if (r < 0)
        return r;
    r = make_end(t, u, listener, &end);
    if (!r) {
        r = establish(u, listener, end);
        if (r < 0)
            unix_close(end);
    }
    if (r < 0)
        unreserve(listener);
    return r;
}

int unix_connect(struct task *t, struct socket *s, const struct sockname *name, bool nonblock)
{
    struct unix_sock *u = unix_of(s), *listener = NULL;
    int host = -1, r = 0;

    if (s->host_fd >= 0)
        return -EISCONN;
    if (unix_is_datagram(u))
        return connect_datagram(t, u, name);
    mutex_lock(&u->lock);
    if (u->state == UNIX_UNCONNECTED)
        u->state = UNIX_CONNECTING;
    else
        r = u->state == UNIX_CONNECTED ? -EISCONN : -EINVAL;
    mutex_unlock(&u->lock);
    if (r < 0)
        return r;
    if (socket_bit(s, SO_PASSCRED) && !u->addr)
        (void)unix_autobind(u);
    r = unix_find(t, s->netns, name, s->type, &listener, &host);
    if (!r && listener) {
        r = connect_to(t, u, listener, nonblock);
        unix_put(listener);
    } else if (!r) {
        s->host_fd = host;
    }
    mutex_lock(&u->lock);
    if (r < 0)
        u->state = UNIX_UNCONNECTED;
    else
        u->state = UNIX_CONNECTED;
    mutex_unlock(&u->lock);
    if (!r)
        waitq_wake(&u->wait, POLLOUT);
    return r;
}

int unix_listen(struct task *t, struct socket *s, int backlog)
{
    struct unix_sock *u = unix_of(s);
    struct unix_owner own, old = {0};
    int r = 0;

    if (unix_is_datagram(u))
        return -EOPNOTSUPP;
    unix_owner_fill(&own, t);
    mutex_lock(&u->lock);
    if (!u->addr || (u->state != UNIX_UNCONNECTED && u->state != UNIX_LISTENING)) {
        r = -EINVAL;
        old = own;
    } else {
        u->state = UNIX_LISTENING;
        u->backlog = backlog;
        old = u->own;
        u->own = own;
    }
    mutex_unlock(&u->lock);
    waitq_wake(&u->room, POLLOUT);
    unix_owner_fini(&old);
    return r;
}

/* Takes one finished connection: 0 with *ret, or -errno. */
static int take(struct unix_sock *u, bool nonblock, struct unix_sock **ret)
{
    nsec_t timeout = u->s.recv_timeout, deadline = socket_deadline(timeout);
    struct unix_sock *end;
    int r = 0;

    mutex_lock(&u->lock);
    while (!(end = list_first(&u->accept, struct unix_sock, accept_link))) {
        if (u->state != UNIX_LISTENING || u->recv_shut)
            r = -EINVAL;
        else if (nonblock)
            r = -EAGAIN;
        else
            r = socket_wait_error(wait_interruptible_exclusive(&u->wait, &u->lock, deadline),
                                  timeout);
        if (r < 0)
            break;
    }
    if (end) {
        list_remove(&end->accept_link);
        u->n_accept--;
        *ret = end;
        r = 0;
    }
    mutex_unlock(&u->lock);
    if (!r)
        waitq_wake(&u->room, POLLOUT);
    return r;
}

int unix_accept(struct task *t, struct socket *s, bool nonblock, struct sockname *ret_name,
                struct socket **ret)
{
    struct unix_sock *u = unix_of(s), *end = NULL;
    int r;

    if (unix_is_datagram(u))
        return -EOPNOTSUPP;
    r = take(u, nonblock, &end);
    if (r < 0)
        return r;
    if (ret_name)
        (void)unix_ops.getname(t, &end->s, true, ret_name);
    *ret = &end->s;
    return 0;
}
