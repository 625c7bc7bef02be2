/* Memory, threads, processes, and two processes that wait for each other. */
#include "ubench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void ub_mmap_touch_munmap(long n)
{
    for (long i = 0; i < n; i++) {
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            ub_die("mmap");
        *p = 1;
        munmap(p, 4096);
    }
}

static void *sleeper(void *arg)
{
    char c;

    (void)!read(*(int *)arg, &c, 1);
    return NULL;
}

/* The same in a process of two threads. */
void ub_mmap_threads(long n)
{
    pthread_t t;
    int p[2];

    if (pipe(p) < 0 || pthread_create(&t, NULL, sleeper, &p[0]))
        ub_die("thread");
    ub_mmap_touch_munmap(n);
    close(p[1]);
    pthread_join(t, NULL);
    close(p[0]);
}

void ub_fault_anon(long n)
{
    size_t size = (size_t)n * 4096;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        ub_die("mmap");
    madvise(p, size, MADV_NOHUGEPAGE);
    for (long i = 0; i < n; i++)
        p[i * 4096] = 1;
    munmap(p, size);
}

void ub_fault_file(long n)
{
    struct stat st;
    int fd = open(ub_data, O_RDONLY);
    long pages, done = 0;
    volatile char sum = 0;

    if (fstat(fd, &st) < 0)
        ub_die("fstat");
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

void ub_thread_create_join(long n)
{
    for (long i = 0; i < n; i++) {
        pthread_t t;

        if (pthread_create(&t, NULL, thread_main, NULL))
            ub_die("pthread_create");
        pthread_join(t, NULL);
    }
}

void ub_fork_wait(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            ub_die("fork");
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
}

void ub_fork_exec_wait(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            ub_die("fork");
        if (pid == 0) {
            execl(ub_self, "ubench", "--exit", (char *)NULL);
            _exit(127);
        }
        waitpid(pid, NULL, 0);
    }
}

void ub_spawn_exec_wait(long n)
{
    char *argv[] = {(char *)ub_self, (char *)"--exit", NULL};

    for (long i = 0; i < n; i++) {
        pid_t pid;

        if (posix_spawn(&pid, ub_self, NULL, NULL, argv, NULL))
            ub_die("posix_spawn");
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
            ub_die("ping-pong");
    waitpid(pid, NULL, 0);
}

void ub_pingpong_pipe(long n)
{
    int to[2], from[2];

    if (pipe(to) < 0 || pipe(from) < 0)
        ub_die("pipe");
    ping_pong(n, from[0], to[1], to[0], from[1]);
    close(to[0]), close(to[1]), close(from[0]), close(from[1]);
}

void ub_pingpong_tcp(long n)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sa);
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;

    if (bind(l, (void *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0 ||
        getsockname(l, (void *)&sa, &len) < 0 || connect(c, (void *)&sa, sizeof(sa)) < 0 ||
        (s = accept(l, NULL, NULL)) < 0)
        ub_die("tcp");
    setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ping_pong(n, c, c, s, s);
    close(l), close(c), close(s);
}

static void futex_op(uint32_t *w, int op, uint32_t v)
{
    (void)syscall(SYS_futex, w, op, v, NULL, NULL, 0);
}

void ub_pingpong_futex(long n)
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

void ub_cpu_loop(long n)
{
    volatile double x = 1;

    for (long i = 0; i < n * 100; i++)
        x = x * 1.0000001 + 1e-9;
}
