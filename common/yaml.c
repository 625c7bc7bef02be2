/*
 * YAML -> json_t over libyaml's event parser.
 *
 * Threats: deep nesting (bounded), exponential growth by aliases (each alias costs the nodes that
 * it stands for), aliases to the node they lie in, huge lines and scalars (bounded before libyaml
 * sees them), duplicate keys (two readers could take different ones). Limits: no merge keys, no
 * tags but the core schema's. Leading-zero integers are octal, as Kubernetes' own reader takes them
 * ("defaultMode: 0644").
 */
#include "common/yaml.h"

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/hashmap.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct yaml_lines {
    struct {
        uint64_t path; /* hash of the field path */
        size_t line;
    } * at;
    size_t n, capacity;
};

struct anchor {
    char *name;
    json_t *value; /* NULL while the node is being read: an alias to it would be a cycle */
    size_t nodes, height;
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    struct error *err;
    struct anchor *anchors;
    size_t n_anchors;
    size_t nodes, aliased;
    struct buf path;
    struct yaml_lines *lines;
};

/* What a subtree costs when an alias repeats it. */
struct extent {
    size_t nodes, height;
};

static json_t *read_node(struct reader *r, const yaml_event_t *ev, size_t depth, struct extent *x);

static json_t *fail(struct reader *r, size_t line, int code, const char *what)
{
    if (r->path.size)
        error_set(r->err, code, "%s:%zu: %s: %s", r->name, line + 1, r->path.data, what);
    else
        error_set(r->err, code, "%s:%zu: %s", r->name, line + 1, what);
    return NULL;
}

static int next_event(struct reader *r, yaml_event_t *ev)
{
    const yaml_parser_t *p = &r->parser;

    if (yaml_parser_parse(&r->parser, ev))
        return 0;
    if (p->error == YAML_MEMORY_ERROR)
        return error_set(r->err, -ENOMEM, "%s: out of memory", r->name);
    return error_set(r->err, -EINVAL, "%s:%zu: %s%s%s", r->name,
                     (p->problem_mark.line ? p->problem_mark.line : p->context_mark.line) + 1,
                     p->problem ? p->problem : "not YAML", p->context ? ", " : "",
                     p->context ? p->context : "");
}

static void track(struct reader *r, size_t line)
{
    struct yaml_lines *l = r->lines;

    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        void *at;

        if (l->capacity >= YAML_TRACKED_MAX || !(at = realloc(l->at, capacity * sizeof(*l->at))))
            return; /* messages name a parent's line then */
        l->at = at;
        l->capacity = capacity;
    }
    l->at[l->n].path = hash_bytes(r->path.data ? r->path.data : "", r->path.size);
    l->at[l->n++].line = line + 1;
}

static void path_cut(struct reader *r, size_t size)
{
    r->path.size = size;
    if (r->path.data)
        r->path.data[size] = 0;
}

/* -- scalars ---------------------------------------------------------------------------- */

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static json_t *integer(const char *s)
{
    const char *digits = s + (*s == '-' || *s == '+');
    char text[80];
    int base = 10;
    long long v;
    char *end;

    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
        base = digits[1] == 'x' ? 16 : 8;
        digits += 2;
    } else if (digits[0] == '0' && digits[1] && strspn(digits, "01234567") == strlen(digits)) {
        base = 8;
    }
    if (!isxdigit((unsigned char)*digits) || strlen(digits) >= sizeof(text) - 1)
        return NULL;
    (void)snprintf(text, sizeof(text), "%s%s", *s == '-' ? "-" : "", digits);
    errno = 0;
    v = strtoll(text, &end, base);
    return *end || errno ? NULL : json_integer(v);
}

/* YAML's floats only: not C's hexadecimal ones, "infinity" or "nan(...)". JSON has no infinities:
 * those stay strings. */
static json_t *real(const char *s)
{
    char *end;
    double v;

    if (strspn(s, "0123456789+-.eE") != strlen(s) || !strpbrk(s, "0123456789") ||
        !(isdigit((unsigned char)*s) || strchr("+-.", *s)))
        return NULL;
    v = strtod(s, &end);
    return *end || !isfinite(v) ? NULL : json_real(v);
}

static json_t *plain(const char *s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    json_t *v;

    if (one_of(s, nulls))
        return json_null();
    if (one_of(s, trues))
        return json_true();
    if (one_of(s, falses))
        return json_false();
    v = integer(s);
    return v ? v : real(s);
}

