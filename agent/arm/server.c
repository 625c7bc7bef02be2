#include "agent/arm/server.h"

#include "agent/agent.h"
#include "agent/arm/proto.h"
#include "agent/json.h"
#include "agent/podlog.h"
#include "agent/schema.h"
#include "agent/sockets.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { CLIENTS_MAX = 256, CLIENT_TIMEOUT_MS = 10000, FDS = 3 };
enum { FD_NETNS, FD_PIDFD, FD_CGROUP };

struct client {
    struct list link;
    struct arm_server *server;
    int fd;
    struct loop_fd source;
    struct loop_timer timeout;
};

static void drop_client(struct client *c)
{
    loop_fd_remove(&c->source);
    loop_timer_cancel(&c->timeout);
    close_fd(&c->fd);
    list_remove(&c->link);
    if (c->server->n_clients-- == CLIENTS_MAX)
        (void)loop_fd_modify(&c->server->source, EPOLLIN);
    free(c);
}

bool arm_wants_net_raw(const struct pod *p)
{
    size_t i, k;
    json_t *c, *v;

    json_array_foreach(get(p->manifest, "spec.containers"), i, c)
        json_array_foreach(get(c, "securityContext.capabilities.add"), k, v)
    {
        const char *name = json_string_value(v);

        if (strcasecmp(name, "NET_RAW") == 0 || strcasecmp(name, "CAP_NET_RAW") == 0 ||
            strcasecmp(name, "ALL") == 0)
            return true;
    }
    return false;
}

static bool same_file(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static const char *data_plane(const json_t *request)
{
    const char *wish = json_string_value(
        json_object_get(json_object_get(request, "annotations"), "dev.berm.data-plane"));

    return wish && strcmp(wish, "direct") == 0 ? "direct" : "mediated";
}

/* A sandbox that is no pod of ours (`berm run` by hand): guarded, and closed for want of objects.
 */
static int arm_stranger(struct arm_server *s, const char *uid, const int *fds, struct error *err)
{
    struct enforce_pod pod = {.uid = uid,
                              .netns_fd = fds[FD_NETNS],
                              .sandboxed = true,
                              .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};
    int r;

    if (!s->agent->enforce)
        return error_set(err, -EOPNOTSUPP, "enforcement is not available: %s",
                         s->agent->enforce_error);
    r = enforce_arm(s->agent->enforce, &pod, err);
    if (r == 0 && fds[FD_CGROUP] >= 0)
        r = enforce_arm_cgroup(s->agent->enforce, uid, fds[FD_CGROUP], false, err);
    return r;
}

static json_t *arm_in_cluster(struct arm_server *s, const json_t *request, const int *fds,
                              struct error *err)
{
    struct node_pods_request r = {.uid = get_string(request, "uid", ""),
                                  .sandbox = get_string(request, "sandbox", ""),
                                  .ns = get_string(request, "namespace", ""),
                                  .name = get_string(request, "pod", ""),
                                  .netns_fd = fds[FD_NETNS],
                                  .cgroup_fd = fds[FD_CGROUP]};
    bool net_raw = false;

    if (node_pods_arm(&s->agent->kube.pods, &r, &net_raw, err) < 0)
        return NULL;
    s->count.armed++;
    return json_pack("{s:b, s:b, s:s}", "ok", 1, "netRaw", (int)net_raw, "dataPlane",
                     data_plane(request));
}

static json_t *op_arm(struct arm_server *s, const json_t *request, const int *fds,
                      struct error *err)
{
    const char *uid = get_string(request, "uid", ""), *sandbox = get_string(request, "sandbox", "");
    struct pod *p = runner_find_uid(&s->agent->runner, uid);
    int r;

    if (get_int(request, "version", 0) != ARM_VERSION) {
        (void)error_set(err, -EPROTO, "this agent speaks version %d", ARM_VERSION);
        return NULL;
    }
    if (fds[FD_NETNS] < 0) {
        (void)error_set(err, -EINVAL, "the request carries no network namespace");
        return NULL;
    }
    if (agent_in_cluster(s->agent))
        return arm_in_cluster(s, request, fds, err);
    if (p && !same_file(fds[FD_NETNS], p->netns)) {
        (void)error_set(err, -EPERM, "the network namespace is not that of pod %s/%s", p->ns,
                        p->name);
        return NULL;
    }
    /* Ours was armed, device and cgroup, when its device was made: before anything could run. */
    r = p ? 0 : arm_stranger(s, *uid ? uid : sandbox, fds, err);
    if (r < 0)
        return NULL;
    s->count.armed++;
    return json_pack("{s:b, s:b, s:s}", "ok", 1, "netRaw", p ? arm_wants_net_raw(p) : 0,
                     "dataPlane", data_plane(request));
}

static json_t *op_disarm(struct arm_server *s, const json_t *request, const int *fds,
                         struct error *err)
{
    const char *sandbox = get_string(request, "sandbox", "");

    (void)fds;
    if (agent_in_cluster(s->agent))
        return node_pods_disarm(&s->agent->kube.pods, sandbox, err) < 0
                   ? NULL
                   : json_pack("{s:b}", "ok", 1);
    /* A pod of the runner stays armed until its device is gone, whoever asks. */
    if (s->agent->enforce && *sandbox && !runner_find_uid(&s->agent->runner, sandbox) &&
        enforce_remove(s->agent->enforce, sandbox, err) < 0)
        return NULL;
    return json_pack("{s:b}", "ok", 1);
}

static const struct operation {
    const char *name;
    json_t *(*fn)(struct arm_server *s, const json_t *request, const int *fds, struct error *err);
} operations[] = {
    {"arm", op_arm},
    {"disarm", op_disarm},
};

static void tell_refused(struct arm_server *s, const json_t *request, const char *why)
{
    const char *ns = get_string(request, "namespace", ""), *pod = get_string(request, "pod", "");
    const struct event_object object = {"Pod", ns, pod, get_string(request, "uid", "")};

    log_pod(LOG_WARN, ns, pod, object.uid, "arming refused: sandbox '%.128s': %s",
            get_string(request, "sandbox", ""), why);
    if (name_is_label(ns) && name_is_subdomain(pod))
        events_tell(&s->agent->events, EVENT_SANDBOX_REFUSED, &object,
                    "the sandbox was not made: %s", why);
}

static json_t *handle(struct arm_server *s, const char *data, size_t size, const int *fds)
{
    json_t *request = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL), *answer = NULL;
    const char *op = get_string(request, "op", "");
    struct error err = ERROR_INIT;
    size_t i = 0;

    while (i < ARRAY_SIZE(operations) && strcmp(operations[i].name, op) != 0)
        i++;
    if (!json_is_object(request)) {
        s->count.malformed++;
        (void)error_set(&err, -EBADMSG, "the request is no JSON object");
    } else if (i == ARRAY_SIZE(operations)) {
        s->count.malformed++;
        (void)error_set(&err, -EBADMSG, "operation '%.40s' is not known", op);
    } else {
        answer = operations[i].fn(s, request, fds, &err);
    }
    if (!answer) {
        s->count.refused++;
        tell_refused(s, request, err.msg);
        answer = json_pack("{s:b, s:s}", "ok", 0, "error", err.msg);
    }
    json_decref(request);
    return answer;
}

