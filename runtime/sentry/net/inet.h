#pragma once
/* Internal to net/: internet sockets, each of which is a host socket in the pod's namespace. */
#include "runtime/sentry/net/socket.h"

struct inet_sock {
    struct socket s;
    bool listening; /* isolated namespaces only: atomic */
};

static inline struct inet_sock *inet_of(struct socket *s)
{
    return container_of(s, struct inet_sock, s);
}

int inet_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                    unsigned size);
int inet_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                    unsigned *size);
