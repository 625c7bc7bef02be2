#include "agent/cri/cri.h"

#include <errno.h>
#include <string.h>

enum { ANSWER_MAX = 16 << 20, FRAME = 5, NOT_FOUND = 5, TIMEOUT_S = 30 };

static const char *const paths[] = {
    [CRI_STATUS] = "/runtime.v1.RuntimeService/Status",
    [CRI_LIST_SANDBOXES] = "/runtime.v1.RuntimeService/ListPodSandbox",
    [CRI_SANDBOX_STATUS] = "/runtime.v1.RuntimeService/PodSandboxStatus",
    [CRI_LIST_CONTAINERS] = "/runtime.v1.RuntimeService/ListContainers",
    [CRI_REMOVE_SANDBOX] = "/runtime.v1.RuntimeService/RemovePodSandbox",
};

int cri_init(struct cri *c, struct loop *l, const char *socket, struct error *err)
{
    *c = (struct cri){.socket = strdup(socket)};
    c->auth.server = strdup("http://localhost");
    if (!c->socket || !c->auth.server)
        return error_errno(err, -ENOMEM, "CRI");
    c->auth.unix_socket = c->socket;
    return kube_http_init(&c->http, l, &c->auth, err);
}

void cri_fini(struct cri *c)
{
    kube_http_fini(&c->http);
    kube_auth_fini(&c->auth);
    free_ptr(&c->socket);
}

/* One message in a frame: not compressed, its size in network order. */
static size_t make_request(enum cri_method method, const char *id, uint8_t out[256])
{
    size_t n = FRAME, size;

    if (method == CRI_STATUS) {
        out[n++] = 1 << 3; /* verbose */
        out[n++] = 1;
    } else if (method == CRI_SANDBOX_STATUS || method == CRI_REMOVE_SANDBOX) {
        size = MIN(strlen(id), (size_t)127);
        out[n++] = 1 << 3 | 2;
        out[n++] = (uint8_t)size;
        memcpy(out + n, id, size);
        n += size;
    }
    if (method == CRI_SANDBOX_STATUS) {
        out[n++] = 2 << 3; /* verbose */
        out[n++] = 1;
    }
    memset(out, 0, FRAME);
    out[4] = (uint8_t)(n - FRAME);
    return n;
}

static int on_data(void *ctx, const char *data, size_t size)
{
    struct cri_call *call = ctx;

    if (call->answer.size + size > ANSWER_MAX)
        return -EMSGSIZE;
    return buf_append(&call->answer, data, size);
}

static int judge(const struct cri_call *call, const struct kube_result *r, struct pb *ret,
                 struct error *err)
{
    const uint8_t *p = (const uint8_t *)call->answer.data;
    size_t size;

    if (r->code != CURLE_OK)
        return error_set(err, -EIO, "CRI: %.200s", r->message);
    if (r->status != 200)
        return error_set(err, -EIO, "CRI: the socket answers %ld", r->status);
    if (r->grpc_status != 0)
        return error_set(err, r->grpc_status == NOT_FOUND ? -ENOENT : -EREMOTEIO,
                         "CRI: status %d: %.250s", r->grpc_status, r->grpc_message);
    if (call->answer.size < FRAME || p[0] != 0)
        return error_set(err, -EBADMSG, "CRI: the answer has no proper frame");
    size = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (size != call->answer.size - FRAME)
        return error_set(err, -EBADMSG, "CRI: the answer is not one message");
    *ret = pb_message(p + FRAME, size);
    return 0;
}

static void on_done(void *ctx, const struct kube_result *result)
{
    struct cri_call *call = ctx;
    struct error err = ERROR_INIT;
    struct pb message = {0};

    (void)judge(call, result, &message, &err);
    call->done(call->ctx, &message, &err);
}

int cri_send(struct cri *c, struct cri_call *call, enum cri_method method, const char *id,
             struct error *err)
{
    uint8_t body[256];
    struct kube_call request = {.method = "POST",
                                .path = paths[method],
                                .content_type = "application/grpc",
                                .body = body,
                                .size = make_request(method, id, body),
                                .flags = KUBE_GET_FRESH,
                                .timeout_s = TIMEOUT_S};

