/*
 * Receiving on unix sockets. The first message of the queue is read in place under iolock (lock is
 * not held while guest memory is written); only its holder takes messages out. Streams run messages
 * together but for a change of sender (SO_PASSCRED) and behind descriptors.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/unix.h"
#include "runtime/sentry/task/task.h"

#include <string.h>
#include <sys/time.h>

/* Takes the first message out. u->lock held; the caller wakes after_take() once unlocked. */
static void take_locked(struct unix_sock *u, struct unix_msg *msg)
{
    struct unix_sock *x;

    mutex_assert_held(&u->lock);
    list_remove(&msg->link);
    u->n_queued--;
    if (u->n_queued == UNIX_QUEUE_MAX) /* was full: those who poll for it hang on their own queue */
        list_for_each_entry (x, &u->peers, peer_link)
            waitq_wake(&x->wait, POLLOUT | POLLWRNORM);
}

static void after_take(struct unix_sock *u)
{
    if (waitq_has_waiters(&u->room))
        waitq_wake(&u->room, POLLOUT);
}

/* What the queue's emptiness means: 0 end of file, -errno, or 1: wait. u->lock held. */
static int empty_means_locked(struct unix_sock *u, int flags)
{
    int error = __atomic_exchange_n(&u->s.error, 0, __ATOMIC_RELAXED);

    if (error)
        return -error;
    if (!unix_is_datagram(u) && u->state != UNIX_CONNECTED)
        return u->s.type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
    if (u->recv_shut && !(unix_is_datagram(u) && (flags & MSG_DONTWAIT)))
        return 0;
    return flags & MSG_DONTWAIT ? -EAGAIN : 1;
}

/*
 * The first message, waiting for one. Called and returns with iolock and lock held; both are
 * dropped while asleep. 1 with *ret, 0 at the end, -errno.
 */
static int first_message(struct unix_sock *u, int flags, nsec_t deadline, struct unix_msg **ret)
{
    int r;

    while (!(*ret = list_first(&u->queue, struct unix_msg, link))) {
        r = empty_means_locked(u, flags);
        if (r <= 0)
            return r;
        mutex_unlock(&u->iolock);
        r = wait_interruptible(&u->wait, &u->lock, deadline);
        mutex_unlock(&u->lock);
        mutex_lock(&u->iolock);
        mutex_lock(&u->lock);
        if (r < 0 && list_empty(&u->queue))
            return socket_wait_error(r, u->s.recv_timeout);
    }
    return 1;
}

static void report_owner(struct task *t, struct unix_sock *u, const struct unix_msg *msg,
                         struct sockmsg *m)
{
    struct ucred uc = {0, 65534, 65534};

    if (msg->stamp && socket_bit(&u->s, SO_TIMESTAMP)) {
        struct timeval tv = {msg->stamp / NSEC_PER_SEC, msg->stamp % NSEC_PER_SEC / 1000};

        control_put(m, SOL_SOCKET, SO_TIMESTAMP, &tv, sizeof(tv));
    }
    if (!socket_bit(&u->s, SO_PASSCRED))
        return;
    if (msg->has_owner)
        uc = unix_owner_ucred(&msg->owner, t);
    control_put(m, SOL_SOCKET, SCM_CREDENTIALS, &uc, sizeof(uc));
}

/* Another reference to each file, for MSG_PEEK. NULL: out of memory, or nothing to copy. */
static struct unix_rights *rights_copy(const struct unix_rights *r)
{
    struct unix_rights *c = r ? malloc(sizeof(*c) + r->n * sizeof(c->files[0])) : NULL;

    if (!c)
        return NULL;
    list_init(&c->dead);
    c->n = r->n;
    for (unsigned i = 0; i < r->n; i++)
        c->files[i] = file_get(r->files[i]);
    return c;
}

/* ---- datagrams and records --------------------------------------------------------------------
 */
static ssize_t recv_record(struct task *t, struct unix_sock *u, struct sockmsg *m, int flags)
{
    nsec_t deadline = socket_deadline(u->s.recv_timeout);
    bool peek = flags & MSG_PEEK;
    struct unix_rights *rights = NULL;
    struct unix_msg *msg;
    size_t n;
    ssize_t r;

    mutex_lock(&u->iolock);
    mutex_lock(&u->lock);
    r = first_message(u, flags, deadline, &msg);
    if (r == 1 && !peek) {
        take_locked(u, msg);
        u->queued -= msg->size;
    }
    mutex_unlock(&u->lock);
    if (r < 1) {
        mutex_unlock(&u->iolock);
        return r;
    }
    n = MIN(msg->size, m->uio->left);
    r = n ? uio_copy_to(m->uio, msg->data, n) : 0;
    r = r < (ssize_t)n ? -EFAULT : (ssize_t)(flags & MSG_TRUNC ? msg->size : n);
    if (n < msg->size)
        m->flags |= MSG_TRUNC;
    if (msg->from)
        m->name = msg->from->name;
    report_owner(t, u, msg, m);
    if (peek)
        rights = rights_copy(msg->rights);
    else if (msg->rights) {
        rights = TAKE_PTR(msg->rights);
        unix_rights_detach(rights);
    }
    mutex_unlock(&u->iolock);
    if (!peek) {
        after_take(u);
        unix_msg_free(msg);
    }
    if (rights)
        unix_rights_install(t, rights, m);
    return r;
}

