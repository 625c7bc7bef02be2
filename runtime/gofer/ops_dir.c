/*
 * Listing directories, with the attributes of every entry if they are wanted. A listing that needs
 * several packets goes on in the same open directory as long as it is among the last few: offsets
 * of a fresh one may mean something else (overlayfs).
 */
#include "common/cleanup.h"
#include "runtime/gofer/ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct linux_dirent64 {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

enum { RAW_SIZE = 16384, ALIGN = 8 };

static struct gofer_listing *listings(struct gofer_server *s)
{
    if (s->listings)
        return s->listings;
    s->listings = calloc(GOFER_LISTINGS, sizeof(*s->listings));
    for (int i = 0; s->listings && i < GOFER_LISTINGS; i++)
        s->listings[i].fd = -1;
    return s->listings;
}

/* The open directory of a listing that stopped at this cookie, or -1. */
static int take_listing(struct gofer_ctx *c)
{
    struct gofer_listing *l = listings(c->server);

    for (int i = 0; l && i < GOFER_LISTINGS; i++)
        if (l[i].fd >= 0 && l[i].mount == c->request->mount && l[i].cookie == c->request->cookie &&
            strcmp(l[i].path, c->path) == 0)
            return TAKE_FD(l[i].fd);
    return -1;
}

static void keep_listing(struct gofer_ctx *c, int fd)
{
    struct gofer_listing *l = listings(c->server);

    if (!l) {
        (void)close(fd);
        return;
    }
    l += c->server->next_listing++ % GOFER_LISTINGS;
    close_fd(&l->fd);
    l->fd = fd;
    l->mount = c->request->mount;
    l->cookie = c->reply->cookie;
    memcpy(l->path, c->path, strlen(c->path) + 1);
}

static int open_directory(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int fd = -1;
    int dir = c->request->cookie ? take_listing(c) : -1;

    if (dir >= 0)
        return dir;
    fd = gofer_resolve(c, c->path);
    if (fd < 0)
        return fd;
    dir = gofer_reopen(c, fd, O_RDONLY | O_DIRECTORY);
    if (dir >= 0 && c->request->cookie && lseek(dir, (off_t)c->request->cookie, SEEK_SET) < 0) {
        (void)close(dir);
        return -EINVAL;
    }
    return dir == -ELOOP ? -ENOTDIR : dir;
}

/* Appends one entry; false if there is no room left. */
static bool add_entry(struct gofer_ctx *c, int dir, const struct linux_dirent64 *e)
{
    size_t len = strlen(e->name), size = sizeof(struct gofer_dirent) + len + 1;
    struct gofer_dirent d = {.next = (uint64_t)e->off, .name_len = (uint16_t)len};
    char *at = c->out + c->reply->data_len;

    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (size > c->out_max - c->reply->data_len)
        return false;
    d.size = (uint16_t)size;
    if ((c->request->flags & GOFER_READDIR_NAMES) && e->type != DT_UNKNOWN)
        d.attr = (struct gofer_attr){.mode = DTTOIF((unsigned)e->type), .ino = e->ino};
    else if (gofer_attr_at(dir, e->name, &d.attr) < 0)
        d.attr = (struct gofer_attr){0};
    memset(at, 0, size);
    memcpy(at, &d, sizeof(d));
    memcpy(at + offsetof(struct gofer_dirent, name), e->name, len + 1);
    c->reply->data_len += (uint32_t)size;
    c->reply->count++;
    return true;
}

static bool wanted(const struct gofer_ctx *c, const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !gofer_is_hidden(c, c->path, name);
}

/* One getdents64: 1 = more may follow, 0 = end of directory, -ENOBUFS = packet is full, -errno. */
static int add_batch(struct gofer_ctx *c, int dir)
{
    char raw[RAW_SIZE] __attribute__((aligned(8)));
    long n = syscall(SYS_getdents64, dir, raw, sizeof(raw));

    if (n <= 0)
        return n < 0 ? -errno : 0;
    for (long at = 0; at < n;) {
        const struct linux_dirent64 *e = (const void *)(raw + at);

        if (wanted(c, e->name) && !add_entry(c, dir, e))
            return lseek(dir, (off_t)c->reply->cookie, SEEK_SET) < 0 ? -errno : -ENOBUFS;
        c->reply->cookie = (uint64_t)e->off;
        at += e->reclen;
    }
    return 1;
}

int gofer_op_readdir(struct gofer_ctx *c)
{
    CLEANUP(close_fd) int dir = open_directory(c);
    int r = 1;

    if (dir < 0)
        return dir;
    c->reply->cookie = c->request->cookie;
    while (r > 0)
        r = add_batch(c, dir);
    if (r == -ENOBUFS) {
        c->reply->more = 1;
        keep_listing(c, TAKE_FD(dir));
        return 0;
    }
    return r;
}
