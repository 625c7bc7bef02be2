#pragma once
/* A pipe's storage: a ring of bytes that grows on demand, with marks where packets end. No locking.
 */
#include "runtime/sentry/uio.h"

struct pipe_mark {
    uint32_t size;
    bool packet; /* one write in packet mode: reads stop at its end */
};

struct ring {
    char *data;
    size_t capacity; /* power of two, 0 before the first byte */
    size_t limit;    /* what it may grow to: power of two */
    size_t head;     /* index of the oldest byte */
    size_t size;
    /* Marks exist only once a packet was written; then they cover all bytes. */
    struct pipe_mark *marks;
    unsigned n_marks, marks_capacity;
};

void ring_fini(struct ring *r);
static inline size_t ring_room(const struct ring *r)
{
    return r->limit - r->size;
}
/* Makes room for size more bytes (<= ring_room). 0 or -ENOMEM. */
int ring_reserve(struct ring *r, size_t size);
/* Changes the limit, keeps the content (r->size <= limit). 0 or -ENOMEM. */
int ring_resize(struct ring *r, size_t limit);

/* Moves up to size bytes in, after ring_reserve. Bytes or -EFAULT. */
ssize_t ring_fill(struct ring *r, struct uio *u, size_t size);
/* Copies up to size bytes out, starting skip after the oldest; does not consume. */
ssize_t ring_copy(const struct ring *r, struct uio *u, size_t size, size_t skip);
void ring_drop(struct ring *r, size_t size);

/* Notes that the size newest bytes came by one write. 0 or -ENOMEM (marks are bounded by limit). */
int ring_mark(struct ring *r, size_t size, bool packet);
/* Size of the packet that the oldest bytes are, 0 if they are a stream. */
size_t ring_packet(const struct ring *r);
