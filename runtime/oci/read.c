#include "runtime/oci/read.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRING_MAX = 131072, DEPTH_MAX = 16, INTS_MAX = 65536 };

static size_t push(struct oci_reader *r, const char *name)
{
    size_t before = r->path_len;
    int n = snprintf(r->path + before, sizeof(r->path) - before, "%s%s", before ? "." : "", name);

    r->path_len = MIN(before + (size_t)MAX(n, 0), sizeof(r->path) - 1);
    return before;
}

static size_t push_index(struct oci_reader *r, size_t i)
{
    size_t before = r->path_len;
    int n = snprintf(r->path + before, sizeof(r->path) - before, "[%zu]", i);

    r->path_len = MIN(before + (size_t)MAX(n, 0), sizeof(r->path) - 1);
    return before;
}

static void pop(struct oci_reader *r, size_t before)
{
    r->path_len = before;
    r->path[before] = 0;
}

int oci_read_fail(struct oci_reader *r, const char *member, const char *fmt, ...)
{
    size_t before = r->path_len;
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (member)
        (void)push(r, member);
    (void)error_set(r->err, -EINVAL, "%s: %s%s%s", r->file, r->path, r->path_len ? ": " : "", text);
    pop(r, before);
    return -EINVAL;
}

static int read_string(struct oci_reader *r, json_t *value, const char **out)
{
    if (!json_is_string(value))
        return oci_read_fail(r, NULL, "must be a string");
    if (json_string_length(value) > STRING_MAX)
        return oci_read_fail(r, NULL, "is longer than %d bytes", STRING_MAX);
    *out = json_string_value(value);
    return 0;
}

static int read_int(struct oci_reader *r, json_t *value, const struct oci_field *f, int64_t *out)
{
    if (!json_is_integer(value))
        return oci_read_fail(r, NULL, "must be an integer");
    if (json_integer_value(value) < f->min || json_integer_value(value) > f->max)
        return oci_read_fail(r, NULL, "must be from %lld to %lld", (long long)f->min,
                             (long long)f->max);
    *out = json_integer_value(value);
    return 0;
}

static int check_array(struct oci_reader *r, json_t *value, const struct oci_field *f)
{
    if (!json_is_array(value))
        return oci_read_fail(r, NULL, "must be an array");
    if (json_array_size(value) > (size_t)f->max)
        return oci_read_fail(r, NULL, "has more than %lld entries", (long long)f->max);
    return 0;
}

static int read_strings(struct oci_reader *r, json_t *value, const struct oci_field *f,
                        struct oci_strings *out)
{
    int ret = check_array(r, value, f);
    size_t n = json_array_size(value);

    if (ret < 0)
        return ret;
    out->items = calloc(n + 1, sizeof(*out->items));
    if (!out->items)
        return oci_read_fail(r, NULL, "out of memory");
    for (size_t i = 0; i < n && ret == 0; i++) {
        size_t before = push_index(r, i);

        ret = read_string(r, json_array_get(value, i), &out->items[i]);
        pop(r, before);
        out->count++;
    }
    return ret;
}

static int read_array(struct oci_reader *r, json_t *value, const struct oci_field *f,
                      struct oci_array *out)
{
    int ret = check_array(r, value, f);
    size_t n = json_array_size(value);

    if (ret < 0)
        return ret;
    out->items = calloc(n + 1, f->size);
    if (!out->items)
        return oci_read_fail(r, NULL, "out of memory");
    for (size_t i = 0; i < n && ret == 0; i++) {
        size_t before = push_index(r, i);

        out->count++;
        ret = oci_read_fields(r, json_array_get(value, i), f->fields,
                              (char *)out->items + i * f->size);
        pop(r, before);
    }
    return ret;
}

static int check_ints(struct oci_reader *r, json_t *value, const struct oci_field *f)
{
    const struct oci_field list = {.max = INTS_MAX};
    int ret = check_array(r, value, &list);
    int64_t ignored;

    for (size_t i = 0; ret == 0 && i < json_array_size(value); i++) {
        size_t before = push_index(r, i);

        ret = read_int(r, json_array_get(value, i), f, &ignored);
        pop(r, before);
    }
    return ret;
}

/* Encoders of other languages write members that nobody has set. */
static bool says_nothing(json_t *value)
{
    const char *name;
    json_t *member;

    if (json_is_string(value))
        return json_string_length(value) == 0;
    if (json_is_number(value))
        return json_number_value(value) == 0;
    if (json_is_object(value))
        json_object_foreach(value, name, member) if (!says_nothing(member)) return false;
    return !json_is_true(value) && json_array_size(value) == 0;
}

