#pragma once
/*
 * Errors of everything that is not guest-visible: negative errno plus a message, kept by the
 * caller. Set low, wrapped with context on the way up, printed once. No heap; NULL is accepted
 * everywhere.
 */
#include <stddef.h>

struct error {
    int code;      /* negative errno, 0 while unset */
    char msg[512]; /* outermost context first: "load bundle '/b': open config.json: No such file" */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }

/* Fills err and returns code (negative errno), so that `return error_set(...)` reads well. */
int error_set(struct error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* As error_set, and appends ": <strerror(-code)>". */
int error_errno(struct error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Puts "<context>: " before the message and returns the code that is in err (-EIO if err is NULL).
 */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));
