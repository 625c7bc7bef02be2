#pragma once
/* Label selectors (matchLabels, matchExpressions). Empty matches everything. */
#include "common/buf.h"
#include "policy/model/decode.h"

enum selector_op { SELECTOR_IN, SELECTOR_NOT_IN, SELECTOR_EXISTS, SELECTOR_NOT_EXISTS };

struct requirement {
    enum selector_op op;
    struct string *key;
    struct string **values; /* sorted by address; IN and NOT_IN only */
    size_t n_values;
};

struct selector {
    struct requirement *all; /* ANDed; sorted, so that equal selectors look equal */
    size_t n;
};

/* Decodes o, an object (the decoder already stands on it). On failure ret is empty. */
int selector_decode(struct decoder *d, const json_t *o, struct selector *ret);
void selector_fini(struct strings *s, struct selector *sel);
bool selector_matches(const struct selector *sel, const struct labels *labels);
/* True if it matches whatever labels are added under keys other than `key`. */
bool selector_must_match(const struct selector *sel, const struct labels *labels,
                         const struct string *key);
/* A requirement "key in (one value)" if there is one: what an index can use. */
const struct requirement *selector_pair(const struct selector *sel);
/* Appends a text that is equal for equal selectors of one engine. 0 or -ENOMEM. */
int selector_canonical(const struct selector *sel, struct buf *out);
