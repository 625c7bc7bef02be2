/*
 * sendto, sendmsg, sendmmsg and their receiving kin. struct msghdr is read once; what it points at
 * (name, control) is read once into sentry memory, data by struct uio. Control data is bounded by
 * SOCKET_CONTROL_MAX, segments by UIO_MAX_SEGMENTS.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/sys_net.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"

#include <stddef.h>
#include <string.h>

/* struct msghdr of the x86-64 ABI. */
struct l_msghdr {
    uint64_t name;
    int32_t namelen, pad;
    uint64_t iov, iovlen, control, controllen;
    uint32_t flags, pad2;
};
struct l_mmsghdr {
    struct l_msghdr hdr;
    uint32_t len, pad;
};
_Static_assert(sizeof(struct l_msghdr) == 56 && sizeof(struct l_mmsghdr) == 64, "msghdr");

static int msghdr_copy_in(struct task *t, gaddr_t addr, struct l_msghdr *h, struct uio *u)
{
    int r = copy_in(t, h, addr, sizeof(*h));

    if (r < 0)
        return r;
    if (!h->name)
        h->namelen = 0;
    if (h->namelen < 0)
        return -EINVAL;
    h->namelen = MIN(h->namelen, (int)sizeof(struct sockaddr_storage));
    if (h->iovlen > UIO_MAX_SEGMENTS)
        return -EMSGSIZE;
    return uio_init_guest_iov(u, t, h->iov, h->iovlen);
}

/* ---- sending ----------------------------------------------------------------------------------
 */
static long send_one(struct task *t, struct file *f, gaddr_t addr, int flags)
{
    struct l_msghdr h;
    struct uio u;
    struct sockmsg m = {.uio = &u};
    CLEANUP(free_ptr) char *control = NULL;
    long r = msghdr_copy_in(t, addr, &h, &u);

    if (r < 0)
        return r;
    if (h.namelen)
        r = sockname_copy_in(t, &m.name, h.name, h.namelen);
    if (!r && h.controllen) {
        if (h.controllen > SOCKET_CONTROL_MAX)
            r = -ENOBUFS;
        else if (!(control = malloc(h.controllen)))
            r = -ENOBUFS;
        else
            r = copy_in(t, control, h.control, h.controllen);
        m.control = control;
        m.control_size = h.controllen;
    }
    if (!r)
        r = socket_send(t, f, &m, flags);
    uio_fini(&u);
    return r;
}

long sys_sendmsg(struct task *t, const struct sysargs *a)
{
    struct socket *s;
    struct file *f;
    long r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    r = send_one(t, f, a->v[1], (int)a->v[2]);
    file_put(f);
    return r;
}

long sys_sendmmsg(struct task *t, const struct sysargs *a)
{
    uint32_t n = MIN((uint32_t)a->v[2], (uint32_t)UIO_MAX_SEGMENTS), done = 0;
    struct socket *s;
    struct file *f;
    long r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    for (; done < n; done++) {
        gaddr_t at = a->v[1] + done * sizeof(struct l_mmsghdr);
        uint32_t sent;

        r = send_one(t, f, at, (int)a->v[3]);
        if (r < 0)
            break;
        sent = (uint32_t)r;
        r = copy_out(t, at + offsetof(struct l_mmsghdr, len), &sent, sizeof(sent));
        if (r < 0)
            break;
    }
    file_put(f);
    return done ? done : r;
}

long sys_sendto(struct task *t, const struct sysargs *a)
{
    struct uio u;
    struct sockmsg m = {.uio = &u};
    struct socket *s;
    struct file *f;
    long r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    uio_init_guest(&u, t, a->v[1], a->v[2]);
    if (a->v[4])
        r = sockname_copy_in(t, &m.name, a->v[4], (int)a->v[5]);
    if (!r)
        r = socket_send(t, f, &m, (int)a->v[3]);
    uio_fini(&u);
    file_put(f);
    return r;
}

/* ---- receiving --------------------------------------------------------------------------------
 */
/* Name, control data, flags back to the guest's header. */
static int msghdr_copy_out(struct task *t, gaddr_t addr, const struct l_msghdr *h,
                           const struct sockmsg *m, int flags)
{
    uint64_t controllen = m->control_size;
    uint32_t out = (uint32_t)(m->flags | (flags & MSG_CMSG_CLOEXEC));

    if (h->name &&
        sockname_copy_out(t, &m->name, h->name, addr + offsetof(struct l_msghdr, namelen)) < 0)
        return -EFAULT;
    if (m->control_size && copy_out(t, h->control, m->control, m->control_size) < 0)
        return -EFAULT;
    if (copy_out(t, addr + offsetof(struct l_msghdr, flags), &out, sizeof(out)) < 0)
        return -EFAULT;
    return copy_out(t, addr + offsetof(struct l_msghdr, controllen), &controllen,
                    sizeof(controllen));
}

