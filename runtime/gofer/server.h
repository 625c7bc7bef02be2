#pragma once
/*
 * The gofer's server half: mounts by number, one function per request. Single-threaded; it serves
 * one sentry, which it does not trust. It never opens anything outside the mounts' root
 * descriptors, and never follows a symbolic link.
 */
#include "runtime/gofer/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct gofer_mount {
    int root; /* O_PATH descriptor of the mount's root (a directory, or a file for file mounts) */
    bool readonly; /* refuse whatever changes it (the mount itself is read-only as well) */
    bool connect;  /* CONNECT to unix sockets is allowed */
    bool devices;  /* device nodes may be opened */
};

enum { GOFER_LISTINGS = 4 };

/* A directory that is being listed: going on in the same open file keeps offsets right on every
 * file system. */
struct gofer_listing {
    uint32_t mount;
    uint64_t cookie;
    int fd; /* -1: unused */
    char path[GOFER_PATH_MAX];
};

struct gofer_server {
    struct gofer_mount *mounts;
    unsigned n_mounts;
    int proc_fd;        /* O_PATH descriptor of /proc/self/fd: reopens O_PATH descriptors */
    int scratch_root;   /* where the scratch directory is made at first use, or -1 */
    int scratch;        /* the scratch directory once it was made, or -1 */
    const char *hidden; /* name of the scratch directory: not to be seen in mount 0's root */
    uint64_t next_scratch;
    struct gofer_listing *listings; /* GOFER_LISTINGS, made at first use */
    unsigned next_listing;
};

#define GOFER_SERVER_INIT                                                                          \
    {                                                                                              \
        .proc_fd = -1, .scratch_root = -1, .scratch = -1                                           \
    }

/* Opens what a server needs of the calling process (proc_fd). 0 or -errno. */
int gofer_server_init(struct gofer_server *s);
/* Closes everything, the mounts' roots as well. */
void gofer_server_fini(struct gofer_server *s);

/* Descriptors of a reply: the caller sends and closes them. */
struct gofer_fds {
    unsigned n;
    int fd[1 + GOFER_AHEAD_MAX];
};

/* One request as it came: fills reply, out (GOFER_PACKET_MAX - sizeof(*reply) bytes) and *ret.
 * Never fails: errors are in reply->result. */
void gofer_handle(struct gofer_server *s, const void *packet, size_t size,
                  struct gofer_reply *reply, char *out, struct gofer_fds *ret);
void gofer_fds_close_all(struct gofer_fds *fds);

/* Serves sock until the other end closes it: 0, or -errno. */
int gofer_serve(struct gofer_server *s, int sock);
