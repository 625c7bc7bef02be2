#pragma once
/*
 * Sockets: what all families share. A struct socket hangs on a struct file (private); its family
 * implements struct socket_ops. System calls parse guest memory once, into the structures here;
 * families never see guest addresses but through struct uio.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/vfs/poll.h"

#include <stdint.h>
#include <sys/socket.h>

enum {
    SOCKET_CONTROL_MAX = 20480,  /* net.core.optmem_max of the kernel that we say we are */
    SOCKET_BUF_DEFAULT = 212992, /* net.core.{r,w}mem_default, _max */
    SOCKET_BUF_MIN = 4608,
    SOCKET_OPTION_MAX = 1024, /* bytes of the longest option value that any family takes */
    SOCKETS_MAX = 200000,     /* of one sandbox: the descriptor limits come first */
};

/* One address, copied in. */
struct sockname {
    socklen_t size; /* 0: none given */
    union {
        struct sockaddr sa;
        struct sockaddr_storage storage;
        char bytes[sizeof(struct sockaddr_storage)];
    };
};

/* A message on its way in or out. */
struct sockmsg {
    struct uio *uio;
    struct sockname name; /* sending: destination; receiving: filled with the source */
    char *control;        /* sending: what was given; receiving: room for control_max bytes */
    size_t control_size;  /* bytes in use */
    size_t control_max;
    int flags;    /* receiving: MSG_* to report */
    bool cloexec; /* received descriptors: MSG_CMSG_CLOEXEC */
};

struct socket;
struct socket_ops {
    /* All may sleep; none is called with a lock held; missing ones are -EOPNOTSUPP. */
    int (*bind)(struct task *t, struct socket *s, const struct sockname *name);
    int (*connect)(struct task *t, struct socket *s, const struct sockname *name, bool nonblock);
    int (*listen)(struct task *t, struct socket *s, int backlog);
    /* A new socket without a file; ret_name (may be NULL) is the peer's address. */
    int (*accept)(struct task *t, struct socket *s, bool nonblock, struct sockname *ret_name,
                  struct socket **ret);
    int (*getname)(struct task *t, struct socket *s, bool peer, struct sockname *ret);
    /* flags: MSG_*; MSG_DONTWAIT is set if the file is non-blocking. Bytes moved or -errno. -EPIPE
     * becomes SIGPIPE in the caller. */
    ssize_t (*send)(struct task *t, struct socket *s, struct sockmsg *m, int flags);
    ssize_t (*recv)(struct task *t, struct socket *s, struct sockmsg *m, int flags);
    int (*shutdown)(struct task *t, struct socket *s, int how);
    /* SOL_SOCKET options that socket_option_* knows never get here unless `own_options`. */
    int (*set_option)(struct task *t, struct socket *s, int level, int name, const void *value,
                      unsigned size);
    /* *size: room in value, then bytes written. */
    int (*get_option)(struct task *t, struct socket *s, int level, int name, void *value,
                      unsigned *size);
    uint32_t (*poll)(struct socket *s, struct poll_table *pt);
    long (*ioctl)(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg); /* may be NULL */
    int (*mmap)(struct socket *s, int flags, uint64_t offset, uint64_t size,
                struct mmap_backing *ret); /* NULL: -ENODEV */
    void (*release)(struct socket *s);     /* frees s, or drops the file's hold on it */
    bool own_options; /* SOL_SOCKET (but timeouts and credentials) is the family's, too */
};

struct socket {
    const struct socket_ops *ops;
    int family, type, protocol;        /* immutable */
    struct netns *netns;               /* reference; immutable */
    int host_fd;                       /* host socket behind it, non-blocking, or -1 */
    struct list link;                  /* netns->lock */
    struct file *file;                 /* not a reference; set once when installed */
    uint64_t ino;                      /* as above */
    uint32_t uid;                      /* as above: its maker's */
    nsec_t recv_timeout, send_timeout; /* relative, DEADLINE_NONE: none; atomic */
    uint32_t bits;                     /* on/off options kept by us: 1 << SO_*; atomic */
    int send_buf, recv_buf, recv_low;  /* atomic */
    int error;                         /* positive errno for SO_ERROR; atomic */
    uint32_t linger;                   /* seconds */
};

