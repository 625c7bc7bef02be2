/*
 * Reads of files, and writes within them, often enough that a runtime may let the guest's own
 * process do them, mixed with everything that must not be able to tell.
 */
#include "t.h"
#include <sys/resource.h>

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

/* Open for both, read and written so often by one call site each that they may be lent. */
static int both(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char c = 'x';

    MUST(fd);
    MUST(write(fd, content, SIZE));
    for (int i = 0; i < 64; i++)
        if (pread(fd, buf, 16, i * 5) != 16 || memcmp(buf, content + i * 5, 16) != 0)
            printf("pread %d is wrong\n", i);
    for (int i = 0; i < 64; i++)
        if (pwrite(fd, &c, 1, i * 100) != 1 || pread(fd, buf, 1, i * 100) != 1 || buf[0] != c)
            printf("pwrite %d is wrong\n", i);
    MUST(lseek(fd, 0, SEEK_SET));
    for (int i = 0; i < 64; i++)
        if (write(fd, content + i * 16, 16) != 16 || read(fd, buf, 0) != 0)
            printf("write %d is wrong\n", i);
    for (int i = 64; i < 128; i++)
        if (read(fd, buf, 16) != 16)
            printf("read %d is wrong\n", i);
    return fd;
}

static int64_t time_of(int fd, bool access)
{
    struct stat st;
    struct timespec t;

    MUST(fstat(fd, &st));
    t = access ? st.st_atim : st.st_mtim;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void times(const char *name)
{
    const struct timespec old[2] = {{1000000000, 0}, {1000000000, 5}};
    int fd = both(name);
    int64_t before = time_of(fd, false), now;
    struct timespec t;

    SECTION("times");
    usleep(30000);
    R(pwrite(fd, "y", 1, 7));
    MUST(clock_gettime(CLOCK_REALTIME, &t));
    usleep(60000);
    now = time_of(fd, false);
    OK(now > before);
    TRUTH("the time of the write, not of the question",
          now < (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + 10000000);
    R(pwrite(fd, "z", 1, 8));
    R(futimens(fd, old));
    R(time_of(fd, false));
    R(pread(fd, buf, 8, 0));
    OK(time_of(fd, true) > 1000000000LL * 1000000000);
    R(time_of(fd, false));
    R(write(fd, "z", 1));
    OK(time_of(fd, false) > 1000000000LL * 1000000005);
    close(fd);
}

static void sizes(const char *name)
{
    int fd = both(name), other = open(name, O_RDWR);

    SECTION("sizes");
    R(at(fd));
    R(pwrite(fd, "0123456789", 10, SIZE - 5));
    R(lseek(fd, 0, SEEK_END));
    R(pread(fd, buf, 100, SIZE - 5));
    R(ftruncate(other, 100));
    R(pwrite(fd, "0123456789", 10, 1000));
    R(lseek(fd, 0, SEEK_END));
    R(pread(fd, buf, 1000, 95));
    R(buf[10]);
    R(lseek(fd, 1005, SEEK_SET));
    R(write(fd, "0123456789", 10));
    R(at(fd));
    R(lseek(fd, 0, SEEK_END));
    R(pwrite(fd, "x", 1, -1));
    R(pwrite(fd, (void *)8, 1, 0));
    R(pwrite(fd, "x", 0, 0));
    close(fd);
    fd = both(name);
    close(open(name, O_RDWR | O_TRUNC));
    R(pwrite(fd, "x", 1, 9));
    R(lseek(other, 0, SEEK_END));
    close(fd);
    close(other);
}

static void flags(const char *name)
{
    int fd = both(name), other;

    SECTION("flags and positions");
    R(lseek(fd, 10, SEEK_SET));
    R(write(fd, "abc", 3));
    R(at(fd));
    R(fcntl(fd, F_SETFL, O_APPEND));
    R(write(fd, "abc", 3));
    R(at(fd));
    R(fcntl(fd, F_SETFL, 0));
    R(lseek(fd, 10, SEEK_SET));
    for (int i = 0; i < 100; i++)
        MUST(write(fd, "a", 1));
    other = dup(fd);
    R(at(other));
    R(write(other, "abc", 3));
    R(write(fd, "abc", 3));
    R(at(other));
    close(other);
    close(fd);
    other = open(name, O_RDONLY);
    R(pwrite(other, "x", 1, 0));
    R(write(other, "x", 1));
    close(other);
    other = open(name, O_WRONLY);
    R(pread(other, buf, 1, 0));
    close(other);
}

static void limits(const char *name)
{
    int fd = both(name);
    struct rlimit old, small;

    SECTION("limits");
    MUST(getrlimit(RLIMIT_FSIZE, &old));
    small = (struct rlimit){100, old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    MUST(setrlimit(RLIMIT_FSIZE, &small));
    R(pwrite(fd, "0123456789", 10, 95));
    R(pwrite(fd, "0123456789", 10, 200));
    R(lseek(fd, 99, SEEK_SET));
    R(write(fd, "0123456789", 10));
    R(write(fd, "0123456789", 10));
    MUST(setrlimit(RLIMIT_FSIZE, &old));
    R(pwrite(fd, "0123456789", 10, 200));
    close(fd);
}

static void shared(const char *name)
{
    int fd = both(name), status;
    pid_t pid;

    SECTION("two processes");
    fflush(stdout);
    R(lseek(fd, 0, SEEK_SET));
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 100; i++)
            if (pwrite(fd, "c", 1, 5000 + i) != 1 || write(fd, "d", 1) != 1)
                _exit(1);
        _exit(0);
    }
    MUST(waitpid(pid, &status, 0));
    R(status);
    R(at(fd));
    R(pread(fd, buf, 100, 5000));
    TRUTH("what the child wrote", buf[0] == 'c' && buf[99] == 'c');
    R(pread(fd, buf, 101, 0));
    TRUTH("and at the position", buf[0] == 'd' && buf[99] == 'd' && buf[100] != 'd');
    close(fd);
}

static void written(const char *name)
{
    times(name);
    sizes(name);
    flags(name);
    limits(name);
    shared(name);
    unlink(name);
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
    written("/var/tmp/berm-test-lent-rw");
    written("/dev/shm/berm-test-lent-rw");
    images("/proc/self/exe", opened());
    return 0;
}
