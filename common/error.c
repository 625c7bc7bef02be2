#include "common/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *fmt, ...)
{
    va_list ap;

    assert(code < 0);
    if (!err)
        return code;
    err->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    return code;
}

int error_errno(struct error *err, int code, const char *fmt, ...)
{
    char reason[128];
    va_list ap;
    int n;

    assert(code < 0);
    if (!err)
        return code;
    err->code = code;
    va_start(ap, fmt);
    n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(err->msg))
        (void)snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s",
                       strerror_r(-code, reason, sizeof(reason)));
    return code;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    char context[sizeof(err->msg) / 2];
    size_t used, old;
    va_list ap;

    if (!err)
        return -EIO;
    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    used = strlen(context);
    old = strnlen(err->msg, sizeof(err->msg) - 1);
    if (old > sizeof(err->msg) - used - 3)
        old = sizeof(err->msg) - used - 3;
    memmove(err->msg + used + 2, err->msg, old);
    memcpy(err->msg, context, used);
    memcpy(err->msg + used, ": ", 2);
    err->msg[used + 2 + old] = 0;
    return err->code ? err->code : -EIO;
}
