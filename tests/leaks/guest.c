/*
 * Runs in a sandbox. Each row is done and undone many times; between the rounds it tells the driver
 * ("ROW ROUND ROUNDS\n" on its output) and waits for a line, so that the sentry can be looked at.
 * usage: guest ROUNDS-PERCENT [ROW]
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, FILTER_LEN = 1024 };

static void need(int r, const char *what)
{
    if (r >= 0)
        return;
    printf("error %s: %s\n", what, strerror(errno));
    exit(1);
}

static void reap(void)
{
    while (wait(NULL) > 0)
        ;
}

static void do_fork(void)
{
    if (fork() == 0)
        _exit(0);
    reap();
}

static void do_exec(void)
{
    if (vfork() == 0) {
        (void)execl("/bin/true", "true", NULL);
        _exit(1);
    }
    reap();
}

static void *nothing(void *arg)
{
    return arg;
}

static void do_thread(void)
{
    pthread_t t;

    need(-pthread_create(&t, NULL, nothing, NULL), "pthread_create");
    (void)pthread_join(t, NULL);
}

static void *sleeper(void *arg)
{
    (void)pause();
    return arg;
}

static void do_kill_threads(void)
{
    pid_t p = fork();
    pthread_t t;

    if (p == 0) {
        for (int i = 0; i < 4; i++)
            (void)pthread_create(&t, NULL, sleeper, NULL);
        (void)pause();
    }
    (void)usleep(300);
    need(kill(p, SIGKILL), "kill");
    reap();
}

static void do_trace(void)
{
    pid_t p = fork();

    if (p == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(0);
    }
    need(waitpid(p, NULL, 0), "waitpid");
    (void)ptrace(PTRACE_CONT, p, NULL, NULL);
    reap();
}

/* A large filter, so that one that is kept shows. */
static void do_seccomp(void)
{
    static struct sock_filter code[FILTER_LEN];
    struct sock_fprog program = {FILTER_LEN, code};

    for (int i = 0; i < FILTER_LEN; i++)
        code[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (fork() == 0) {
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
        if (fork() == 0)
            _exit(0);
        reap();
        _exit(0);
    }
    reap();
}

static void do_namespaces(void)
{
    if (fork() == 0) {
        need(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                     CLONE_NEWNET),
             "unshare");
        if (fork() == 0)
            _exit(0);
        reap();
        _exit(0);
    }
    reap();
}

static void do_memory(void)
{
    char *own = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int f = memfd_create("m", MFD_ALLOW_SEALING);

    need(f, "memfd_create");
    memset(own, 1, 8 * PAGE);
    memset(shared, 1, 8 * PAGE);
    (void)mprotect(own, PAGE, PROT_READ);
    need(ftruncate(f, PAGE), "ftruncate");
    (void)munmap(own, 8 * PAGE);
    (void)munmap(shared, 8 * PAGE);
    (void)close(f);
}

static void do_file(void)
{
    int f = open("/tmp/x", O_RDWR | O_CREAT, 0600);
    struct flock l = {.l_type = F_WRLCK};
    char block[2 * PAGE] = {1}, *p;

    need(f, "open");
    need((int)write(f, block, sizeof(block)), "write");
    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    p[0] = 2;
    (void)munmap(p, PAGE);
    (void)flock(f, LOCK_EX);
    (void)fcntl(f, F_SETLK, &l);
    (void)setxattr("/tmp/x", "user.a", "b", 1, 0);
    need(rename("/tmp/x", "/tmp/y"), "rename");
    need(link("/tmp/y", "/tmp/z"), "link");
    (void)unlink("/tmp/z");
    (void)unlink("/tmp/y");
    (void)close(f);
}

static void do_dir(void)
{
    need(mkdir("/tmp/d", 0700), "mkdir");
    need(symlink("q", "/tmp/d/l"), "symlink");
    (void)unlink("/tmp/d/l");
    (void)rmdir("/tmp/d");
}

