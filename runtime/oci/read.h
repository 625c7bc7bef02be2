#pragma once
/*
 * Reading JSON into structures by tables: strict about types and ranges, tolerant of unknown
 * members. Errors name the file and the member: "config.json: process.args[0]: must be a string".
 * Strings point into the JSON value; lists are allocated (freed by oci_fields_free with the same
 * table).
 */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oci_strings {
    const char **items; /* NULL-terminated */
    unsigned count;
};

enum { OCI_READ_PATH = 200 };

/* Where the reader is, for messages. */
struct oci_reader {
    const char *file;
    struct error *err;
    size_t path_len;
    char path[OCI_READ_PATH];
};

enum oci_kind {
    OCI_STRING,   /* const char * */
    OCI_BOOL,     /* bool */
    OCI_INT,      /* int64_t, min <= value <= max */
    OCI_STRINGS,  /* struct oci_strings, at most max entries */
    OCI_OBJECT,   /* a structure in place, by the table `fields` */
    OCI_ARRAY,    /* items and count: an allocated array of structures of `size` bytes, by the table
                     `fields`; at most max */
    OCI_JSON,     /* json_t *, an object, borrowed */
    OCI_INTS,     /* a list of integers, min <= value <= max; only checked */
    OCI_ACCEPTED, /* of the type `json`; without effect, with `why` told in the log, unless it says
                     nothing: null, false, 0, empty */
    OCI_REFUSED,  /* an error, with `why`, unless it says nothing */
};

struct oci_field {
    const char *name;
    enum oci_kind kind;
    bool required;
    size_t offset;
    int64_t min, max;
    const struct oci_field *fields; /* ends with a row without name */
    size_t size;
    const char *why; /* of a row of another kind: it is checked, but has no effect */
    json_type json;
    size_t present; /* offset of a bool that tells whether the member was there, or 0 */
};

struct oci_array {
    void *items;
    unsigned count;
};

/*
 * Parses JSON. Unsigned integers above INT64_MAX (18446744073709551615: "no limit", as encoders of
 * other languages write it) come out as the negative number of the same 64 bits.
 */
json_t *oci_json_load(const char *text, size_t size, json_error_t *ret_error);
/* Fills out from object. 0 or a negative errno with the message set; what was filled can be freed
 * either way. */
int oci_read_fields(struct oci_reader *r, json_t *object, const struct oci_field *fields,
                    void *out);
void oci_fields_free(const struct oci_field *fields, void *out);
/* -EINVAL with "FILE: MEMBER: TEXT"; member is added to where the reader is and may be NULL. */
int oci_read_fail(struct oci_reader *r, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
