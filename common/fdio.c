#include "common/fdio.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { FD_MAX = 32, CHUNK = 65536 };

int write_full(int fd, const void *data, size_t size)
{
    const char *p = data;

    while (size) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t read_full(int fd, void *data, size_t size)
{
    char *p = data;
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(fd, p + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int file_read_all(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size,
                  struct error *err)
{
    CLEANUP(close_fd) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    CLEANUP(free_ptr) char *data = NULL;
    size_t size = 0, capacity = 0;

    if (fd < 0)
        return error_errno(err, -errno, "open '%s'", path);
    for (;;) {
        ssize_t n;

        if (size + 1 >= capacity) {
            char *bigger;

            capacity = capacity ? capacity * 2 : 4096;
            bigger = realloc(data, capacity);
            if (!bigger)
                return error_errno(err, -ENOMEM, "read '%s'", path);
            data = bigger;
        }
        n = read_full(fd, data + size, MIN(capacity - size - 1, (size_t)CHUNK));
        if (n < 0)
            return error_errno(err, (int)n, "read '%s'", path);
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max)
            return error_set(err, -EFBIG, "read '%s': larger than %zu bytes", path, max);
    }
    data[size] = 0;
    *ret_data = TAKE_PTR(data);
    if (ret_size)
        *ret_size = size;
    return 0;
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                      struct error *err)
{
    char temporary[4096];
    int fd, r;

    if (snprintf(temporary, sizeof(temporary), "%s.%d.new", path, (int)getpid()) >=
        (int)sizeof(temporary))
        return error_errno(err, -ENAMETOOLONG, "write '%s'", path);
    fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return error_errno(err, -errno, "create '%s'", temporary);
    r = write_full(fd, data, size);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    (void)close(fd);
    if (r == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dirfd, temporary, 0);
        return error_errno(err, r, "write '%s'", path);
    }
    return 0;
}

int file_write(int dirfd, const char *path, const char *data, struct error *err)
{
    CLEANUP(close_fd) int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return error_errno(err, -errno, "open '%s'", path);
    if (write(fd, data, strlen(data)) < 0)
        return error_errno(err, -errno, "write '%.64s' to '%s'", data, path);
    return 0;
}

int mkdir_parents(const char *path, mode_t mode)
{
    char copy[4096];

    if (strlen(path) >= sizeof(copy))
        return -ENAMETOOLONG;
    (void)snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

int fd_send(int sock, const void *data, size_t size, const int *fds, size_t n_fds)
{
    union {
        char buf[CMSG_SPACE(FD_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > FD_MAX)
        return -E2BIG;
    if (n_fds) {
        struct cmsghdr *c;

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    for (;;) {
        if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Moves received descriptors into fds; closes those that do not fit. */
static void collect_fds(struct msghdr *msg, int *fds, size_t n_fds)
{
    size_t got = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (got < n_fds)
                fds[got++] = fd;
            else
                (void)close(fd);
        }
    }
}

ssize_t fd_recv(int sock, void *data, size_t size, int *fds, size_t n_fds)
{
    union {
        char buf[CMSG_SPACE(FD_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    ssize_t n;

    for (size_t i = 0; i < n_fds; i++)
        fds[i] = -1;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    collect_fds(&msg, fds, n_fds);
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        for (size_t i = 0; i < n_fds; i++)
            if (fds[i] >= 0)
                close_fd(&fds[i]);
        return -EMSGSIZE;
    }
    return n;
}