static void do_image(void)
{
    int f = open("/bin/sh", O_RDONLY);
    char b[PAGE], *p;

    need(f, "open /bin/sh");
    (void)!read(f, b, sizeof(b));
    p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, f, 0);
    (void)*(volatile char *)p;
    (void)munmap(p, PAGE);
    (void)close(f);
}

static void do_proc(void)
{
    static const char *const names[] = {"/proc/self/maps", "/proc/self/status", "/proc/meminfo",
                                        "/proc/mounts", "/proc/self/fdinfo/1"};
    char b[PAGE];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        int f = open(names[i], O_RDONLY);

        need(f, names[i]);
        while (read(f, b, sizeof(b)) > 0)
            ;
        (void)close(f);
    }
}

static void do_pipe(void)
{
    int p[2], g;
    char b[100] = {0};

    need(pipe(p), "pipe");
    (void)!write(p[1], b, sizeof(b));
    g = open("/dev/null", O_WRONLY);
    (void)!splice(p[0], NULL, g, NULL, sizeof(b), 0);
    (void)close(g);
    (void)close(p[0]);
    (void)close(p[1]);
}

static void send_fds(int sock, const int *fds, unsigned n)
{
    char c = 'x';
    struct iovec v = {&c, 1};
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } u = {0};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = u.bytes,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};

    u.align.cmsg_level = SOL_SOCKET;
    u.align.cmsg_type = SCM_RIGHTS;
    u.align.cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(&u.align), fds, n * sizeof(int));
    need((int)sendmsg(sock, &m, 0), "sendmsg");
}

/* A descriptor in flight, and a pair that holds itself. */
static void do_rights(void)
{
    int p[2], q[2], f = open("/dev/null", O_RDWR);

    need(socketpair(AF_UNIX, SOCK_STREAM, 0, p), "socketpair");
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, q), "socketpair");
    send_fds(p[0], &f, 1);
    send_fds(q[0], q, 2);
    (void)close(f);
    for (int i = 0; i < 2; i++) {
        (void)close(p[i]);
        (void)close(q[i]);
    }
}

static void connect_and_close(int family, struct sockaddr *a, socklen_t size)
{
    int l = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0), s;
    struct linger reset = {1, 0};

    need(bind(l, a, size), "bind");
    need(listen(l, 5), "listen");
    need(getsockname(l, a, &size), "getsockname");
    need(connect(c, a, size), "connect");
    s = accept(l, NULL, NULL);
    need((int)write(c, "x", 1), "write");
    (void)setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)close(c);
    (void)close(s);
    (void)close(l);
}

static void do_unix(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/s"};

    connect_and_close(AF_UNIX, (struct sockaddr *)&a, sizeof(a));
    (void)unlink("/tmp/s");
}

static void do_tcp(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    connect_and_close(AF_INET, (struct sockaddr *)&a, sizeof(a));
}

static void do_events(void)
{
    int e = epoll_create1(0), v = eventfd(0, 0), t = timerfd_create(CLOCK_MONOTONIC, 0), s;
    struct epoll_event x = {.events = EPOLLIN};
    struct itimerspec soon = {{0, 0}, {0, 10000}};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    s = signalfd(-1, &set, 0);
    need(epoll_ctl(e, EPOLL_CTL_ADD, v, &x), "epoll_ctl");
    need(epoll_ctl(e, EPOLL_CTL_ADD, t, &x), "epoll_ctl");
    need(timerfd_settime(t, 0, &soon, NULL), "timerfd_settime");
    (void)epoll_wait(e, &x, 1, 1);
    (void)close(s);
    (void)close(v);
    (void)close(t);
    (void)close(e);
}

static void do_timer(void)
{
    struct sigevent silent = {.sigev_notify = SIGEV_NONE};
    struct itimerspec late = {{0, 0}, {100, 0}};
    timer_t t;

    need(timer_create(CLOCK_MONOTONIC, &silent, &t), "timer_create");
    (void)timer_settime(t, 0, &late, NULL);
    (void)timer_delete(t);
}

