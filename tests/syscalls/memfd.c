/* memfd_create: seals, names, and executing what is in one. */
#include "t.h"
#include <linux/memfd.h>
#include <sys/sendfile.h>

enum { PAGE = 4096 };

static void *map(size_t n, int prot, int flags, int fd, off_t at)
{
    void *p = mmap(NULL, n, prot, flags, fd, at);

    MUST(-(p == MAP_FAILED));
    return p;
}

static void memfds(void)
{
    char b[16];
    int fd = MUST(memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC));

    SECTION("memfd");
    R(fcntl(fd, F_GETFD));
    R(write(fd, "0123456789", 10));
    R(fcntl(fd, F_GET_SEALS));
    char *p = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(munmap(p, PAGE));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    R(ftruncate(fd, 5));
    R(ftruncate(fd, 20));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE));
    R(ftruncate(fd, 30));
    R(write(fd, "x", 1));
    R(pread(fd, b, 10, 0));
    R(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    R(fcntl(fd, F_GET_SEALS));
    fd = MUST(memfd_create("x", 0));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(memfd_create("y", 0x100));
    char path[64], to[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    to[MUST(readlink(path, to, 63))] = 0;
    puts(to);
    R(open(path, O_RDWR) >= 0);
}

/* This program again, from memory: as container runtimes do with themselves. */
static void executed(bool sealed)
{
    int self = MUST(open("/proc/self/exe", O_RDONLY)),
        fd = MUST(memfd_create("me", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    char path[64];

    SECTION(sealed ? "executed, sealed" : "executed");
    TRUTH("copied", sendfile(fd, self, NULL, 1 << 30) > 0);
    if (sealed)
        R(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    CHILD("by descriptor",
          fexecve(fd, (char *const[]){(char *)"again", (char *)"1", NULL}, environ));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHILD("by name", execl(path, "again", "2", NULL));
    self = open(path, O_RDWR);
    TRUTH("opened to be written", self >= 0);
    CHILD("open to be written", execl(path, "again", "3", NULL), R(-1));
    (void)close(self);
    (void)close(fd);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 10 + atoi(argv[1]);
    memfds();
    executed(false);
    executed(true);
    return 0;
}
