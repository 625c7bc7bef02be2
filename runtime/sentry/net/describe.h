#pragma once
/* Internal to net/: internet sockets as tables show them. */
#include "runtime/sentry/net/socket.h"

#include <linux/tcp.h>

enum { DESCRIBE_CLOSED = 7, DESCRIBE_LISTENING = 10, DESCRIBE_MAX = 65536 };

struct inet_facts {
    struct sockname local, peer;
    int state; /* TCP_* */
    int unsent, queued;
    int backlog; /* of listeners */
    struct tcp_info info;
};

/* Does s belong to the table of that family, protocol and type? s->netns->lock is held. */
bool inet_described(const struct socket *s, int family, int protocol, int type);
/* False: a stream socket that is neither bound nor connected is in no table. s->netns->lock. */
bool inet_describe(const struct socket *s, struct inet_facts *ret);
bool inet_tcp_info(const struct socket *s, struct tcp_info *ret);