static void do_inotify(void)
{
    int f = inotify_init(), g;

    need(inotify_add_watch(f, "/tmp", IN_ALL_EVENTS), "inotify_add_watch");
    g = open("/tmp/i", O_CREAT | O_RDWR, 0600);
    (void)close(g);
    (void)unlink("/tmp/i");
    (void)close(f);
}

static void do_ipc(void)
{
    int shm = shmget(IPC_PRIVATE, 8 * PAGE, 0600), sem = semget(IPC_PRIVATE, 3, 0600);
    int msg = msgget(IPC_PRIVATE, 0600);
    struct sembuf up = {0, 1, SEM_UNDO};
    struct {
        long type;
        char text[100];
    } m = {1, {0}};
    mqd_t q = mq_open("/q", O_CREAT | O_RDWR, 0600, NULL);
    char *p = shmat(shm, NULL, 0);

    need((int)q, "mq_open");
    p[0] = 1;
    (void)shmdt(p);
    need(semop(sem, &up, 1), "semop");
    need(msgsnd(msg, &m, sizeof(m.text), 0), "msgsnd");
    need(mq_send(q, "x", 1, 1), "mq_send");
    (void)shmctl(shm, IPC_RMID, NULL);
    (void)semctl(sem, 0, IPC_RMID);
    (void)msgctl(msg, IPC_RMID, NULL);
    (void)mq_close(q);
    (void)mq_unlink("/q");
}

static void do_pty(void)
{
    int m = posix_openpt(O_RDWR | O_NOCTTY), s;

    need(m, "posix_openpt");
    (void)unlockpt(m);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    (void)!write(m, "abc\n", 4);
    (void)close(m);
    (void)close(s);
}

/* Control: what it takes stays. */
static void do_keep(void)
{
    char page[PAGE] = {1};
    int f = memfd_create("kept", 0);

    need(f, "memfd_create");
    need((int)write(f, page, sizeof(page)), "write");
}

static const struct row {
    const char *name;
    void (*fn)(void);
    int rounds;
    bool control;
} rows[] = {
    {"fork and wait", do_fork, 400, false},
    {"vfork and exec", do_exec, 300, false},
    {"threads", do_thread, 800, false},
    {"processes with threads, killed", do_kill_threads, 150, false},
    {"traced processes", do_trace, 200, false},
    {"seccomp filters", do_seccomp, 150, false},
    {"namespaces", do_namespaces, 100, false},
    {"mappings", do_memory, 2000, false},
    {"files", do_file, 1000, false},
    {"directories", do_dir, 2000, false},
    {"files of the image", do_image, 3000, false},
    {"files of /proc", do_proc, 400, false},
    {"pipes", do_pipe, 3000, false},
    {"descriptors in flight", do_rights, 1000, false},
    {"unix sockets", do_unix, 2000, false},
    {"TCP sockets", do_tcp, 1000, false},
    {"events", do_events, 1000, false},
    {"timers", do_timer, 4000, false},
    {"inotify", do_inotify, 2000, false},
    {"ipc", do_ipc, 1000, false},
    {"pseudo-terminals", do_pty, 1000, false},
    {"control: files that are kept open", do_keep, 600, true},
};

static void tell(const struct row *r, const char *when, int rounds)
{
    char line[16];

    printf("%s|%s|%d|%s\n", when, r->control ? "grows" : "flat", rounds, r->name);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

int main(int argc, char **argv)
{
    int percent = argc > 1 ? atoi(argv[1]) : 100;

    (void)setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int rounds = rows[i].rounds * percent / 100;

        if (argc > 2 && strcmp(argv[2], rows[i].name) != 0)
            continue;
        for (int n = 0; n < rounds / 3; n++) /* what is kept for later use is there then */
            rows[i].fn();
        tell(&rows[i], "before", rounds);
        for (int n = 0; n < rounds; n++)
            rows[i].fn();
        tell(&rows[i], "after", rounds);
    }
    return 0;
}
