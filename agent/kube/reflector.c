#include "agent/kube/reflector.h"

#include "agent/kube/known.h"
#include "agent/schema.h"
#include "common/log.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum {
    WATCH_SECONDS_MIN = 300, /* a watch ends by itself between this and twice this */
    SHORT_WATCH_MS = 1000,   /* one that ends sooner, with nothing said, counts as a failure */
    ITEMS_MAX = 4000000,     /* of one answer: more is no answer to a limit of 500 */
    STREAM_SILENCE_MS = 40000,
    BROKEN_PAGES_MAX = 2, /* so often a list that expired between pages is begun again in pages */
    RETRY_EXPONENT_MAX = 10,
};
#define END_MARK "k8s.io/initial-events-end"

static void begin(struct reflector *r, enum reflector_state what);

static uint32_t random_below(uint32_t n)
{
    uint32_t v = 0;

    if (n == 0 || getrandom(&v, sizeof(v), 0) != sizeof(v))
        return 0;
    return v % n;
}

/* -- after a failure --------------------------------------------------------------------- */

static void on_retry(void *ctx)
{
    struct reflector *r = ctx;

    begin(r, r->next);
}

static void wait_then(struct reflector *r, enum reflector_state next, uint64_t ms)
{
    loop_timer_cancel(&r->silence);
    stream_fini(&r->stream);
    r->state = REFLECTOR_WAITING;
    r->next = next;
    loop_timer_set(r->loop, &r->retry, ms, on_retry, r);
}

static uint64_t backoff(struct reflector *r, long retry_after)
{
    unsigned shift = MIN(r->failures, (unsigned)RETRY_EXPONENT_MAX);
    uint64_t ms = MIN(r->config.backoff_ms << shift, r->config.backoff_max_ms);

    r->failures++;
    ms = ms / 2 + random_below((uint32_t)ms + 1);
    return MAX(ms, (uint64_t)retry_after * 1000);
}

static enum reflector_state full_list(const struct reflector *r)
{
    return r->no_streaming ? REFLECTOR_LISTING : REFLECTOR_STREAMING;
}

/* What r->error says went wrong; goes on with `next` after a while. */
static void fail(struct reflector *r, enum reflector_state next, long retry_after)
{
    uint64_t ms = backoff(r, retry_after);

    r->count.failures++;
    log_warn("API server: %s: %s; again in %llu ms", r->config.name, r->error.msg,
             (unsigned long long)ms);
    wait_then(r, next, ms);
}

/* -- objects ------------------------------------------------------------------------------ */

static void healthy(struct reflector *r)
{
    r->heard_ms = loop_now_ms();
    r->error.code = 0;
    r->error.msg[0] = 0;
}

/* Only a watch that says something ends a series of failures: a list that works, followed by a
 * watch that never does, must not be asked for again and again. */
static void progressed(struct reflector *r)
{
    healthy(r);
    r->progressed = true;
    r->failures = 0;
}

struct identity {
    const char *ns, *name, *version;
};

static int identify(const json_t *object, struct identity *ret, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata");
    const json_t *ns = json_object_get(m, "namespace");

    ret->name = json_string_value(json_object_get(m, "name"));
    ret->version = json_string_value(json_object_get(m, "resourceVersion"));
    ret->ns = ns ? json_string_value(ns) : "";
    if (!ret->name || !ret->ns || !name_is_subdomain(ret->name) ||
        (*ret->ns && !name_is_label(ret->ns)))
        return error_set(err, -EBADMSG, "an object has no proper name");
    if (!ret->version || strlen(ret->version) >= REFLECTOR_VERSION_MAX)
        return error_set(err, -EBADMSG, "%.100s has no proper resourceVersion", ret->name);
    return 0;
}

static int hold(struct reflector *r, const json_t *object, const struct identity *id,
                struct error *err)
{
    struct error refused = ERROR_INIT;

    if (known_put(&r->known, id->ns, id->name, id->version, r->generation) < 0)
        return error_errno(err, -ENOMEM, "object");
    if (r->ops->apply(r->ctx, object, &refused) < 0) {
        r->count.refused++;
        /* What came was wrong, or was made so on its way. The object is not sent again, so it is
         * asked for when the watch ends; one that a list has in no better form waits for its next
         * change. */
        if (r->state == REFLECTOR_WATCHING || !r->again)
            r->refused = true;
        log_error("API server: %s %s%s%s refused, what was known of it stays: %s", r->config.name,
                  id->ns, *id->ns ? "/" : "", id->name, refused.msg);
    }
    return 0;
}

