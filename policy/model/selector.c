/*
 * Selectors over interned strings: matching compares pointers. Syntax is checked as the API server
 * does it, for a selector with a typo silently selects nothing or everything.
 */
#include "policy/model/selector.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static bool word_ok(const char *s, size_t n)
{
    if (n == 0 || n > 63 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

/* [prefix/]name, the prefix a DNS name. */
static bool key_ok(const char *key)
{
    const char *slash = strchr(key, '/');
    const char *name = slash ? slash + 1 : key;

    if (slash) {
        size_t n = (size_t)(slash - key);

        if (n == 0 || n > 253 || strchr("-.", key[0]) ||
            strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-.") != n)
            return false;
    }
    return word_ok(name, strlen(name));
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;

    return x < y ? -1 : x > y;
}

static void requirement_fini(struct strings *s, struct requirement *r)
{
    for (size_t i = 0; i < r->n_values; i++)
        string_put(s, r->values[i]);
    free(r->values);
    string_put(s, r->key);
}

void selector_fini(struct strings *s, struct selector *sel)
{
    for (size_t i = 0; i < sel->n; i++)
        requirement_fini(s, &sel->all[i]);
    free(sel->all);
    *sel = (struct selector){0};
}

static int add_value(struct decoder *d, struct requirement *r, const char *field, const char *text)
{
    if (*text && !word_ok(text, strlen(text)))
        return decode_fail_value(d, field, text, "not a valid label value");
    if (!(r->values[r->n_values] = string_get(d->strings, text)))
        return decode_memory(d);
    r->n_values++;
    return 0;
}

static int set_key(struct decoder *d, struct requirement *r, const char *field, const char *key)
{
    if (!key)
        return decode_fail(d, field, "missing");
    if (!key_ok(key))
        return decode_fail_value(d, field, key, "not a valid label key");
    r->key = string_get(d->strings, key);
    return r->key ? 0 : decode_memory(d);
}

static int decode_match_labels(struct decoder *d, const json_t *map, struct selector *sel)
{
    const json_t *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        struct requirement *r = &sel->all[sel->n++];
        int result;

        if (!json_is_string(value))
            return decode_fail_value(d, NULL, key, "value is not a string");
        if (!(r->values = calloc(1, sizeof(*r->values))))
            return decode_memory(d);
        if ((result = set_key(d, r, NULL, key)) < 0 ||
            (result = add_value(d, r, key, json_string_value(value))) < 0)
            return result;
    }
    return 0;
}

static const struct {
    const char *name;
    enum selector_op op;
    bool values;
} operators[] = {
    {"In", SELECTOR_IN, true},
    {"NotIn", SELECTOR_NOT_IN, true},
    {"Exists", SELECTOR_EXISTS, false},
    {"DoesNotExist", SELECTOR_NOT_EXISTS, false},
};

static int decode_operator(struct decoder *d, const char *name, size_t n_values,
                           struct requirement *r)
{
    if (!name)
        return decode_fail(d, "operator", "missing");
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
        if (strcmp(operators[i].name, name) != 0)
            continue;
        if (operators[i].values != (n_values > 0))
            return decode_fail(d, "values", "%s with operator %s",
                               n_values ? "not allowed" : "must not be empty", name);
        r->op = operators[i].op;
        return 0;
    }
    return decode_fail_value(d, "operator", name, "not In, NotIn, Exists or DoesNotExist");
}

static int decode_values(struct decoder *d, const json_t *values, struct requirement *r)
{
    size_t i, n = 0, mark = decode_enter(d, "values");
    const json_t *v;
    int result = 0;

    if (!(r->values = calloc(json_array_size(values), sizeof(*r->values))))
        return decode_memory(d);
    json_array_foreach(values, i, v)
    {
        size_t at = decode_enter_index(d, i);

        result = json_is_string(v) ? add_value(d, r, NULL, json_string_value(v))
                                   : decode_fail(d, NULL, "not a string");
        if (result < 0)
            return result;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    qsort(r->values, r->n_values, sizeof(*r->values), by_address);
    for (i = 0; i < r->n_values; i++) {
        if (n && r->values[n - 1] == r->values[i])
            string_put(d->strings, r->values[i]);
        else
            r->values[n++] = r->values[i];
    }
    r->n_values = n;
    return 0;
}

static int decode_expression(struct decoder *d, const json_t *o, struct requirement *r)
{
    static const char *const known[] = {"key", "operator", "values", NULL};
    const char *key, *op;
    const json_t *values;
    int result;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((result = decode_known(d, o, known)) < 0 ||
        (result = decode_string(d, o, "key", &key)) < 0 ||
        (result = decode_string(d, o, "operator", &op)) < 0 ||
        (result = decode_array(d, o, "values", &values)) < 0 ||
        (result = set_key(d, r, "key", key)) < 0 ||
        (result = decode_operator(d, op, json_array_size(values), r)) < 0)
        return result;
    return json_array_size(values) ? decode_values(d, values, r) : 0;
}

static int by_content(const void *a, const void *b)
{
    const struct requirement *x = a, *y = b;

    if (x->key != y->key)
        return (uintptr_t)x->key < (uintptr_t)y->key ? -1 : 1;
    if (x->op != y->op)
        return x->op < y->op ? -1 : 1;
    if (x->n_values != y->n_values)
        return x->n_values < y->n_values ? -1 : 1;
    return x->n_values ? memcmp(x->values, y->values, x->n_values * sizeof(*x->values)) : 0;
}

static int decode_parts(struct decoder *d, const json_t *labels, const json_t *expressions,
                        struct selector *sel)
{
    size_t mark = decode_enter(d, "matchLabels"), i;
    int result = decode_match_labels(d, labels, sel);
    const json_t *o;

    if (result < 0)
        return result;
    decode_leave(d, mark);
    (void)decode_enter(d, "matchExpressions");
    json_array_foreach(expressions, i, o)
    {
        size_t at = decode_enter_index(d, i);

        if ((result = decode_expression(d, o, &sel->all[sel->n++])) < 0)
            return result;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    return 0;
}

int selector_decode(struct decoder *d, const json_t *o, struct selector *ret)
{
    static const char *const known[] = {"matchLabels", "matchExpressions", NULL};
    const json_t *labels, *expressions;
    struct selector sel = {0};
    size_t n;
    int result;

    *ret = sel;
    if ((result = decode_known(d, o, known)) < 0 ||
        (result = decode_object(d, o, "matchLabels", &labels)) < 0 ||
        (result = decode_array(d, o, "matchExpressions", &expressions)) < 0)
        return result;
    n = json_object_size(labels) + json_array_size(expressions);
    if (n == 0)
        return 0;
    if (!(sel.all = calloc(n, sizeof(*sel.all))))
        return decode_memory(d);
    if ((result = decode_parts(d, labels, expressions, &sel)) < 0) {
        selector_fini(d->strings, &sel);
        return result;
    }
    qsort(sel.all, sel.n, sizeof(*sel.all), by_content);
    *ret = sel;
    return 0;
}

/* -- matching --------------------------------------------------------------------------- */

static bool requirement_matches(const struct requirement *r, const struct labels *labels)
{
    struct string *value = labels_value(labels, r->key);

    switch (r->op) {
    case SELECTOR_EXISTS:
        return value != NULL;
    case SELECTOR_NOT_EXISTS:
        return value == NULL;
    case SELECTOR_IN:
        return value && bsearch(&value, r->values, r->n_values, sizeof(*r->values), by_address);
    case SELECTOR_NOT_IN:
        return !value || !bsearch(&value, r->values, r->n_values, sizeof(*r->values), by_address);
    }
    return false;
}

bool selector_matches(const struct selector *sel, const struct labels *labels)
{
    for (size_t i = 0; i < sel->n; i++)
        if (!requirement_matches(&sel->all[i], labels))
            return false;
    return true;
}

bool selector_must_match(const struct selector *sel, const struct labels *labels,
                         const struct string *key)
{
    for (size_t i = 0; i < sel->n; i++)
        if (sel->all[i].key != key || !requirement_matches(&sel->all[i], labels))
            return false;
    return true;
}

const struct requirement *selector_pair(const struct selector *sel)
{
    for (size_t i = 0; i < sel->n; i++)
        if (sel->all[i].op == SELECTOR_IN && sel->all[i].n_values == 1)
            return &sel->all[i];
    return NULL;
}

int selector_canonical(const struct selector *sel, struct buf *out)
{
    for (size_t i = 0; i < sel->n; i++) {
        const struct requirement *r = &sel->all[i];

        if (buf_printf(out, "%d%p", (int)r->op, (void *)r->key) < 0)
            return -ENOMEM;
        for (size_t v = 0; v < r->n_values; v++)
            if (buf_printf(out, ",%p", (void *)r->values[v]) < 0)
                return -ENOMEM;
        if (buf_puts(out, ";") < 0)
            return -ENOMEM;
    }
    return 0;
}
