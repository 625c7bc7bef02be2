#include "policy/model/decode.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LABELS_MAX = 10000, LABEL_TEXT_MAX = 1024 };

static size_t append(char *path, size_t size, const char *text, bool dot)
{
    int n = snprintf(path + size, sizeof(((struct decoder *)0)->path) - size, "%s%.120s",
                     dot && size ? "." : "", text);

    return n < 0 ? size : MIN(size + (size_t)n, sizeof(((struct decoder *)0)->path) - 1);
}

size_t decode_enter(struct decoder *d, const char *field)
{
    size_t mark = d->path_size;

    d->path_size = append(d->path, d->path_size, field, true);
    return mark;
}

size_t decode_enter_index(struct decoder *d, size_t index)
{
    char text[32];
    size_t mark = d->path_size;

    (void)snprintf(text, sizeof(text), "[%zu]", index);
    d->path_size = append(d->path, d->path_size, text, false);
    return mark;
}

void decode_leave(struct decoder *d, size_t mark)
{
    d->path_size = mark;
    d->path[mark] = 0;
}

int decode_fail(struct decoder *d, const char *field, const char *fmt, ...)
{
    char reason[300];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    memcpy(d->bad_path, d->path, d->path_size + 1);
    if (field)
        (void)append(d->bad_path, d->path_size, field, true);
    if (d->bad_path[0])
        return error_set(d->err, -EINVAL, "%s: %s: %s", d->object, d->bad_path, reason);
    return error_set(d->err, -EINVAL, "%s: %s", d->object, reason);
}

int decode_memory(struct decoder *d)
{
    return error_set(d->err, -ENOMEM, "%s: out of memory", d->object);
}

int decode_fail_value(struct decoder *d, const char *field, const char *value, const char *why)
{
    char shown[104];
    size_t n = 0;

    for (; value[n] && n < 100; n++)
        shown[n] = (char)(isprint((unsigned char)value[n]) ? value[n] : '?');
    shown[n] = 0;
    return decode_fail(d, field, "\"%s%s\": %s", shown, value[n] ? "..." : "", why);
}

static const json_t *get(const json_t *o, const char *field)
{
    const json_t *v = json_object_get(o, field);

    return json_is_null(v) ? NULL : v;
}

bool decode_has(const json_t *o, const char *field)
{
    return get(o, field) != NULL;
}

int decode_object(struct decoder *d, const json_t *o, const char *field, const json_t **ret)
{
    *ret = get(o, field);
    if (*ret && !json_is_object(*ret)) {
        *ret = NULL;
        return decode_fail(d, field, "not an object");
    }
    return 0;
}

int decode_array(struct decoder *d, const json_t *o, const char *field, const json_t **ret)
{
    *ret = get(o, field);
    if (*ret && !json_is_array(*ret)) {
        *ret = NULL;
        return decode_fail(d, field, "not a list");
    }
    return 0;
}

int decode_string(struct decoder *d, const json_t *o, const char *field, const char **ret)
{
    const json_t *v = get(o, field);

    *ret = v ? json_string_value(v) : NULL;
    return v && !*ret ? decode_fail(d, field, "not a string") : 0;
}

int decode_bool(struct decoder *d, const json_t *o, const char *field, bool *ret)
{
    const json_t *v = get(o, field);

    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return decode_fail(d, field, "not true or false");
    *ret = json_is_true(v);
    return 0;
}

int decode_integer(struct decoder *d, const json_t *o, const char *field, long min, long max,
                   long *ret, bool *ret_there)
{
    const json_t *v = get(o, field);

    *ret_there = v != NULL;
    if (!v)
        return 0;
    if (!json_is_integer(v))
        return decode_fail(d, field, "not a whole number");
    if (json_integer_value(v) < min || json_integer_value(v) > max)
        return decode_fail(d, field, "%lld: not within %ld..%ld", (long long)json_integer_value(v),
                           min, max);
    *ret = (long)json_integer_value(v);
    return 0;
}

