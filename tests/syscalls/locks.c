/* File locks of all three kinds, between processes. */
#include "t.h"
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>

static int lock(int fd, int cmd, int type, off_t start, off_t size)
{
    struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};

    return fcntl(fd, cmd, &l);
}

static void on_alarm(int sig)
{
    (void)sig;
}

static void whole_files(void)
{
    int a = MUST(open("f", O_CREAT | O_RDWR, 0644)), b = MUST(open("f", O_RDWR)), d = MUST(dup(a));

    SECTION("flock");
    R(flock(a, LOCK_EX));
    R(flock(b, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(d, LOCK_EX | LOCK_NB));
    CHILD("inherited", R(flock(a, LOCK_EX | LOCK_NB)));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(d, LOCK_UN));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_EX | LOCK_NB));
    R(flock(a, 0));
    R(flock(999, LOCK_SH));
    R(close(b));
    R(flock(a, LOCK_EX | LOCK_NB));
    CHILD("interrupted", {
        struct sigaction sa = {.sa_handler = on_alarm};
        (void)sigaction(SIGALRM, &sa, NULL);
        int c = MUST(open("f", O_RDWR));
        struct itimerval it = {{0, 0}, {0, 50000}};
        (void)setitimer(ITIMER_REAL, &it, NULL);
        R(flock(c, LOCK_EX));
    });
    int64_t t = now_ms();
    pid_t pid = fork();
    if (!pid) {
        int c = open("f", O_RDWR);
        (void)close(a), (void)close(d);
        _exit(flock(c, LOCK_EX) ? 1 : 0);
    }
    sleep_ms(50);
    (void)flock(a, LOCK_UN);
    int st;
    MUST(waitpid(pid, &st, 0));
    wait_status("waited for it", st);
    TRUTH("not too long", now_ms() - t < 3000);
}

static void records(void)
{
    int fd = MUST(open("f", O_RDWR)), st;
    struct flock l;

    SECTION("records");
    R(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    R(lock(fd, F_SETLK, F_WRLCK, 5, 10));
    pid_t parent = getpid();
    CHILD("other process", {
        R(lock(fd, F_SETLK, F_WRLCK, 0, 1));
        R(lock(fd, F_SETLK, F_RDLCK, 14, 1));
        R(lock(fd, F_SETLK, F_RDLCK, 15, 0));
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 1};
        R(fcntl(fd, F_GETLK, &l));
        printf("%d %d %d %d\n", l.l_type, (int)l.l_start, (int)l.l_len, l.l_pid == parent);
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 1};
        R(fcntl(fd, F_GETLK, &l));
        R(l.l_type == F_UNLCK);
    });
    R(lock(fd, F_SETLK, F_UNLCK, 4, 2));
    CHILD("hole", {
        R(lock(fd, F_SETLK, F_WRLCK, 4, 2));
        R(lock(fd, F_SETLK, F_WRLCK, 3, 1));
        R(lock(fd, F_SETLK, F_WRLCK, 6, 1));
    });
    (void)close(MUST(open("f", O_RDONLY))); /* any close drops them all */
    CHILD("dropped", R(lock(fd, F_SETLK, F_WRLCK, 0, 0)));
    int ro = MUST(open("f", O_RDONLY));
    R(lock(ro, F_SETLK, F_WRLCK, 0, 1));
    R(lock(ro, F_SETLK, F_RDLCK, 0, 1));
    R(lock(fd, F_SETLK, 99, 0, 1));
    R(lock(fd, F_SETLK, F_RDLCK, -1, 1));
    R(lock(fd, F_SETLK, F_WRLCK, 100, -10));
    CHILD("negative length", {
        R(lock(fd, F_SETLK, F_WRLCK, 90, 1));
        R(lock(fd, F_SETLK, F_WRLCK, 100, 1));
    });
    int ends[2];
    MUST(pipe(ends));
    pid_t pid = fork();
    if (!pid) {
        (void)lock(fd, F_SETLK, F_WRLCK, 200, 1);
        (void)!write(ends[1], "x", 1);
        sleep_ms(80);
        _exit(0); /* releases */
    }
    char c;
    MUST(read(ends[0], &c, 1));
    R(lock(fd, F_SETLKW, F_WRLCK, 200, 1));
    MUST(waitpid(pid, &st, 0));
    /* deadlock between two */
    (void)lock(fd, F_SETLK, F_WRLCK, 300, 1); /* before there is anybody to be faster */
    pid = fork();
    if (!pid) {
        (void)lock(fd, F_SETLK, F_WRLCK, 301, 1);
        (void)!write(ends[1], "x", 1);
        _exit(lock(fd, F_SETLKW, F_WRLCK, 300, 1) < 0 ? 1 : 0);
    }
    MUST(read(ends[0], &c, 1));
    sleep_ms(50);
    bool here = lock(fd, F_SETLKW, F_WRLCK, 301, 1) < 0 && errno == EDEADLK;
    (void)lock(fd, F_SETLK, F_UNLCK, 0, 0);
    MUST(waitpid(pid, &st, 0));
    TRUTH("one of both sees the deadlock", here != (st != 0));
}