static long recv_one(struct task *t, struct file *f, gaddr_t addr, int flags)
{
    struct l_msghdr h;
    struct uio u;
    struct sockmsg m = {.uio = &u, .cloexec = flags & MSG_CMSG_CLOEXEC};
    CLEANUP(free_ptr) char *control = NULL;
    long r = msghdr_copy_in(t, addr, &h, &u);
    int copied;

    if (r < 0)
        return r;
    m.control_max = h.control ? MIN(h.controllen, (uint64_t)SOCKET_CONTROL_MAX) : 0;
    if (m.control_max && !(m.control = control = malloc(m.control_max))) {
        uio_fini(&u);
        return -ENOBUFS;
    }
    r = socket_recv(t, f, &m, flags);
    if (r > 0 && h.name && copy_out_settle(t) < 0)
        r = -EFAULT;
    if (r >= 0) {
        copied = msghdr_copy_out(t, addr, &h, &m, flags);
        if (copied < 0)
            r = copied;
    }
    uio_fini(&u);
    return r;
}

long sys_recvmsg(struct task *t, const struct sysargs *a)
{
    struct socket *s;
    struct file *f;
    long r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    r = recv_one(t, f, a->v[1], (int)a->v[2]);
    file_put(f);
    return r;
}

static long recv_many(struct task *t, struct file *f, gaddr_t vec, uint32_t n, int flags,
                      nsec_t deadline)
{
    int each = flags & ~MSG_WAITFORONE;
    uint32_t done = 0;
    long r = 0;

    while (done < n) {
        gaddr_t at = vec + done * sizeof(struct l_mmsghdr);
        uint32_t got;

        r = recv_one(t, f, at, each);
        if (r < 0)
            break;
        got = (uint32_t)r;
        r = copy_out(t, at + offsetof(struct l_mmsghdr, len), &got, sizeof(got));
        if (r < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            each |= MSG_DONTWAIT;
        /* recvmmsg(2), BUGS: the time is only looked at between messages. */
        if (deadline != DEADLINE_NONE && time_monotonic() >= deadline)
            break;
    }
    return done ? done : r;
}

long sys_recvmmsg(struct task *t, const struct sysargs *a)
{
    nsec_t deadline = DEADLINE_NONE, left;
    struct timespec ts;
    struct socket *s;
    struct file *f;
    long r;

    if (a->v[4]) {
        if (copy_in(t, &ts, a->v[4], sizeof(ts)) < 0)
            return -EFAULT;
        if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC)
            return -EINVAL;
        deadline = deadline_after(timespec_to_ns(&ts));
    }
    r = socket_get(t, (int)a->v[0], &f, &s);
    if (r < 0)
        return r;
    r = recv_many(t, f, a->v[1], MIN((uint32_t)a->v[2], (uint32_t)UIO_MAX_SEGMENTS), (int)a->v[3],
                  deadline);
    file_put(f);
    if (r > 0 && a->v[4]) {
        left = deadline - time_monotonic();
        ts = ns_to_timespec(MAX(left, 0));
        if (copy_out(t, a->v[4], &ts, sizeof(ts)) < 0)
            return -EFAULT;
    }
    return r;
}

long sys_recvfrom(struct task *t, const struct sysargs *a)
{
    struct uio u;
    struct sockmsg m = {.uio = &u};
    struct socket *s;
    struct file *f;
    int named;
    long r = socket_get(t, (int)a->v[0], &f, &s);

    if (r < 0)
        return r;
    uio_init_guest(&u, t, a->v[1], a->v[2]);
    r = socket_recv(t, f, &m, (int)a->v[3]);
    if (r > 0)
        fd_was_used(t, (int)a->v[0], f, false);
    if (r > 0 && a->v[4] && copy_out_settle(t) < 0)
        r = -EFAULT;
    if (r >= 0 && a->v[4]) {
        named = sockname_copy_out(t, &m.name, a->v[4], a->v[5]);
        if (named < 0)
            r = named;
    }
    uio_fini(&u);
    file_put(f);
    return r;
}
