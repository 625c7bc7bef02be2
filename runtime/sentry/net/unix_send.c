/*
 * Sending on unix sockets. A message is one allocation: header and bytes, copied from the guest
 * before any lock is taken. It is charged to the sender (SO_SNDBUF) until the receiver has read or
 * dropped it; datagrams wait also for a place in the receiver's queue.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/unix.h"
#include "runtime/sentry/task/task.h"

#include <string.h>

enum {
    /* Linux's own cost of a message: a small one counts 768 bytes, as programs that fill a socket
     * to its limit may count on. */
    OVERHEAD = 256,
    SHARED_INFO = 320,
    SMALLEST = 512,
    PAGE = 4096,
};

static size_t message_charge(size_t size)
{
    size_t bucket = SMALLEST;

    if (size + SHARED_INFO > PAGE)
        return OVERHEAD + SMALLEST + ((size + PAGE - 1) & ~(size_t)(PAGE - 1));
    while (bucket < size + SHARED_INFO)
        bucket *= 2;
    return OVERHEAD + bucket;
}

void unix_msg_free(struct unix_msg *msg)
{
    struct unix_sock *sender = msg->sender;

    if (sender) {
        mutex_lock(&sender->lock);
        sender->charged -= msg->charge;
        mutex_unlock(&sender->lock);
        if (waitq_has_waiters(&sender->wait))
            waitq_wake(&sender->wait, POLLOUT | POLLWRNORM);
        unix_put(sender);
    }
    if (msg->rights) {
        unix_rights_detach(msg->rights);
        unix_rights_free(msg->rights);
    }
    unix_addr_put(msg->from);
    unix_owner_fini(&msg->owner);
    free(msg);
}

/* ---- what goes along --------------------------------------------------------------------------
 */
struct ancillary {
    struct unix_rights *rights;
    struct unix_owner owner;
    bool has_owner; /* given explicitly */
};

static int parse_credentials(struct task *t, const struct control *c, struct ancillary *a)
{
    const struct cred *cr = t->cred;
    struct ucred uc;
    struct pid *pid = NULL;

    if (c->size != sizeof(uc))
        return -EINVAL;
    memcpy(&uc, c->data, sizeof(uc));
    if ((uc.uid != cr->uid && uc.uid != cr->euid && uc.uid != cr->suid &&
         !capable(t, CAP_SETUID)) ||
        (uc.gid != cr->gid && uc.gid != cr->egid && uc.gid != cr->sgid && !capable(t, CAP_SETGID)))
        return -EPERM;
    if (uc.pid == task_tgid(t)) {
        pid = pid_get(t->process->pid);
    } else {
        struct process *p;

        if (!capable(t, CAP_SYS_ADMIN))
            return -EPERM;
        mutex_lock(&g_tasks_lock);
        p = process_find_locked(task_pidns(t), uc.pid);
        pid = p ? pid_get(p->pid) : NULL;
        mutex_unlock(&g_tasks_lock);
        if (!pid)
            return -ESRCH;
    }
    unix_owner_fini(&a->owner);
    a->owner = (struct unix_owner){pid, uc.uid, uc.gid};
    a->has_owner = true;
    return 0;
}

static int parse_control(struct task *t, const struct sockmsg *m, struct ancillary *a)
{
    struct control c;
    size_t at = 0;
    int r;

    while (control_next(m, &at, &c, &r)) {
        if (c.level != SOL_SOCKET)
            continue; /* as Linux */
        if (c.type == SCM_RIGHTS)
            r = unix_rights_new(t, &c, &a->rights);
        else if (c.type == SCM_CREDENTIALS)
            r = parse_credentials(t, &c, a);
        else
            r = -EINVAL;
        if (r < 0)
            return r;
    }
    return r;
}

static void ancillary_fini(struct ancillary *a)
{
    unix_owner_fini(&a->owner);
    if (a->rights)
        unix_rights_free(a->rights);
}

/* A message of size bytes from m's data. */
static int message_new(struct task *t, struct unix_sock *u, struct sockmsg *m, size_t size,
                       struct unix_msg **ret)
{
    struct unix_msg *msg = malloc(sizeof(*msg) + size);

