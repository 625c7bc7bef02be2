#include "agent/control.h"

#include "agent/agent.h"
#include "agent/json.h"
#include "agent/sockets.h"
#include "common/buf.h"
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CLIENTS_MAX = 32, REQUEST_MAX = 65536, BACKLOG_MAX = 1 << 20 };

struct client {
    struct list link;
    struct control *control;
    int fd;
    struct loop_fd source;
    struct buf in, out;
    bool follow, audit;
};

static void drop_client(struct client *c)
{
    loop_fd_remove(&c->source);
    close_fd(&c->fd);
    list_remove(&c->link);
    c->control->n_clients--;
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

/* False: the client is gone. */
static bool flush(struct client *c)
{
    while (c->out.size) {
        ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0) {
            drop_client(c);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
    }
    (void)loop_fd_modify(&c->source, EPOLLIN | (c->out.size ? EPOLLOUT : 0));
    return true;
}

static bool send_json(struct client *c, json_t *json)
{
    CLEANUP(free_ptr) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (!text || buf_printf(&c->out, "%s\n", text) < 0) {
        drop_client(c);
        return false;
    }
    return flush(c);
}

static bool answer(struct client *c, const json_t *request)
{
    const char *name = get_string(request, "request", "");
    struct agent *a = c->control->agent;
    struct error err = ERROR_INIT;
    json_t *reply = NULL;
    size_t i = 0;

    while (i < control_n_requests && strcmp(control_requests[i].name, name) != 0)
        i++;
    if (i == control_n_requests)
        (void)error_set(&err, -EINVAL, "request '%.40s' is not known", name);
    else
        reply = control_requests[i].fn(a, request, &err);
    if (!reply)
        reply = json_pack("{s:b, s:s}", "ok", 0, "error", *err.msg ? err.msg : "out of memory");
    else
        (void)json_object_set_new(reply, "ok", json_true());
    if (strcmp(name, "drops") == 0) {
        c->follow = get_bool(request, "follow", false);
        c->audit = get_bool(request, "audit", false);
    }
    return send_json(c, reply);
}

static bool take_lines(struct client *c)
{
    char *newline;

    while (c->in.size && (newline = memchr(c->in.data, '\n', c->in.size))) {
        size_t n = (size_t)(newline - c->in.data);
        json_t *request = json_loadb(c->in.data, n, JSON_REJECT_DUPLICATES, NULL);
        bool alive;

        buf_consume(&c->in, n + 1);
        alive = answer(c, request);
        json_decref(request);
        if (!alive)
            return false;
    }
    return true;
}

static void on_client(void *ctx, uint32_t events)
{
    struct client *c = ctx;
    char data[8192];
    ssize_t n;

    if ((events & EPOLLOUT) && !flush(c))
        return;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    n = recv(c->fd, data, sizeof(data), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->in.size + (size_t)n > REQUEST_MAX || buf_append(&c->in, data, (size_t)n) < 0) {
        drop_client(c);
        return;
    }
    (void)take_lines(c);
}

static void on_connection(void *ctx, uint32_t events)
{
    struct control *control = ctx;
    CLEANUP(close_fd) int fd = -1;
    struct client *c;

    (void)events;
    if (unix_accept(control->fd, &fd) < 0 || control->n_clients >= CLIENTS_MAX)
        return;
    c = calloc(1, sizeof(*c));
    if (!c)
        return;
    c->control = control;
    c->fd = TAKE_FD(fd);
    list_append(&control->clients, &c->link);
    control->n_clients++;
    if (loop_fd_add(&control->agent->loop, &c->source, c->fd, EPOLLIN, on_client, c) < 0)
        drop_client(c);
}

void control_send_drop(struct control *control, const struct drop *d)
{
    struct client *c, *next;

    list_for_each_entry_safe (c, next, &control->clients, link) {
        if (!c->follow || c->audit != d->audit)
            continue;
        /* Who doesn't read loses lines, not the agent its memory. */
        if (c->out.size > BACKLOG_MAX)
            continue;
        (void)send_json(c, control_drop_json(control->agent, d));
    }
}

int control_init(struct control *c, struct agent *a, struct error *err)
{
    char path[PATH_MAX];
    int r;

    *c = (struct control){.agent = a, .fd = -1};
    list_init(&c->clients);
    (void)snprintf(path, sizeof(path), "%s/control.sock", a->config.run_dir);
    r = unix_listen(path, SOCK_STREAM, &c->fd, err);
    if (r < 0)
        return r;
    r = loop_fd_add(&a->loop, &c->source, c->fd, EPOLLIN, on_connection, c);
    return r < 0 ? error_errno(err, r, "'%s'", path) : 0;
}

void control_fini(struct control *c)
{
    struct client *client, *next;

    if (!c->agent)
        return;
    list_for_each_entry_safe (client, next, &c->clients, link) {
        drop_client(client);
    }
    loop_fd_remove(&c->source);
    close_fd(&c->fd);
}
