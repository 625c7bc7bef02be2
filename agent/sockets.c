#include "agent/sockets.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* All pods of a node may ask at once, and a full queue makes them wait, or go away unheard. */
enum { BACKLOG = 1024 };

int unix_listen(const char *path, int type, int *ret_fd, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = -1;
    mode_t mask;
    int r;

    if (strlen(path) >= sizeof(addr.sun_path))
        return error_errno(err, -ENAMETOOLONG, "socket '%s'", path);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    (void)unlink(path);
    mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
    (void)umask(mask);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "listen on '%s'", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int unix_accept(int fd, int *ret_fd)
{
    CLEANUP(close_fd) int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (peer < 0)
        return -errno;
    if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return -errno;
    if (cred.uid != 0 && cred.uid != geteuid())
        return -EPERM;
    *ret_fd = TAKE_FD(peer);
    return 0;
}
