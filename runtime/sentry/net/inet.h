#pragma once
/* Internal to net/: internet sockets, each of which is a host socket in the pod's namespace. */
#include "runtime/sentry/net/socket.h"

struct inet_sock {
    struct socket s;
    bool listening; /* isolated namespaces only: atomic */
    unsigned ring;  /* packet sockets: bytes of the ring; atomic */
};

static inline struct inet_sock *inet_of(struct socket *s)
{
    return container_of(s, struct inet_sock, s);
}

/* A socket around a host socket, which it takes over, also on failure. */
int inet_wrap(struct netns *ns, int fd, int family, int type, int protocol, struct socket **ret);

int inet_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                    unsigned size);
int inet_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                    unsigned *size);

/* ---- raw and packet sockets (net/raw.c) ------------------------------------------------------ */
/* A host socket by the broker: descriptor or -errno (-EPERM: not granted). */
int raw_open(struct task *t, int family, int type, int protocol);
/* Is s one that the broker opened? */
bool raw_is(const struct socket *s);
/* Options that only they have: 0, -errno, or 1: it is none of those. */
int raw_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                   unsigned size);
int raw_get_option(struct socket *s, int level, int name, void *value, unsigned *size);
/* The ring of a packet socket. */
int raw_mmap(struct socket *s, int flags, uint64_t offset, uint64_t size, struct mmap_backing *ret);
void raw_release(struct socket *s);
