/*
 * The gofer's request loop: receives a packet, checks its form, looks the function up, answers. The
 * sender is the sentry, which hostile guest code may have taken over: every field is checked here
 * or where it is used.
 */
#include "runtime/gofer/server.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/gofer/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum effect { READS, WRITES, CONNECTS, SCRATCHES };

static const struct {
    int (*run)(struct gofer_ctx *);
    enum effect effect;
} ops[GOFER_OP_COUNT] = {
#define X(op, name, effect) [GOFER_OP_##op] = {gofer_op_##name, effect},
    GOFER_OPS(X)
#undef X
};

int gofer_server_init(struct gofer_server *s)
{
    s->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return s->proc_fd < 0 ? -errno : 0;
}

void gofer_server_fini(struct gofer_server *s)
{
    for (unsigned i = 0; i < s->n_mounts; i++)
        close_fd(&s->mounts[i].root);
    for (int i = 0; s->listings && i < GOFER_LISTINGS; i++)
        close_fd(&s->listings[i].fd);
    close_fd(&s->proc_fd);
    close_fd(&s->scratch_root);
    close_fd(&s->scratch);
    free(s->listings);
    s->listings = NULL;
}

/* Takes the packet apart: 0 or -EINVAL. The path of a symlink's target and names of attributes have
 * their own form. */
static int parse(struct gofer_ctx *c, const char *packet, size_t size)
{
    const struct gofer_request *rq = (const void *)packet;
    size_t left = size - sizeof(*rq);
    bool free_form;

    if (rq->op >= GOFER_OP_COUNT || rq->mount >= c->server->n_mounts || rq->mount2 != rq->mount)
        return -EINVAL;
    if (rq->path_len >= GOFER_PATH_MAX || rq->path2_len >= GOFER_PATH_MAX)
        return -ENAMETOOLONG;
    if (left != (size_t)rq->path_len + rq->path2_len + 2 + rq->data_len)
        return -EINVAL;
    c->request = rq;
    c->path = packet + sizeof(*rq);
    c->path2 = c->path + rq->path_len + 1;
    c->data = c->path2 + rq->path2_len + 1;
    if (strnlen(c->path, rq->path_len + 1) != rq->path_len ||
        strnlen(c->path2, rq->path2_len + 1) != rq->path2_len)
        return -EINVAL;
    free_form = rq->op == GOFER_OP_SYMLINK || ops[rq->op].effect == SCRATCHES ||
                rq->op == GOFER_OP_XGET || rq->op == GOFER_OP_XSET || rq->op == GOFER_OP_XREMOVE;
    if (!gofer_path_ok(c->path) || (!free_form && !gofer_path_ok(c->path2)))
        return -EINVAL;
    c->mount = &c->server->mounts[rq->mount];
    return 0;
}

static int allowed(const struct gofer_ctx *c)
{
    switch (ops[c->request->op].effect) {
    case WRITES:
        return c->mount->readonly ? -EROFS : 0;
    case CONNECTS:
        return c->mount->connect ? 0 : -ECONNREFUSED;
    case READS:
    case SCRATCHES:
        break;
    }
    return 0;
}

void gofer_fds_close_all(struct gofer_fds *fds)
{
    while (fds->n)
        (void)close(fds->fd[--fds->n]);
}

void gofer_handle(struct gofer_server *s, const void *packet, size_t size,
                  struct gofer_reply *reply, char *out, struct gofer_fds *ret)
{
    struct gofer_ctx c = {.server = s, .reply = reply, .out = out, .fd = -1};
    int r = -EINVAL;

    *reply = (struct gofer_reply){0};
    if (size >= sizeof(struct gofer_request))
        r = parse(&c, packet, size);
    if (r == 0)
        r = allowed(&c);
    if (r == 0) {
        c.out_max = GOFER_PACKET_MAX - sizeof(*reply);
        r = ops[c.request->op].run(&c);
    }
    reply->result = r;
    *ret = (struct gofer_fds){.n = c.fd >= 0, .fd = {c.fd}};
    memcpy(ret->fd + ret->n, c.ahead, c.n_ahead * sizeof(c.ahead[0]));
    ret->n += c.n_ahead;
    if (r < 0)
        gofer_fds_close_all(ret);
    /* What doesn't fit the caller's buffer must not be sent: it would be cut off. */
    if (c.request && reply->data_len > c.request->reply_max) {
        gofer_fds_close_all(ret);
        *reply = (struct gofer_reply){.result = -ERANGE};
    }
}

static int answer(int sock, const struct gofer_reply *reply, const char *out,
                  const struct gofer_fds *fds)
{
    union {
        char buf[CMSG_SPACE(sizeof(fds->fd))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)reply, .iov_len = sizeof(*reply)},
        {.iov_base = (void *)(uintptr_t)out, .iov_len = reply->data_len},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (fds->n) {
        struct cmsghdr *h = (void *)control.buf;
        size_t size = fds->n * sizeof(fds->fd[0]);

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(size);
        *h = (struct cmsghdr){CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(h), fds->fd, size);
    }
    while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int gofer_serve(struct gofer_server *s, int sock)
{
    CLEANUP(free_ptr) char *in = malloc(GOFER_PACKET_MAX);
    CLEANUP(free_ptr) char *out = malloc(GOFER_PACKET_MAX);
    struct gofer_reply reply;
    struct gofer_fds fds;

    if (!in || !out)
        return -ENOMEM;
    for (;;) {
        ssize_t n = fd_recv(sock, in, GOFER_PACKET_MAX, NULL, 0);
        int r;

        if (n == 0)
            return 0;
        /* Too long a packet is answered like a malformed one, so that the sentry isn't left
         * waiting. */
        if (n < 0 && n != -EMSGSIZE)
            return (int)n;
        gofer_handle(s, in, n < 0 ? 0 : (size_t)n, &reply, out, &fds);
        r = answer(sock, &reply, out, &fds);
        gofer_fds_close_all(&fds);
        if (r < 0)
            return r == -EPIPE ? 0 : r;
    }
}
