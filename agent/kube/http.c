#include "agent/kube/http.h"

#include "common/buf.h"
#include "common/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_S = 10,
    SLOW_BYTES = 1,
    SLOW_SECONDS = 40, /* an answer of a list may take its time: 30 s were seen */
    LIST_TIMEOUT_S = 300,
    UNACKED_MS = 30000,
    BUFFER_SIZE = 128 << 10,
};

struct watched {
    struct loop_fd source;
    struct kube_http *http;
};

static void finish(struct kube_request *r, CURLcode code)
{
    struct kube_result result = {.code = code};
    curl_off_t after = 0;

    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &result.status);
    (void)curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &after);
    result.retry_after = (long)MIN(after, (curl_off_t)3600);
    result.message = *r->error ? r->error : curl_easy_strerror(code);
    r->body[r->body_size] = 0;
    result.body = r->body;
    result.grpc_status = r->grpc_status;
    result.grpc_message = r->grpc_message;
    kube_cancel(r);
    r->done(r->ctx, &result);
}

static void collect(struct kube_http *h)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct kube_request *r = NULL;

        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        if (m->msg == CURLMSG_DONE && r)
            finish(r, m->data.result);
    }
}

static void on_socket(void *ctx, uint32_t events)
{
    struct watched *w = ctx;
    struct kube_http *h = w->http;
    int mask = 0, running;

    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    /* w may be gone after this. */
    (void)curl_multi_socket_action(h->multi, w->source.fd, mask, &running);
    collect(h);
}

static void on_timer(void *ctx)
{
    struct kube_http *h = ctx;
    int running;

    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(h);
}

static int set_timer(CURLM *multi, long ms, void *ctx)
{
    struct kube_http *h = ctx;

    (void)multi;
    if (ms < 0)
        loop_timer_cancel(&h->timer);
    else
        loop_timer_set(h->loop, &h->timer, (uint64_t)ms, on_timer, h);
    return 0;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket)
{
    struct kube_http *h = ctx;
    struct watched *w = socket;
    uint32_t events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_fd_remove(&w->source);
        free(w);
        return 0;
    }
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    if (w)
        return loop_fd_modify(&w->source, events) < 0 ? -1 : 0;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    w->http = h;
    if (loop_fd_add(h->loop, &w->source, fd, events, on_socket, w) < 0) {
        free(w);
        return -1;
    }
    (void)curl_multi_assign(h->multi, fd, w);
    return 0;
}

int kube_http_init(struct kube_http *h, struct loop *l, const struct kube_auth *auth,
                   struct error *err)
{
    *h = (struct kube_http){.loop = l, .auth = auth};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(h->multi = curl_multi_init()))
        return error_set(err, -ENOMEM, "libcurl can't be initialised");
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    return 0;
}

void kube_http_fini(struct kube_http *h)
{
    if (!h->multi)
        return;
    (void)curl_multi_cleanup(h->multi);
    h->multi = NULL;
    loop_timer_cancel(&h->timer);
    curl_global_cleanup();
}

static size_t on_data(char *data, size_t one, size_t size, void *ctx)
{
    struct kube_request *r = ctx;
    long status = 0;

    (void)one;
    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    r->http->count.bytes += size;
    if (status >= 200 && status < 300)
        return r->data(r->ctx, data, size) < 0 ? (size ? 0 : 1) : size;
    one = MIN(size, sizeof(r->body) - 1 - r->body_size);
    memcpy(r->body + r->body_size, data, one);
    r->body_size += one;
    return size;
}

/* gRPC's verdict comes behind the body, as a header line (or before it, if there is no body). */
static size_t on_header(char *data, size_t one, size_t size, void *ctx)
{
    static const char status[] = "grpc-status:", message[] = "grpc-message:";
    struct kube_request *r = ctx;
    size_t n;

    (void)one;
    if (size > sizeof(status) - 1 && strncasecmp(data, status, sizeof(status) - 1) == 0)
        r->grpc_status = atoi(data + sizeof(status) - 1);
    if (size > sizeof(message) - 1 && strncasecmp(data, message, sizeof(message) - 1) == 0) {
        n = MIN(size - (sizeof(message) - 1), sizeof(r->grpc_message) - 1);
        memcpy(r->grpc_message, data + sizeof(message) - 1, n);
        while (n && (r->grpc_message[n - 1] == '\r' || r->grpc_message[n - 1] == '\n'))
            n--;
        r->grpc_message[n] = 0;
    }
    return size;
}

/* A peer that is gone without a word shows by what we send and it does not acknowledge. */
static int on_new_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    unsigned ms = UNACKED_MS;

    (void)ctx;
    (void)purpose;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    return CURL_SOCKOPT_OK;
}