static inline bool socket_bit(const struct socket *s, int option)
{
    return __atomic_load_n(&s->bits, __ATOMIC_RELAXED) & (1u << option);
}

/* Fills what is common. -ENFILE if there are too many. On success socket_fini undoes it. */
int socket_init(struct socket *s, const struct socket_ops *ops, struct netns *ns, int family,
                int type, int protocol);
void socket_fini(struct socket *s);

/* New socket of a family, with SOCK_NONBLOCK and the like taken off the type. */
int socket_new(struct task *t, int family, int type, int protocol, struct socket **ret);
/* Puts s behind a new file and descriptor; owns s from here on, also on failure. Descriptor or
 * -errno. type_flags: SOCK_NONBLOCK, SOCK_CLOEXEC. */
int socket_install(struct task *t, struct socket *s, int type_flags);
int socket_file(struct socket *s, int type_flags, struct file **ret);
/* The socket behind a file, or NULL: it is none. */
struct socket *socket_of(const struct file *f);
/* Direct data plane: the host descriptor of a TCP socket, which may be lent (vfs/lend.h); or -1. */
int socket_stream_fd(const struct file *f);
/* The file at fd (reference) and its socket: 0, -EBADF, -ENOTSOCK. */
int socket_get(struct task *t, int fd, struct file **ret_file, struct socket **ret);

/* With SIGPIPE on -EPIPE, and MSG_DONTWAIT from the file's flags. */
ssize_t socket_send(struct task *t, struct file *f, struct sockmsg *m, int flags);
ssize_t socket_recv(struct task *t, struct file *f, struct sockmsg *m, int flags);

/* Options by table: own ones of SOL_SOCKET, then the family's. */
int socket_set_option(struct task *t, struct socket *s, int level, int name, const void *value,
                      unsigned size);
int socket_get_option(struct task *t, struct socket *s, int level, int name, void *value,
                      unsigned *size);

/* What a wait that ended with r means to the caller (socket(7)): -ETIMEDOUT becomes -EAGAIN; a
 * signal restarts the call unless a timeout was set. */
static inline int socket_wait_error(int r, nsec_t timeout)
{
    if (r == -ETIMEDOUT)
        return -EAGAIN;
    if (r == -ERESTARTSYS && timeout != DEADLINE_NONE)
        return -EINTR;
    return r;
}

static inline nsec_t socket_deadline(nsec_t timeout)
{
    return timeout == DEADLINE_NONE ? DEADLINE_NONE : deadline_after(timeout);
}

/* ---- control messages (net/control.c) -------------------------------------------------------- */
/* Walks what was given to sendmsg. *at starts as 0. False at the end; *ret_error is -EINVAL if a
 * header is malformed. Data begins at ret->data. */
struct control {
    int level, type;
    const char *data;
    size_t size;
};
bool control_next(const struct sockmsg *m, size_t *at, struct control *ret, int *ret_error);
/* Appends one to what recvmsg reports, cutting it (MSG_CTRUNC) if there is no room. */
void control_put(struct sockmsg *m, int level, int type, const void *data, size_t size);

/* Messages through s->host_fd (net/host_msg.c). */
ssize_t host_send(struct socket *s, struct sockmsg *m, int flags);
ssize_t host_recv(struct socket *s, struct sockmsg *m, int flags);

/* ---- families -------------------------------------------------------------------------------- */
int inet_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret);
int unix_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret);
int netlink_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret);
int packet_socket_new(struct task *t, int family, int type, int protocol, struct socket **ret);
/* Connects two fresh unix sockets to each other. */
int unix_socket_pair(struct task *t, struct socket *a, struct socket *b);
/* SIOCGIF* and kin, on sockets of any family. -ENOTTY if it is not one of those. */
long socket_interface_ioctl(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg);
