/*
 * One process at a time manages a pin folder. A POSIX record lock, because it ends with its process
 * and is not handed down: children that outlive a killed agent must not keep the next one out. It
 * needs a plain file; the bpf file system has none, so it lies in /run/berm.
 */
#include "agent/enforce/internal.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char lock_dir[] = "/run/berm";

int lock_take(const char *pin_dir, struct error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CLEANUP(close_fd) int fd = -1;
    char path[320];
    size_t start;
    int r = mkdir_parents(lock_dir, 0755);

    if (r < 0)
        return error_errno(err, r, "create %s", lock_dir);
    start = (size_t)snprintf(path, sizeof(path), "%s/enforce", lock_dir);
    (void)snprintf(path + start, sizeof(path) - start, "%s.lock", pin_dir);
    for (char *c = path + start; *c; c++)
        *c = *c == '/' ? '-' : *c;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, -errno, "open %s", path);
    if (fcntl(fd, F_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES
                   ? error_set(err, -EALREADY, "%s: another process manages it (%s)", pin_dir, path)
                   : error_errno(err, -errno, "lock %s", path);
    return TAKE_FD(fd);
}
