/*
 * The sentry's end of the gofer connection: packs a request, sends it, receives reply and
 * descriptor. One socket, one request at a time under a mutex. The gofer is trusted less than the
 * sentry's own state, so the shape of a reply is checked before anything in it is used.
 */
#include "runtime/gofer/client.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What goes out beside the head, and where the reply's data goes. */
struct call {
    struct gofer_request request;
    struct gofer_reply reply;
    const char *path, *path2;
    const void *data;
    size_t data_size;
    void *out;
    size_t out_size;
    int fd;                     /* of the reply, or -1 */
    int ahead[GOFER_AHEAD_MAX]; /* behind it */
    unsigned n_ahead;
};

/* A request whose reply nobody waits for yet. */
struct begun {
    struct call call;
    char out[GOFER_AHEAD_MAX * sizeof(struct gofer_attr)];
    const void *owner; /* NULL: nothing was sent */
    bool received;
    int result;
};

struct gofer {
    unsigned users;       /* atomic */
    pthread_mutex_t lock; /* one request and its reply, but for the one that is begun */
    int sock;             /* immutable */
    struct begun begun;   /* lock */
};

struct gofer *gofer_new(int sock)
{
    struct gofer *g = calloc(1, sizeof(*g));

    if (!g) {
        (void)close(sock);
        return NULL;
    }
    (void)pthread_mutex_init(&g->lock, NULL);
    g->users = 1;
    g->sock = sock;
    return g;
}

struct gofer *gofer_get(struct gofer *g)
{
    (void)__atomic_add_fetch(&g->users, 1, __ATOMIC_RELAXED);
    return g;
}

int gofer_hangup_fd(const struct gofer *g)
{
    return g->sock;
}

