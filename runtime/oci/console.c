#include "runtime/oci/console.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_pty(int *ret_slave)
{
    CLEANUP(close_fd) int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlock = 0, slave;

    /* Some machines mount devpts without a usable /dev/ptmx beside it. */
    if (master < 0)
        master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return -errno;
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -errno;
    *ret_slave = slave;
    return TAKE_FD(master);
}

int console_new(const char *socket_path, const struct winsize *size, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int slave = -1;
    CLEANUP(close_fd) int master = open_pty(&slave);
    CLEANUP(close_fd) int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    if (master < 0)
        return error_errno(err, master, "open a pty");
    if (size->ws_row || size->ws_col)
        (void)ioctl(master, TIOCSWINSZ, size);
    if (strlen(socket_path) >= sizeof(addr.sun_path))
        return error_set(err, -ENAMETOOLONG, "console socket '%.80s...': path is too long",
                         socket_path);
    (void)strcpy(addr.sun_path, socket_path);
    if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "console socket '%s'", socket_path);
    /* The message's text is the pty's name by custom; nobody looks at it. */
    r = fd_send(sock, "/dev/ptmx", 9, &master, 1);
    if (r < 0)
        return error_errno(err, r, "send the pty to '%s'", socket_path);
    return TAKE_FD(slave);
}
