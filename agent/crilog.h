#pragma once
/* Container output as the CRI log format: "TIME stdout|stderr F|P line". One file, rotated once. */
#include "common/buf.h"
#include "common/error.h"

#include <stdint.h>

struct crilog {
    const char *path;
    int fd;
    uint64_t size, max;
};

struct crilog_stream {
    const char *name; /* "stdout" */
    struct buf partial;
};

int crilog_open(struct crilog *l, const char *path, uint64_t max, struct error *err);
/* Splits data into lines; an unfinished one is kept, or written as a part when too long. */
void crilog_feed(struct crilog *l, struct crilog_stream *s, const char *data, size_t size);
/* Writes what is left as a last, unterminated line. */
void crilog_flush(struct crilog *l, struct crilog_stream *s);