static const char *scalar_text(struct reader *r, const yaml_event_t *ev)
{
    const char *s = (const char *)ev->data.scalar.value;

    if (ev->data.scalar.length > YAML_LINE_MAX) {
        fail(r, ev->start_mark.line, -E2BIG, "scalar is too long");
        return NULL;
    }
    if (strlen(s) != ev->data.scalar.length) {
        fail(r, ev->start_mark.line, -EINVAL, "NUL character in a scalar");
        return NULL;
    }
    return s;
}

static json_t *read_scalar(struct reader *r, const yaml_event_t *ev)
{
    const char *s = scalar_text(r, ev), *tag = (const char *)ev->data.scalar.tag;
    bool as_string = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE && !tag;
    json_t *v = NULL;

    if (!s)
        return NULL;
    if (tag && strcmp(tag, "!") != 0 && strcmp(tag, YAML_STR_TAG) != 0) {
        static const char *const known[] = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG,
                                            YAML_FLOAT_TAG, NULL};

        if (!one_of(tag, known))
            return fail(r, ev->start_mark.line, -EINVAL, "unknown tag");
    } else if (tag) {
        as_string = true;
    }
    if (!as_string)
        v = plain(s);
    if (!v && tag && !as_string)
        return fail(r, ev->start_mark.line, -EINVAL, "value does not fit its tag");
    if (!v)
        v = json_stringn(s, ev->data.scalar.length);
    return v ? v : fail(r, ev->start_mark.line, -EINVAL, "not valid UTF-8");
}

/* -- anchors ---------------------------------------------------------------------------- */

/* Index of the new anchor, or -1 with the error set. */
static long anchor_begin(struct reader *r, const char *name, size_t line)
{
    struct anchor *a = reallocarray(r->anchors, r->n_anchors + 1, sizeof(*a));
    char *copy = strdup(name);

    if (a)
        r->anchors = a;
    if (!a || !copy || r->n_anchors >= 10000) {
        free(copy);
        fail(r, line, !a || !copy ? -ENOMEM : -E2BIG, "too many anchors");
        return -1;
    }
    r->anchors[r->n_anchors] = (struct anchor){.name = copy};
    return (long)r->n_anchors++;
}

static json_t *read_alias(struct reader *r, const yaml_event_t *ev, size_t depth, struct extent *x)
{
    const char *name = (const char *)ev->data.alias.anchor;

    for (size_t i = r->n_anchors; i-- > 0;) {
        struct anchor *a = &r->anchors[i];

        if (strcmp(a->name, name) != 0)
            continue;
        if (!a->value)
            return fail(r, ev->start_mark.line, -EINVAL, "alias to the node that it lies in");
        r->aliased += a->nodes;
        if (r->aliased > YAML_ALIASED_MAX)
            return fail(r, ev->start_mark.line, -E2BIG, "aliases stand for too much");
        if (depth + a->height > YAML_DEPTH_MAX)
            return fail(r, ev->start_mark.line, -E2BIG, "nested too deeply");
        *x = (struct extent){a->nodes, a->height};
        return json_incref(a->value);
    }
    return fail(r, ev->start_mark.line, -EINVAL, "alias to an unknown anchor");
}

/* Subtrees are shared by reference count, so nobody may change a tree that came from here. */
static void anchor_end(struct reader *r, long index, json_t *value, const struct extent *x)
{
    r->anchors[index].value = json_incref(value);
    r->anchors[index].nodes = x->nodes;
    r->anchors[index].height = x->height;
}

/* -- collections ------------------------------------------------------------------------ */

static void add_extent(struct extent *sum, const struct extent *child)
{
    sum->nodes += child->nodes;
    sum->height = MAX(sum->height, child->height + 1);
}

static json_t *read_sequence(struct reader *r, size_t depth, struct extent *x)
{
    json_t *array = json_array();
    size_t cut = r->path.size;
    yaml_event_t ev;

    for (size_t i = 0; array && next_event(r, &ev) == 0; i++) {
        struct extent child = {1, 1};
        json_t *item;

        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return array;
        }
        (void)buf_printf(&r->path, "[%zu]", i);
        item = read_node(r, &ev, depth + 1, &child);
        yaml_event_delete(&ev);
        if (!item || json_array_append_new(array, item) < 0)
            break;
        add_extent(x, &child);
        path_cut(r, cut);
    }
    json_decref(array);
    return NULL;
}