static void on_request(void *ctx, uint32_t events)
{
    static char data[ARM_PACKET_MAX];
    struct client *c = ctx;
    CLEANUP(free_ptr) char *text = NULL;
    json_t *answer;
    int fds[FDS];
    ssize_t n;

    (void)events;
    n = fd_recv(c->fd, data, sizeof(data), fds, FDS);
    if (n == -EAGAIN)
        return;
    if (n > 0 || n == -EMSGSIZE) {
        answer = n > 0 ? handle(c->server, data, (size_t)n, fds)
                       : json_pack("{s:b, s:s}", "ok", 0, "error", "the request is too large");
        text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
        json_decref(answer);
        if (text)
            (void)fd_send(c->fd, text, strlen(text), NULL, 0);
        for (size_t i = 0; i < FDS; i++)
            close_fd(&fds[i]);
    }
    /* One request a connection; the peer reads the answer and closes. */
    drop_client(c);
}

static void on_timeout(void *ctx)
{
    drop_client(ctx);
}

static void on_connection(void *ctx, uint32_t events)
{
    struct arm_server *s = ctx;
    CLEANUP(close_fd) int fd = -1;
    struct client *c;

    (void)events;
    if (unix_accept(s->fd, &fd) < 0)
        return;
    c = calloc(1, sizeof(*c));
    if (!c)
        return;
    c->server = s;
    c->fd = TAKE_FD(fd);
    list_append(&s->clients, &c->link);
    if (++s->n_clients == CLIENTS_MAX) /* the others wait in the socket's queue */
        (void)loop_fd_modify(&s->source, 0);
    loop_timer_set(&s->agent->loop, &c->timeout, CLIENT_TIMEOUT_MS, on_timeout, c);
    if (loop_fd_add(&s->agent->loop, &c->source, c->fd, EPOLLIN, on_request, c) < 0)
        drop_client(c);
}

int arm_server_init(struct arm_server *s, struct agent *a, struct error *err)
{
    char path[PATH_MAX];
    int r;

    *s = (struct arm_server){.agent = a, .fd = -1};
    list_init(&s->clients);
    (void)snprintf(path, sizeof(path), "%s/agent.sock", a->config.run_dir);
    r = unix_listen(path, SOCK_SEQPACKET, &s->fd, err);
    if (r < 0)
        return r;
    r = loop_fd_add(&a->loop, &s->source, s->fd, EPOLLIN, on_connection, s);
    return r < 0 ? error_errno(err, r, "'%s'", path) : 0;
}

void arm_server_fini(struct arm_server *s)
{
    struct client *c, *next;

    if (!s->agent)
        return;
    list_for_each_entry_safe (c, next, &s->clients, link) {
        drop_client(c);
    }
    loop_fd_remove(&s->source);
    close_fd(&s->fd);
}
