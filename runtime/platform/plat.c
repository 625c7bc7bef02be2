/* A container's platform: its zygote, its pool of stubs. */
#include "common/cleanup.h"
#include "runtime/platform/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2 /* the kernel lets user space set its segment bases */
#endif

int plat_new(int zygote_sock, bool direct, struct plat **ret)
{
    struct plat *p;
    int r;

    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
        return -EOPNOTSUPP;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    turn_init();
    p->direct = direct;
    atomic_store(&p->refs, 1);
    p->epoll_fd = p->event_fd = p->zygote_sock = -1;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_mutex_init(&p->zygote_lock, NULL);
    r = watch_start(p);
    if (r < 0) {
        plat_destroy(p);
        return r;
    }
    p->zygote_sock = zygote_sock;
    /* The entrypoint's stub gets ready while the sentry does. */
    if (space_begin(p, &p->pool[0]) == 0)
        p->n_pool = 1;
    *ret = p;
    return 0;
}

void plat_destroy(struct plat *p)
{
    close_fd(&p->epoll_fd);
    close_fd(&p->event_fd);
    close_fd(&p->zygote_sock);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_mutex_destroy(&p->zygote_lock);
    free(p);
}

void plat_unref(struct plat *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    if (pthread_equal(pthread_self(), p->watcher)) {
        atomic_store(&p->stop, true);
        p->orphan = true;
        return;
    }
    watch_stop(p);
    plat_destroy(p);
}

/* Spaces that are still referenced end with the zygote; the last of them frees the rest. */
void plat_free(struct plat *p)
{
    struct plat_space *pool[POOL_MAX];
    unsigned n;

    if (!p)
        return;
    (void)shutdown(p->zygote_sock, SHUT_RDWR);
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    n = p->n_pool;
    for (unsigned i = 0; i < n; i++)
        pool[i] = p->pool[i];
    p->n_pool = 0;
    (void)pthread_mutex_unlock(&p->lock);
    while (n > 0)
        plat_space_put(pool[--n]);
    space_drop_spare(p);
    plat_unref(p);
}

static struct plat_space *take_pooled(struct plat *p)
{
    struct plat_space *s = NULL;

    (void)pthread_mutex_lock(&p->lock);
    if (p->n_pool)
        s = p->pool[--p->n_pool];
    /* The first exec is the entrypoint's; who execs again will do so often. */
    if (p->n_execs++ > 0)
        p->want_pool = POOL_MAX;
    (void)pthread_mutex_unlock(&p->lock);
    return s;
}

static int space_get(struct plat *p, struct plat_space **ret)
{
    struct plat_space *s = take_pooled(p);
    int r = -EAGAIN;

    if (s)
        r = space_finish(s);
    if (r < 0) {
        if (s) /* it died in the pool */
            plat_space_put(s);
        r = space_begin(p, &s);
        if (r < 0)
            return r;
        r = space_finish(s);
    }
    if (r < 0)
        plat_space_put(s);
    else
        *ret = s;
    return r;
}

int plat_space_new(struct plat *p, struct plat_thread **ret_thread)
{
    struct plat_space *s = NULL;
    int r = space_get(p, &s);

    if (r < 0)
        return r;
    r = thread_alloc(s, 0, ret_thread);
    if (r < 0)
        plat_space_kill(s);
    plat_space_put(s);
    if (p->want_pool)
        watch_kick(p);
    return r;
}