static int read_pair(struct reader *r, json_t *object, const yaml_event_t *key_ev, size_t depth,
                     struct extent *x)
{
    const char *key = key_ev->type == YAML_SCALAR_EVENT ? scalar_text(r, key_ev) : NULL;
    struct extent child = {1, 1};
    size_t cut = r->path.size;
    yaml_event_t ev;
    json_t *value;

    if (key_ev->type != YAML_SCALAR_EVENT)
        fail(r, key_ev->start_mark.line, -EINVAL, "a key must be a string");
    else if (key && key_ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !strcmp(key, "<<"))
        fail(r, key_ev->start_mark.line, -EINVAL, "merge keys are not supported");
    else if (key && json_object_get(object, key)) {
        (void)buf_printf(&r->path, "%s%.200s", cut ? "." : "", key);
        fail(r, key_ev->start_mark.line, -EINVAL, "duplicate key");
    } else if (key && next_event(r, &ev) == 0) {
        (void)buf_printf(&r->path, "%s%.200s", cut ? "." : "", key);
        track(r, key_ev->start_mark.line);
        value = read_node(r, &ev, depth + 1, &child);
        yaml_event_delete(&ev);
        if (!value)
            return -1;
        if (json_object_set_new(object, key, value) < 0) {
            fail(r, key_ev->start_mark.line, -EINVAL, "key is not valid UTF-8");
            return -1;
        }
        add_extent(x, &child);
        path_cut(r, cut);
        return 0;
    }
    return -1;
}

static json_t *read_mapping(struct reader *r, size_t depth, struct extent *x)
{
    json_t *object = json_object();
    yaml_event_t ev;

    while (object && next_event(r, &ev) == 0) {
        int failed;

        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            return object;
        }
        failed = read_pair(r, object, &ev, depth, x);
        yaml_event_delete(&ev);
        if (failed)
            break;
    }
    json_decref(object);
    return NULL;
}

static json_t *collection_tag_ok(struct reader *r, const yaml_event_t *ev)
{
    bool map = ev->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *tag = map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag;

    if (!tag || !strcmp((const char *)tag, map ? YAML_MAP_TAG : YAML_SEQ_TAG))
        return json_true();
    return fail(r, ev->start_mark.line, -EINVAL, "unknown tag");
}

static const yaml_char_t *anchor_name(const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return ev->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return ev->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return ev->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static json_t *read_node(struct reader *r, const yaml_event_t *ev, size_t depth, struct extent *x)
{
    const yaml_char_t *name = anchor_name(ev);
    json_t *value = NULL;
    long anchor = -1;

    if (ev->type == YAML_ALIAS_EVENT)
        return read_alias(r, ev, depth, x);
    if (depth > YAML_DEPTH_MAX)
        return fail(r, ev->start_mark.line, -E2BIG, "nested too deeply");
    if (++r->nodes > YAML_NODES_MAX)
        return fail(r, ev->start_mark.line, -E2BIG, "too many nodes");
    if (name && (anchor = anchor_begin(r, (const char *)name, ev->start_mark.line)) < 0)
        return NULL;
    if (r->path.size && r->path.data[r->path.size - 1] == ']')
        track(r, ev->start_mark.line);

    if (ev->type == YAML_SCALAR_EVENT)
        value = read_scalar(r, ev);
    else if (!collection_tag_ok(r, ev))
        return NULL;
    else
        value = ev->type == YAML_MAPPING_START_EVENT ? read_mapping(r, depth, x)
                                                     : read_sequence(r, depth, x);
    if (value && anchor >= 0)
        anchor_end(r, anchor, value, x);
    return value;
}

/* -- streams ---------------------------------------------------------------------------- */

static void drop_anchors(struct reader *r)
{
    for (size_t i = 0; i < r->n_anchors; i++) {
        free(r->anchors[i].name);
        json_decref(r->anchors[i].value);
    }
    free(r->anchors);
    r->anchors = NULL;
    r->n_anchors = 0;
}

static void lines_free(struct yaml_lines *l)
{
    if (l)
        free(l->at);
    free(l);
}

void yaml_docs_free(struct yaml_doc *docs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_decref(docs[i].root);
        lines_free(docs[i].lines);
    }
    free(docs);
}

