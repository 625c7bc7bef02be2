/* Preloaded into bermd install: the FAULT_AT-th call that changes the file system fails for want of
 * space, or (FAULT=kill) is the last one. FAULT_FIRED is made when that happened. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int at, seen, dying;

__attribute__((constructor)) static void begin(void)
{
    const char *n = getenv("FAULT_AT"), *how = getenv("FAULT");

    at = n ? atoi(n) : 0;
    dying = how && strcmp(how, "kill") == 0;
    (void)unsetenv("LD_PRELOAD"); /* not for the programs that it runs */
}

static int due(void)
{
    if (++seen != at)
        return 0;
    (void)syscall(SYS_close,
                  (int)syscall(SYS_open, getenv("FAULT_FIRED"), O_CREAT | O_WRONLY, 0600));
    if (dying)
        (void)kill(getpid(), SIGKILL);
    errno = ENOSPC;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(ret, name, parameters, arguments)                                                     \
    ret name parameters                                                                            \
    {                                                                                              \
        return due() ? -1 : REAL(name) arguments;                                                  \
    }

WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *a, const char *b), (a, b))
WRAP(int, renameat, (int x, const char *a, int y, const char *b), (x, a, y, b))
WRAP(int, link, (const char *a, const char *b), (a, b))
WRAP(int, symlink, (const char *a, const char *b), (a, b))
WRAP(int, mkdir, (const char *a, mode_t m), (a, m))

ssize_t write(int fd, const void *data, size_t size)
{
    struct stat st;

    if (fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && due())
        return -1;
    return syscall(SYS_write, fd, data, size);
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && due())
        return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_at(dir, path, flags, mode);
}
