/*
 * Structures that lead back to themselves or nest without end: sockets in flight within sockets,
 * epolls that watch each other, mounts within mounts, directories, namespaces, robust lists, links.
 * Each in a process of its own, which may be refused, or killed; the sandbox goes on.
 */
#include "attack.h"
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/timerfd.h>
#include <sys/un.h>

enum { EACH_MS = 3000 };

static void send_fd(int sock, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0}, byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), &fd, sizeof(fd));
    (void)sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Pairs whose ends are in flight in each other, then forgotten. */
static void rights_in_circles(void)
{
    int a[2], b[2];

    while (in_time()) {
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, a) < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, b) < 0)
            _exit(1);
        for (int i = 0; i < 2; i++) {
            send_fd(a[0], b[i]);
            send_fd(b[0], a[i]);
            send_fd(a[0], a[i]);
        }
        for (int i = 0; i < 2; i++) {
            close(a[i]);
            close(b[i]);
        }
        if (rnd() % 4096 == 0)
            return;
    }
}

/* Each in the queue of the next: the last close frees them all. */
static void rights_in_a_chain(void)
{
    int last = -1, p[2];

    for (int i = 0; i < 5000; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0)
            break;
        if (last >= 0) {
            send_fd(p[0], last);
            close(last);
        }
        close(p[0]);
        last = p[1];
    }
    close(last);
}

static void epolls(void)
{
    enum { N = 64 };
    int e[N], p[2];
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

    (void)!pipe(p);
    for (int i = 0; i < N; i++)
        e[i] = epoll_create1(0);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 8; k++)
            (void)epoll_ctl(e[i], EPOLL_CTL_ADD, e[rnd() % N], &ev);
    for (int i = 0; i < N; i++)
        (void)epoll_ctl(e[i], EPOLL_CTL_ADD, p[0], &ev);
    (void)!write(p[1], "x", 1);
    for (int i = 0; i < N; i++)
        (void)epoll_wait(e[i], &ev, 1, 0);
    for (int i = 0; i < N; i++)
        close(e[rnd() % N]);
}

/* Recursive binds of what holds them: twice as many each time. */
static void mounts(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || mkdir("/tmp/m", 0755) < 0)
        return;
    if (mount("t", "/tmp/m", "tmpfs", 0, NULL) < 0)
        return;
    (void)mkdir("/tmp/m/a", 0755);
    (void)mount(NULL, "/tmp/m", NULL, MS_SHARED | MS_REC, NULL);
    for (int i = 0; i < 40; i++)
        if (mount("/tmp/m", "/tmp/m/a", NULL, MS_BIND | MS_REC, NULL) < 0)
            break;
}

static void directories(void)
{
    static char path[70000];
    int depth = 0;

    if (mkdir("/tmp/d", 0755) < 0 || chdir("/tmp/d") < 0)
        return;
    while (depth < 5000 && mkdir("d", 0755) == 0 && chdir("d") == 0)
        depth++;
    (void)!getcwd(path, sizeof(path));
    (void)readlink("/proc/self/cwd", path, sizeof(path));
    (void)rename("/tmp/d", "/tmp/e");
    (void)symlink("loop", "loop");
    (void)open("loop", O_RDONLY);
    for (int i = 0; i < depth && chdir("..") == 0; i++)
        if (i % 2)
            (void)rmdir("d/d");
}

static void namespaces(void)
{
    for (int i = 0; i < 100; i++) {
        pid_t pid;

        if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
            break;
        pid = fork();
        if (pid < 0)
            break;
        if (pid > 0) {
            int status;

            (void)waitpid(pid, &status, 0);
            _exit(0);
        }
    }
}

/* A child of a child of ... */
static void generations(void)
{
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid > 0) {
            (void)waitpid(pid, NULL, 0);
            _exit(0);
        }
    }
}

/* Exit walks it: it ends in itself, or nowhere. */
static void robust_lists(void)
{
    static struct robust_list_head head;
    static struct robust_list at[2];

    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            at[0].next = i ? &at[1] : &at[0];
            at[1].next = i == 1 ? &at[0] : (void *)1;
            head.list.next = &at[0];
            head.futex_offset = i == 2 ? (long)1 << 62 : 8;
            head.list_op_pending = (void *)-1;
            syscall(SYS_set_robust_list, &head, sizeof(head));
            _exit(0);
        }
        (void)reap(pid, 1000);
    }
}

static void odd_clones(void)
{
    static char stack[65536];

    for (int sig = 1; sig <= 64; sig++) /* a child may end with any */
        (void)signal(sig, SIG_IGN);
    for (int i = 0; i < 300; i++) {
        struct clone_args a = {.flags = rnd() & 0x3ffffff00ULL & (rnd() | rnd()),
                               .exit_signal = 20 + rnd() % 50,
                               .stack = rnd() % 2 ? (uint64_t)stack : 0,
                               .stack_size = rnd() % 3 ? sizeof(stack) : rnd(),
                               .set_tid = rnd() % 3 ? 0 : (uint64_t)stack,
                               .set_tid_size = rnd() % 3 ? 0 : rnd() % 40};

        /* Threads of such a kind would go on with our own stack. */
        a.flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_SIGHAND);
        if (syscall(SYS_clone3, &a, rnd() % 4 ? sizeof(a) : rnd() % 200) == 0)
            _exit(0);
    }
}

static void arguments(void)
{
    static char *argv[20000];
    static char text[140000];

    memset(text, 'a', sizeof(text) - 1);
    for (int i = 0; i < 3; i++) {
        size_t n = i == 0 ? 19999 : i == 1 ? 40 : 1;

        for (size_t k = 0; k < n; k++)
            argv[k] = i == 0 ? (char *)"x" : text + (i == 1 ? 10000 : 0);
        argv[n] = NULL;
        if (fork() == 0) {
            execve("/nowhere", argv, argv);
            execve("/proc/self/exe", argv, argv);
            _exit(0);
        }
        (void)wait(NULL);
    }
}

/* Files and /proc of the others in this sandbox: root's, and all of one container. */
static void neighbours(void)
{
    char path[64], page[4096];

    for (pid_t pid = 1; pid < 64; pid++) {
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/mem", pid);
        fd = open(path, O_RDWR);
        for (uint64_t at = 0; fd >= 0 && at < 64; at++) {
            (void)!pread(fd, page, sizeof(page), (off_t)(rnd() & 0x7fffffffffffULL));
            (void)!pread(fd, page, sizeof(page), (off_t)rnd());
        }
        close(fd);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} all[] = {
    {"rights in circles", rights_in_circles},
    {"rights in a chain", rights_in_a_chain},
    {"epolls", epolls},
    {"mounts", mounts},
    {"directories", directories},
    {"namespaces", namespaces},
    {"generations", generations},
    {"robust lists", robust_lists},
    {"odd clones", odd_clones},
    {"arguments", arguments},
    {"neighbours", neighbours},
};

static void one(void *arg)
{
    all[*(size_t *)arg].run();
}

int main(int argc, char **argv)
{
    int bad = 0;

    if (getpid() != 1 && getppid() != 1 && argc > 3)
        return 0; /* of arguments() */
    become_judge();
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        double start = now();
        int status;

        if (argc == 2 && strcmp(argv[1], all[i].name) != 0)
            continue;
        status = apart(one, &i, EACH_MS);
        fprintf(stderr, "%s: status %x, %.0f ms, %s\n", all[i].name, status, (now() - start) * 1000,
                healthy() ? "healthy" : "SICK");
        bad += !healthy();
    }
    return verdict(bad, "loops");
}
