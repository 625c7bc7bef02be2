#include "agent/crilog.h"

#include "agent/rfc3339.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MAX_SIZE = 16384 };

int crilog_open(struct crilog *l, const char *path, uint64_t max, struct error *err)
{
    struct stat st;

    *l = (struct crilog){.path = path, .max = max};
    l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (l->fd < 0)
        return error_errno(err, -errno, "open '%s'", path);
    if (fstat(l->fd, &st) == 0)
        l->size = (uint64_t)st.st_size;
    return 0;
}

/* A container that floods its log gets two files of `max`, and no more of the disk. */
static void rotate(struct crilog *l)
{
    char old[PATH_MAX];
    int fd;

    (void)snprintf(old, sizeof(old), "%s.1", l->path);
    (void)rename(l->path, old);
    fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return;
    (void)close(l->fd);
    l->fd = fd;
    l->size = 0;
}

static void write_line(struct crilog *l, const char *stream, const char *data, size_t size,
                       char tag)
{
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    char now[RFC3339_SIZE];

    rfc3339_now(now);
    if (buf_printf(&b, "%s %s %c ", now, stream, tag) < 0 || buf_append(&b, data, size) < 0 ||
        buf_append(&b, "\n", 1) < 0)
        return;
    if (l->max && l->size + b.size > l->max)
        rotate(l);
    if (write_full(l->fd, b.data, b.size) == 0)
        l->size += b.size;
}

void crilog_feed(struct crilog *l, struct crilog_stream *s, const char *data, size_t size)
{
    while (size) {
        const char *newline = memchr(data, '\n', size);
        size_t n = newline ? (size_t)(newline - data) : size;

        if (buf_append(&s->partial, data, n) < 0)
            return;
        data += n + (newline != NULL);
        size -= n + (newline != NULL);
        while (s->partial.size > LINE_MAX_SIZE) {
            write_line(l, s->name, s->partial.data, LINE_MAX_SIZE, 'P');
            buf_consume(&s->partial, LINE_MAX_SIZE);
        }
        if (newline) {
            write_line(l, s->name, s->partial.data ? s->partial.data : "", s->partial.size, 'F');
            buf_consume(&s->partial, s->partial.size);
        }
    }
}

void crilog_flush(struct crilog *l, struct crilog_stream *s)
{
    if (s->partial.size)
        write_line(l, s->name, s->partial.data, s->partial.size, 'P');
    buf_fini(&s->partial);
}
