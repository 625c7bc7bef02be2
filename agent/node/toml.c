#include "agent/node/toml.h"

#include "common/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum { KEYS_MAX = 12, KEY_MAX = 128 };

#define BEGIN   "# BEGIN berm, written by its installer: do not edit"
#define ENDED   " (the line before was ended)"
#define CREATED " (the file was made)"
#define END     "# END berm\n"

static const char *line_end(const char *p)
{
    const char *end = strchr(p, '\n');

    return end ? end + 1 : p + strlen(p);
}

static const char *skip_blank(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

int toml_version(const char *text)
{
    for (const char *p = text; *p; p = line_end(p)) {
        const char *s = skip_blank(p);

        if (*s == '[')
            return 0;
        if (strncmp(s, "version", 7) != 0)
            continue;
        s = skip_blank(s + 7);
        if (*s == '=')
            return atoi(skip_blank(s + 1));
    }
    return 0;
}

/* -- the block ----------------------------------------------------------------------------------
 */

/* Where the block begins (and ends), at the start of a line; NULL if there is none. */
static const char *find_block(const char *text, const char **ret_end)
{
    const char *end;

    for (const char *p = text; *p; p = line_end(p)) {
        if (strncmp(p, BEGIN, sizeof(BEGIN) - 1) != 0)
            continue;
        end = strstr(p, "\n" END);
        *ret_end = end ? end + 1 + sizeof(END) - 1 : NULL;
        return end ? p : NULL;
    }
    return NULL;
}

bool toml_has_block(const char *text)
{
    const char *end;

    return find_block(text, &end) != NULL;
}

int toml_block_remove(const char *text, struct buf *ret, bool *ret_created)
{
    const char *end, *begin = find_block(text, &end), *mark;
    size_t before;

    *ret_created = false;
    if (!begin)
        return buf_puts(ret, text);
    mark = begin + sizeof(BEGIN) - 1;
    before = (size_t)(begin - text);
    if (strncmp(mark, ENDED "\n", sizeof(ENDED)) == 0 && before)
        before--;
    if (buf_append(ret, text, before) < 0 || buf_puts(ret, end) < 0)
        return -ENOMEM;
    *ret_created = strncmp(mark, CREATED "\n", sizeof(CREATED)) == 0 && ret->size == 0;
    return 0;
}

int toml_block_put(const char *text, const char *block, struct buf *ret)
{
    bool created = false, ended;

    if (text && toml_block_remove(text, ret, &created) < 0)
        return -ENOMEM;
    ended = ret->size && ret->data[ret->size - 1] != '\n';
    return buf_printf(ret, "%s%s%s\n%s" END, ended ? "\n" : "", BEGIN,
                      ended              ? ENDED
                      : !text || created ? CREATED
                                         : "",
                      block);
}

/* -- dumps
 * ------------------------------------------------------------------------------------------- */

struct header {
    char key[KEYS_MAX][KEY_MAX];
    size_t n;
};

/* One key, bare or quoted; returns what follows it, or NULL. */
static const char *take_key(const char *s, char *out)
{
    char quote = *s == '"' || *s == '\'' ? *s++ : 0;
    size_t n = 0;

    while (*s && *s != '\n' && (quote ? *s != quote : *s != '.' && *s != ']' && !isspace(*s))) {
        if (n + 1 >= KEY_MAX)
            return NULL;
        out[n++] = *s++;
    }
    out[n] = 0;
    if (quote && *s++ != quote)
        return NULL;
    return skip_blank(s);
}

/* [a."b.c".'d']; false for all other lines. */
static bool parse_header(const char *line, struct header *h)
{
    const char *s = skip_blank(line);

    h->n = 0;
    if (*s++ != '[')
        return false;
    while (h->n < KEYS_MAX) {
        s = take_key(skip_blank(s), h->key[h->n]);
        if (!s)
            return false;
        h->n++;
        if (*s == ']')
            return true;
        if (*s++ != '.')
            return false;
    }
    return false;
}

/* The handler that a table belongs to, or NULL. */
static const char *header_handler(const struct header *h)
{
    for (size_t i = 0; i + 2 < h->n; i++)
        if (strcmp(h->key[i], "containerd") == 0 && strcmp(h->key[i + 1], "runtimes") == 0)
            return h->key[i + 2];
    return NULL;
}

struct walk {
    struct header header;
    const char *line, *next;
    const char *handler; /* of the table that the line is in; NULL: of none */
    bool top;            /* before the first table */
};

/* Line by line, with the table that each is in (a header is in its own). */
static bool walk(struct walk *w, const char *dump)
{
    struct header h;

    if (!w->line)
        w->top = true;
    w->line = w->line ? w->next : dump;
    if (!*w->line)
        return false;
    w->next = line_end(w->line);
    if (parse_header(w->line, &h)) {
        w->header = h;
        w->handler = header_handler(&w->header);
        w->top = false;
    }
    return true;
}

json_t *toml_handlers(const char *dump)
{
    struct walk w = {0};
    json_t *list = json_array(), *v;
    size_t i;

    while (walk(&w, dump)) {
        bool known = false;

        if (!w.handler)
            continue;
        json_array_foreach(list, i, v) known |= strcmp(json_string_value(v), w.handler) == 0;
        if (!known)
            (void)json_array_append_new(list, json_string(w.handler));
    }
    return list;
}

static size_t line_size(const struct walk *w)
{
    return (size_t)(w->next - w->line);
}

int toml_handler_text(const char *dump, const char *handler, struct buf *ret)
{
    struct walk w = {0};

    while (walk(&w, dump))
        if (w.handler && strcmp(w.handler, handler) == 0 &&
            buf_append(ret, w.line, line_size(&w)) < 0)
            return -ENOMEM;
    return 0;
}

bool toml_handler_value(const char *dump, const char *handler, const char *key, char *ret,
                        size_t size)
{
    struct walk w = {0};
    size_t n = strlen(key);

    while (walk(&w, dump)) {
        const char *s = skip_blank(w.line), *end = w.next;
        size_t k;

        if (!w.handler || strcmp(w.handler, handler) != 0 || strncmp(s, key, n) != 0)
            continue;
        s = skip_blank(s + n);
        if (*s++ != '=')
            continue;
        s = skip_blank(s);
        while (end > s && isspace(end[-1]))
            end--;
        if (end - s >= 2 && (*s == '"' || *s == '\'') && end[-1] == *s) {
            s++;
            end--;
        }
        k = MIN((size_t)(end - s), size - 1);
        memcpy(ret, s, k);
        ret[k] = 0;
        return true;
    }
    return false;
}

int toml_without_handler(const char *dump, const char *handler, struct buf *ret)
{
    struct walk w = {0};

    while (walk(&w, dump)) {
        const char *s = skip_blank(w.line);

        if (*s == '\n' || (w.handler && strcmp(w.handler, handler) == 0) ||
            (w.top && strncmp(s, "imports", 7) == 0))
            continue;
        if (buf_append(ret, s, (size_t)(w.next - s)) < 0)
            return -ENOMEM;
    }
    return 0;
}

json_t *toml_imports(const char *dump)
{
    json_t *list = json_array();
    struct walk w = {0};

    while (walk(&w, dump) && w.top) {
        const char *s = skip_blank(w.line);

        if (strncmp(s, "imports", 7) != 0)
            continue;
        while (s < w.next) {
            const char *begin = strpbrk(s, "\"'"), *end;

            end = begin && begin < w.next ? strchr(begin + 1, *begin) : NULL;
            if (!end || end >= w.next)
                break;
            (void)json_array_append_new(list, json_stringn(begin + 1, (size_t)(end - begin - 1)));
            s = end + 1;
        }
    }
    return list;
}
