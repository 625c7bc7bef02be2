/* Calls on files, pipes and sockets. */
#include "ubench.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SCRATCH "/tmp/ubench.data"     /* a tmpfs of the sandbox */
#define WRITTEN "/var/tmp/ubench.data" /* the writable layer of its root */
#define TIMES   for (long i = 0; i < n; i++)

void ub_getpid(long n)
{
    TIMES(void) syscall(SYS_getpid);
}

void ub_getppid(long n)
{
    TIMES(void) syscall(SYS_getppid);
}

void ub_umask(long n)
{
    TIMES(void) umask(022);
}

void ub_fstat(long n)
{
    struct stat st;
    int fd = open(ub_data, O_RDONLY);

    TIMES if (fstat(fd, &st) < 0) ub_die("fstat");
    close(fd);
}

void ub_stat(long n)
{
    struct stat st;

    TIMES if (stat(ub_data, &st) < 0) ub_die("stat");
}

void ub_open_close(long n)
{
    TIMES
    {
        int fd = open(ub_data, O_RDONLY);

        if (fd < 0)
            ub_die("open");
        close(fd);
    }
}

void ub_open_enoent(long n)
{
    TIMES(void) open("/nonexistent-name", O_RDONLY);
}

static int scratch(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, ub_buf, sizeof(ub_buf)) != (ssize_t)sizeof(ub_buf))
        ub_die(path);
    return fd;
}

static void preads(long n, int fd, size_t size)
{
    if (fd < 0)
        ub_die("open");
    TIMES if (pread(fd, ub_buf, size, 0) != (ssize_t)size) ub_die("pread");
    close(fd);
}

static void pwrites(long n, int fd, size_t size)
{
    TIMES if (pwrite(fd, ub_buf, size, 0) != (ssize_t)size) ub_die("pwrite");
    close(fd);
}

void ub_pread_1(long n)
{
    preads(n, scratch(SCRATCH), 1);
}

void ub_pread_4k(long n)
{
    preads(n, scratch(SCRATCH), 4096);
}

void ub_pread_64k(long n)
{
    preads(n, scratch(SCRATCH), 65536);
}

void ub_pread_image_1(long n)
{
    preads(n, open(ub_data, O_RDONLY), 1);
}

void ub_pread_image_4k(long n)
{
    preads(n, open(ub_data, O_RDONLY), 4096);
}

void ub_pread_image_64k(long n)
{
    preads(n, open(ub_data, O_RDONLY), 65536);
}

/* Sequentially, as programs do, from the start again at the end. */
void ub_read_image_4k(long n)
{
    int fd = open(ub_data, O_RDONLY);

    TIMES if (read(fd, ub_buf, 4096) == 0)(void) lseek(fd, 0, SEEK_SET);
    close(fd);
}

void ub_pwrite_1(long n)
{
    pwrites(n, scratch(SCRATCH), 1);
}

void ub_pwrite_4k(long n)
{
    pwrites(n, scratch(SCRATCH), 4096);
}

void ub_pwrite_64k(long n)
{
    pwrites(n, scratch(SCRATCH), 65536);
}

void ub_rootfs_pwrite_4k(long n)
{
    pwrites(n, scratch(WRITTEN), 4096);
}

void ub_rootfs_pread_4k(long n)
{
    preads(n, scratch(WRITTEN), 4096);
}

void ub_read_zero(long n)
{
    int fd = open("/dev/zero", O_RDONLY);

    TIMES(void) !read(fd, ub_buf, 1);
    close(fd);
}

void ub_create_unlink(long n)
{
    TIMES
    {
        int fd = open("/tmp/ubench.new", O_CREAT | O_EXCL | O_WRONLY, 0600);

        if (fd < 0)
            ub_die("create");
        close(fd);
        unlink("/tmp/ubench.new");
    }
}

static void there_and_back(long n, const int p[2], size_t size)
{
    ssize_t want = (ssize_t)size;

    TIMES if (write(p[1], ub_buf, size) != want || read(p[0], ub_buf, size) != want) ub_die("io");
    close(p[0]);
    close(p[1]);
}

void ub_pipe_1(long n)
{
    int p[2];

    if (pipe(p) < 0)
        ub_die("pipe");
    there_and_back(n, p, 1);
}

void ub_pipe_4k(long n)
{
    int p[2];

    if (pipe(p) < 0)
        ub_die("pipe");
    there_and_back(n, p, 4096);
}

void ub_socketpair_1(long n)
{
    int p[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0)
        ub_die("socketpair");
    there_and_back(n, p, 1);
}

void ub_epoll_wait_0(long n)
{
    struct epoll_event ev;
    int ep = epoll_create1(0);

    TIMES(void) epoll_wait(ep, &ev, 1, 0);
    close(ep);
}

/* A server's step: something arrives, it is told, it is read. */
void ub_epoll_pipe(long n)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int ep = epoll_create1(0), p[2];

    if (pipe(p) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) < 0)
        ub_die("epoll");
    TIMES if (write(p[1], ub_buf, 1) != 1 || epoll_wait(ep, &ev, 1, -1) != 1 ||
              read(p[0], ub_buf, 1) != 1) ub_die("epoll io");
    close(p[0]), close(p[1]), close(ep);
}
