#pragma once
/*
 * Cuts a stream of JSON text into the objects that are wanted, byte by byte as it arrives: the
 * events of a watch, or the items of a list. Only one object at a time is held and parsed, and none
 * larger than `max`; what surrounds the items of a list (the envelope) is kept apart, without them.
 * The text is hostile: framing is by brackets and strings alone, the rest is jansson's to judge.
 */
#include "common/buf.h"
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

enum { STREAM_DEPTH_MAX = 200, STREAM_ENVELOPE_MAX = 1 << 20 };

struct stream {
    bool list; /* items of "items" at the top; else every object at the top is one */
    size_t max;
    /* 0 to go on, negative to end with err. object is borrowed. */
    int (*fn)(void *ctx, const json_t *object, struct error *err);
    void *ctx;
    /* Private. */
    struct buf object, envelope;
    unsigned depth, base; /* objects begin at depth `base` */
    bool in_string, escaped, capturing, key_items;
    char word[8]; /* the last string at depth 1, cut off */
    unsigned word_size;
    size_t count;
};

void stream_init(struct stream *s, bool list, size_t max,
                 int (*fn)(void *ctx, const json_t *object, struct error *err), void *ctx);
void stream_fini(struct stream *s);
/* -EMSGSIZE: an object is too large; -EBADMSG: not JSON; or what fn returned. */
int stream_feed(struct stream *s, const char *data, size_t size, struct error *err);
/* The text is at its end: 0, or -EBADMSG if it ends within something. For a list, *ret_envelope
 * (may be NULL) is the list object without its items. */
int stream_end(struct stream *s, json_t **ret_envelope, struct error *err);
