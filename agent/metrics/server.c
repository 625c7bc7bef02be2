#include "agent/metrics/server.h"

#include "agent/agent.h"
#include "agent/metrics/registry.h"
#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/epoll.h>

enum { CONNECTIONS_MAX = 64, TIMEOUT_S = 10 };
#define TYPE_TEXT        "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type,
                             const char *text, size_t size)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (!r)
        return MHD_NO;
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *c, unsigned status, const char *text)
{
    return reply(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result get_metrics(struct agent *a, struct MHD_Connection *c)
{
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    bool open = accept && strstr(accept, "application/openmetrics-text");
    CLEANUP(buf_fini) struct buf b = BUF_INIT;

    if (metrics_render(a, open, &b) < 0)
        return reply_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    return reply(c, MHD_HTTP_OK, open ? TYPE_OPENMETRICS : TYPE_TEXT, b.data, b.size);
}

static enum MHD_Result get_healthz(struct agent *a, struct MHD_Connection *c)
{
    (void)a;
    return reply_text(c, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result get_readyz(struct agent *a, struct MHD_Connection *c)
{
    char text[100];

    if (!a->enforce)
        return reply_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready: nothing is enforced\n");
    if (!agent_synced(a))
        return reply_text(c, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "not ready: objects are not known yet\n");
    if (!agent_in_cluster(a))
        return reply_text(c, MHD_HTTP_OK, "ok\n");
    /* An old view is no reason to be not ready: what is in force stays in force. */
    text_format(text, sizeof(text), "ok\nview of the API server: %llu s old\n",
                (unsigned long long)kube_source_age_ms(&a->kube) / 1000);
    return reply_text(c, MHD_HTTP_OK, text);
}

static const struct endpoint {
    const char *path;
    enum MHD_Result (*fn)(struct agent *a, struct MHD_Connection *c);
} endpoints[] = {
    {"/metrics", get_metrics},
    {"/healthz", get_healthz},
    {"/readyz", get_readyz},
};

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct metrics_server *m = ctx;
    static int seen;

    (void)version;
    (void)data;
    /* Bodies are read and thrown away: the first call sees the headers only. */
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return reply_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
    for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++)
        if (strcmp(endpoints[i].path, url) == 0)
            return endpoints[i].fn(m->agent, c);
    return reply_text(c, MHD_HTTP_NOT_FOUND, "not found: try /metrics, /healthz, /readyz\n");
}

static void run(void *ctx);

static void run_events(void *ctx, uint32_t events)
{
    (void)events;
    run(ctx);
}

static void run(void *ctx)
{
    struct metrics_server *m = ctx;
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(m->daemon);
    if (MHD_get_timeout(m->daemon, &ms) == MHD_YES)
        loop_timer_set(&m->agent->loop, &m->timer, ms, run, m);
    else
        loop_timer_cancel(&m->timer);
}

static int parse_listen(const char *text, struct sockaddr_storage *ret, struct error *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    const char *colon = strrchr(text, ':');
    char host[64], *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (!colon || end == colon + 1 || *end || port > 65535 || n >= sizeof(host))
        return error_set(err, -EINVAL, "--listen: '%s' is no ADDRESS:PORT", text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)n, text);
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return 0;
    }
    return error_set(err, -EINVAL, "--listen: '%s' is no address", host);
}

int metrics_server_init(struct metrics_server *m, struct agent *a, const char *listen,
                        struct error *err)
{
    struct sockaddr_storage addr = {0};
    const union MHD_DaemonInfo *info;
    unsigned flags = MHD_USE_EPOLL;
    int r;

    *m = (struct metrics_server){.agent = a};
    if (!*listen)
        return 0;
    r = parse_listen(listen, &addr, err);
    if (r < 0)
        return r;
    if (addr.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    m->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, &addr,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (!m->daemon)
        return error_errno(err, errno ? -errno : -EIO, "listen on %s", listen);
    info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    r = info ? loop_fd_add(&a->loop, &m->source, info->epoll_fd, EPOLLIN, run_events, m) : -EIO;
    return r < 0 ? error_errno(err, r, "metrics server") : 0;
}

void metrics_server_fini(struct metrics_server *m)
{
    if (!m->daemon)
        return;
    loop_fd_remove(&m->source);
    loop_timer_cancel(&m->timer);
    MHD_stop_daemon(m->daemon);
    m->daemon = NULL;
}
