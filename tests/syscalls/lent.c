/*
 * Reads of files that are opened for reading only: often enough that a runtime may let the guest's
 * own process do them, mixed with everything that must not be able to tell.
 */
#include "t.h"

/* Left in place with the same content: in the sandbox it is a file of the image. */
#define NAME "/var/tmp/berm-test-lent"
enum { SIZE = 65536 };

static char content[SIZE], buf[SIZE];

static void make(void)
{
    int fd;

    for (int i = 0; i < SIZE; i++)
        content[i] = (char)('a' + (i / 8 + i % 8) % 26);
    fd = open(NAME, O_RDONLY);
    if (fd >= 0 && read(fd, buf, SIZE) == SIZE && memcmp(buf, content, SIZE) == 0) {
        close(fd);
        return;
    }
    fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, content, SIZE) != SIZE)
        exit(1);
    close(fd);
}

static int opened(void)
{
    int fd = open(NAME, O_RDONLY);

    /* At last by one and the same call site: it is hot. */
    for (int i = 0; i < 64; i++)
        if (read(fd, buf, 16) != 16 || memcmp(buf, content + i * 16, 16) != 0)
            printf("read %d is wrong\n", i);
    for (int i = 0; i < 64; i++)
        if (pread(fd, buf, 16, i * 5) != 16 || memcmp(buf, content + i * 5, 16) != 0)
            printf("pread %d is wrong\n", i);
    return fd;
}

static long at(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

static void positions(void)
{
    struct iovec v = {buf, 10};
    int fd = opened(), other;

    SECTION("positions");
    R(at(fd));
    R(lseek(fd, 100, SEEK_SET));
    R(read(fd, buf, 10));
    R(lseek(fd, -30, SEEK_CUR));
    R(lseek(fd, -300, SEEK_CUR));
    R(lseek(fd, -5, SEEK_END));
    R(read(fd, buf, 100));
    R(read(fd, buf, 100));
    R(read(fd, (void *)1, 0));
    R(lseek(fd, 0, 7));
    R(lseek(fd, 0, SEEK_SET));
    R(readv(fd, &v, 1));
    R(read(fd, (void *)8, 10));
    R(at(fd));
    R(pread(fd, buf, 10, -1));
    R(write(fd, buf, 1));
    close(fd);
    fd = opened();
    other = dup(fd);
    R(at(other));
    R(read(other, buf, 6));
    R(at(fd));
    R(read(fd, buf, 6));
    R(at(other));
    close(fd);
    R(read(fd, buf, 6));
    R(pread(fd, buf, 6, 0));
    R(read(other, buf, 6));
    R(at(other));
    close(other);
}

static void numbers(void)
{
    int fd = opened(), zero = open("/dev/zero", O_RDONLY), p[2];

    SECTION("numbers change their meaning");
    R(dup2(zero, fd) == fd);
    R(read(fd, buf, 4));
    R(buf[0]);
    R(pread(fd, buf, 4, 0));
    close(fd);
    MUST(pipe(p));
    R(p[0] == fd);
    R(pread(fd, buf, 4, 0));
    close(p[0]), close(p[1]);
    fd = opened();
    R(close_range((unsigned)fd, (unsigned)fd, 0));
    R(read(fd, buf, 4));
    close(zero);
}

static void forks(void)
{
    int fd = opened(), status;
    pid_t pid;

    SECTION("fork");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 32; i++)
            (void)!read(fd, buf, 16);
        _exit(memcmp(buf, content + 95 * 16, 16) != 0);
    }
    MUST(waitpid(pid, &status, 0));
    R(status);
    R(at(fd));
    R(read(fd, buf, 16));
    TRUTH("what comes next", memcmp(buf, content + 96 * 16, 16) == 0);
    close(fd);
}

static void *reader(void *arg)
{
    char b[16];

    for (int i = 0; i < 100; i++)
        if (read(*(int *)arg, b, 16) != 16)
            return arg;
    return NULL;
}

static void threads(void)
{
    int fd = opened();
    pthread_t t[3];
    void *bad = NULL;

    SECTION("threads share a position");
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&t[i], NULL, reader, &fd));
    for (int i = 0; i < 3; i++) {
        void *r;

        MUST(pthread_join(t[i], &r));
        bad = r ? r : bad;
    }
    OK(!bad);
    R(at(fd));
    close(fd);
}

static void changes(void)
{
    int fd = opened(), w = open(NAME, O_RDWR);

    SECTION("a writer comes");
    R(pwrite(w, "0123456789", 10, 0));
    R(pread(fd, buf, 10, 0));
    TRUTH("its bytes are seen", memcmp(buf, "0123456789", 10) == 0);
    R(lseek(fd, 0, SEEK_SET));
    R(read(fd, buf, 10));
    TRUTH("by read, too", memcmp(buf, "0123456789", 10) == 0);
    R(ftruncate(w, 5));
    R(pread(fd, buf, 10, 0));
    R(ftruncate(w, SIZE));
    R(pwrite(w, content, SIZE, 0));
    close(w);
    close(fd);
}

static void images(char *self, int fd)
{
    char number[16];

    SECTION("execve");
    fflush(stdout);
    (void)snprintf(number, sizeof(number), "%d", fd);
    execl(self, self, number, (char *)NULL);
    perror("exec");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        int fd = atoi(argv[1]);

        R(at(fd));
        R(read(fd, buf, 16));
        R(at(fd));
        return 0;
    }
    make();
    positions();
    numbers();
    forks();
    threads();
    changes();
    images("/proc/self/exe", opened());
    return 0;
}
