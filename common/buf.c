#include "common/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_fini(struct buf *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}

static int reserve(struct buf *b, size_t extra)
{
    size_t want = b->size + extra + 1, capacity = b->capacity ? b->capacity : 256;
    char *data;

    if (want < extra)
        return -ENOMEM;
    if (want <= b->capacity)
        return 0;
    while (capacity < want)
        capacity *= 2;
    data = realloc(b->data, capacity);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t size)
{
    if (reserve(b, size) < 0)
        return -ENOMEM;
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = 0;
    return 0;
}

int buf_puts(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && reserve(b, (size_t)n) == 0) {
        (void)vsnprintf(b->data + b->size, (size_t)n + 1, fmt, again);
        b->size += (size_t)n;
    } else {
        n = -ENOMEM;
    }
    va_end(again);
    return n < 0 ? -ENOMEM : 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

void buf_consume(struct buf *b, size_t size)
{
    if (size > b->size)
        size = b->size;
    if (!size)
        return;
    memmove(b->data, b->data + size, b->size - size + 1);
    b->size -= size;
}
