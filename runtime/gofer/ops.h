#pragma once
/* What the functions of the request table share. */
#include "runtime/gofer/server.h"

#include <sys/stat.h>

/* One checked request: paths are well formed, the mount exists and allows what the table says. */
struct gofer_ctx {
    struct gofer_server *server;
    const struct gofer_mount *mount;
    const struct gofer_request *request;
    const char *path, *path2;
    const char *data; /* request->data_len bytes */
    struct gofer_reply *reply;
    char *out; /* of the reply; reply->data_len says how much is used */
    size_t out_max;
    int fd;                     /* to be sent along, or -1 */
    int ahead[GOFER_AHEAD_MAX]; /* behind it */
    unsigned n_ahead;
};

#define X(op, name, effect) int gofer_op_##name(struct gofer_ctx *c);
GOFER_OPS(X)
#undef X

/* ops_ahead.c: opens the files that the request names beside its own. */
void gofer_open_ahead_of(struct gofer_ctx *c);

/* lookup.c */
/* True if path is "" or names separated by single slashes, none of them "." or "..", none too long.
 */
bool gofer_path_ok(const char *path);
/* A fresh O_PATH descriptor of path, never through a link (the last component may be one). -errno.
 */
int gofer_resolve(const struct gofer_ctx *c, const char *path);
/* The parent directory of path (O_PATH) and the last component; -EBUSY for the root itself, -EPERM
 * for hidden names. */
int gofer_resolve_parent(const struct gofer_ctx *c, const char *path, const char **ret_name);
/* Opens again what an O_PATH descriptor refers to. */
int gofer_reopen(const struct gofer_ctx *c, int path_fd, int flags);
/* Attributes of name in dirfd, or of dirfd itself if name is "". 0 or -errno. */
int gofer_attr_at(int dirfd, const char *name, struct gofer_attr *ret);
/* True if name, in the directory dir of the mount, is kept from the guest. */
bool gofer_is_hidden(const struct gofer_ctx *c, const char *dir, const char *name);
