/* Argument and environment lists on their way through execve: bounded as Linux bounds them. */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TOTAL_MAX = 6 << 20 }; /* three quarters of Linux's 8 MiB of stack */

void exec_strings_fini(struct exec_strings *s)
{
    free(s->data);
    memset(s, 0, sizeof(*s));
}

static int reserve(struct exec_strings *s, size_t extra)
{
    size_t capacity = s->capacity ? s->capacity : 1024;
    char *data;

    if (s->size + extra > TOTAL_MAX)
        return -E2BIG;
    while (capacity < s->size + extra)
        capacity *= 2;
    if (capacity == s->capacity)
        return 0;
    data = realloc(s->data, capacity);
    if (!data)
        return -ENOMEM;
    s->data = data;
    s->capacity = capacity;
    return 0;
}

int exec_strings_add(struct exec_strings *s, const char *text)
{
    size_t size = strlen(text) + 1;
    int r = reserve(s, size);

    if (r < 0)
        return r;
    memcpy(s->data + s->size, text, size);
    s->size += size;
    s->n++;
    return 0;
}

int exec_strings_prepend(struct exec_strings *s, const char *text)
{
    size_t size = strlen(text) + 1;
    int r = reserve(s, size);

    if (r < 0)
        return r;
    memmove(s->data + size, s->data, s->size);
    memcpy(s->data, text, size);
    s->size += size;
    s->n++;
    return 0;
}

/* The rest of the page where a string began: those that follow it mostly lie there, too. */
struct window {
    gaddr_t start;
    size_t size;
    char data[4096];
};

static const char *look(const struct window *w, gaddr_t at)
{
    const char *s = w->data + (at - w->start);

    if (at < w->start || at - w->start >= w->size)
        return NULL;
    return memchr(s, 0, w->size - (at - w->start)) ? s : NULL;
}

/* NULL: it does not end on its page, or can't be read. */
static const char *string_at(struct task *t, struct window *w, gaddr_t at)
{
    const char *s = look(w, at);
    size_t size = sizeof(w->data) - (at & (sizeof(w->data) - 1));

    if (s)
        return s;
    w->size = 0;
    if (copy_in(t, w->data, at, size) < 0)
        return NULL;
    w->start = at;
    w->size = size;
    return look(w, at);
}

static int add_from_guest(struct task *t, struct exec_strings *s, struct window *w, gaddr_t at)
{
    const char *text = string_at(t, w, at);
    ssize_t n;
    int r;

    if (text)
        return exec_strings_add(s, text);
    r = reserve(s, 256);
    if (r < 0)
        return r;
    n = copy_in_string(t, s->data + s->size, at, s->capacity - s->size);
    if (n == -ENAMETOOLONG) {
        r = reserve(s, EXEC_STRING_BYTES_MAX);
        if (r < 0)
            return r;
        n = copy_in_string(t, s->data + s->size, at, EXEC_STRING_BYTES_MAX);
        if (n == -ENAMETOOLONG)
            return -E2BIG;
    }
    if (n < 0)
        return (int)n;
    s->size += (size_t)n + 1;
    s->n++;
    return 0;
}

int exec_strings_copy_in(struct task *t, struct exec_strings *s, uint64_t array)
{
    struct window w;

    w.start = w.size = 0;
    while (array) {
        gaddr_t at[32];
        /* Not across a page that the array may not reach. */
        size_t n = MIN(ARRAY_SIZE(at), (4096 - (array & 4095)) / 8);

        if (!n)
            n = 1;
        if (copy_in(t, at, array, n * 8) < 0)
            return -EFAULT;
        for (size_t i = 0; i < n; i++) {
            int r;

            if (!at[i])
                return 0;
            r = add_from_guest(t, s, &w, at[i]);
            if (r < 0)
                return r;
        }
        array += n * 8;
    }
    return 0;
}
