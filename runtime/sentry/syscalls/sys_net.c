/*
 * Socket system calls but for messages: decode, copy in once, call the socket, copy out.
 * Lengths are the guest's; they are checked before anything is copied.
 */
#include "runtime/sentry/syscalls/sys_net.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/async.h"

#include <string.h>

enum { TYPE_MASK = 0xf, TYPE_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC };

int sockname_copy_in(struct task *t, struct sockname *name, gaddr_t addr, int size)
{
    if (size < 0 || size > (int)sizeof(name->storage))
        return -EINVAL;
    name->size = (socklen_t)size;
    return size ? copy_in(t, name->bytes, addr, (size_t)size) : 0;
}

int sockname_copy_out(struct task *t, const struct sockname *name, gaddr_t addr, gaddr_t size_addr)
{
    int room, r = copy_in(t, &room, size_addr, sizeof(room));

    if (r < 0)
        return r;
    if (room < 0)
        return -EINVAL;
    room = MIN(room, (int)name->size);
    if (room && copy_out(t, addr, name->bytes, (size_t)room) < 0)
        return -EFAULT;
    return copy_out(t, size_addr, &name->size, sizeof(name->size));
}

long sys_socket(struct task *t, const struct sysargs *a)
{
    int type = (int)a->v[1], flags = type & ~TYPE_MASK;
    struct socket *s;
    int r;

    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    r = socket_new(t, (int)a->v[0], type & TYPE_MASK, (int)a->v[2], &s);
    return r < 0 ? r : socket_install(t, s, flags);
}

/* Both descriptors or none. */
static int pair_install(struct task *t, struct socket *a, struct socket *b, int flags, int fds[2])
{
    fds[0] = socket_install(t, a, flags);
    if (fds[0] < 0) {
        b->ops->release(b);
        return fds[0];
    }
    fds[1] = socket_install(t, b, flags);
    if (fds[1] < 0) {
        (void)fd_close(t, fds[0]);
        return fds[1];
    }
    return 0;
}

long sys_socketpair(struct task *t, const struct sysargs *a)
{
    int family = (int)a->v[0], type = (int)a->v[1], flags = type & ~TYPE_MASK, fds[2], r;
    struct socket *first, *second;

    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    r = socket_new(t, family, type & TYPE_MASK, (int)a->v[2], &first);
    if (r < 0)
        return r;
    r = family == AF_UNIX ? socket_new(t, family, type & TYPE_MASK, (int)a->v[2], &second)
                          : -EOPNOTSUPP;
    if (r < 0) {
        first->ops->release(first);
        return r;
    }
    r = unix_socket_pair(t, first, second);
    if (r < 0) {
        first->ops->release(first);
        second->ops->release(second);
        return r;
    }
    r = pair_install(t, first, second, flags, fds);
    if (r < 0)
        return r;
    r = copy_out_now(t, a->v[3], fds, sizeof(fds));
    if (r < 0) {
        (void)fd_close(t, fds[0]);
        (void)fd_close(t, fds[1]);
    }
    return r;
}

long sys_bind(struct task *t, const struct sysargs *a)
{
    struct sockname name;
    struct socket *s;
    struct file *f;
    int r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    r = sockname_copy_in(t, &name, a->v[1], (int)a->v[2]);
    if (!r)
        r = s->ops->bind ? s->ops->bind(t, s, &name) : -EOPNOTSUPP;
    file_put(f);
    return r;
}

long sys_connect(struct task *t, const struct sysargs *a)
{
    struct sockname name;
    struct socket *s;
    struct file *f;
    int r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    r = sockname_copy_in(t, &name, a->v[1], (int)a->v[2]);
    if (!r)
        r = s->ops->connect ? s->ops->connect(t, s, &name, file_nonblock(f)) : -EOPNOTSUPP;
    if (r == -EINPROGRESS)
        async_full(f);
    file_put(f);
    return r;
}