int decode_known(struct decoder *d, const json_t *o, const char *const *names)
{
    const char *key;
    const json_t *value;

    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        const char *const *n = names;

        while (*n && strcmp(*n, key) != 0)
            n++;
        if (!*n && !json_is_null(value))
            return decode_fail_value(d, NULL, key, "unknown field");
    }
    return 0;
}

/* Looser than the API server's check: only what would be unsafe in a path or a message. */
static bool name_ok(const char *s, size_t max)
{
    size_t n = strlen(s);

    if (n == 0 || n > max || s[0] == '.' || strstr(s, ".."))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-._", *s))
            return false;
    return true;
}

static int decode_identity(struct decoder *d, const json_t *meta, const char *kind, bool namespaced,
                           struct metadata *m)
{
    if (decode_string(d, meta, "name", &m->name) < 0 ||
        decode_string(d, meta, "namespace", &m->ns) < 0 ||
        decode_string(d, meta, "uid", &m->uid) < 0)
        return -EINVAL;
    if (!m->name)
        return decode_fail(d, "name", "missing");
    if (!name_ok(m->name, 253))
        return decode_fail_value(d, "name", m->name, "not a valid name");
    if (m->uid && strlen(m->uid) > 128)
        return decode_fail(d, "uid", "too long");
    m->uid = m->uid ? m->uid : "";
    if (!namespaced)
        m->ns = "";
    else if (!m->ns || !*m->ns)
        m->ns = "default";
    else if (!name_ok(m->ns, 63))
        return decode_fail_value(d, "namespace", m->ns, "not a valid name");
    (void)snprintf(d->object, sizeof(d->object), "%s %s%s%s", kind, m->ns, namespaced ? "/" : "",
                   m->name);
    return 0;
}

int decode_metadata(struct decoder *d, const json_t *object, const char *kind, bool namespaced,
                    struct metadata *ret)
{
    const json_t *meta;
    size_t mark;

    (void)snprintf(d->object, sizeof(d->object), "%s", kind);
    *ret = (struct metadata){0};
    if (!json_is_object(object))
        return decode_fail(d, NULL, "not an object");
    if (decode_object(d, object, "metadata", &meta) < 0)
        return -EINVAL;
    if (!meta)
        return decode_fail(d, "metadata", "missing");
    mark = decode_enter(d, "metadata");
    if (decode_identity(d, meta, kind, namespaced, ret) < 0 ||
        decode_object(d, meta, "labels", &ret->labels) < 0 ||
        decode_object(d, meta, "annotations", &ret->annotations) < 0)
        return -EINVAL;
    ret->deleting = decode_has(meta, "deletionTimestamp");
    decode_leave(d, mark);
    return 0;
}

static int label_at(struct decoder *d, const char *key, const json_t *value, struct label **ret)
{
    const char *text = json_string_value(value);

    if (!text)
        return decode_fail_value(d, NULL, key, "label is not a string");
    if (!*key || strlen(key) > LABEL_TEXT_MAX || strlen(text) > LABEL_TEXT_MAX)
        return decode_fail_value(d, NULL, key, "label is too long or has no key");
    *ret = label_get(d->labels, key, text);
    return *ret ? 0 : decode_memory(d);
}

int decode_labels(struct decoder *d, const json_t *map, const char *extra_key,
                  const char *extra_value, struct labels **ret)
{
    size_t max = json_object_size(map) + 1, n = 0;
    struct label **all;
    const json_t *value;
    const char *key;
    int r = 0;

    if (max > LABELS_MAX)
        return decode_fail(d, NULL, "too many labels");
    if (!(all = calloc(max, sizeof(*all))))
        return decode_memory(d);
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        if (extra_key && strcmp(key, extra_key) == 0)
            continue;
        if ((r = label_at(d, key, value, &all[n])) < 0)
            break;
        n++;
    }
    if (r == 0 && extra_key) {
        if (!(all[n] = label_get(d->labels, extra_key, extra_value)))
            r = decode_memory(d);
        else
            n++;
    }
    if (r == 0) {
        *ret = labels_get(d->labels, all, n);
        r = *ret ? 0 : decode_memory(d);
    } else {
        for (size_t i = 0; i < n; i++)
            label_put(d->labels, all[i]);
    }
    free(all);
    return r;
}
