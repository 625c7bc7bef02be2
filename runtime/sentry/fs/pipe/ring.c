/*
 * The byte ring of a pipe. It starts with nothing, takes 4 KiB at the first byte and doubles up to
 * its limit: a thousand idle pipes cost a thousand small structures. Packets are remembered beside
 * the bytes, each counting as one page against the limit as Linux counts them, so that the marks of
 * a hostile guest's empty-ish packets stay bounded.
 */
#include "runtime/sentry/fs/pipe/ring.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RING_MIN = 4096 };

void ring_fini(struct ring *r)
{
    free(r->data);
    free(r->marks);
    *r = (struct ring){.limit = r->limit};
}

static void ring_linearise(const struct ring *r, char *to)
{
    size_t first = MIN(r->size, r->capacity - r->head);

    if (!r->size)
        return;
    memcpy(to, r->data + r->head, first);
    memcpy(to + first, r->data, r->size - first);
}

static int ring_set_capacity(struct ring *r, size_t capacity)
{
    char *data = malloc(capacity);

    if (!data)
        return -ENOMEM;
    ring_linearise(r, data);
    free(r->data);
    r->data = data;
    r->capacity = capacity;
    r->head = 0;
    return 0;
}

int ring_reserve(struct ring *r, size_t size)
{
    size_t want = r->capacity ? r->capacity : MIN((size_t)RING_MIN, r->limit);

    while (want < r->size + size)
        want *= 2;
    return want == r->capacity ? 0 : ring_set_capacity(r, want);
}

int ring_resize(struct ring *r, size_t limit)
{
    int e = r->capacity > limit ? ring_set_capacity(r, limit) : 0;

    if (e == 0)
        r->limit = limit;
    return e;
}

ssize_t ring_fill(struct ring *r, struct uio *u, size_t size)
{
    size_t done = 0;

    while (done < size) {
        size_t at = (r->head + r->size) & (r->capacity - 1);
        size_t n = MIN(size - done, r->capacity - at);
        ssize_t got = uio_copy_from(u, r->data + at, n);

        if (got <= 0)
            return done ? (ssize_t)done : got;
        r->size += (size_t)got;
        done += (size_t)got;
        if ((size_t)got < n)
            break;
    }
    return (ssize_t)done;
}

ssize_t ring_copy(const struct ring *r, struct uio *u, size_t size, size_t skip)
{
    size_t done = 0;

    while (done < size) {
        size_t at = (r->head + skip + done) & (r->capacity - 1);
        size_t n = MIN(size - done, r->capacity - at);
        ssize_t got = uio_copy_to(u, r->data + at, n);

        if (got <= 0)
            return done ? (ssize_t)done : got;
        done += (size_t)got;
        if ((size_t)got < n)
            break;
    }
    return (ssize_t)done;
}

void ring_drop(struct ring *r, size_t size)
{
    r->size -= size;
    r->head = r->size ? (r->head + size) & (r->capacity - 1) : 0;
    while (size && r->n_marks) {
        size_t n = MIN(size, (size_t)r->marks[0].size);

        r->marks[0].size -= (uint32_t)n;
        size -= n;
        if (!r->marks[0].size)
            memmove(r->marks, r->marks + 1, --r->n_marks * sizeof(*r->marks));
    }
}

int ring_mark(struct ring *r, size_t size, bool packet)
{
    unsigned max = (unsigned)(r->limit / RING_MIN) * 2 + 4;

    if (!packet && !r->n_marks)
        return 0;
    if (r->n_marks + 2 > r->marks_capacity) {
        struct pipe_mark *m = realloc(r->marks, max * sizeof(*m));

        if (!m)
            return -ENOMEM;
        r->marks = m;
        r->marks_capacity = max;
    }
    /* Stream bytes that were there before the first packet. */
    if (!r->n_marks && r->size > size)
        r->marks[r->n_marks++] = (struct pipe_mark){(uint32_t)(r->size - size), false};
    if (!packet && r->n_marks && !r->marks[r->n_marks - 1].packet)
        r->marks[r->n_marks - 1].size += (uint32_t)size;
    else
        r->marks[r->n_marks++] = (struct pipe_mark){(uint32_t)size, packet};
    return 0;
}

size_t ring_packet(const struct ring *r)
{
    return r->n_marks && r->marks[0].packet ? r->marks[0].size : 0;
}