    call->answer.size = 0;
    call->request.data = on_data;
    call->request.done = on_done;
    call->request.ctx = call;
    return kube_send(&c->http, &call->request, &request, err);
}

void cri_cancel(struct cri_call *call)
{
    kube_cancel(&call->request);
    buf_fini(&call->answer);
}

struct wait {
    struct loop *loop;
    struct pb message;
    struct error err;
};

static void on_answer(void *ctx, const struct pb *message, const struct error *err)
{
    struct wait *w = ctx;

    w->message = *message;
    w->err = *err;
    loop_stop(w->loop);
}

int cri_ask(struct cri *c, struct cri_call *call, enum cri_method method, const char *id,
            struct pb *ret, struct error *err)
{
    struct wait w = {.loop = c->http.loop};
    int r;

    call->done = on_answer;
    call->ctx = &w;
    r = cri_send(c, call, method, id, err);
    if (r < 0)
        return r;
    w.loop->stop = false;
    r = loop_run(w.loop);
    if (r < 0)
        return error_errno(err, r, "CRI");
    if (w.err.code)
        return error_set(err, w.err.code, "%s", w.err.msg);
    *ret = w.message;
    return 0;
}

static void read_metadata(struct pb m, struct cri_sandbox *s)
{
    struct pb_field f;

    while (pb_next(&m, &f)) {
        if (f.number == 1)
            (void)pb_text(&f.data, s->name, sizeof(s->name));
        else if (f.number == 2)
            (void)pb_text(&f.data, s->uid, sizeof(s->uid));
        else if (f.number == 3)
            (void)pb_text(&f.data, s->ns, sizeof(s->ns));
    }
}

static bool read_sandbox(struct pb m, struct cri_sandbox *s)
{
    struct pb_field f;

    *s = (struct cri_sandbox){.ready = true}; /* state 0, which is left out */
    while (pb_next(&m, &f)) {
        if (f.number == 1)
            (void)pb_text(&f.data, s->id, sizeof(s->id));
        else if (f.number == 2)
            read_metadata(f.data, s);
        else if (f.number == 3)
            s->ready = f.value == 0;
        else if (f.number == 4)
            s->created_ns = f.value;
        else if (f.number == 7)
            (void)pb_text(&f.data, s->handler, sizeof(s->handler));
    }
    return !m.broken;
}

int cri_each_sandbox(struct pb list, int (*fn)(void *ctx, const struct cri_sandbox *s), void *ctx)
{
    struct pb_field f;

    while (pb_next(&list, &f)) {
        struct cri_sandbox s;
        int r;

        if (f.number != 1)
            continue;
        if (!read_sandbox(f.data, &s))
            return -EBADMSG;
        r = fn(ctx, &s);
        if (r)
            return r;
    }
    return list.broken ? -EBADMSG : 0;
}

static bool read_container(struct pb m, struct cri_container *c)
{
    struct pb_field f;

    *c = (struct cri_container){0};
    while (pb_next(&m, &f)) {
        if (f.number == 2)
            (void)pb_text(&f.data, c->sandbox, sizeof(c->sandbox));
        else if (f.number == 7)
            c->created_ns = f.value;
    }
    return !m.broken;
}

int cri_each_container(struct pb list, int (*fn)(void *ctx, const struct cri_container *c),
                       void *ctx)
{
    struct pb_field f;

    while (pb_next(&list, &f)) {
        struct cri_container c;
        int r;

        if (f.number != 1)
            continue;
        if (!read_container(f.data, &c))
            return -EBADMSG;
        r = fn(ctx, &c);
        if (r)
            return r;
    }
    return list.broken ? -EBADMSG : 0;
}

json_t *cri_info(struct pb message, const char *key)
{
    struct pb_field f;
    struct pb k, v;

    while (pb_next(&message, &f))
        if (f.number == 2 && pb_entry(&f.data, &k, &v) && pb_is(&k, key))
            return json_loadb((const char *)v.at, (size_t)(v.end - v.at), JSON_ALLOW_NUL, NULL);
    return NULL;
}