    (void)t;
    if (!msg)
        return -ENOBUFS;
    memset(msg, 0, sizeof(*msg));
    list_init(&msg->link);
    msg->size = size;
    msg->charge = message_charge(size);
    if (size && uio_copy_from(m->uio, msg->data, size) != (ssize_t)size) {
        free(msg);
        return -EFAULT;
    }
    mutex_lock(&u->lock);
    msg->from = unix_addr_get(u->addr);
    mutex_unlock(&u->lock);
    *ret = msg;
    return 0;
}

/* Moves what goes along into the first message of a call. */
static int message_attach(struct task *t, struct unix_msg *msg, struct ancillary *a)
{
    if (a->has_owner) {
        msg->owner = a->owner;
        if (msg->owner.pid)
            (void)pid_get(msg->owner.pid);
        msg->has_owner = true;
    }
    if (a->rights) {
        int r = unix_rights_attach(t, a->rights);

        if (r < 0)
            return r;
        msg->rights = TAKE_PTR(a->rights);
    }
    return 0;
}

/* Charges the message to its sender, waiting for room. */
static int charge(struct unix_sock *u, struct unix_msg *msg, int flags, nsec_t deadline)
{
    int r = 0;

    mutex_lock(&u->lock);
    while (!r) {
        if (u->send_shut)
            r = -EPIPE;
        else if (unix_has_room_locked(u))
            break;
        else if (flags & MSG_DONTWAIT)
            r = -EAGAIN;
        else
            r = socket_wait_error(wait_interruptible(&u->wait, &u->lock, deadline),
                                  u->s.send_timeout);
    }
    if (!r) {
        u->charged += msg->charge;
        msg->sender = unix_get(u);
    }
    mutex_unlock(&u->lock);
    return r;
}

/* Puts msg into to's queue; to->lock held. */
static void enqueue_locked(struct task *t, struct unix_sock *u, struct unix_sock *to,
                           struct unix_msg *msg)
{
    mutex_assert_held(&to->lock);
    if (!msg->has_owner &&
        (!to->s.file || socket_bit(&to->s, SO_PASSCRED) || socket_bit(&u->s, SO_PASSCRED))) {
        unix_owner_fill(&msg->owner, t);
        msg->has_owner = true;
    }
    if (socket_bit(&to->s, SO_TIMESTAMP))
        msg->stamp = time_realtime();
    list_append(&to->queue, &msg->link);
    to->queued += msg->size;
    to->n_queued++;
}

static void wake_reader(struct unix_sock *to)
{
    if (waitq_has_waiters(&to->wait))
        waitq_wake(&to->wait, POLLIN | POLLRDNORM);
}

/* ---- streams ----------------------------------------------------------------------------------
 */
static struct unix_sock *connected_peer(struct unix_sock *u, int *ret_error)
{
    struct unix_sock *peer = NULL;

    mutex_lock(&u->lock);
    if (u->send_shut)
        *ret_error = -EPIPE;
    else if (u->state != UNIX_CONNECTED || !u->peer)
        *ret_error = -ENOTCONN;
    else
        peer = unix_get(u->peer);
    mutex_unlock(&u->lock);
    return peer;
}

static int send_chunk(struct task *t, struct unix_sock *u, struct unix_sock *peer,
                      struct sockmsg *m, struct ancillary *a, int flags, nsec_t deadline,
                      size_t size)
{
    struct unix_msg *msg;
    int r = message_new(t, u, m, size, &msg);

    if (r < 0)
        return r;
    r = message_attach(t, msg, a);
    if (!r)
        r = charge(u, msg, flags, deadline);
    if (!r) {
        mutex_lock(&peer->lock);
        if (peer->dead || peer->recv_shut)
            r = -EPIPE;
        else
            enqueue_locked(t, u, peer, msg);
        mutex_unlock(&peer->lock);
    }
    if (r < 0)
        unix_msg_free(msg);
    else
        wake_reader(peer);
    return r;
}

