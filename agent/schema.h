#pragma once
/*
 * Checks JSON objects against tables of fields: types, ranges, names, unknown and unsupported
 * fields. Input is hostile; what passed may be read without further checks of type.
 */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum field_type {
    F_STRING,
    F_NAME,      /* DNS label: [a-z0-9]([-a-z0-9]*[a-z0-9])?, at most 63 */
    F_SUBDOMAIN, /* labels joined by dots, at most 253 */
    F_KEY,       /* key of a ConfigMap: [-._a-zA-Z0-9]+, not . or .. */
    F_PATH,      /* absolute, without "..", at most 4095 */
    F_INT,       /* min..max */
    F_BOOL,
    F_STRINGS, /* array of strings */
    F_MAP,     /* object of strings */
    F_OBJECT,
    F_OBJECTS, /* array of objects */
    F_ANY,     /* accepted and not looked at here */
    F_REFUSED, /* known, but not available: `why` says it */
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    int64_t min, max; /* F_INT */
    const struct field *sub;
    const char *why;
};
#define FIELD_END                                                                                  \
    {                                                                                              \
        .name = NULL                                                                               \
    }

struct schema_error {
    struct error err;
    char path[256]; /* "spec.containers[0].image" */
};

/* 0, or -EINVAL with the path and a message (without the path) in e. */
int schema_check(const json_t *object, const struct field *fields, const char *path,
                 struct schema_error *e);
/* Fills e and returns code. */
int schema_fail(struct schema_error *e, int code, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));

bool name_is_label(const char *s);
bool name_is_subdomain(const char *s);
bool name_is_key(const char *s);
bool path_is_beneath(const char *s); /* relative, no part is empty, "." or begins with ".." */
bool path_is_clean(const char *s);   /* absolute, no "..", no NUL, of sane length */

/* snprintf where cutting off is fine. */
void text_format(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