static int on_item(void *ctx, const json_t *object, struct error *err)
{
    struct reflector *r = ctx;
    struct identity id;
    int code = identify(object, &id, err);

    if (code < 0)
        return code;
    if (r->stream.count > ITEMS_MAX)
        return error_set(err, -E2BIG, "more than %d items", ITEMS_MAX);
    return hold(r, object, &id, err);
}

struct sweep {
    struct reflector *r;
    size_t n;
};

static void remove_one(void *ctx, const char *ns, const char *name)
{
    struct sweep *s = ctx;

    s->r->ops->remove(s->r->ctx, ns, name);
    s->n++;
}

/* A list is complete: what it did not have is gone. */
static void complete(struct reflector *r)
{
    struct sweep s = {r, 0};

    known_sweep(&r->known, r->generation, remove_one, &s);
    log_write(r->synced && !s.n ? LOG_DEBUG : LOG_INFO, "API server: %s: %zu listed, %zu were gone",
              r->config.name, r->known.count, s.n);
    r->synced = true;
    r->broken_pages = 0;
    healthy(r);
    r->ops->synced(r->ctx);
}

/* -- watch -------------------------------------------------------------------------------- */

/* An error as an object: by its code as if the request had failed so. */
static int on_error_event(const json_t *status, struct error *err)
{
    json_int_t code = json_integer_value(json_object_get(status, "code"));
    const char *message = json_string_value(json_object_get(status, "message"));

    return error_set(err, code == 410 || code == 504 ? -ESTALE : -EREMOTEIO, "%d %.200s", (int)code,
                     message ? message : "");
}

static int on_bookmark(struct reflector *r, const json_t *object, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata");
    const char *version = json_string_value(json_object_get(m, "resourceVersion"));
    const char *mark =
        json_string_value(json_object_get(json_object_get(m, "annotations"), END_MARK));

    if (!version || strlen(version) >= sizeof(r->version))
        return error_set(err, -EBADMSG, "a bookmark has no proper resourceVersion");
    text_format(r->version, sizeof(r->version), "%s", version);
    if (r->state == REFLECTOR_WATCHING) {
        progressed(r);
    } else if (mark && strcmp(mark, "true") == 0) {
        r->state = REFLECTOR_WATCHING;
        complete(r);
    } else {
        r->no_streaming = true;
        return error_set(err, -ENOTSUP, "streamed lists are not known there");
    }
    return 0;
}

static int on_change(struct reflector *r, const char *type, const json_t *object, struct error *err)
{
    struct identity id;
    int code = identify(object, &id, err);

    if (code < 0)
        return code;
    /* A stream that goes back in time: only a list tells what is true. */
    if (r->state == REFLECTOR_WATCHING && known_is_newer(&r->known, id.ns, id.name, id.version))
        return error_set(err, -ESTALE, "%.60s/%.100s went back to an older version", id.ns,
                         id.name);
    if (strcmp(type, "DELETED") == 0) {
        if (known_drop(&r->known, id.ns, id.name))
            r->ops->remove(r->ctx, id.ns, id.name);
    } else if ((code = hold(r, object, &id, err)) < 0) {
        return code;
    }
    /* Within a streamed list only its end mark says a version that can be gone on from. */
    if (r->state == REFLECTOR_WATCHING) {
        text_format(r->version, sizeof(r->version), "%s", id.version);
        progressed(r);
    }
    return 0;
}

static int on_event(void *ctx, const json_t *event, struct error *err)
{
    static const char *const changes[] = {"ADDED", "MODIFIED", "DELETED"};
    struct reflector *r = ctx;
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "object");

    if (!type || !json_is_object(object))
        return error_set(err, -EBADMSG, "an event without type or object");
    r->count.events++;
    if (strcmp(type, "BOOKMARK") == 0)
        return on_bookmark(r, object, err);
    if (strcmp(type, "ERROR") == 0)
        return on_error_event(object, err);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        if (strcmp(type, changes[i]) == 0)
            return on_change(r, type, object, err);
    return error_set(err, -EBADMSG, "event type '%.20s' is not known", type);
}

/* -- requests ------------------------------------------------------------------------------ */

/* A server that does not know streamed lists says nothing at their end. */
static uint64_t patience(const struct reflector *r)
{
    return r->state == REFLECTOR_STREAMING ? MIN(r->config.silence_ms, (uint64_t)STREAM_SILENCE_MS)
                                           : r->config.silence_ms;
}

static void on_silence(void *ctx)
{
    struct reflector *r = ctx;

    kube_cancel(&r->request);
    r->fresh = true;
    (void)error_set(&r->error, -ETIMEDOUT, "the connection was silent for %llu ms",
                    (unsigned long long)patience(r));
    if (r->state == REFLECTOR_STREAMING && r->stream.count)
        r->no_streaming = true;
    /* Each try takes its time already. */
    r->failures = 0;
    fail(r, r->state == REFLECTOR_WATCHING ? REFLECTOR_WATCHING : full_list(r), 0);
}

