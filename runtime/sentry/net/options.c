/*
 * SOL_SOCKET options that the sentry keeps itself: timeouts and credentials for all families (host
 * descriptors never block, and host credentials mean nothing to a guest), the rest for families
 * that have no host socket. Rows of one table; unknown names are -ENOPROTOOPT.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/task/task.h"

#include <asm-generic/socket.h>
#include <netinet/in.h>
#include <string.h>

struct option {
    int name;
    bool always; /* also of families with own_options */
    int (*set)(struct task *t, struct socket *s, int name, const void *value, unsigned size);
    int (*get)(struct socket *s, int name, void *value, unsigned *size);
};

static int get_int(int v, void *value, unsigned *size)
{
    *size = MIN(*size, (unsigned)sizeof(v));
    memcpy(value, &v, *size);
    return 0;
}

static int value_int(const void *value, unsigned size, int *ret)
{
    if (size < sizeof(*ret))
        return -EINVAL;
    memcpy(ret, value, sizeof(*ret));
    return 0;
}

/* ---- timeouts ---------------------------------------------------------------------------------
 */
static nsec_t *timeout_field(struct socket *s, int name)
{
    return name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW ? &s->recv_timeout : &s->send_timeout;
}

static int set_timeout(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    struct timeval tv;
    nsec_t ns;

    (void)t;
    if (size < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    if (tv.tv_sec < 0)
        ns = 0; /* as Linux: do not wait at all */
    else if ((!tv.tv_sec && !tv.tv_usec) || tv.tv_sec >= INT64_MAX / NSEC_PER_SEC - 1)
        ns = DEADLINE_NONE;
    else
        ns = tv.tv_sec * NSEC_PER_SEC + tv.tv_usec * 1000;
    __atomic_store_n(timeout_field(s, name), ns, __ATOMIC_RELAXED);
    return 0;
}

static int get_timeout(struct socket *s, int name, void *value, unsigned *size)
{
    nsec_t ns = __atomic_load_n(timeout_field(s, name), __ATOMIC_RELAXED);
    struct timeval tv = {0};

    if (ns != DEADLINE_NONE)
        tv = (struct timeval){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000};
    *size = MIN(*size, (unsigned)sizeof(tv));
    memcpy(value, &tv, *size);
    return 0;
}

/* ---- switches and numbers ---------------------------------------------------------------------
 */
static int set_bit(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    int v, r = value_int(value, size, &v);

    (void)t;
    if (r < 0)
        return r;
    if (v)
        (void)__atomic_fetch_or(&s->bits, 1u << name, __ATOMIC_RELAXED);
    else
        (void)__atomic_fetch_and(&s->bits, ~(1u << name), __ATOMIC_RELAXED);
    return 0;
}

static int get_bit(struct socket *s, int name, void *value, unsigned *size)
{
    return get_int(socket_bit(s, name), value, size);
}

/* Linux doubles what is asked for, to account for its own overhead, and reports the double. */
static int set_buffer(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    int v, r = value_int(value, size, &v);

    (void)t;
    if (r < 0)
        return r;
    v = MAX(MIN((unsigned)v, (unsigned)SOCKET_BUF_DEFAULT) * 2, (unsigned)SOCKET_BUF_MIN);
    if (name == SO_RCVBUF)
        __atomic_store_n(&s->recv_buf, MAX(v, 2304), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&s->send_buf, v, __ATOMIC_RELAXED);
    return 0;
}

static int get_buffer(struct socket *s, int name, void *value, unsigned *size)
{
    return get_int(name == SO_RCVBUF ? s->recv_buf : s->send_buf, value, size);
}

static int set_low(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    int v, r = value_int(value, size, &v);

    (void)t, (void)name;
    if (r < 0)
        return r;
    __atomic_store_n(&s->recv_low, v < 0 ? INT32_MAX : MAX(v, 1), __ATOMIC_RELAXED);
    return 0;
}

static int get_low(struct socket *s, int name, void *value, unsigned *size)
{
    return get_int(name == SO_RCVLOWAT ? s->recv_low : 1, value, size);
}

static int set_linger(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    struct linger l;

    (void)t, (void)name;
    if (size < sizeof(l))
        return -EINVAL;
    memcpy(&l, value, sizeof(l));
    s->linger = l.l_onoff ? (uint32_t)l.l_linger : 0;
    return set_bit(t, s, SO_LINGER, &l.l_onoff, sizeof(l.l_onoff));
}

static int get_linger(struct socket *s, int name, void *value, unsigned *size)
{
    struct linger l = {socket_bit(s, name), (int)s->linger};

    *size = MIN(*size, (unsigned)sizeof(l));
    memcpy(value, &l, *size);
    return 0;
}

static int get_constant(struct socket *s, int name, void *value, unsigned *size)
{
    switch (name) {
    case SO_TYPE:
        return get_int(s->type, value, size);
    case SO_DOMAIN:
        return get_int(s->family, value, size);
    case SO_PROTOCOL:
        return get_int(s->protocol, value, size);
    case SO_ERROR:
        return get_int(__atomic_exchange_n(&s->error, 0, __ATOMIC_RELAXED), value, size);
    default: /* SO_MARK, SO_PRIORITY...: never anything but their default */
        return get_int(0, value, size);
    }
}

static int get_cookie(struct socket *s, int name, void *value, unsigned *size)
{
    (void)name;
    if (*size < sizeof(s->ino))
        return -EINVAL;
    *size = sizeof(s->ino);
    memcpy(value, &s->ino, sizeof(s->ino));
    return 0;
}

static int set_refused(struct task *t, struct socket *s, int name, const void *value, unsigned size)
{
    (void)t, (void)s, (void)name, (void)value, (void)size;
    return -EPERM;
}

static const struct option options[] = {
    {SO_RCVTIMEO_OLD, true, set_timeout, get_timeout},
    {SO_SNDTIMEO_OLD, true, set_timeout, get_timeout},
    {SO_RCVTIMEO_NEW, true, set_timeout, get_timeout},
    {SO_SNDTIMEO_NEW, true, set_timeout, get_timeout},
    {SO_PASSCRED, true, set_bit, get_bit},
    {SO_MARK, true, set_refused, get_constant},
    {SO_SNDBUFFORCE, true, set_refused, NULL},
    {SO_RCVBUFFORCE, true, set_refused, NULL},
    {SO_TYPE, true, NULL, get_constant},
    {SO_DOMAIN, true, NULL, get_constant},
    {SO_PROTOCOL, true, NULL, get_constant},
    {SO_ERROR, false, NULL, get_constant},
    {SO_SNDBUF, false, set_buffer, get_buffer},
    {SO_RCVBUF, false, set_buffer, get_buffer},
    {SO_RCVLOWAT, false, set_low, get_low},
    {SO_SNDLOWAT, false, NULL, get_low},
    {SO_LINGER, false, set_linger, get_linger},
    {SO_REUSEADDR, false, set_bit, get_bit},
    {SO_REUSEPORT, false, set_bit, get_bit},
    {SO_KEEPALIVE, false, set_bit, get_bit},
    {SO_BROADCAST, false, set_bit, get_bit},
    {SO_DONTROUTE, false, set_bit, get_bit},
    {SO_OOBINLINE, false, set_bit, get_bit},
    {SO_TIMESTAMP_OLD, false, set_bit, get_bit},
    {SO_PRIORITY, false, set_refused, get_constant},
    {SO_COOKIE, false, NULL, get_cookie},
};
_Static_assert(SO_TIMESTAMP_OLD < 32 && SO_PASSCRED < 32 && SO_REUSEPORT < 32, "bits");

static const struct option *option_find(const struct socket *s, int level, int name)
{
    if (level != SOL_SOCKET)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (options[i].name == name && (options[i].always || !s->ops->own_options))
            return &options[i];
    return NULL;
}

int socket_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                      unsigned size)
{
    const struct option *o = option_find(s, level, name);

    if (o)
        return o->set ? o->set(t, s, name, value, size) : -ENOPROTOOPT;
    return s->ops->set_option ? s->ops->set_option(t, s, level, name, value, size) : -ENOPROTOOPT;
}

/* Others are told apart from unknown options, when reading. */
static bool is_inet_level(const struct socket *s, int level)
{
    int own = s->protocol ? s->protocol : s->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

    return level == SOL_SOCKET || level == SOL_IP || level == SOL_IPV6 || level == SOL_RAW ||
           level == SOL_ICMPV6 || level == own;
}

int socket_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                      unsigned *size)
{
    const struct option *o = option_find(s, level, name);

    if (o)
        return o->get ? o->get(s, name, value, size) : -ENOPROTOOPT;
    if ((s->family == AF_INET || s->family == AF_INET6) && !is_inet_level(s, level))
        return -EOPNOTSUPP;
    return s->ops->get_option ? s->ops->get_option(t, s, level, name, value, size) : -ENOPROTOOPT;
}