static void open_file_locks(void)
{
    int a = MUST(open("o", O_CREAT | O_RDWR, 0644)), b = MUST(open("o", O_RDWR));
    struct flock l = {.l_type = F_WRLCK};

    SECTION("open file description locks");
    R(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
    R(lock(b, F_OFD_SETLK, F_WRLCK, 0, 10));
    R(lock(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(lock(b, F_OFD_SETLK, F_WRLCK, 10, 10));
    R(fcntl(b, F_OFD_GETLK, &l));
    printf("%d %d\n", l.l_type, l.l_pid);
    R(lock(b, F_SETLK, F_WRLCK, 0, 1));
    l = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
    R(fcntl(a, F_OFD_SETLK, &l));
    R(close(a));
    R(lock(b, F_OFD_SETLK, F_WRLCK, 0, 10));
}

/* F_GETLK tells of the first lock by position, however they were set. */
static void first_of_many(void)
{
    int fd = open("order", O_RDWR | O_CREAT, 0600), st;

    SECTION("order");
    R(lock(fd, F_SETLK, F_WRLCK, 30, 5));
    R(lock(fd, F_SETLK, F_RDLCK, 10, 5));
    (void)fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        struct flock l = {.l_type = F_WRLCK};
        R(fcntl(fd, F_GETLK, &l));
        printf("%d %ld %ld\n", l.l_type, (long)l.l_start, (long)l.l_len);
        (void)fflush(stdout);
        _exit(0);
    }
    (void)waitpid(pid, &st, 0);
    (void)close(fd);
}

/* Files without a name: each socket is one, a pipe's ends are one together. */
static void anonymous(void)
{
    int p[2], s[2], e = eventfd(0, 0), st;

    SECTION("anonymous files");
    (void)pipe(p);
    (void)socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    R(flock(p[0], LOCK_EX | LOCK_NB));
    R(flock(p[1], LOCK_EX | LOCK_NB));
    R(flock(s[0], LOCK_EX | LOCK_NB));
    R(flock(s[1], LOCK_EX | LOCK_NB));
    R(flock(e, LOCK_EX | LOCK_NB));
    R(flock(e, LOCK_UN));
    R(close(dup(p[0])));
    R(flock(p[1], LOCK_EX | LOCK_NB));
    R(flock(p[0], LOCK_UN));
    R(flock(p[1], LOCK_EX | LOCK_NB));
    R(flock(p[1], LOCK_UN));
    R(lock(p[0], F_SETLK, F_WRLCK, 0, 0));
    R(lock(p[1], F_SETLK, F_RDLCK, 0, 0));
    R(lock(p[1], F_SETLK, F_WRLCK, 10, 5));
    R(lock(s[0], F_SETLK, F_WRLCK, 0, 0));
    R(lock(s[0], F_OFD_SETLK, F_RDLCK, 0, 0));
    (void)fflush(stdout);
    if (!fork()) {
        struct flock l = {.l_type = F_RDLCK};
        R(lock(p[0], F_SETLK, F_RDLCK, 12, 1));
        R(fcntl(p[0], F_GETLK, &l));
        printf("%d %ld %ld %d\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == getppid());
        R(lock(s[0], F_SETLK, F_WRLCK, 0, 0));
        R(lock(s[1], F_SETLK, F_WRLCK, 0, 0));
        (void)fflush(stdout);
        _exit(0);
    }
    (void)wait(&st);
    (void)close(p[0]); /* lets go of the other end's, too */
    (void)fflush(stdout);
    if (!fork()) {
        R(lock(p[1], F_SETLK, F_WRLCK, 0, 0));
        _exit(0);
    }
    (void)wait(&st);
}

static void by_path_only(void)
{
    int fd = open("path", O_RDWR | O_CREAT, 0600), st;

    SECTION("O_PATH");
    R(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    (void)close(open("path", O_PATH));
    if (!fork()) {
        R(lock(fd, F_SETLK, F_WRLCK, 0, 0));
        _exit(0);
    }
    (void)wait(&st);
    (void)close(fd);
}

int main(void)
{
    enter_scratch();
    whole_files();
    records();
    open_file_locks();
    first_of_many();
    anonymous();
    by_path_only();
    leave_scratch();
    return 0;
}
