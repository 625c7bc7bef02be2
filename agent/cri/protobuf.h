#pragma once
/* Reading protocol buffers, as far as CRI needs it: fields one after the other, nothing copied. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pb {
    const uint8_t *at, *end;
    bool broken; /* the message ended within a field, or has one that can't be skipped */
};

struct pb_field {
    uint32_t number;
    uint64_t value; /* of a number */
    struct pb data; /* of bytes, a string or a message; empty for numbers */
};

struct pb pb_message(const void *data, size_t size);
/* False at the end, or if it is broken. */
bool pb_next(struct pb *m, struct pb_field *ret);
/* Text of a field, cut off at size - 1, with bytes that are no text made '?'. */
const char *pb_text(const struct pb *data, char *ret, size_t size);
bool pb_is(const struct pb *data, const char *text);
/* An entry of a map of strings: its key, and its value if there is one (else empty). */
bool pb_entry(const struct pb *data, struct pb *ret_key, struct pb *ret_value);
