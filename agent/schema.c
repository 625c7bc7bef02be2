#include "agent/schema.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_format(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

int schema_fail(struct schema_error *e, int code, const char *path, const char *fmt, ...)
{
    char msg[sizeof(e->err.msg)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    (void)snprintf(e->path, sizeof(e->path), "%s", path);
    return error_set(&e->err, code, "%s", msg);
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool label_of_size(const char *s, size_t size)
{
    if (size == 0 || size > 63 || !is_alnum(s[0]) || !is_alnum(s[size - 1]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

bool name_is_label(const char *s)
{
    return label_of_size(s, strlen(s));
}

bool name_is_subdomain(const char *s)
{
    if (strlen(s) > 253)
        return false;
    for (;;) {
        size_t n = strcspn(s, ".");

        if (!label_of_size(s, n))
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}

bool name_is_key(const char *s)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t n = strlen(s);

    return n > 0 && n <= 253 && strspn(s, allowed) == n && strcmp(s, ".") != 0 &&
           strncmp(s, "..", 2) != 0;
}

bool path_is_clean(const char *s)
{
    if (s[0] != '/' || strlen(s) >= PATH_MAX)
        return false;
    for (const char *p = s; *p;) {
        size_t n = strcspn(++p, "/");

        if (n == 2 && strncmp(p, "..", 2) == 0)
            return false;
        p += n;
    }
    return true;
}

bool path_is_beneath(const char *path)
{
    if (!*path || strlen(path) > 1024)
        return false;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > NAME_MAX || strncmp(p, "..", 2) == 0 || (n == 1 && *p == '.'))
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

static int check_string(const json_t *v, const struct field *f, const char *path,
                        struct schema_error *e)
{
    const char *s = json_string_value(v);

    if (!s)
        return schema_fail(e, -EINVAL, path, "must be a string");
    if (strlen(s) != json_string_length(v))
        return schema_fail(e, -EINVAL, path, "holds a NUL character");
    switch (f->type) {
    case F_NAME:
        return name_is_label(s) ? 0
                                : schema_fail(e, -EINVAL, path, "'%.80s' is not a valid name", s);
    case F_SUBDOMAIN:
        return name_is_subdomain(s)
                   ? 0
                   : schema_fail(e, -EINVAL, path, "'%.80s' is not a valid name", s);
    case F_KEY:
        return name_is_key(s) ? 0 : schema_fail(e, -EINVAL, path, "'%.80s' is not a valid key", s);
    case F_PATH:
        return path_is_clean(s) ? 0
                                : schema_fail(e, -EINVAL, path,
                                              "'%.80s' must be an absolute path without '..'", s);
    default:
        return 0;
    }
}

static int check_int(const json_t *v, const struct field *f, const char *path,
                     struct schema_error *e)
{
    if (!json_is_integer(v))
        return schema_fail(e, -EINVAL, path, "must be an integer");
    if (json_integer_value(v) < f->min || json_integer_value(v) > f->max)
        return schema_fail(e, -EINVAL, path, "%lld is not within %lld to %lld",
                           (long long)json_integer_value(v), (long long)f->min, (long long)f->max);
    return 0;
}

static int check_items(const json_t *v, const struct field *f, const char *path,
                       struct schema_error *e)
{
    size_t i;
    json_t *item;

    if (!json_is_array(v))
        return schema_fail(e, -EINVAL, path, "must be a list");
    json_array_foreach(v, i, item)
    {
        char sub[256];
        int r;

        text_format(sub, sizeof(sub), "%s[%zu]", path, i);
        r = f->type == F_STRINGS ? check_string(item, f, sub, e)
                                 : schema_check(item, f->sub, sub, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_map(const json_t *v, const struct field *f, const char *path,
                     struct schema_error *e)
{
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return schema_fail(e, -EINVAL, path, "must be a map of strings");
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        char sub[256];
        int r;

        text_format(sub, sizeof(sub), "%s.%.100s", path, key);
        r = check_string(item, f, sub, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_value(const json_t *v, const struct field *f, const char *path,
                       struct schema_error *e)
{
    switch (f->type) {
    case F_INT:
        return check_int(v, f, path, e);
    case F_BOOL:
        return json_is_boolean(v) ? 0 : schema_fail(e, -EINVAL, path, "must be true or false");
    case F_STRINGS:
    case F_OBJECTS:
        return check_items(v, f, path, e);
    case F_MAP:
        return check_map(v, f, path, e);
    case F_OBJECT:
        return schema_check(v, f->sub, path, e);
    case F_REFUSED:
        return schema_fail(e, -EINVAL, path, "is not available: %s", f->why);
    case F_ANY:
        return 0;
    default:
        return check_string(v, f, path, e);
    }
}

static const struct field *find_field(const struct field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

static void join_path(char *out, size_t size, const char *path, const char *name)
{
    text_format(out, size, "%s%s%.100s", path, *path ? "." : "", name);
}

int schema_check(const json_t *object, const struct field *fields, const char *path,
                 struct schema_error *e)
{
    char sub[256];
    const char *key;
    json_t *v;

    if (!json_is_object(object))
        return schema_fail(e, -EINVAL, path, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        const struct field *f = find_field(fields, key);
        int r;

        join_path(sub, sizeof(sub), path, key);
        if (!f)
            return schema_fail(e, -EINVAL, sub, "unknown field");
        if (json_is_null(v))
            continue;
        r = check_value(v, f, sub, e);
        if (r < 0)
            return r;
    }
    for (const struct field *f = fields; f->name; f++) {
        const json_t *have = json_object_get(object, f->name);

        join_path(sub, sizeof(sub), path, f->name);
        if (f->required && (!have || json_is_null(have)))
            return schema_fail(e, -EINVAL, sub, "is required");
    }
    return 0;
}