long sys_listen(struct task *t, const struct sysargs *a)
{
    struct socket *s;
    struct file *f;
    int r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    /* net.core.somaxconn; negative numbers count as the largest, as on Linux */
    r = s->ops->listen ? s->ops->listen(t, s, (int)MIN((unsigned)a->v[1], 4096u)) : -EOPNOTSUPP;
    file_put(f);
    return r;
}

static long accept_common(struct task *t, int fd, gaddr_t addr, gaddr_t size_addr, int flags)
{
    struct sockname name = {0};
    struct socket *s, *fresh;
    struct file *f;
    int r;

    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    r = socket_get(t, fd, &f, &s);
    if (r < 0)
        return r;
    r = s->ops->accept ? s->ops->accept(t, s, file_nonblock(f), addr ? &name : NULL, &fresh)
                       : -EOPNOTSUPP;
    file_put(f);
    if (r < 0)
        return r;
    if (addr) {
        /* As on Linux a bad address loses the connection. */
        r = sockname_copy_out(t, &name, addr, size_addr);
        if (r < 0) {
            fresh->ops->release(fresh);
            return r;
        }
    }
    return socket_install(t, fresh, flags);
}

long sys_accept(struct task *t, const struct sysargs *a)
{
    return accept_common(t, (int)a->v[0], a->v[1], a->v[2], 0);
}

long sys_accept4(struct task *t, const struct sysargs *a)
{
    return accept_common(t, (int)a->v[0], a->v[1], a->v[2], (int)a->v[3]);
}

static long getname_common(struct task *t, const struct sysargs *a, bool peer)
{
    struct sockname name = {0};
    struct socket *s;
    struct file *f;
    int r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    r = s->ops->getname ? s->ops->getname(t, s, peer, &name) : -EOPNOTSUPP;
    file_put(f);
    return r < 0 ? r : sockname_copy_out(t, &name, a->v[1], a->v[2]);
}

long sys_getsockname(struct task *t, const struct sysargs *a)
{
    return getname_common(t, a, false);
}

long sys_getpeername(struct task *t, const struct sysargs *a)
{
    return getname_common(t, a, true);
}

long sys_shutdown(struct task *t, const struct sysargs *a)
{
    int how = (int)a->v[1], r;
    struct socket *s;
    struct file *f;

    r = socket_get(t, (int)a->v[0], &f, &s);
    if (r < 0)
        return r;
    if (how < SHUT_RD || how > SHUT_RDWR)
        r = -EINVAL;
    else
        r = s->ops->shutdown ? s->ops->shutdown(t, s, how) : -EOPNOTSUPP;
    file_put(f);
    return r;
}

long sys_setsockopt(struct task *t, const struct sysargs *a)
{
    char value[SOCKET_OPTION_MAX];
    int size = (int)a->v[4], r;
    unsigned used;
    struct socket *s;
    struct file *f;

    if (size < 0)
        return -EINVAL;
    r = socket_get(t, (int)a->v[0], &f, &s);
    if (r < 0)
        return r;
    used = MIN((unsigned)size, (unsigned)sizeof(value));
    r = used ? copy_in(t, value, a->v[3], used) : 0;
    if (!r)
        r = socket_set_option(t, s, (int)a->v[1], (int)a->v[2], value, used);
    file_put(f);
    return r;
}

long sys_getsockopt(struct task *t, const struct sysargs *a)
{
    char value[SOCKET_OPTION_MAX] = {0};
    unsigned used;
    struct socket *s;
    struct file *f;
    int r = socket_get(t, (int)a->v[0], &f, &s), size;

    if (r < 0)
        return r;
    r = copy_in(t, &size, a->v[4], sizeof(size));
    if (!r && size < 0)
        r = -EINVAL;
    if (!r) {
        used = MIN((unsigned)size, (unsigned)sizeof(value));
        r = socket_get_option(t, s, (int)a->v[1], (int)a->v[2], value, &used);
    }
    file_put(f);
    if (r < 0)
        return r;
    if (used && copy_out(t, a->v[3], value, used) < 0)
        return -EFAULT;
    return copy_out(t, a->v[4], &used, sizeof(used));
}