void gofer_put(struct gofer *g)
{
    struct gofer_opened more[1 + GOFER_AHEAD_MAX];

    if (!g || __atomic_sub_fetch(&g->users, 1, __ATOMIC_ACQ_REL))
        return;
    for (unsigned n = gofer_open_end(g, g->begun.owner, more); n;)
        (void)close(more[--n].fd);
    (void)close(g->sock);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

static int send_request(int sock, struct call *c)
{
    struct iovec iov[4] = {
        {.iov_base = &c->request, .iov_len = sizeof(c->request)},
        {.iov_base = (void *)(uintptr_t)c->path, .iov_len = c->request.path_len + 1},
        {.iov_base = (void *)(uintptr_t)c->path2, .iov_len = c->request.path2_len + 1},
        {.iov_base = (void *)(uintptr_t)c->data, .iov_len = c->data_size},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 4};

    for (;;) {
        if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return errno == EMSGSIZE ? -E2BIG : -EIO;
    }
}

static void take_descriptors(struct msghdr *msg, struct call *c)
{
    struct cmsghdr *h = CMSG_FIRSTHDR(msg);
    size_t n;

    if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
        return;
    n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (n < 1 || n > 1 + ARRAY_SIZE(c->ahead))
        return;
    memcpy(&c->fd, CMSG_DATA(h), sizeof(int));
    c->n_ahead = (unsigned)n - 1;
    memcpy(c->ahead, CMSG_DATA(h) + sizeof(int), c->n_ahead * sizeof(int));
}

/* All but the first `taken`, which are somebody's. */
static void close_ahead(struct call *c, unsigned taken)
{
    while (c->n_ahead > taken)
        (void)close(c->ahead[--c->n_ahead]);
}

static int receive_reply(int sock, struct call *c)
{
    union {
        char buf[CMSG_SPACE((1 + GOFER_AHEAD_MAX) * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov[2] = {
        {.iov_base = &c->reply, .iov_len = sizeof(c->reply)},
        {.iov_base = c->out, .iov_len = c->out_size},
    };
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    ssize_t n;

    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -EIO;
    take_descriptors(&msg, c);
    if ((size_t)n != sizeof(c->reply) + c->reply.data_len || c->reply.data_len > c->out_size ||
        (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return -EIO;
    return c->reply.result;
}

/* The head. */
static int prepare(enum gofer_op op, uint32_t mount, struct call *c)
{
    size_t path_len, path2_len;

    c->fd = -1;
    c->n_ahead = 0;
    c->path = c->path ? c->path : "";
    c->path2 = c->path2 ? c->path2 : "";
    path_len = strlen(c->path);
    path2_len = strlen(c->path2);
    if (path_len >= GOFER_PATH_MAX || path2_len >= GOFER_PATH_MAX)
        return -ENAMETOOLONG;
    c->request.op = op;
    c->request.mount = mount;
    c->request.mount2 = mount;
    c->request.path_len = (uint32_t)path_len;
    c->request.path2_len = (uint32_t)path2_len;
    c->request.data_len = (uint32_t)c->data_size;
    c->request.reply_max = (uint32_t)c->out_size;
    return 0;
}

/* Replies come in the order of the requests. */
static void receive_begun_locked(struct gofer *g)
{
    struct begun *b = &g->begun;

    if (!b->owner || b->received)
        return;
    b->result = receive_reply(g->sock, &b->call);
    b->received = true;
}

/* One round trip; the result of the server. c->fd is the caller's only if the result is not
 * negative. */
static int call(struct gofer *g, enum gofer_op op, uint32_t mount, struct call *c)
{
    int r = prepare(op, mount, c);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&g->lock);
    r = send_request(g->sock, c);
    if (r == 0) {
        receive_begun_locked(g);
        r = receive_reply(g->sock, c);
    }
    (void)pthread_mutex_unlock(&g->lock);
    if (r < 0)
        close_fd(&c->fd);
    if (r < 0 || op != GOFER_OP_OPEN || !c->data_size) /* nobody asked for them */
        close_ahead(c, 0);
    return r;
}

/* For calls that answer with attributes. */
static int call_attr(struct gofer *g, enum gofer_op op, uint32_t mount, struct call *c,
                     struct gofer_attr *ret_attr)
{
    int r = call(g, op, mount, c);

    close_fd(&c->fd);
    if (r >= 0 && ret_attr)
        *ret_attr = c->reply.attr;
    return r < 0 ? r : 0;
}

/* For calls that answer with a descriptor too. */
static int call_open(struct gofer *g, enum gofer_op op, uint32_t mount, struct call *c,
                     struct gofer_attr *ret_attr)
{
    int r = call(g, op, mount, c);

    if (r < 0)
        return r;
    if (c->fd < 0)
        return -EIO;
    if (ret_attr)
        *ret_attr = c->reply.attr;
    return c->fd;
}

int gofer_stat(struct gofer *g, uint32_t mount, const char *path, struct gofer_attr *ret_attr,
               char *link)
{
    struct call c = {.path = path, .out = link, .out_size = link ? PATH_MAX : 0};
    int r = call_attr(g, GOFER_OP_STAT, mount, &c, ret_attr);

    if (link)
        link[r == 0 && c.reply.more && c.reply.data_len < PATH_MAX ? c.reply.data_len : 0] = '\0';
    return r;
}

int gofer_open(struct gofer *g, uint32_t mount, const char *path, int flags,
               struct gofer_attr *ret_attr)
{
    struct call c = {.path = path, .request = {.flags = (uint32_t)flags}};

    return call_open(g, GOFER_OP_OPEN, mount, &c, ret_attr);
}

/* Descriptors to the attributes of what was opened; none if the two don't belong together. */
static unsigned match(const struct call *c, const char *out, struct gofer_opened *more)
{
    unsigned n = 0;

    if (c->reply.count * sizeof(struct gofer_attr) != c->reply.data_len)
        return 0;
    for (unsigned i = 0; i < c->reply.count && n < c->n_ahead; i++) {
        memcpy(&more[n].attr, out + i * sizeof(more->attr), sizeof(more->attr));
        if (more[n].attr.mode) {
            more[n].fd = c->ahead[n];
            n++;
        }
    }
    return n;
}

int gofer_open_ahead(struct gofer *g, uint32_t mount, const char *path, const char *names,
                     size_t names_size, struct gofer_attr *ret_attr,
                     struct gofer_opened more[GOFER_AHEAD_MAX], unsigned *ret_n)
{
    char out[GOFER_AHEAD_MAX * sizeof(struct gofer_attr)];
    struct call c = {
        .path = path, .data = names, .data_size = names_size, .out = out, .out_size = sizeof(out)};
    int r = call_open(g, GOFER_OP_OPEN, mount, &c, ret_attr);

    *ret_n = 0;
    if (r < 0)
        return r;
    *ret_n = match(&c, out, more);
    close_ahead(&c, *ret_n);
    return r;
}

int gofer_open_begin(struct gofer *g, uint32_t mount, const void *owner, const char *path,
                     const char *names, size_t names_size)
{
    struct begun *b = &g->begun;
    int r = -EBUSY;

    (void)pthread_mutex_lock(&g->lock);
    if (!b->owner) {
        b->call = (struct call){.path = path,
                                .data = names,
                                .data_size = names_size,
                                .out = b->out,
                                .out_size = sizeof(b->out)};
        r = prepare(GOFER_OP_OPEN, mount, &b->call);
        if (r == 0)
            r = send_request(g->sock, &b->call);
        b->owner = r == 0 ? owner : NULL;
        b->received = false;
    }
    (void)pthread_mutex_unlock(&g->lock);
    return r;
}

/* What came with the reply; nothing of it is left. */
static unsigned take_opened(struct begun *b, struct gofer_opened *more)
{
    struct call *c = &b->call;
    unsigned n = 0, matched = 0;

    if (b->result >= 0 && c->fd >= 0) {
        more[n++] = (struct gofer_opened){c->reply.attr, TAKE_FD(c->fd)};
        matched = match(c, b->out, more + n);
    }
    close_fd(&c->fd);
    close_ahead(c, matched);
    return n + matched;
}

unsigned gofer_open_end(struct gofer *g, const void *owner,
                        struct gofer_opened more[1 + GOFER_AHEAD_MAX])
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&g->lock);
    if (owner && g->begun.owner == owner) {
        receive_begun_locked(g);
        n = take_opened(&g->begun, more);
        g->begun.owner = NULL;
    }
    (void)pthread_mutex_unlock(&g->lock);
    return n;
}

ssize_t gofer_readlink(struct gofer *g, uint32_t mount, const char *path, char *target, size_t size)
{
    char out[PATH_MAX];
    struct call c = {.path = path, .out = out, .out_size = sizeof(out)};
    int r = call(g, GOFER_OP_READLINK, mount, &c);

    close_fd(&c.fd);
    if (r < 0)
        return r;
    if (c.reply.data_len < size)
        target[c.reply.data_len] = 0;
    memcpy(target, out, MIN(size, (size_t)c.reply.data_len));
    return (ssize_t)MIN(size, (size_t)c.reply.data_len);
}

/* Hands the records of one batch to fn. */
static int give_entries(const char *data, size_t size, uint64_t *cookie, gofer_dirent_fn *fn,
                        void *arg)
{
    size_t at = 0;

    while (at < size) {
        struct gofer_dirent d;
        const char *name = data + at + offsetof(struct gofer_dirent, name);
        int r;

        if (size - at < sizeof(d))
            return -EIO;
        memcpy(&d, data + at, sizeof(d));
        if (d.size < sizeof(d) + 1 || d.size > size - at || d.name_len == 0 ||
            d.name_len >= d.size - sizeof(d) || name[d.name_len] || strlen(name) != d.name_len ||
            strchr(name, '/'))
            return -EIO;
        r = fn(arg, name, &d.attr, d.next);
        if (r)
            return r;
        *cookie = d.next;
        at += d.size;
    }
    return 0;
}

int gofer_readdir(struct gofer *g, uint32_t mount, const char *path, unsigned flags,
                  uint64_t *cookie, gofer_dirent_fn *fn, void *arg, bool *ret_end)
{
    size_t size = GOFER_PACKET_MAX - sizeof(struct gofer_reply);
    CLEANUP(free_ptr) char *out = malloc(size);
    struct call c = {
        .path = path, .out = out, .out_size = size, .request = {.flags = flags, .cookie = *cookie}};
    int r;

    if (!out)
        return -ENOMEM;
    r = call(g, GOFER_OP_READDIR, mount, &c);
    close_fd(&c.fd);
    if (r < 0)
        return r;
    r = give_entries(out, c.reply.data_len, cookie, fn, arg);
    if (r)
        return r;
    *cookie = c.reply.cookie;
    *ret_end = !c.reply.more;
    return 0;
}

int gofer_create(struct gofer *g, uint32_t mount, const char *path, int flags, mode_t mode,
                 uid_t uid, gid_t gid, struct gofer_attr *ret_attr)
{
    struct call c = {
        .path = path,
        .request = {.flags = (uint32_t)flags, .mode = mode, .uid = uid, .gid = gid},
    };

    return call_open(g, GOFER_OP_CREATE, mount, &c, ret_attr);
}

int gofer_mkdir(struct gofer *g, uint32_t mount, const char *path, mode_t mode, uid_t uid,
                gid_t gid, struct gofer_attr *ret_attr)
{
    struct call c = {.path = path, .request = {.mode = mode, .uid = uid, .gid = gid}};

    return call_attr(g, GOFER_OP_MKDIR, mount, &c, ret_attr);
}

int gofer_mknod(struct gofer *g, uint32_t mount, const char *path, mode_t mode, uid_t uid,
                gid_t gid, struct gofer_attr *ret_attr)
{
    struct call c = {.path = path, .request = {.mode = mode, .uid = uid, .gid = gid}};

    return call_attr(g, GOFER_OP_MKNOD, mount, &c, ret_attr);
}

int gofer_symlink(struct gofer *g, uint32_t mount, const char *target, const char *path, uid_t uid,
                  gid_t gid, struct gofer_attr *ret_attr)
{
    struct call c = {.path = path, .path2 = target, .request = {.uid = uid, .gid = gid}};

    return call_attr(g, GOFER_OP_SYMLINK, mount, &c, ret_attr);
}

int gofer_link(struct gofer *g, uint32_t mount, const char *from, const char *to,
               struct gofer_attr *ret_attr)
{
    struct call c = {.path = from, .path2 = to};

    return call_attr(g, GOFER_OP_LINK, mount, &c, ret_attr);
}

int gofer_unlink(struct gofer *g, uint32_t mount, const char *path)
{
    struct call c = {.path = path};

    return call_attr(g, GOFER_OP_UNLINK, mount, &c, NULL);
}

int gofer_rmdir(struct gofer *g, uint32_t mount, const char *path)
{
    struct call c = {.path = path};

    return call_attr(g, GOFER_OP_RMDIR, mount, &c, NULL);
}

int gofer_rename(struct gofer *g, uint32_t mount, const char *from, const char *to, unsigned flags)
{
    struct call c = {.path = from, .path2 = to, .request = {.flags = flags}};

    return call_attr(g, GOFER_OP_RENAME, mount, &c, NULL);
}

int gofer_setattr(struct gofer *g, uint32_t mount, const char *path,
                  const struct gofer_setattr *set, struct gofer_attr *ret_attr)
{
    struct call c = {.path = path, .request = {.set = *set}};

    return call_attr(g, GOFER_OP_SETATTR, mount, &c, ret_attr);
}

int gofer_statfs(struct gofer *g, uint32_t mount, const char *path, struct gofer_statfs *ret)
{
    struct call c = {.path = path, .out = ret, .out_size = sizeof(*ret)};
    int r = call(g, GOFER_OP_STATFS, mount, &c);

    close_fd(&c.fd);
    if (r >= 0 && c.reply.data_len != sizeof(*ret))
        return -EIO;
    return r < 0 ? r : 0;
}

/* The value or list of names as the system call would give it. */
static ssize_t call_xattr(struct gofer *g, enum gofer_op op, uint32_t mount, struct call *c,
                          void *value, size_t size)
{
    CLEANUP(free_ptr) char *out = malloc(GOFER_XATTR_MAX);
    int r;

    if (!out)
        return -ENOMEM;
    c->out = out;
    c->out_size = GOFER_XATTR_MAX;
    r = call(g, op, mount, c);
    close_fd(&c->fd);
    if (r < 0)
        return r;
    if (size == 0)
        return (ssize_t)c->reply.data_len;
    if (c->reply.data_len > size)
        return -ERANGE;
    memcpy(value, out, c->reply.data_len);
    return (ssize_t)c->reply.data_len;
}

ssize_t gofer_getxattr(struct gofer *g, uint32_t mount, const char *path, const char *name,
                       void *value, size_t size)
{
    struct call c = {.path = path, .path2 = name};

    return call_xattr(g, GOFER_OP_XGET, mount, &c, value, size);
}

int gofer_setxattr(struct gofer *g, uint32_t mount, const char *path, const char *name,
                   const void *value, size_t size, int flags)
{
    struct call c = {
        .path = path,
        .path2 = name,
        .data = value,
        .data_size = size,
        .request = {.flags = (uint32_t)flags},
    };

    if (size > GOFER_XATTR_MAX)
        return -E2BIG;
    return call_attr(g, GOFER_OP_XSET, mount, &c, NULL);
}

ssize_t gofer_listxattr(struct gofer *g, uint32_t mount, const char *path, char *names, size_t size)
{
    struct call c = {.path = path};

    return call_xattr(g, GOFER_OP_XLIST, mount, &c, names, size);
}

int gofer_removexattr(struct gofer *g, uint32_t mount, const char *path, const char *name)
{
    struct call c = {.path = path, .path2 = name};

    return call_attr(g, GOFER_OP_XREMOVE, mount, &c, NULL);
}

int gofer_connect(struct gofer *g, uint32_t mount, const char *path, int type)
{
    struct call c = {.path = path, .request = {.flags = (uint32_t)type}};

    return call_open(g, GOFER_OP_CONNECT, mount, &c, NULL);
}

int gofer_scratch(struct gofer *g, uint64_t *ret_number)
{
    struct call c = {.path = ""};
    int fd = call_open(g, GOFER_OP_SCRATCH, 0, &c, NULL);

    if (fd >= 0)
        *ret_number = c.reply.cookie;
    return fd;
}

int gofer_scratch_drop(struct gofer *g, uint64_t number)
{
    struct call c = {.path = "", .request = {.flags = 1, .cookie = number}};

    return call_attr(g, GOFER_OP_SCRATCH, 0, &c, NULL);
}
