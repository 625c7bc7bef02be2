/* The sentry's side of calls that the stub answers and tells of later (platform.h, slot.h). */
#include "runtime/platform/internal.h"

#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct stat) == sizeof(((struct known_stat *)NULL)->st), "struct stat");

static struct watches *watches_of(struct plat_space *s)
{
    return (struct watches *)(s->slots + LENT_OFF + WATCH_OFF);
}

static struct known_stat *last_of(struct plat_space *s)
{
    return (struct known_stat *)(s->slots + LENT_OFF + KNOWN_OFF);
}

void plat_watch_grant(struct plat_space *s, int epfd, int fd, bool watched)
{
    struct watches *w = watches_of(s);

    if (epfd < 0 || fd < 0 || fd >= PLAT_LENT_MAX || (w->epoll && w->epoll != (uint32_t)epfd + 1))
        return;
    w->fd[fd] = WATCH_GRANTED | (watched ? WATCH_PRESENT : 0);
    __atomic_store_n(&w->epoll, (uint32_t)epfd + 1, __ATOMIC_RELEASE);
}

void plat_watch_drop(struct plat_space *s, int fd)
{
    struct watches *w = watches_of(s);

    if (fd >= 0 && w->epoll == (uint32_t)fd + 1)
        plat_watch_drop_all(s);
    else if (fd >= 0 && fd < PLAT_LENT_MAX)
        __atomic_store_n(&w->fd[fd], 0, __ATOMIC_RELAXED);
}

void plat_watch_drop_all(struct plat_space *s)
{
    struct watches *w = watches_of(s);

    if (!w->epoll)
        return;
    __atomic_store_n(&w->epoll, 0, __ATOMIC_RELEASE);
    memset(w->fd, 0, sizeof(w->fd));
}

void plat_known(struct plat_space *s, int fd, unsigned what, const struct stat *st)
{
    struct known_stat *k = last_of(s);

    if (fd < 0 || fd >= PLAT_LENT_MAX)
        return;
    if (what & PLAT_KNOWN_STAT) {
        k->fd = (uint64_t)fd;
        k->size = (uint64_t)st->st_size;
        memcpy(k->st, st, sizeof(k->st));
    }
    __atomic_store_n(&lent_at(s, fd)->known, what, __ATOMIC_SEQ_CST);
}

void *plat_known_data(struct plat_space *s)
{
    struct known_stat *k = last_of(s);

    k->fd = UINT64_MAX; /* what another descriptor's data was is no longer there */
    return k->data;
}

unsigned plat_told(struct plat_thread *th, int *ret_epfd, struct plat_told ret[PLAT_TOLD_OPS])
{
    struct watches *w = watches_of(th->space);
    unsigned n = __atomic_load_n(&w->n, __ATOMIC_RELAXED);

    if (n == 0 || n > WATCH_OPS)
        return 0;
    *ret_epfd = (int)__atomic_load_n(&w->epoll, __ATOMIC_RELAXED) - 1;
    memcpy(ret, w->ops, n * sizeof(*ret));
    for (unsigned i = 0; i < n; i++)
        if (ret[i].fd >= 0 && ret[i].fd < PLAT_LENT_MAX)
            w->fd[ret[i].fd] &= WATCH_GRANTED | WATCH_PRESENT;
    __atomic_store_n(&w->n, 0, __ATOMIC_RELAXED);
    return n;
}