static ssize_t send_stream(struct task *t, struct unix_sock *u, struct sockmsg *m,
                           struct ancillary *a, int flags)
{
    nsec_t deadline = socket_deadline(u->s.send_timeout);
    struct unix_sock *peer;
    size_t most = MIN((size_t)u->s.send_buf / 2, (size_t)UNIX_CHUNK);
    ssize_t total = 0;
    int r = 0;

    if (m->name.size)
        return u->state == UNIX_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    peer = connected_peer(u, &r);
    if (!peer)
        return r;
    while (m->uio->left && !r) {
        size_t size = MIN(m->uio->left, (uint64_t)most);

        r = send_chunk(t, u, peer, m, a, flags, deadline, size);
        if (!r)
            total += (ssize_t)size;
    }
    unix_put(peer);
    return total ? total : r;
}

/* ---- datagrams and records --------------------------------------------------------------------
 */
/* Puts one message into to's queue, waiting for a place in it. */
static int deliver(struct task *t, struct unix_sock *u, struct unix_sock *to, struct unix_msg *msg,
                   int flags, nsec_t deadline)
{
    int r = 0;

    mutex_lock(&to->lock);
    while (!r) {
        if (to->dead)
            r = unix_is_datagram(u) ? -ECONNREFUSED : -EPIPE;
        else if (to->recv_shut)
            r = -EPIPE;
        else if (unix_is_datagram(u) && to->peer && to->peer != u)
            r = -EPERM;
        else if (to->peer == u || to->n_queued <= UNIX_QUEUE_MAX)
            break;
        else if (flags & MSG_DONTWAIT)
            r = -EAGAIN;
        else
            r = socket_wait_error(wait_interruptible(&to->room, &to->lock, deadline),
                                  u->s.send_timeout);
    }
    if (!r)
        enqueue_locked(t, u, to, msg);
    mutex_unlock(&to->lock);
    if (!r)
        wake_reader(to);
    return r;
}

static int destination(struct task *t, struct unix_sock *u, struct sockmsg *m,
                       struct unix_sock **ret)
{
    int host = -1, r = 0;

    if (unix_is_datagram(u) && m->name.size) {
        r = unix_find(t, u->s.netns, &m->name, SOCK_DGRAM, ret, &host);
        if (host >= 0) { /* a host socket by name in each message: connect first */
            (void)close(host);
            r = -ECONNREFUSED;
        }
        return r;
    }
    *ret = connected_peer(u, &r);
    return r;
}

static ssize_t send_record(struct task *t, struct unix_sock *u, struct sockmsg *m,
                           struct ancillary *a, int flags)
{
    nsec_t deadline = socket_deadline(u->s.send_timeout);
    size_t size = m->uio->left;
    struct unix_sock *to = NULL;
    struct unix_msg *msg;
    int r;

    if (socket_bit(&u->s, SO_PASSCRED) && !u->addr && unix_is_datagram(u))
        (void)unix_autobind(u);
    r = destination(t, u, m, &to);
    if (r < 0)
        return r;
    r = size > (size_t)u->s.send_buf - 32 ? -EMSGSIZE : message_new(t, u, m, size, &msg);
    if (r < 0) {
        unix_put(to);
        return r;
    }
    r = message_attach(t, msg, a);
    if (!r)
        r = charge(u, msg, flags, deadline);
    if (!r)
        r = deliver(t, u, to, msg, flags, deadline);
    if (r < 0)
        unix_msg_free(msg);
    if (r == -ECONNREFUSED && !m->name.size) {
        mutex_lock(&u->iolock);
        unix_set_peer(u, NULL);
        mutex_unlock(&u->iolock);
    }
    unix_put(to);
    return r < 0 ? r : (ssize_t)size;
}

ssize_t unix_send(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    struct unix_sock *u = unix_of(s);
    struct ancillary a = {0};
    ssize_t r;

    if (s->host_fd >= 0)
        return host_send(s, m, flags);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    r = m->control_size ? parse_control(t, m, &a) : 0;
    if (!r)
        r = s->type == SOCK_STREAM ? send_stream(t, u, m, &a, flags)
                                   : send_record(t, u, m, &a, flags);
    ancillary_fini(&a);
    return r;
}
