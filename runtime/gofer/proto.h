#pragma once
/*
 * The gofer's wire protocol: SOCK_SEQPACKET, one request packet, one reply packet, at most one
 * descriptor in the reply (OPEN: more, of files that are opened ahead). It is stateless: a request
 * names (mount number, path relative to that mount's root [, second path]), and the server resolves
 * it beneath the mount's root without ever following a symbolic link: the sentry walks links
 * itself. Paths have no leading "/", no "." and no ".." components; "" is the mount's root.
 *
 * Both ends are built from this header (they are forks of one program), so the structures have no
 * version. The sentry may be compromised: the server trusts no field. The server may be slow:
 * clients share no lock with it.
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>

enum {
    GOFER_PACKET_MAX = 65536, /* request and reply */
    GOFER_PATH_MAX = PATH_MAX,
    GOFER_MOUNTS_MAX = 1024, /* mounts of one container */
    GOFER_XATTR_MAX = 49152, /* value of one attribute, or a list of names */
    GOFER_AHEAD_MAX = 16,    /* files opened along with one */
};

/* op, name, what it needs of the mount (server.c): READS anything, WRITES a writable one, ... */
#define GOFER_OPS(X)                                                                               \
    X(STAT, stat, READS)                                                                           \
    X(OPEN, open, READS) /* opening for writing is refused in the function */                      \
    X(READLINK, readlink, READS)                                                                   \
    X(READDIR, readdir, READS)                                                                     \
    X(CREATE, create, WRITES)                                                                      \
    X(MKDIR, mkdir, WRITES)                                                                        \
    X(MKNOD, mknod, WRITES)                                                                        \
    X(SYMLINK, symlink, WRITES)                                                                    \
    X(LINK, link, WRITES)                                                                          \
    X(UNLINK, unlink, WRITES)                                                                      \
    X(RMDIR, rmdir, WRITES)                                                                        \
    X(RENAME, rename, WRITES)                                                                      \
    X(SETATTR, setattr, WRITES)                                                                    \
    X(STATFS, statfs, READS)                                                                       \
    X(XGET, xget, READS)                                                                           \
    X(XSET, xset, WRITES)                                                                          \
    X(XLIST, xlist, READS)                                                                         \
    X(XREMOVE, xremove, WRITES)                                                                    \
    X(CONNECT, connect, CONNECTS)                                                                  \
    X(SCRATCH, scratch, SCRATCHES)

enum gofer_op {
#define X(op, name, effect) GOFER_OP_##op,
    GOFER_OPS(X)
#undef X
        GOFER_OP_COUNT
};

/* What stat(2) tells, in a fixed size. Times are nanoseconds since the epoch. */
struct gofer_attr {
    uint32_t mode; /* type and permission */
    uint32_t uid, gid, nlink;
    uint64_t ino, dev, rdev; /* dev, rdev: as makedev() gives them */
    uint64_t size, blocks;   /* blocks of 512 bytes */
    int64_t atime, mtime, ctime, btime;
    uint32_t blksize;
    uint32_t reserved;
};

/* Flags of READDIR. */
enum {
    GOFER_READDIR_NAMES = 1, /* of attributes only the type and a number: no look at each entry */
};

/* Names of extended attributes that a guest may read; file capabilities are for execve. */
static inline int gofer_xattr_readable(const char *name)
{
    return (strncmp(name, "user.", 5) == 0 && name[5]) || strcmp(name, "security.capability") == 0;
}

enum gofer_setattr_mask {
    GOFER_SET_MODE = 1,
    GOFER_SET_UID = 2,
    GOFER_SET_GID = 4,
    GOFER_SET_SIZE = 8,
    GOFER_SET_ATIME = 16,
    GOFER_SET_MTIME = 32,
    GOFER_SET_ATIME_NOW = 64,
    GOFER_SET_MTIME_NOW = 128,
};

struct gofer_setattr {
    uint32_t mask;
    uint32_t mode, uid, gid;
    uint64_t size;
    int64_t atime, mtime;
};

struct gofer_statfs {
    uint64_t type, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize, flags;
};

/* A request: this head, then path NUL, path2 NUL, data. Open: data are names, each with its NUL, of
 * files in the same directory to be opened for reading along with it; in the reply's data are the
 * attributes of each (mode 0: not opened), and its descriptors follow the first. */
struct gofer_request {
    uint32_t op;
    uint32_t mount, mount2;       /* mount2: of path2 (link, rename); must equal mount */
    uint32_t path_len, path2_len; /* without the NUL */
    uint32_t data_len;
    uint32_t flags; /* open(2), rename or xattr flags */
    uint32_t mode, uid, gid;
    uint32_t reply_max;
    uint32_t reserved;
    uint64_t cookie; /* readdir: where to go on, 0 = start */
    struct gofer_setattr set;
};

/* A reply: this head, then data_len bytes. */
struct gofer_reply {
    int32_t result; /* 0 or more, or -errno */
    uint32_t count; /* readdir: entries in data; open: attributes in data, of files opened ahead */
    uint32_t data_len;
    uint32_t more;   /* readdir: cookie is where to go on; stat: a link's target is in data */
    uint64_t cookie; /* readdir */
    struct gofer_attr attr;
};

/* One entry of a readdir reply: this, name, NUL, padding to 8. attr.mode == 0: vanished meanwhile.
 */
struct gofer_dirent {
    struct gofer_attr attr;
    uint64_t next; /* cookie of what follows */
    uint16_t size; /* of the whole record */
    uint16_t name_len;
    uint32_t reserved;
    char name[];
};
