#pragma once
/*
 * Reading one API object out of JSON, strictly. The decoder knows where it is, so that every error
 * reads "NetworkPolicy shop/db: spec.egress[0].to[1].ipBlock.cidr: \"10.0.0.1/99\": prefix out of
 * range". JSON null counts as absent, as it does for the API server.
 */
#include "common/error.h"
#include "policy/model/labels.h"

#include <jansson.h>

struct decoder {
    struct label_table *labels;
    struct strings *strings;
    struct error *err;
    char object[400]; /* "NetworkPolicy shop/db" */
    char path[512];   /* where we are */
    size_t path_size;
    char bad_path[512]; /* where the error was */
};

/* Enters "spec" or "[3]"; give the result to decode_leave. */
size_t decode_enter(struct decoder *d, const char *field);
size_t decode_enter_index(struct decoder *d, size_t index);
void decode_leave(struct decoder *d, size_t mark);

/* Sets err to "<object>: <path>.<field>: <text>" and returns -EINVAL (decode_memory: -ENOMEM).
 * field may be NULL. */
int decode_fail(struct decoder *d, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
int decode_memory(struct decoder *d);
/* As decode_fail, and shows the (shortened, printable) value: "\"10.0.0.1/99\": why". */
int decode_fail_value(struct decoder *d, const char *field, const char *value, const char *why);

/* Fields of an object. Absent: *ret becomes NULL (numbers and booleans stay), result 0. */
int decode_object(struct decoder *d, const json_t *o, const char *field, const json_t **ret);
int decode_array(struct decoder *d, const json_t *o, const char *field, const json_t **ret);
int decode_string(struct decoder *d, const json_t *o, const char *field, const char **ret);
int decode_bool(struct decoder *d, const json_t *o, const char *field, bool *ret);
int decode_integer(struct decoder *d, const json_t *o, const char *field, long min, long max,
                   long *ret, bool *ret_there);
/* Fails unless every field of o is one of the names (NULL ends the list). */
int decode_known(struct decoder *d, const json_t *o, const char *const *names);
/* True if the field is there and not null. */
bool decode_has(const json_t *o, const char *field);

/* metadata of any object: name required, namespace kept ("default" if absent and namespaced). */
struct metadata {
    const char *ns, *name, *uid;
    const json_t *labels, *annotations;
    bool deleting;
};
int decode_metadata(struct decoder *d, const json_t *object, const char *kind, bool namespaced,
                    struct metadata *ret);
/* A map of strings as an interned set (reference); extra_key, if given, is added or replaced. */
int decode_labels(struct decoder *d, const json_t *map, const char *extra_key,
                  const char *extra_value, struct labels **ret);
