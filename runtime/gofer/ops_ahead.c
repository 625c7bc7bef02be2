/*
 * Files that are opened along with one, since the sentry expects that they will be wanted next: a
 * round trip for sixteen files instead of one. Regular files only, for reading only.
 */
#include "common/cleanup.h"
#include "runtime/gofer/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/*
 * The descriptor; -errno, and then ret->mode is 0. Opened before it is looked at, which takes half
 * as long as the other way round: no device is opened by that (the mount has none), and no fifo is
 * waited for.
 */
static int open_one(const struct gofer_ctx *c, int dir, const char *name, struct gofer_attr *ret)
{
    CLEANUP(close_fd) int fd = -1;

    if (!strchr(c->path, '/') && gofer_is_hidden(c, "", name))
        return -ENOENT;
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && gofer_attr_at(fd, "", ret) == 0 && S_ISREG(ret->mode))
        return TAKE_FD(fd);
    ret->mode = 0;
    return -ENOENT;
}

void gofer_open_ahead_of(struct gofer_ctx *c)
{
    const char *p = c->data, *end = p + c->request->data_len, *own;
    CLEANUP(close_fd) int dir = -1;

    if (p < end && !c->mount->devices)
        dir = gofer_resolve_parent(c, c->path, &own);
    if (dir < 0)
        return;
    while (p < end && c->reply->count < GOFER_AHEAD_MAX) {
        size_t left = (size_t)(end - p), len = strnlen(p, left);
        struct gofer_attr attr = {0};
        int fd;

        if (len == 0 || len == left || strchr(p, '/') || !gofer_path_ok(p))
            break;
        fd = open_one(c, dir, p, &attr);
        if (fd >= 0)
            c->ahead[c->n_ahead++] = fd;
        memcpy(c->out + c->reply->data_len, &attr, sizeof(attr));
        c->reply->data_len += sizeof(attr);
        c->reply->count++;
        p += len + 1;
    }
}
