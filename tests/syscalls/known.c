/*
 * Small files opened, looked at, read and closed in loops, so that a runtime may know ahead what
 * fstat and read will be asked for, and put off the closing; mixed with everything that must not be
 * able to tell.
 */
#include "t.h"
#include <sys/file.h>
#include <sys/inotify.h>

#define DIRECTORY "/var/tmp/berm-test-known"
enum { FILES = 40, SIZE = 3000 };

static char content[SIZE + 1000], buf[65536];

static const char *name_of(int i)
{
    static char name[64];

    (void)snprintf(name, sizeof(name), DIRECTORY "/%02d", i);
    return name;
}

/* Left in place with the same content: in the sandbox they are files of the image. */
static void make(void)
{
    for (int i = 0; i < SIZE; i++)
        content[i] = (char)('a' + (i / 8 + i % 8) % 26);
    (void)mkdir(DIRECTORY, 0755);
    for (int i = 0; i < FILES; i++) {
        struct stat st;
        int fd;

        if (stat(name_of(i), &st) == 0 && st.st_size == SIZE && st.st_mode == (S_IFREG | 0644))
            continue;
        (void)unlink(name_of(i));
        fd = open(name_of(i), O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || write(fd, content, SIZE) != SIZE || fchmod(fd, 0644) < 0)
            exit(1);
        close(fd);
    }
}

/* One call site each, with what it is used for below. */
static int opens(int i)
{
    return open(name_of(i), O_RDONLY);
}

static long reads(int fd, void *to, size_t size)
{
    return read(fd, to, size);
}

static long size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? -1 : (long)st.st_size;
}

static int closes(int fd)
{
    return close(fd);
}

static void loop(int times)
{
    int bad = 0;

    for (int i = 0; i < times; i++) {
        int fd = opens(i % FILES);

        bad += fd < 0 || size_of(fd) != SIZE || reads(fd, buf, sizeof(buf)) != SIZE ||
               memcmp(buf, content, SIZE) != 0 || reads(fd, buf, 10) != 0 || size_of(fd) != SIZE ||
               closes(fd) != 0;
    }
    RESULT("wrong in the loop", bad);
}

static long at(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

static void positions(void)
{
    int fd, other;

    SECTION("positions");
    loop(120);
    fd = opens(0);
    R(reads(fd, buf, sizeof(buf)));
    R(at(fd));
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
    fd = opens(1);
    R(reads(fd, buf, 100));
    R(reads(fd, buf, sizeof(buf)));
    R(reads(fd, buf, sizeof(buf)));
    R(lseek(fd, 0, SEEK_SET));
    R(reads(fd, buf, sizeof(buf)));
    R(pread(fd, buf, 10, 5));
    R(reads(fd, buf, 1));
    R(closes(fd));
    loop(40);
    fd = opens(2);
    R(reads(fd, (void *)8, sizeof(buf)));
    R(reads(fd, buf, 0));
    R(reads(fd, buf, (size_t)-1));
    R(reads(fd, buf, SIZE));
    R(reads(fd, (void *)8, 1));
    R(fstat(fd, (void *)8));
    R(write(fd, "x", 1));
    other = dup(fd);
    R(at(other));
    R(closes(fd));
    R(size_of(other));
    R(closes(other));
}

static void numbers(void)
{
    int fd, again;

    SECTION("numbers");
    loop(120);
    fd = opens(0);
    R(closes(fd));
    R(closes(fd));
    R(size_of(fd));
    R(reads(fd, buf, 10));
    again = opens(1);
    R(again == fd);
    R(closes(again));
    R(dup2(0, fd) == fd);
    R(closes(fd));
    fd = opens(1);
    R(closes(fd));
    R(fcntl(fd, F_GETFD));
    fd = opens(1);
    again = opens(2);
    R(closes(fd));
    R(opens(3) == fd);
    R(reads(again, buf, sizeof(buf)));
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
    R(closes(again));
}

static void changes(void)
{
    struct stat st;
    int fd, other;

    SECTION("others change it");
    loop(120);
    fd = opens(5);
    R(chmod(name_of(5), 0600));
    MUST(fstat(fd, &st));
    R(st.st_mode);
    R(chmod(name_of(5), 0644));
    MUST(fstat(fd, &st));
    R(st.st_mode);
    R(closes(fd));
    fd = opens(6);
    R(reads(fd, buf, sizeof(buf)));
    other = open(name_of(6), O_WRONLY | O_APPEND);
    R(write(other, "more", 4));
    R(size_of(fd));
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
    fd = opens(6);
    R(size_of(fd));
    R(write(other, "more", 4));
    R(size_of(fd));
    R(reads(fd, buf, sizeof(buf)));
    R(ftruncate(other, SIZE));
    R(size_of(fd));
    R(closes(fd));
    closes(other);
    fd = opens(7);
    R(rename(name_of(7), DIRECTORY "/x"));
    R(size_of(fd));
    R(rename(DIRECTORY "/x", name_of(7)));
    R(closes(fd));
    fd = opens(7);
    R(unlink(name_of(7)));
    MUST(fstat(fd, &st));
    R(st.st_nlink);
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
}

static void processes(void)
{
    int fd, other, status;
    pid_t pid;

    SECTION("processes");
    loop(120);
    fd = opens(8);
    R(reads(fd, buf, sizeof(buf)));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int w = open(name_of(8), O_WRONLY | O_APPEND);

        if (reads(fd, buf, 10) != 0 || lseek(fd, 10, SEEK_SET) != 10 || write(w, "abc", 3) != 3)
            _exit(1);
        _exit(ftruncate(w, 20) != 0);
    }
    MUST(waitpid(pid, &status, 0));
    R(status);
    R(at(fd));
    R(size_of(fd));
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
    loop(8);
    fd = opens(9);
    other = opens(9);
    R(flock(other, LOCK_SH));
    fflush(stdout);
    R(closes(fd));
    R(closes(other));
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(flock(opens(9), LOCK_EX | LOCK_NB) != 0);
    MUST(waitpid(pid, &status, 0));
    R(status);
}

/* Closing any descriptor of a file lets go of the process's locks on it. */
static void locks(void)
{
    struct flock l = {.l_type = F_RDLCK};
    int fd, other, status;
    pid_t pid;

    SECTION("locks");
    loop(120);
    other = opens(10);
    fd = opens(10);
    R(fcntl(other, F_SETLK, &l));
    R(closes(fd));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        struct flock mine = {.l_type = F_WRLCK};

        _exit(fcntl(open(name_of(10), O_RDWR), F_SETLK, &mine) != 0);
    }
    MUST(waitpid(pid, &status, 0));
    R(status);
    R(closes(other));
}

static void watchers(void)
{
    const struct inotify_event *e = (const void *)buf;
    int in = inotify_init1(IN_NONBLOCK), fd;

    SECTION("watchers");
    loop(120);
    fd = opens(11);
    MUST(inotify_add_watch(in, name_of(11), IN_ALL_EVENTS));
    R(reads(fd, buf, sizeof(buf)));
    R(closes(fd));
    for (long n = read(in, buf, sizeof(buf)); n > 0; n -= (long)sizeof(*e), e++)
        printf("  %#x\n", e->mask);
    closes(in);
}

int main(void)
{
    make();
    positions();
    numbers();
    changes();
    make();
    processes();
    (void)unlink(name_of(8));
    make();
    locks();
    watchers();
    return 0;
}
