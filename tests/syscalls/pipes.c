/* Pipes and fifos: ends, sizes, blocking, signals, splice. */
#include "t.h"

static int in, out;

static void fresh(int flags)
{
    int ends[2];

    MUST(pipe2(ends, flags));
    in = ends[0];
    out = ends[1];
}

static void done(void)
{
    (void)close(in);
    (void)close(out);
}

static short events(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

    return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static void ends(void)
{
    char b[16];
    int n;

    SECTION("ends");
    R(pipe2((int[2]){0}, 0x10));
    R(pipe(bad_address));
    fresh(O_CLOEXEC);
    R(fcntl(in, F_GETFD));
    R(write(in, "x", 1));
    R(read(out, b, 1));
    R(write(out, "hello", 5));
    R(ioctl(in, FIONREAD, &n));
    R(n);
    R(read(in, b, 3));
    R(read(in, b, 16));
    R(close(out));
    R(read(in, b, 16));
    out = -1;
    done();
    (void)signal(SIGPIPE, SIG_IGN);
    fresh(0);
    R(close(in));
    R(write(out, "x", 1));
    (void)signal(SIGPIPE, SIG_DFL);
    CHILD("SIGPIPE", (void)!write(out, "x", 1));
    done();
}

static void limits(void)
{
    static char big[200000];
    long total = 0, n;

    SECTION("limits");
    fresh(O_NONBLOCK);
    R(read(in, big, 1));
    while ((n = write(out, big, 4096)) > 0)
        total += n;
    R(errno == EAGAIN);
    R(total);
    R(write(out, big, 1));
    R(read(in, big, 4095));
    R(write(out, big, 4096)); /* at most PIPE_BUF: all or nothing */
    R(read(in, big, 1));
    R(write(out, big, 4096));
    while (read(in, big, sizeof(big)) > 0)
        ;
    R(write(out, big, sizeof(big)));
    R(fcntl(out, F_GETPIPE_SZ));
    R(fcntl(out, F_SETPIPE_SZ, 4096));
    while (read(in, big, sizeof(big)) > 0)
        ;
    R(fcntl(out, F_SETPIPE_SZ, 4097));
    R(write(out, big, sizeof(big)));
    R(fcntl(out, F_SETPIPE_SZ, 1 << 18));
    R(write(out, big, 100000));
    R(fcntl(out, F_SETPIPE_SZ, 0) >= -1);
    done();
}

static void readiness(void)
{
    SECTION("poll");
    fresh(0);
    printf("%x %x\n", events(in), events(out));
    (void)!write(out, "x", 1);
    printf("%x %x\n", events(in), events(out));
    (void)close(out);
    printf("%x\n", events(in));
    char c;
    (void)!read(in, &c, 1);
    printf("%x\n", events(in));
    done();
    fresh(0);
    (void)close(in);
    printf("%x\n", events(out));
    done();
}

static void blocking(void)
{
    static char big[300000];
    char c;
    int st;

    SECTION("blocking");
    fresh(0);
    pid_t pid = fork();
    if (!pid) {
        (void)close(in);
        sleep_ms(30);
        _exit(write(out, big, sizeof(big)) == sizeof(big) ? 0 : 1);
    }
    (void)close(out);
    long total = 0, n;
    while ((n = read(in, big, 7000)) > 0)
        total += n;
    R(total);
    MUST(waitpid(pid, &st, 0));
    wait_status("writer", st);
    done();
    fresh(0);
    pid = fork();
    if (!pid) {
        sleep_ms(30);
        _exit(0);
    }
    (void)close(out);
    R(read(in, &c, 1)); /* the last writer goes */
    MUST(waitpid(pid, &st, 0));
    done();
}

static void fifos(void)
{
    char b[8];
    int st;

    SECTION("fifo");
    R(mkfifo("f", 0600));
    R(open("f", O_WRONLY | O_NONBLOCK));
    int r = MUST(open("f", O_RDONLY | O_NONBLOCK));
    R(read(r, b, 8));
    int w = MUST(open("f", O_WRONLY));
    R(read(r, b, 8));
    R(write(w, "abc", 3));
    R(read(r, b, 8));
    printf("%x\n", events(r));
    (void)close(w);
    printf("%x\n", events(r));
    (void)close(r);
    pid_t pid = fork();
    if (!pid) {
        sleep_ms(30);
        w = open("f", O_WRONLY);
        _exit(write(w, "late", 4) == 4 ? 0 : 1);
    }
    r = MUST(open("f", O_RDONLY)); /* waits for the writer */
    R(read(r, b, 8));
    R(read(r, b, 8));
    MUST(waitpid(pid, &st, 0));
    int rw = MUST(open("f", O_RDWR));
    R(write(rw, "x", 1));
    R(read(rw, b, 1));
    struct stat s;
    MUST(fstat(rw, &s));
    R(S_ISFIFO(s.st_mode));
}

static void splicing(void)
{
    char b[32] = "";
    int p[2];

    SECTION("splice");
    fresh(0);
    MUST(pipe(p));
    put("file", "0123456789");
    int fd = MUST(open("file", O_RDWR));
    loff_t at = 2;
    R(splice(fd, &at, out, NULL, 5, 0));
    R(at);
    R(tee(in, p[1], 100, 0));
    R(read(p[0], b, 32));
    R(strcmp(b, "23456"));
    R(splice(in, NULL, p[1], NULL, 3, 0));
    R(read(p[0], b, 32));
    at = 20;
    R(splice(in, NULL, fd, &at, 100, 0));
    R(lseek(fd, 0, SEEK_END));
    struct iovec io[2] = {{(void *)"vm", 2}, {(void *)"splice", 6}};
    R(vmsplice(out, io, 2, 0));
    memset(b, 0, sizeof(b));
    R(read(in, b, 32));
    puts(b);
    R(splice(fd, NULL, fd, NULL, 1, 0));
    R(splice(fd, &at, out, &at, 1, 0));
    R(splice(in, NULL, p[1], NULL, 3, SPLICE_F_NONBLOCK));
    R(tee(fd, p[1], 3, 0));
    done();
}

/* A writer that was there before its reader hangs up as any other. */
static void fifo_hangup(void)
{
    struct pollfd p = {.events = POLLIN};

    SECTION("fifo, hang-up");
    MUST(mkfifo("hangup", 0600));
    int both = MUST(open("hangup", O_RDWR)), w = MUST(open("hangup", O_WRONLY));
    int quick = MUST(open("hangup", O_RDONLY | O_NONBLOCK));
    p.fd = MUST(open("hangup", O_RDONLY));
    (void)close(both);
    R(poll(&p, 1, 0));
    (void)close(w);
    R(poll(&p, 1, 0));
    R(p.revents);
    p.fd = quick;
    R(poll(&p, 1, 0));
    p.fd = MUST(open("hangup", O_RDONLY | O_NONBLOCK));
    R(poll(&p, 1, 0)); /* no writer since */
    MUST(unlink("hangup"));
}

int main(void)
{
    enter_scratch();
    ends();
    limits();
    readiness();
    blocking();
    fifos();
    splicing();
    fifo_hangup();
    leave_scratch();
    return 0;
}