static int on_data(void *ctx, const char *data, size_t size)
{
    struct reflector *r = ctx;
    size_t before = r->stream.count;
    int code = stream_feed(&r->stream, data, size, &r->error);

    /* An object that never ends is silence, too, however many bytes it has. */
    if (r->stream.count != before)
        loop_timer_set(r->loop, &r->silence, patience(r), on_silence, r);
    return code;
}

static void absent(struct reflector *r)
{
    if (r->state != REFLECTOR_ABSENT && !r->synced)
        log_info("API server: %s: not served", r->config.name);
    r->generation++;
    complete(r);
    wait_then(r, full_list(r), r->config.absent_ms);
    r->state = REFLECTOR_ABSENT;
}

/* An answer that was no success: by a table, for the server means something by each. */
static void on_status(struct reflector *r, const struct kube_result *result)
{
    bool streaming = r->state == REFLECTOR_STREAMING;
    enum reflector_state next = r->state == REFLECTOR_WATCHING ? REFLECTOR_WATCHING : full_list(r);

    (void)error_set(&r->error, -EREMOTEIO, "%ld %.200s", result->status, result->body);
    switch (result->status) {
    case 404:
        if (r->config.optional) {
            absent(r);
            return;
        }
        break;
    case 400:
    case 405:
    case 422:
        /* The parameters of a streamed list are refused where it isn't known or is off. */
        if (streaming) {
            r->no_streaming = true;
            begin(r, REFLECTOR_LISTING);
            return;
        }
        free_ptr(&r->token);
        next = full_list(r);
        break;
    case 410:
    case 504: /* also "Too large resource version": the server's store went back */
        if (r->state == REFLECTOR_LISTING && r->token)
            r->broken_pages++;
        free_ptr(&r->token);
        next = full_list(r);
        break;
    default: /* 401: the token is read again; 403, 429, 5xx */
        break;
    }
    fail(r, next, result->retry_after);
}

static void on_list_end(struct reflector *r)
{
    json_t *envelope = NULL;
    const json_t *m;
    const char *version, *token;

    if (stream_end(&r->stream, &envelope, &r->error) < 0) {
        free_ptr(&r->token);
        fail(r, full_list(r), 0);
        return;
    }
    m = json_object_get(envelope, "metadata");
    version = json_string_value(json_object_get(m, "resourceVersion"));
    token = json_string_value(json_object_get(m, "continue"));
    free_ptr(&r->token);
    if (!version || strlen(version) >= sizeof(r->version)) {
        (void)error_set(&r->error, -EBADMSG, "the list has no proper resourceVersion");
        fail(r, full_list(r), 0);
    } else {
        text_format(r->version, sizeof(r->version), "%s", version);
        r->token = token && *token ? strdup(token) : NULL;
        healthy(r);
        if (!r->token)
            complete(r);
        begin(r, r->token ? REFLECTOR_LISTING : REFLECTOR_WATCHING);
    }
    json_decref(envelope);
}

/* What can't be gone on from: the same event would come again. */
static bool needs_list(int code)
{
    return code == -ESTALE || code == -EBADMSG || code == -EMSGSIZE;
}

/* A watch came to its end, as all do. What was sent by half is sent again. */
static void on_watch_end(struct reflector *r, bool clean)
{
    bool early = !r->progressed && loop_now_ms() - r->began_ms < SHORT_WATCH_MS;
    enum reflector_state next = r->refused ? full_list(r) : REFLECTOR_WATCHING;

    if (r->state == REFLECTOR_STREAMING) {
        if (clean)
            (void)error_set(&r->error, -EPIPE, "the list ended early");
        fail(r, full_list(r), 0);
    } else if (r->error.code == -ESTALE && r->progressed) {
        log_info("API server: %s: %s: listing again", r->config.name, r->error.msg);
        wait_then(r, full_list(r), random_below((uint32_t)r->config.backoff_ms));
    } else if (clean && !early) {
        wait_then(r, next, random_below((uint32_t)r->config.backoff_ms / 4 + 1));
    } else {
        if (!r->error.code)
            (void)error_set(&r->error, -EPIPE, "the watch ended at once");
        fail(r, needs_list(r->error.code) ? full_list(r) : next, 0);
    }
}

