#pragma once
/*
 * Internal to net/: unix sockets. All of it is sentry memory.
 *
 * Life: the file holds one reference, each connected peer, each message in flight (of its sender)
 * and each sleeping caller another. A closed socket stays, `dead`, until the last one is gone.
 *
 * Locks: iolock (readers) is above lock; of `lock` at most one is held at a time, so that no order
 * between two sockets is needed; g_rights_lock and netns->lock are taken under none of them.
 * Nothing is freed under a lock.
 */
#include "runtime/sentry/net/socket.h"

#include <sys/un.h>

struct pid;
struct cred;

struct unix_addr { /* immutable */
    struct ref ref;
    struct sockname name;
};

/* Whose process a socket or message belongs to. */
struct unix_owner {
    struct pid *pid;   /* reference or NULL */
    uint32_t uid, gid; /* effective ones */
};

/* Descriptors on their way. */
struct unix_rights {
    struct list dead; /* of the freeing thread */
    unsigned n;
    struct file *files[];
};

struct unix_msg {
    struct list link;
    struct unix_sock *sender; /* reference; charged with `charge` bytes */
    struct unix_addr *from;   /* reference or NULL */
    struct unix_owner owner;  /* pid NULL: not recorded */
    bool has_owner;
    struct unix_rights *rights;
    nsec_t stamp;            /* 0: not asked for */
    size_t charge, size, at; /* at: how much of it was read (streams) */
    char data[];
};

enum unix_state { UNIX_UNCONNECTED, UNIX_CONNECTING, UNIX_LISTENING, UNIX_CONNECTED };
enum { UNIX_QUEUE_MAX = 10, /* net.unix.max_dgram_qlen */ UNIX_CHUNK = 32768 };

struct unix_sock {
    struct socket s;
    struct ref ref;
    struct mutex iolock; /* one reader at a time */
    struct mutex lock;   /* guards all below unless noted */
    enum unix_state state;
    bool dead, recv_shut, send_shut;
    struct unix_sock *peer; /* reference */
    struct unix_addr *addr; /* reference; set at most once */
    struct list queue;      /* struct unix_msg */
    size_t queued;          /* unread bytes in it */
    unsigned n_queued;
    size_t charged;     /* bytes of ours in other queues */
    struct waitq wait;  /* readable, writable, shut down */
    struct waitq room;  /* our queue or backlog has room again */
    struct list accept; /* struct unix_sock.accept_link: made by connect, one reference each */
    struct list accept_link;
    unsigned n_accept; /* including promised ones */
    int backlog;
    struct list peers;                 /* datagram sockets connected to us, by peer_link */
    struct list peer_link;             /* guarded by the peer's lock */
    struct unix_owner own, peer_owner; /* for SO_PEERCRED: of listeners; of connected ones */
    struct path path;                  /* bound in the file system; owner: bind and release */
    struct hash_node abstract;         /* netns->lock */
    bool is_abstract;                  /* netns->lock */
    /* g_rights_lock */
    unsigned in_flight; /* messages' references to our file */
    unsigned candidate; /* of them not explained by other candidates */
    bool marked;
    struct list flight_link;
};

static inline struct unix_sock *unix_of(struct socket *s)
{
    return container_of(s, struct unix_sock, s);
}
static inline bool unix_is_datagram(const struct unix_sock *u)
{
    return u->s.type == SOCK_DGRAM;
}

extern const struct socket_ops unix_ops;

int unix_sock_new(struct netns *ns, int type, struct unix_sock **ret);
struct unix_sock *unix_get(struct unix_sock *u);
void unix_put(struct unix_sock *u); /* accepts NULL; may sleep */
/* Closes: of the file, or of a connection that was never accepted. */
void unix_close(struct unix_sock *u);

struct unix_addr *unix_addr_get(struct unix_addr *a); /* accepts NULL */
void unix_addr_put(struct unix_addr *a);
void unix_owner_fill(struct unix_owner *o, struct task *t);
void unix_owner_fini(struct unix_owner *o);
/* As t sees it. */
struct ucred unix_owner_ucred(const struct unix_owner *o, const struct task *t);

/* ---- names (unix_name.c) --------------------------------------------------------------------- */
int unix_bind(struct task *t, struct socket *s, const struct sockname *name);
int unix_autobind(struct unix_sock *u);
void unix_unbind(struct unix_sock *u);
/* The socket that a name leads to (a reference), of the given type; or, for a socket of the host
 * on a bind mount, *ret_host is a connected descriptor and *ret NULL. */
int unix_find(struct task *t, struct netns *ns, const struct sockname *name, int type,
              struct unix_sock **ret, int *ret_host);

/* ---- connections (unix_connect.c) ------------------------------------------------------------ */
int unix_connect(struct task *t, struct socket *s, const struct sockname *name, bool nonblock);
int unix_listen(struct task *t, struct socket *s, int backlog);
int unix_accept(struct task *t, struct socket *s, bool nonblock, struct sockname *ret_name,
                struct socket **ret);
/* Makes `peer` (reference taken over, may be NULL) the destination of a datagram socket. */
void unix_set_peer(struct unix_sock *u, struct unix_sock *peer);

/* ---- messages (unix_send.c, unix_recv.c) ----------------------------------------------------- */
ssize_t unix_send(struct task *t, struct socket *s, struct sockmsg *m, int flags);
ssize_t unix_recv(struct task *t, struct socket *s, struct sockmsg *m, int flags);
void unix_msg_free(struct unix_msg *msg);
/* May u send now without waiting? u->lock held. */
static inline bool unix_has_room_locked(const struct unix_sock *u)
{
    return u->charged < (size_t)u->s.send_buf;
}

/* ---- descriptors in messages (unix_rights.c) ------------------------------------------------- */
/* Copies the descriptors named in a control message. *ret may be NULL already. */
int unix_rights_new(struct task *t, const struct control *c, struct unix_rights **ret);
/* Counts them as in flight: -ETOOMANYREFS. Call once, when they are about to be queued. */
int unix_rights_attach(struct task *t, struct unix_rights *r);
/* Undoes attach. */
void unix_rights_detach(struct unix_rights *r);
/* Drops the files (not attached any more) and frees. Never recurses. */
void unix_rights_free(struct unix_rights *r);
/* Installs them in t's table and reports the numbers in m. */
void unix_rights_install(struct task *t, struct unix_rights *r, struct sockmsg *m);
/* Frees sockets that only messages in each other's queues refer to. */
void unix_collect(void);
/* The same when it is worth it: call at each close. */
void unix_collect_sometimes(void);
