/*
 * Cost of basic operations, in microseconds: best and median of several rounds. Static, so that the
 * same file runs natively and in every kind of sandbox.    usage: ubench [ROW...]    prints: ROW
 * BEST MEDIAN
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *g_self;
static char g_buf[65536];

static double now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void getpid_raw(long n)
{
    for (long i = 0; i < n; i++)
        (void)syscall(SYS_getpid);
}

static void getppid_raw(long n)
{
    for (long i = 0; i < n; i++)
        (void)syscall(SYS_getppid);
}

static void umask_call(long n)
{
    for (long i = 0; i < n; i++)
        (void)umask(022);
}

static void fstat_call(long n)
{
    struct stat st;
    int fd = open(g_self, O_RDONLY);

    for (long i = 0; i < n; i++)
        if (fstat(fd, &st) < 0)
            die("fstat");
    close(fd);
}

static void stat_call(long n)
{
    struct stat st;

    for (long i = 0; i < n; i++)
        if (stat(g_self, &st) < 0)
            die("stat");
}

static void open_close(long n)
{
    for (long i = 0; i < n; i++) {
        int fd = open(g_self, O_RDONLY);

        if (fd < 0)
            die("open");
        close(fd);
    }
}

static void open_enoent(long n)
{
    for (long i = 0; i < n; i++)
        (void)open("/nonexistent-name", O_RDONLY);
}

static void pread_size(long n, size_t size, const char *path, int flags)
{
    int fd = open(path, flags, 0600);

    if (fd < 0)
        die(path);
    if (flags & O_RDWR)
        (void)!write(fd, g_buf, sizeof(g_buf));
    for (long i = 0; i < n; i++)
        if (pread(fd, g_buf, size, 0) != (ssize_t)size)
            die("pread");
    close(fd);
}

/* Written in the sandbox: mediated. The program's own file: a read-only file of the image. */
static void pread_1(long n)
{
    pread_size(n, 1, "/tmp/ubench.data", O_RDWR | O_CREAT | O_TRUNC);
}
static void pread_4k(long n)
{
    pread_size(n, 4096, "/tmp/ubench.data", O_RDWR | O_CREAT | O_TRUNC);
}
static void pread_64k(long n)
{
    pread_size(n, 65536, "/tmp/ubench.data", O_RDWR | O_CREAT | O_TRUNC);
}
static void pread_image_1(long n)
{
    pread_size(n, 1, g_self, O_RDONLY);
}
static void pread_image_4k(long n)
{
    pread_size(n, 4096, g_self, O_RDONLY);
}
static void pread_image_64k(long n)
{
    pread_size(n, 65536, g_self, O_RDONLY);
}

static void pwrite_4k(long n)
{
    int fd = open("/tmp/ubench.data", O_RDWR | O_CREAT | O_TRUNC, 0600);

    for (long i = 0; i < n; i++)
        if (pwrite(fd, g_buf, 4096, 0) != 4096)
            die("pwrite");
    close(fd);
}

static void read_zero(long n)
{
    int fd = open("/dev/zero", O_RDONLY);

    for (long i = 0; i < n; i++)
        (void)!read(fd, g_buf, 1);
    close(fd);
}

static void pipe_1(long n)
{
    int p[2];

    if (pipe(p) < 0)
        die("pipe");
    for (long i = 0; i < n; i++)
        if (write(p[1], g_buf, 1) != 1 || read(p[0], g_buf, 1) != 1)
            die("pipe io");
    close(p[0]);
    close(p[1]);
}

static void epoll_0(long n)
{
    struct epoll_event ev;
    int ep = epoll_create1(0);

    for (long i = 0; i < n; i++)
        (void)epoll_wait(ep, &ev, 1, 0);
    close(ep);
}

static void mmap_touch(long n)
{
    for (long i = 0; i < n; i++) {
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            die("mmap");
        *p = 1;
        munmap(p, 4096);
    }
}

static void fault_anon(long n)
{
    size_t size = (size_t)n * 4096;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        die("mmap");
    madvise(p, size, MADV_NOHUGEPAGE);
    for (long i = 0; i < n; i++)
        p[i * 4096] = 1;
    munmap(p, size);
}

static void fault_file(long n)
{
    struct stat st;
    int fd = open(g_self, O_RDONLY);
    long pages, done = 0;
    volatile char sum = 0;

    if (fstat(fd, &st) < 0)
        die("fstat");
    pages = st.st_size / 4096;
    while (done < n) {
        char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        for (long i = 0; i < pages && done < n; i++, done++)
            sum = (char)(sum + p[i * 4096]);
        munmap(p, (size_t)st.st_size);
    }
    close(fd);
}

static void *thread_main(void *arg)
{
    return arg;
}

static void thread_join(long n)
{
    for (long i = 0; i < n; i++) {
        pthread_t t;

        if (pthread_create(&t, NULL, thread_main, NULL))
            die("pthread_create");
        pthread_join(t, NULL);
    }
}

static void fork_wait(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
}

static void fork_exec(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            execl(g_self, "ubench", "--exit", (char *)NULL);
            _exit(127);
        }
        waitpid(pid, NULL, 0);
    }
}