static int accept(struct oci_reader *r, json_t *value, const struct oci_field *f)
{
    static const char *const names[] = {"an object",  "an array", "a string",
                                        "an integer", "a number", "a boolean"};

    /* JSON_FALSE comes behind JSON_TRUE, and both are booleans. */
    if (MIN(json_typeof(value), JSON_TRUE) != f->json || json_is_null(value))
        return oci_read_fail(r, NULL, "must be %s", names[f->json]);
    if (!says_nothing(value))
        log_info("%s: %s: has no effect: %s", r->file, r->path, f->why);
    return 0;
}

static int read_value(struct oci_reader *r, json_t *value, const struct oci_field *f, void *at)
{
    switch (f->kind) {
    case OCI_STRING:
        return read_string(r, value, at);
    case OCI_BOOL:
        if (!json_is_boolean(value))
            return oci_read_fail(r, NULL, "must be true or false");
        *(bool *)at = json_is_true(value);
        return 0;
    case OCI_INT:
        return read_int(r, value, f, at);
    case OCI_STRINGS:
        return read_strings(r, value, f, at);
    case OCI_OBJECT:
        return oci_read_fields(r, value, f->fields, at);
    case OCI_ARRAY:
        return read_array(r, value, f, at);
    case OCI_JSON:
        if (!json_is_object(value))
            return oci_read_fail(r, NULL, "must be an object");
        *(json_t **)at = value;
        return 0;
    case OCI_INTS:
        return check_ints(r, value, f);
    case OCI_ACCEPTED:
        return accept(r, value, f);
    case OCI_REFUSED:
        return says_nothing(value) ? 0 : oci_read_fail(r, NULL, "is not supported: %s", f->why);
    }
    return -EINVAL;
}

/* Rewrites too large integers outside of strings in place; they only become shorter. */
static void wrap_integers(char *text, size_t size)
{
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        size_t n = 0;

        if (in_string && text[i] == '\\') {
            i++;
            continue;
        }
        if (text[i] == '"')
            in_string = !in_string;
        while (!in_string && i + n < size && text[i + n] >= '0' && text[i + n] <= '9')
            n++;
        if ((n == 19 || n == 20) && (i == 0 || !strchr("-+.eE", text[i - 1]))) {
            unsigned long long v;
            char digits[21], out[24];
            int len;

            memcpy(digits, text + i, n);
            digits[n] = 0;
            errno = 0;
            v = strtoull(digits, NULL, 10);
            len = snprintf(out, sizeof(out), "%lld", (long long)v);
            if (errno == 0 && v > INT64_MAX && (size_t)len <= n) {
                memset(text + i, ' ', n);
                memcpy(text + i, out, (size_t)len);
            }
        }
        i += n ? n - 1 : 0;
    }
}

json_t *oci_json_load(const char *text, size_t size, json_error_t *ret_error)
{
    CLEANUP(free_ptr) char *copy = malloc(size + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = 0;
    wrap_integers(copy, size);
    return json_loadb(copy, size, JSON_REJECT_DUPLICATES, ret_error);
}

int oci_read_fields(struct oci_reader *r, json_t *object, const struct oci_field *fields, void *out)
{
    if (!json_is_object(object))
        return oci_read_fail(r, NULL, "must be an object");
    for (const struct oci_field *f = fields; f->name; f++) {
        json_t *value = json_object_get(object, f->name);
        size_t before;
        int ret;

        /* null means absent: encoders of other languages write it for empty pointers and lists. */
        if (!value || json_is_null(value)) {
            if (f->required)
                return oci_read_fail(r, f->name, "is missing");
            continue;
        }
        before = push(r, f->name);
        ret = read_value(r, value, f, (char *)out + f->offset);
        pop(r, before);
        if (ret < 0)
            return ret;
        if (f->present)
            *(bool *)((char *)out + f->present) = true;
    }
    return 0;
}

void oci_fields_free(const struct oci_field *fields, void *out)
{
    for (const struct oci_field *f = fields; f->name; f++) {
        void *at = (char *)out + f->offset;

        if (f->kind == OCI_STRINGS) {
            free(((struct oci_strings *)at)->items);
            *(struct oci_strings *)at = (struct oci_strings){0};
        } else if (f->kind == OCI_OBJECT) {
            oci_fields_free(f->fields, at);
        } else if (f->kind == OCI_ARRAY) {
            struct oci_array *a = at;

            for (unsigned i = 0; i < a->count; i++)
                oci_fields_free(f->fields, (char *)a->items + i * f->size);
            free(a->items);
            *a = (struct oci_array){0};
        }
    }
}
