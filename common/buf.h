#pragma once
/* Growable byte buffer; always NUL-terminated after a successful call. */
#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t size, capacity; /* bytes, without the NUL */
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

void buf_fini(struct buf *b);                                 /* also as CLEANUP(buf_fini) */
int buf_append(struct buf *b, const void *data, size_t size); /* 0 or -ENOMEM */
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Takes size bytes off the front. */
void buf_consume(struct buf *b, size_t size);