static void set_blob(CURL *easy, CURLoption option, const struct kube_blob *b)
{
    struct curl_blob blob = {b->data, b->size, CURL_BLOB_COPY};

    if (b->data)
        (void)curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, const struct kube_auth *a)
{
    set_blob(easy, CURLOPT_CAINFO_BLOB, &a->ca);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, &a->cert);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, &a->key);
    if (a->ca_file)
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, a->ca_file);
    if (a->cert_file)
        (void)curl_easy_setopt(easy, CURLOPT_SSLCERT, a->cert_file);
    if (a->key_file)
        (void)curl_easy_setopt(easy, CURLOPT_SSLKEY, a->key_file);
    if (a->insecure) {
        (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    /* A CA bundle that was replaced counts from the next connection on. */
    (void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void set_limits(CURL *easy, unsigned flags, long timeout_s)
{
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 15L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
    (void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (flags & KUBE_GET_FRESH)
        (void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (flags & KUBE_GET_STREAM)
        return;
    (void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    (void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT, timeout_s ? timeout_s : (long)LIST_TIMEOUT_S);
}

static int set_headers(struct kube_request *r, const struct kube_call *call, bool grpc,
                       struct error *err)
{
    CLEANUP(free_ptr) char *token = NULL;
    CLEANUP(buf_fini) struct buf line = BUF_INIT;
    int code = kube_auth_token(r->http->auth, &token, err);

    if (code < 0)
        return error_wrap(err, "service account");
    r->headers = curl_slist_append(NULL, grpc ? "TE: trailers" : "Accept: application/json");
    if (token && buf_printf(&line, "Authorization: Bearer %s", token) == 0)
        (void)curl_slist_append(r->headers, line.data);
    line.size = 0;
    if (call->content_type && buf_printf(&line, "Content-Type: %s", call->content_type) == 0)
        (void)curl_slist_append(r->headers, line.data);
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    return 0;
}

static void set_call(CURL *easy, const struct kube_call *call, bool grpc)
{
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body) {
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)call->size);
        (void)curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, call->body);
    }
    /* A connection of libcurl 7.88 that was idle fails at once ("framing layer") if the server had
     * spoken meanwhile, and gRPC servers do: one connection a call. */
    if (grpc)
        (void)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    else
        (void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                           grpc ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                : (long)CURL_HTTP_VERSION_2TLS);
}

int kube_send(struct kube_http *h, struct kube_request *r, const struct kube_call *call,
              struct error *err)
{
    CLEANUP(buf_fini) struct buf url = BUF_INIT;
    bool grpc = call->content_type && strcmp(call->content_type, "application/grpc") == 0;
    int code;

    r->http = h;
    r->headers = NULL;
    r->error[0] = r->grpc_message[0] = 0;
    r->body_size = 0;
    r->grpc_status = -1;
    r->easy = curl_easy_init();
    if (!r->easy || buf_printf(&url, "%s%s", h->auth->server, call->path) < 0)
        return error_errno(err, -ENOMEM, "request");
    if ((code = set_headers(r, call, grpc, err)) < 0) {
        kube_cancel(r);
        return code;
    }
    (void)curl_easy_setopt(r->easy, CURLOPT_URL, url.data);
    (void)curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    (void)curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
    (void)curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
    (void)curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(r->easy, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "bermd/" BERM_VERSION);
    if (h->auth->unix_socket)
        (void)curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, h->auth->unix_socket);
    set_call(r->easy, call, grpc);
    /* Of a socket beside us a connection costs nothing. */
    (void)curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, h->auth->unix_socket ? 1L : 0L);
    set_tls(r->easy, h->auth);
    set_limits(r->easy, call->flags, call->timeout_s);
    h->count.requests++;
    if (curl_multi_add_handle(h->multi, r->easy) != CURLM_OK) {
        kube_cancel(r);
        return error_set(err, -EIO, "libcurl refuses the request");
    }
    return 0;
}

int kube_get(struct kube_http *h, struct kube_request *r, const char *path, unsigned flags,
             struct error *err)
{
    struct kube_call call = {.method = "GET", .path = path, .flags = flags};

    return kube_send(h, r, &call, err);
}

void kube_cancel(struct kube_request *r)
{
    if (!r->easy)
        return;
    (void)curl_multi_remove_handle(r->http->multi, r->easy);
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers);
    r->easy = NULL;
    r->headers = NULL;
}

char *kube_escape(const char *s)
{
    char *e = curl_easy_escape(NULL, s, 0), *copy = e ? strdup(e) : NULL;

    curl_free(e);
    return copy;
}