/* ---- streams ----------------------------------------------------------------------------------
 */
struct stream_read {
    struct task *t;
    struct unix_sock *u;
    struct sockmsg *m;
    int flags;
    ssize_t total;
    const struct unix_msg *last; /* MSG_PEEK: how far we looked */
    bool reported, has_owner;
    struct unix_owner owner; /* of what was read first; not a reference: compared only */
    struct unix_rights *rights;
};

/* May msg's bytes follow those already read? */
static bool same_source(struct stream_read *rd, const struct unix_msg *msg)
{
    if (!rd->reported || !socket_bit(&rd->u->s, SO_PASSCRED))
        return true;
    return msg->has_owner == rd->has_owner && msg->owner.pid == rd->owner.pid &&
           msg->owner.uid == rd->owner.uid && msg->owner.gid == rd->owner.gid;
}

static void report_first(struct stream_read *rd, const struct unix_msg *msg)
{
    if (rd->reported)
        return;
    rd->reported = true;
    rd->has_owner = msg->has_owner;
    rd->owner = msg->owner;
    if (msg->from)
        rd->m->name = msg->from->name;
    report_owner(rd->t, rd->u, msg, rd->m);
}

/* Reads from one message; iolock held. 1: go on, 0: enough, -errno. */
static int read_message(struct stream_read *rd, struct unix_msg *msg)
{
    struct uio *uio = rd->m->uio;
    size_t left = msg->size - msg->at, n = MIN(left, uio->left);
    bool peek = rd->flags & MSG_PEEK, rights = msg->rights;
    ssize_t r;

    if (!same_source(rd, msg))
        return 0;
    report_first(rd, msg);
    if (rd->flags & MSG_TRUNC) {
        uio_skip(uio, n);
        r = (ssize_t)n;
    } else {
        r = n ? uio_copy_to(uio, msg->data + msg->at, n) : 0;
    }
    if (r < 0)
        return (int)r;
    rd->total += r;
    if (rights && !rd->rights) {
        if (peek) {
            rd->rights = rights_copy(msg->rights);
        } else {
            rd->rights = TAKE_PTR(msg->rights);
            unix_rights_detach(rd->rights);
        }
    }
    if (peek) {
        rd->last = msg;
    } else {
        mutex_lock(&rd->u->lock);
        msg->at += (size_t)r;
        rd->u->queued -= (size_t)r;
        if (msg->at == msg->size)
            take_locked(rd->u, msg);
        mutex_unlock(&rd->u->lock);
        if (msg->at == msg->size)
            unix_msg_free(msg);
    }
    if (r < (ssize_t)n)
        return -EFAULT;
    return !rights && uio->left;
}

/* The message to be read next; u->lock held. NULL: none is there. */
static struct unix_msg *next_locked(struct stream_read *rd)
{
    if (!(rd->flags & MSG_PEEK) || !rd->last)
        return list_first(&rd->u->queue, struct unix_msg, link);
    if (rd->last->link.next == &rd->u->queue)
        return NULL;
    return list_entry(rd->last->link.next, struct unix_msg, link);
}

static int read_stream(struct stream_read *rd, nsec_t deadline)
{
    struct unix_sock *u = rd->u;
    ssize_t target = rd->flags & MSG_WAITALL ? (ssize_t)rd->m->uio->left
                                             : MIN((ssize_t)rd->m->uio->left, u->s.recv_low);
    struct unix_msg *msg;
    int r;

    do {
        mutex_lock(&u->lock);
        msg = next_locked(rd);
        r = 1;
        if (!msg) {
            /* What is there is enough, or can't be waited for in a peek. */
            if (rd->total && (rd->total >= target || (rd->flags & MSG_PEEK)))
                r = 0;
            else
                r = first_message(u, rd->flags, deadline, &msg);
        }
        mutex_unlock(&u->lock);
        if (r == 1)
            r = read_message(rd, msg);
    } while (r == 1);
    return r;
}

static ssize_t recv_stream(struct task *t, struct unix_sock *u, struct sockmsg *m, int flags)
{
    struct stream_read rd = {.t = t, .u = u, .m = m, .flags = flags};
    int r;

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    mutex_lock(&u->iolock);
    r = read_stream(&rd, socket_deadline(u->s.recv_timeout));
    mutex_unlock(&u->iolock);
    if (rd.rights)
        unix_rights_install(t, rd.rights, m);
    return rd.total ? rd.total : r;
}

ssize_t unix_recv(struct task *t, struct socket *s, struct sockmsg *m, int flags)
{
    if (s->host_fd >= 0)
        return host_recv(s, m, flags);
    return s->type == SOCK_STREAM ? recv_stream(t, unix_of(s), m, flags)
                                  : recv_record(t, unix_of(s), m, flags);
}