/* Reads the root node and the document's end; a NULL root without error is an empty document. */
static int read_document(struct reader *r, struct yaml_doc *doc)
{
    struct extent x = {1, 1};
    yaml_event_t ev;
    bool implicit;

    if (!(doc->lines = calloc(1, sizeof(*doc->lines))))
        return error_set(r->err, -ENOMEM, "%s: out of memory", r->name);
    r->lines = doc->lines;
    path_cut(r, 0);
    if (next_event(r, &ev) < 0)
        return -EINVAL;
    doc->line = ev.start_mark.line + 1;
    implicit = ev.type == YAML_SCALAR_EVENT && ev.data.scalar.length == 0;
    doc->root = read_node(r, &ev, 0, &x);
    yaml_event_delete(&ev);
    drop_anchors(r);
    if (!doc->root)
        return -EINVAL;
    if (implicit && json_is_null(doc->root)) {
        json_decref(doc->root);
        doc->root = NULL;
    }
    if (next_event(r, &ev) < 0)
        return -EINVAL;
    yaml_event_delete(&ev);
    return 0;
}

static int read_stream(struct reader *r, struct yaml_doc **docs, size_t *n)
{
    for (;;) {
        struct yaml_doc doc = {0}, *grown;
        yaml_event_type_t type;
        yaml_event_t ev;

        if (next_event(r, &ev) < 0)
            return -EINVAL;
        type = ev.type;
        yaml_event_delete(&ev);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (type != YAML_DOCUMENT_START_EVENT)
            continue; /* stream start */
        if (read_document(r, &doc) < 0 || !doc.root) {
            json_decref(doc.root);
            lines_free(doc.lines);
            if (doc.root || r->err->code)
                return -EINVAL;
            continue;
        }
        /* Grown by doubling: a stream may hold 100,000 documents. */
        grown = *docs;
        if ((*n & (*n - 1)) == 0)
            grown = reallocarray(*docs, *n ? *n * 2 : 1, sizeof(**docs));
        if (!grown || *n >= YAML_DOCS_MAX) {
            json_decref(doc.root);
            lines_free(doc.lines);
            return error_set(r->err, grown ? -E2BIG : -ENOMEM, "%s: too many documents", r->name);
        }
        *docs = grown;
        (*docs)[(*n)++] = doc;
    }
}

static int check_lines(const char *text, size_t size, const char *name, struct error *err)
{
    size_t line = 1;

    for (const char *p = text, *end = text + size; p < end; line++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));

        if ((size_t)((eol ? eol : end) - p) > YAML_LINE_MAX)
            return error_set(err, -E2BIG, "%s:%zu: line is longer than %d bytes", name, line,
                             (int)YAML_LINE_MAX);
        p = eol ? eol + 1 : end;
    }
    return 0;
}

int yaml_load_all(const char *text, size_t size, const char *name, struct yaml_doc **ret_docs,
                  size_t *ret_n, struct error *err)
{
    struct error local = ERROR_INIT;
    struct reader r = {.name = name, .err = &local};
    struct yaml_doc *docs = NULL;
    size_t n = 0;
    int result = check_lines(text, size, name, &local);

    if (result == 0 && !yaml_parser_initialize(&r.parser))
        result = error_set(&local, -ENOMEM, "%s: out of memory", name);
    else if (result == 0) {
        if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
            text += 3;
            size -= 3;
        }
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
        if (read_stream(&r, &docs, &n) < 0)
            result = local.code ? local.code : error_set(&local, -ENOMEM, "%s: no memory", name);
        drop_anchors(&r);
        buf_fini(&r.path);
        yaml_parser_delete(&r.parser);
    }
    if (result < 0) {
        yaml_docs_free(docs, n);
        return error_set(err, result, "%s", local.msg);
    }
    *ret_docs = docs;
    *ret_n = n;
    return 0;
}

size_t yaml_doc_line(const struct yaml_doc *doc, const char *path)
{
    size_t size = path ? strlen(path) : 0;

    while (size) {
        uint64_t h = hash_bytes(path, size);

        for (size_t i = 0; i < doc->lines->n; i++)
            if (doc->lines->at[i].path == h)
                return doc->lines->at[i].line;
        do
            size--;
        while (size && path[size] != '.' && path[size] != '[');
    }
    return doc->line;
}