static void spawn_exec(long n)
{
    char *argv[] = {g_self, (char *)"--exit", NULL};

    for (long i = 0; i < n; i++) {
        pid_t pid;

        if (posix_spawn(&pid, g_self, NULL, NULL, argv, NULL))
            die("posix_spawn");
        waitpid(pid, NULL, 0);
    }
}

static void ping_pong(long n, int a_read, int a_write, int b_read, int b_write)
{
    char c = 0;
    pid_t pid = fork();

    if (pid == 0) {
        for (long i = 0; i < n; i++)
            if (read(b_read, &c, 1) != 1 || write(b_write, &c, 1) != 1)
                _exit(1);
        _exit(0);
    }
    for (long i = 0; i < n; i++)
        if (write(a_write, &c, 1) != 1 || read(a_read, &c, 1) != 1)
            die("ping-pong");
    waitpid(pid, NULL, 0);
}

static void pingpong_pipe(long n)
{
    int to[2], from[2];

    if (pipe(to) < 0 || pipe(from) < 0)
        die("pipe");
    ping_pong(n, from[0], to[1], to[0], from[1]);
    close(to[0]), close(to[1]), close(from[0]), close(from[1]);
}

static void pingpong_tcp(long n)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sa);
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;

    if (bind(l, (void *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0 ||
        getsockname(l, (void *)&sa, &len) < 0 || connect(c, (void *)&sa, sizeof(sa)) < 0 ||
        (s = accept(l, NULL, NULL)) < 0)
        die("tcp");
    setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ping_pong(n, c, c, s, s);
    close(l), close(c), close(s);
}

static void futex_op(uint32_t *w, int op, uint32_t v)
{
    (void)syscall(SYS_futex, w, op, v, NULL, NULL, 0);
}

static void pingpong_futex(long n)
{
    uint32_t *w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    *w = 0;
    pid = fork();
    for (long i = 0; i < n; i++) {
        uint32_t mine = pid ? 0 : 1;

        while (__atomic_load_n(w, __ATOMIC_ACQUIRE) != mine)
            futex_op(w, FUTEX_WAIT, !mine);
        __atomic_store_n(w, !mine, __ATOMIC_RELEASE);
        futex_op(w, FUTEX_WAKE, 1);
    }
    if (!pid)
        _exit(0);
    waitpid(pid, NULL, 0);
    munmap(w, 4096);
}

static void create_unlink(long n)
{
    for (long i = 0; i < n; i++) {
        int fd = open("/tmp/ubench.new", O_CREAT | O_EXCL | O_WRONLY, 0600);

        if (fd < 0)
            die("create");
        close(fd);
        unlink("/tmp/ubench.new");
    }
}

static void cpu_loop(long n)
{
    volatile double x = 1;

    for (long i = 0; i < n * 100; i++)
        x = x * 1.0000001 + 1e-9;
}

static const struct row {
    const char *name;
    void (*fn)(long n);
    long n;
} rows[] = {
    {"getpid", getpid_raw, 20000},
    {"getppid", getppid_raw, 20000},
    {"umask", umask_call, 20000},
    {"fstat", fstat_call, 10000},
    {"stat", stat_call, 5000},
    {"open_close", open_close, 3000},
    {"open_enoent", open_enoent, 3000},
    {"pread_1", pread_1, 5000},
    {"pread_4k", pread_4k, 5000},
    {"pread_64k", pread_64k, 2000},
    {"pread_image_1", pread_image_1, 5000},
    {"pread_image_4k", pread_image_4k, 5000},
    {"pread_image_64k", pread_image_64k, 2000},
    {"pwrite_4k", pwrite_4k, 5000},
    {"read_zero", read_zero, 5000},
    {"pipe_1", pipe_1, 5000},
    {"epoll_wait_0", epoll_0, 5000},
    {"mmap_touch_munmap", mmap_touch, 2000},
    {"fault_anon", fault_anon, 4000},
    {"fault_file", fault_file, 4000},
    {"thread_create_join", thread_join, 200},
    {"fork_wait", fork_wait, 50},
    {"fork_exec_wait", fork_exec, 30},
    {"spawn_exec_wait", spawn_exec, 30},
    {"pingpong_pipe", pingpong_pipe, 1000},
    {"pingpong_futex", pingpong_futex, 1000},
    {"pingpong_tcp", pingpong_tcp, 500},
    {"create_unlink", create_unlink, 500},
    {"cpu_loop", cpu_loop, 5000},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const struct row *r)
{
    enum { ROUNDS = 7 };
    double t[ROUNDS];

    r->fn(r->n / 10 + 1);
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();

        r->fn(r->n);
        t[i] = (now_us() - start) / (double)r->n;
    }
    qsort(t, ROUNDS, sizeof(t[0]), compare);
    printf("%s %.4f %.4f\n", r->name, t[0], t[ROUNDS / 2]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--exit") == 0)
        return 0;
    g_self = realpath(argv[0], NULL);
    if (!g_self)
        g_self = argv[0];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int wanted = argc == 1;

        for (int k = 1; k < argc; k++)
            wanted |= strcmp(argv[k], rows[i].name) == 0;
        if (wanted)
            measure(&rows[i]);
    }
    return 0;
}
