/*
 * What all sockets share: the family table, the file behind a socket, read and write as recv and
 * send, SIGPIPE. Families that are not in the table are -EAFNOSUPPORT.
 */
#include "runtime/sentry/net/socket.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/async.h"

#include <string.h>
#include <sys/ioctl.h>

enum { TYPE_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC, FAMILY_LIMIT = 46, TYPE_LIMIT = 11 };

static unsigned g_sockets; /* atomic: how many there are */

static const struct family {
    int family;
    int (*create)(struct task *t, int family, int type, int protocol, struct socket **ret);
} families[] = {
    {AF_UNIX, unix_socket_new},       {AF_INET, inet_socket_new},     {AF_INET6, inet_socket_new},
    {AF_NETLINK, netlink_socket_new}, {AF_PACKET, packet_socket_new},
};

int socket_init(struct socket *s, const struct socket_ops *ops, struct netns *ns, int family,
                int type, int protocol)
{
    if (__atomic_add_fetch(&g_sockets, 1, __ATOMIC_RELAXED) > SOCKETS_MAX) {
        (void)__atomic_sub_fetch(&g_sockets, 1, __ATOMIC_RELAXED);
        return -ENFILE;
    }
    s->ops = ops;
    s->host_fd = -1;
    s->family = family;
    s->type = type;
    s->protocol = protocol;
    s->netns = netns_get(ns);
    s->recv_timeout = s->send_timeout = DEADLINE_NONE;
    s->send_buf = s->recv_buf = SOCKET_BUF_DEFAULT;
    s->recv_low = 1;
    mutex_lock(&ns->lock);
    list_append(&ns->sockets, &s->link);
    ns->n_sockets++;
    mutex_unlock(&ns->lock);
    return 0;
}

void socket_fini(struct socket *s)
{
    mutex_lock(&s->netns->lock);
    list_remove(&s->link);
    s->netns->n_sockets--;
    mutex_unlock(&s->netns->lock);
    netns_put(s->netns);
    (void)__atomic_sub_fetch(&g_sockets, 1, __ATOMIC_RELAXED);
}

int socket_new(struct task *t, int family, int type, int protocol, struct socket **ret)
{
    if (family < 0 || family >= FAMILY_LIMIT)
        return -EAFNOSUPPORT;
    if (type < 0 || type >= TYPE_LIMIT)
        return -EINVAL;
    if (family == AF_INET && type == SOCK_PACKET) /* the obsolete spelling */
        family = AF_PACKET;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        if (families[i].family == family)
            return families[i].create(t, family, type, protocol, ret);
    return -EAFNOSUPPORT;
}

ssize_t socket_send(struct task *t, struct file *f, struct sockmsg *m, int flags)
{
    struct socket *s = f->private;
    ssize_t r;

    if (file_nonblock(f))
        flags |= MSG_DONTWAIT;
    r = s->ops->send ? s->ops->send(t, s, m, flags) : -EOPNOTSUPP;
    if (f->async && (r == -EAGAIN || (r > 0 && m->uio->left)))
        async_full(f);
    /* Only connection-oriented streams raise the signal (send(2)). */
    if (r == -EPIPE && !(flags & MSG_NOSIGNAL) && s->type == SOCK_STREAM) {
        struct l_siginfo info;

        siginfo_user(&info, SIGPIPE, t);
        (void)signal_send_task(t, SIGPIPE, &info);
    }
    return r;
}

ssize_t socket_recv(struct task *t, struct file *f, struct sockmsg *m, int flags)
{
    struct socket *s = f->private;

    if (file_nonblock(f))
        flags |= MSG_DONTWAIT;
    return s->ops->recv ? s->ops->recv(t, s, m, flags) : -EOPNOTSUPP;
}

/* ---- struct file ------------------------------------------------------------------------------
 */
static ssize_t socket_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct sockmsg m = {.uio = u};

    (void)pos;
    return u->left ? socket_recv(t, f, &m, 0) : 0;
}

static ssize_t socket_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct sockmsg m = {.uio = u};

    (void)pos;
    return socket_send(t, f, &m, 0);
}

static uint32_t socket_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct socket *s = f->private;

    (void)t;
    return s->ops->poll(s, pt);
}

static long socket_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    struct socket *s = f->private;
    int id;
    long r;

    switch (cmd) {
    case FIOSETOWN:
    case SIOCSPGRP:
        return copy_in(t, &id, arg, sizeof(id)) < 0 ? -EFAULT : async_set_owner_id(t, f, id);
    case FIOGETOWN:
    case SIOCGPGRP:
        id = async_owner_id(t, f);
        return copy_out(t, arg, &id, sizeof(id));
    }
    r = s->ops->ioctl ? s->ops->ioctl(t, s, cmd, arg) : -ENOTTY;
    return r == -ENOTTY ? socket_interface_ioctl(t, s, cmd, arg) : r;
}

static int socket_mmap(struct task *t, struct file *f, int prot, int flags, uint64_t offset,
                       uint64_t size, struct mmap_backing *ret)
{
    struct socket *s = f->private;

    (void)t, (void)prot;
    return s->ops->mmap ? s->ops->mmap(s, flags, offset, size, ret) : -ENODEV;
}

static void socket_release(struct file *f)
{
    struct socket *s = f->private;

    s->ops->release(s);
}

static const struct file_ops socket_file_ops = {
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .mmap = socket_mmap,
    .release = socket_release,
    .async = POLLIN | POLLOUT | POLLPRI | POLLERR | POLLHUP,
    .name = "socket:[%lu]",
};

struct socket *socket_of(const struct file *f)
{
    return f->ops == &socket_file_ops ? f->private : NULL;
}

int socket_stream_fd(const struct file *f)
{
    const struct socket *s = f->ops == &socket_file_ops ? f->private : NULL;

    if (!s || !g_sentry.boot->data_plane_direct || s->type != SOCK_STREAM ||
        (s->family != AF_INET && s->family != AF_INET6))
        return -1;
    return s->host_fd;
}

int socket_get(struct task *t, int fd, struct file **ret_file, struct socket **ret)
{
    struct file *f = fd_get(t, fd);

    if (!f)
        return -EBADF;
    if (!socket_of(f)) {
        file_put(f);
        return -ENOTSOCK;
    }
    *ret_file = f;
    *ret = f->private;
    return 0;
}

int socket_file(struct socket *s, int type_flags, struct file **ret)
{
    struct file *f;
    int r =
        file_new(&socket_file_ops, O_RDWR | (type_flags & SOCK_NONBLOCK ? O_NONBLOCK : 0), s, &f);

    if (r < 0) {
        s->ops->release(s);
        return r;
    }
    s->ino = f->ino;
    s->file = f;
    *ret = f;
    return 0;
}

int socket_install(struct task *t, struct socket *s, int type_flags)
{
    struct file *f;
    int r;

    s->uid = t->cred->fsuid;
    r = socket_file(s, type_flags, &f);
    if (r < 0)
        return r;
    r = fd_install(t, f, type_flags & SOCK_CLOEXEC, 0);
    if (r < 0)
        file_put(f);
    return r;
}