static void on_done(void *ctx, const struct kube_result *result)
{
    struct reflector *r = ctx;
    bool success = result->status >= 200 && result->status < 300;

    loop_timer_cancel(&r->silence);
    r->fresh = result->code != CURLE_OK && result->code != CURLE_WRITE_ERROR;
    if (result->status && !success) {
        on_status(r, result);
        return;
    }
    if (result->code == CURLE_OK && r->stream.list) {
        on_list_end(r);
        return;
    }
    if (result->code == CURLE_OK && r->error.code == 0)
        (void)stream_end(&r->stream, NULL, &r->error);
    /* What stream_feed refused stands in r->error already. */
    if (result->code != CURLE_OK && (result->code != CURLE_WRITE_ERROR || !r->error.code))
        (void)error_set(&r->error, -EIO, "%.200s", result->message);
    if (r->stream.list || (!success && r->state == REFLECTOR_STREAMING))
        fail(r, full_list(r), 0);
    else
        on_watch_end(r, r->error.code == 0);
}

static int put(struct buf *b, const char *key, const char *value)
{
    CLEANUP(free_ptr) char *v = kube_escape(value);

    return v ? buf_printf(b, "&%s=%s", key, v) : -ENOMEM;
}

static int make_path(const struct reflector *r, struct buf *b)
{
    const struct reflector_config *c = &r->config;
    char page[32];
    int code = buf_printf(b, "%s?", c->path);

    if (c->selector)
        code |= put(b, "fieldSelector", c->selector);
    if (c->labels)
        code |= put(b, "labelSelector", c->labels);
    if (r->state == REFLECTOR_LISTING) {
        /* Pages that expire again and again: all at once; the items are cut out one by one. */
        text_format(page, sizeof(page), "%zu", c->page);
        if (r->broken_pages < BROKEN_PAGES_MAX)
            code |= put(b, "limit", page);
        return r->token ? code | put(b, "continue", r->token) : code;
    }
    code |= buf_printf(b, "&watch=true&allowWatchBookmarks=true&timeoutSeconds=%u",
                       WATCH_SECONDS_MIN + random_below(WATCH_SECONDS_MIN));
    if (r->state == REFLECTOR_STREAMING)
        return code | buf_puts(b, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    return code | put(b, "resourceVersion", r->version);
}

static void begin(struct reflector *r, enum reflector_state what)
{
    CLEANUP(buf_fini) struct buf path = BUF_INIT;
    bool list = what == REFLECTOR_LISTING;

    r->state = what;
    if (what != REFLECTOR_LISTING)
        free_ptr(&r->token);
    if (what == REFLECTOR_STREAMING || (list && !r->token)) {
        r->generation++;
        r->count.lists++;
        r->again = r->refused;
        r->refused = false;
    } else if (!list) {
        r->count.watches++;
    }
    stream_fini(&r->stream);
    stream_init(&r->stream, list, r->config.object_max, list ? on_item : on_event, r);
    r->error = (struct error)ERROR_INIT;
    r->progressed = false;
    r->began_ms = loop_now_ms();
    if (make_path(r, &path) < 0)
        (void)error_errno(&r->error, -ENOMEM, "request");
    else
        (void)kube_get(r->http, &r->request, path.data,
                       (list ? 0u : KUBE_GET_STREAM) | (r->fresh ? KUBE_GET_FRESH : 0u), &r->error);
    if (r->error.code)
        fail(r, what, 0);
    else
        loop_timer_set(r->loop, &r->silence, patience(r), on_silence, r);
}

void reflector_init(struct reflector *r, const struct reflector_config *config,
                    const struct reflector_ops *ops, void *ctx, struct kube_http *http)
{
    *r = (struct reflector){
        .config = *config, .ops = ops, .ctx = ctx, .loop = http->loop, .http = http};
    r->request.data = on_data;
    r->request.done = on_done;
    r->request.ctx = r;
}

void reflector_start(struct reflector *r)
{
    begin(r, full_list(r));
}

void reflector_fini(struct reflector *r)
{
    if (!r->loop)
        return;
    kube_cancel(&r->request);
    loop_timer_cancel(&r->retry);
    loop_timer_cancel(&r->silence);
    stream_fini(&r->stream);
    free_ptr(&r->token);
    known_free(&r->known);
}

uint64_t reflector_age_ms(const struct reflector *r)
{
    return r->synced ? loop_now_ms() - r->heard_ms : UINT64_MAX;
}

const char *reflector_state_name(const struct reflector *r)
{
    static const char *const names[] = {
        [REFLECTOR_LISTING] = "listing",   [REFLECTOR_STREAMING] = "listing",
        [REFLECTOR_WATCHING] = "watching", [REFLECTOR_WAITING] = "waiting",
        [REFLECTOR_ABSENT] = "not served",
    };

    return names[r->state];
}
