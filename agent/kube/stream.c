#include "agent/kube/stream.h"

#include <errno.h>
#include <string.h>

enum { KEEP_CAPACITY = 1 << 20 };

void stream_init(struct stream *s, bool list, size_t max,
                 int (*fn)(void *ctx, const json_t *object, struct error *err), void *ctx)
{
    *s = (struct stream){.list = list, .max = max, .fn = fn, .ctx = ctx};
}

void stream_fini(struct stream *s)
{
    buf_fini(&s->object);
    buf_fini(&s->envelope);
}

/* NUL within strings is legal JSON and may be in an annotation: it must not stop the stream. */
static json_t *parse(const struct buf *b, struct error *err)
{
    json_error_t e;
    json_t *json = json_loadb(b->data, b->size, JSON_ALLOW_NUL, &e);

    if (!json)
        (void)error_set(err, -EBADMSG, "an object can't be parsed: %.200s", e.text);
    return json;
}

static int emit(struct stream *s, struct error *err)
{
    json_t *json = parse(&s->object, err);
    int r;

    if (s->object.capacity > KEEP_CAPACITY)
        buf_fini(&s->object);
    s->object.size = 0;
    if (!json)
        return -EBADMSG;
    s->count++;
    r = s->fn(s->ctx, json, err);
    json_decref(json);
    return r < 0 ? r : 0;
}

/* Bytes of data[from..to) that belong to the object, or to what is around the items. */
static int keep(struct stream *s, bool object, const char *data, size_t size, struct error *err)
{
    struct buf *b = object ? &s->object : &s->envelope;
    size_t max = object ? s->max : STREAM_ENVELOPE_MAX;

    if (size == 0 || (!object && !s->list))
        return 0;
    if (size > max || b->size > max - size)
        return error_set(err, -EMSGSIZE, "%s is larger than %zu bytes",
                         object ? "an object" : "what is around a list's items", max);
    return buf_append(b, data, size) < 0 ? error_errno(err, -ENOMEM, "object") : 0;
}

static void string_byte(struct stream *s, char c)
{
    if (s->escaped)
        s->escaped = false;
    else if (c == '\\')
        s->escaped = true;
    else if (c == '"')
        s->in_string = false;
    if (s->in_string && s->depth == 1 && s->word_size < sizeof(s->word))
        s->word[s->word_size++] = c;
}

/* True if an object begins with this byte. */
static bool opens(struct stream *s, char c)
{
    bool items = s->list && s->depth == 1 && c == '[' && s->base == 0 && s->key_items;
    bool begins =
        c == '{' && !s->capturing && (s->list ? s->base != 0 : true) && s->depth == s->base;

    s->depth++;
    if (items)
        s->base = s->depth;
    return begins;
}

static int structure_byte(struct stream *s, char c, bool *ret_begins, bool *ret_ends,
                          struct error *err)
{
    switch (c) {
    case '"':
        s->in_string = true;
        if (s->depth == 1)
            s->word_size = 0;
        return 0;
    case ':':
        if (s->depth == 1)
            s->key_items = s->word_size == 5 && memcmp(s->word, "items", 5) == 0;
        return 0;
    case '{':
    case '[':
        if (s->depth >= STREAM_DEPTH_MAX)
            return error_set(err, -EBADMSG, "nested deeper than %d", STREAM_DEPTH_MAX);
        *ret_begins = opens(s, c);
        return 0;
    case '}':
    case ']':
        if (s->depth == 0)
            return error_set(err, -EBADMSG, "a bracket closes that was not open");
        s->depth--;
        *ret_ends = s->capturing && s->depth == s->base;
        if (!s->capturing && s->base && s->depth < s->base)
            s->base = 0;
        return 0;
    default:
        return 0;
    }
}

/* Between objects only white space and commas may be; elsewhere the parser judges. */
static bool stray(const struct stream *s, char c)
{
    return !s->capturing && s->depth == s->base && (s->base || !s->list) && !strchr(" \t\r\n,", c);
}

int stream_feed(struct stream *s, const char *data, size_t size, struct error *err)
{
    size_t from = 0;
    int r;

    for (size_t i = 0; i < size; i++) {
        bool begins = false, ends = false;

        if (s->in_string) {
            string_byte(s, data[i]);
            continue;
        }
        if (stray(s, data[i]) && data[i] != '{' && data[i] != ']')
            return error_set(err, -EBADMSG, "not an object: byte 0x%02x",
                             (unsigned)(unsigned char)data[i]);
        /* The bytes between items go; the brackets around them stay. */
        if (!s->capturing && s->base && s->depth == s->base && data[i] != ']')
            from = i + 1;
        if ((r = structure_byte(s, data[i], &begins, &ends, err)) < 0)
            return r;
        if (begins) {
            from = i;
            s->capturing = true;
        } else if (ends) {
            if ((r = keep(s, true, data + from, i + 1 - from, err)) < 0)
                return r;
            from = i + 1;
            s->capturing = false;
            if ((r = emit(s, err)) < 0)
                return r;
        } else if (s->base && s->depth == s->base && !s->capturing && data[i] == '[') {
            if ((r = keep(s, false, data + from, i + 1 - from, err)) < 0)
                return r;
            from = i + 1;
        }
    }
    return keep(s, s->capturing, data + from, size - from, err);
}

int stream_end(struct stream *s, json_t **ret_envelope, struct error *err)
{
    json_t *json;

    if (s->depth || s->in_string)
        return error_set(err, -EBADMSG, "the text ends within an object");
    if (!s->list)
        return 0;
    json = s->envelope.size ? parse(&s->envelope, err) : NULL;
    if (!json_is_object(json)) {
        json_decref(json);
        return error_set(err, -EBADMSG, "the answer is no list");
    }
    if (ret_envelope)
        *ret_envelope = json;
    else
        json_decref(json);
    return 0;
}
