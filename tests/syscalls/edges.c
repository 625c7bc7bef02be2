/* Corners: arguments at the end of their range, states that few programs ask for. */
#include "t.h"
#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <termios.h>

static void directories(void)
{
    char *two = MUST(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    int fd, total = 0;
    long n, shorts = 0;

    SECTION("directories");
    MUST(mkdir("d", 0755));
    for (int i = 0; i < 100; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "d/file-with-a-name-%d", i);
        (void)close(MUST(open(name, O_CREAT | O_RDWR, 0644)));
    }
    MUST(mprotect(two + 4096, 4096, PROT_NONE));
    fd = MUST(open("d", O_RDONLY | O_DIRECTORY));
    while ((n = syscall(SYS_getdents64, fd, two + 4096 - 256, 4096)) > 0) {
        shorts += n <= 256;
        for (char *p = two + 4096 - 256; p < two + 4096 - 256 + n; total++)
            p += *(unsigned short *)(p + 16);
    }
    RESULT("the rest of a page that ends", n);
    printf("%d entries\n", total);
    TRUTH("each time what fits", shorts > 1);
    MUST(lseek(fd, 0, SEEK_SET));
    R(syscall(SYS_getdents64, fd, two, 0x80000000UL));
    R(open("d", O_RDONLY | O_DIRECT));
    (void)close(fd);
    fd = MUST(open("/proc/self", O_RDONLY | O_DIRECTORY));
    TRUTH("the end of /proc/self", lseek(fd, 0, SEEK_END) >= 0);
}

static void files(void)
{
    int in, out, p[2], both;
    off_t at = LLONG_MAX - 1;
    char c;

    SECTION("files");
    in = MUST(open("a", O_CREAT | O_RDWR, 0644));
    MUST(write(in, "0123456789", 10));
    out = MUST(open("b", O_CREAT | O_RDWR, 0644));
    R(sendfile(out, in, NULL, -1));
    R(sendfile(out, in, &at, 3));
    MUST(pipe(p));
    MUST(write(p[1], "xyz", 3));
    R(splice(p[0], NULL, out, &at, 3, 0));
    both = MUST(open("a", O_WRONLY | O_RDWR));
    R(read(both, &c, 1));
    R(write(both, "x", 1));
    R(pread(p[1], &c, 1, 0));
    R(pwrite(p[0], &c, 1, 0));
    R(lseek(in, LLONG_MAX, SEEK_END));
    R(lseek(open("/proc/uptime", O_RDONLY), 0, SEEK_END));
    R(fallocate(p[1], 0, 0, 1));
    R(fallocate(eventfd(0, 0), 0, 0, 1));
    R(setxattr("a", NULL, NULL, 0, 8));
    R(utimensat(AT_FDCWD, "none", (struct timespec[2]){{0, UTIME_OMIT}, {0, UTIME_OMIT}}, 0));
    R(fcntl(p[0], F_SETOWN, 1 << 22));
    R(fcntl(p[0], F_SETOWN, -(1 << 22)));
}

static void as_nobody(void (*fn)(void))
{
    pid_t pid = MUST(fork());

    if (pid == 0) {
        MUST(setgroups(0, NULL));
        MUST(setgid(65534));
        MUST(setuid(65534));
        fn();
        (void)fflush(stdout);
        _exit(0);
    }
    MUST(waitpid(pid, NULL, 0));
}

/* fs.protected_hardlinks says whether they are refused. */
static void links_of_others(void)
{
    static const char *const names[] = {"mine", "open", "setuid", "fifo"};
    FILE *f = fopen("/proc/sys/fs/protected_hardlinks", "r");
    int on = 0;

    if (f)
        (void)fscanf(f, "%d", &on);
    for (int i = 0; i < 4; i++) {
        bool refused = on && strcmp(names[i], "open") != 0;
        char to[32];

        (void)snprintf(to, sizeof(to), "link-%s", names[i]);
        TRUTH(names[i], (link(names[i], to) < 0 && errno == EPERM) == refused);
    }
}

static void write_program(void)
{
    int fd = MUST(open("program", O_WRONLY));

    R(write(fd, "x", 1));
}

static void others(void)
{
    /* revision 2, effective, CAP_SETUID */
    const uint32_t caps[5] = {0x02000001, 1 << 7};
    char buf[32];

    SECTION("others");
    MUST(chmod(".", 0777));
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"mine", "open", "setuid"};
        static const mode_t modes[] = {0644, 0666, 04666};

        (void)close(MUST(open(names[i], O_CREAT | O_RDWR, 0600)));
        MUST(chmod(names[i], modes[i]));
    }
    MUST(mkfifo("fifo", 0666));
    MUST(chmod("fifo", 0666));
    as_nobody(links_of_others);
    (void)close(MUST(open("program", O_CREAT | O_RDWR, 0755)));
    MUST(chmod("program", 0777));
    MUST(setxattr("program", "security.capability", caps, sizeof(caps), 0));
    R(getxattr("program", "security.capability", buf, sizeof(buf)));
    as_nobody(write_program);
    R(getxattr("program", "security.capability", buf, sizeof(buf)));
    MUST(setxattr("program", "security.capability", caps, sizeof(caps), 0));
    R(chown("program", 5, 5));
    R(getxattr("program", "security.capability", buf, sizeof(buf)));
}

static void memory(void)
{
    char *three = MUST(mmap(NULL, 12288, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    struct rlimit none = {0, 0}, page = {4096, 4096};

    SECTION("memory");
    TRUTH("shared and private",
          mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_SHARED | MAP_ANONYMOUS, -1, 0) ==
                  MAP_FAILED &&
              errno == EINVAL);
    R(mprotect(three, (size_t)-1, PROT_READ));
    R(mincore(NULL, (size_t)-1, NULL));
    R(mlock(three, 4096));
    MUST(munlock(three, 4096));
    MUST(mprotect(three + 4096, 4096, PROT_READ));
    TRUTH("less of three mappings", mremap(three, 12288, 4096, 0) == three);
    R(mprotect(three + 4096, 4096, PROT_READ));
    MUST(prctl(PR_CAPBSET_READ, 14)); /* the rest is without CAP_IPC_LOCK */
    if (fork() == 0) {
        MUST(setrlimit(RLIMIT_MEMLOCK, &page));
        MUST(setgid(65534));
        MUST(setuid(65534));
        TRUTH("two locked pages, room for one",
              mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) ==
                      MAP_FAILED &&
                  errno == EAGAIN);
        MUST(setrlimit(RLIMIT_MEMLOCK, &none));
        TRUTH("none at all", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED,
                                  -1, 0) == MAP_FAILED &&
                                 errno == EPERM);
        _exit(0);
    }
    MUST(wait(NULL));
}

static void seals(void)
{
    static const char data[4096];
    int fd = MUST(memfd_create("sealed", MFD_ALLOW_SEALING));

    SECTION("seals");
    MUST(ftruncate(fd, 4096 + 2048));
    MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    R(pwrite(fd, data, 2048, 4096 + 1024));
    R(pwrite(fd, data, 1024, 4096 + 1024));
}

/* All capabilities in a user namespace are none over those who live outside of it. */
static void other_namespace(pid_t of)
{
    char path[64], byte;
    struct iovec l = {&byte, 1}, r = {&byte, 1};
    int fd = MUST(syscall(SYS_pidfd_open, of, 0));

    RESULT("a descriptor of a child", syscall(SYS_pidfd_getfd, fd, 1, 0) < 0 ? -1 : 0);
    RESULT("its memory", syscall(SYS_process_vm_readv, of, &l, 1, &r, 1, 0));
    if (fork() == 0) {
        if (unshare(CLONE_NEWUSER) < 0)
            _exit(1);
        RESULT("from a user namespace: a descriptor", syscall(SYS_pidfd_getfd, fd, 1, 0));
        RESULT("memory", syscall(SYS_process_vm_readv, of, &l, 1, &r, 1, 0));
        RESULT("ptrace", ptrace(PTRACE_ATTACH, of, 0, 0));
        (void)snprintf(path, sizeof(path), "/proc/%d/mem", of);
        RESULT("/proc", open(path, O_RDONLY));
        _exit(0);
    }
    MUST(wait(NULL));
}

/* One who wants not to be looked into, by another of the same user. */
static void not_dumpable(void)
{
    char path[64], byte;
    struct iovec l = {&byte, 1}, r = {&byte, 1};
    int p[2], fd;
    pid_t of;

    MUST(pipe(p));
    of = MUST(fork());
    if (of == 0) {
        if (setresuid(1234, 1234, 1234) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0)
            (void)!write(p[1], "x", 1);
        for (;;)
            pause();
    }
    (void)close(p[1]);
    MUST(read(p[0], &byte, 1));
    if (fork() == 0) {
        if (setresuid(1234, 1234, 1234) < 0)
            _exit(1);
        fd = MUST(syscall(SYS_pidfd_open, of, 0));
        RESULT("not dumpable: a descriptor", syscall(SYS_pidfd_getfd, fd, 1, 0));
        RESULT("memory", syscall(SYS_process_vm_readv, of, &l, 1, &r, 1, 0));
        RESULT("ptrace", ptrace(PTRACE_ATTACH, of, 0, 0));
        (void)snprintf(path, sizeof(path), "/proc/%d/mem", of);
        RESULT("/proc", open(path, O_RDONLY));
        _exit(0);
    }
    MUST(wait(NULL));
    MUST(kill(of, SIGKILL));
    MUST(waitpid(of, NULL, 0));
}

static void processes(void)
{
    static char stack[4096];
    siginfo_t si;
    pid_t pid;

    SECTION("processes");
    pid = MUST(fork());
    if (pid == 0)
        _exit(3);
    MUST(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT));
    R(waitid(P_ALL, 0, &si, WSTOPPED));
    R(waitid(P_PID, (id_t)pid, &si, WEXITED));
    R(syscall(SYS_clone, SIGCHLD | CLONE_SETTLS, stack + sizeof(stack), NULL, NULL,
              0x4141414141414141UL));
    R(prctl(PR_SET_SECUREBITS, 1UL << 30, 0, 0, 0));
    pid = MUST(fork());
    if (pid == 0)
        for (;;)
            pause();
    other_namespace(pid);
    MUST(kill(pid, SIGKILL));
    MUST(waitpid(pid, NULL, 0));
    not_dumpable();
}

/* ---- the thread that made a child -------------------------------------------------------------*/
static void *make_child(void *arg)
{
    int ready[2];
    char byte;

    MUST(pipe(ready));
    *(pid_t *)arg = MUST(fork());
    if (*(pid_t *)arg == 0) {
        MUST(prctl(PR_SET_PDEATHSIG, SIGTERM));
        MUST(write(ready[1], "r", 1));
        sleep(20);
        _exit(1);
    }
    MUST(read(ready[0], &byte, 1));
    return NULL;
}

static void parent_thread(void)
{
    pthread_t thread;
    pid_t pid;
    int status;

    SECTION("parent thread");
    (void)pthread_create(&thread, NULL, make_child, &pid);
    (void)pthread_join(thread, NULL);
    MUST(waitpid(pid, &status, 0));
    TRUTH("the child hears of its maker's end", WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* ---- the end of an alternate stack ------------------------------------------------------------*/
static char stacks[2][65536];
static volatile int deep;

static void fall(int sig)
{
    (void)sig;
    if (deep++ < 1000)
        (void)kill(getpid(), SIGUSR1);
}

static void altstack(void)
{
    struct sigaction sa = {.sa_handler = fall, .sa_flags = SA_ONSTACK | SA_NODEFER};
    stack_t s = {.ss_sp = stacks[1], .ss_size = sizeof(stacks[1])};
    pid_t pid = MUST(fork());
    int status;

    SECTION("altstack");
    if (pid == 0) {
        (void)sigaltstack(&s, NULL);
        (void)sigaction(SIGUSR1, &sa, NULL);
        (void)kill(getpid(), SIGUSR1);
        _exit(0);
    }
    MUST(waitpid(pid, &status, 0));
    TRUTH("who walks off its end dies", WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- vector state in handlers -----------------------------------------------------------------*/
static uint64_t at_entry;
static uint32_t control_at_entry;

static void handler(int sig)
{
    uint64_t mine = 0x1111;

    (void)sig;
    __asm__ volatile("movq %%xmm0, %0" : "=m"(at_entry));
    __asm__ volatile("stmxcsr %0" : "=m"(control_at_entry));
    __asm__ volatile("movq %0, %%xmm0" : : "m"(mine) : "xmm0");
}

static void vectors(void)
{
    uint64_t mine = 0xdeadbeeffacefeed, after = 0;
    uint32_t control = 0x1f80 | 0x8000, control_after, usual = 0x1f80;
    long pid = getpid(), tid = gettid(), r = SYS_tgkill;

    SECTION("vectors");
    (void)signal(SIGUSR1, handler);
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
    __asm__ volatile("movq %[mine], %%xmm0\n\tsyscall\n\tmovq %%xmm0, %[after]"
                     : "+a"(r), [after] "=m"(after)
                     : [mine] "m"(mine), "D"(pid), "S"(tid), "d"((long)SIGUSR1)
                     : "rcx", "r11", "memory", "xmm0");
    __asm__ volatile("stmxcsr %0" : "=m"(control_after));
    __asm__ volatile("ldmxcsr %0" : : "m"(usual));
    TRUTH("a handler begins with a clean register", at_entry == 0);
    TRUTH("and the usual control word", control_at_entry == 0x1f80);
    TRUTH("what it interrupts goes on with its own", after == mine && control_after == control);
}

static void timers(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec its = {{0, 20000000}, {0, 20000000}};
    struct timespec zero = {0, 0}, some = {0, 200000000};
    siginfo_t si;
    sigset_t set;
    timer_t id;

    SECTION("timers");
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR2);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    MUST(kill(getpid(), SIGUSR2));
    MUST(timer_create(CLOCK_MONOTONIC, &ev, &id));
    MUST(timer_settime(id, 0, &its, NULL));
    (void)nanosleep(&some, NULL);
    R(sigtimedwait(&set, &si, &zero));
    TRUTH("the one that was sent", si.si_code == SI_USER);
    R(sigtimedwait(&set, &si, &zero));
    TRUTH("the timer's, which counted meanwhile", si.si_code == SI_TIMER && si.si_overrun >= 2);
    MUST(timer_delete(id));
}

static void packets(void)
{
    int master = MUST(posix_openpt(O_RDWR | O_NOCTTY)), slave, on = 1;
    unsigned char status;

    SECTION("packets");
    MUST(grantpt(master));
    MUST(unlockpt(master));
    slave = MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
    MUST(ioctl(master, TIOCPKT, &on));
    for (int q = 0; q < 3; q++) {
        struct pollfd p = {.fd = master, .events = POLLIN | POLLPRI};

        MUST(ioctl(slave, TCFLSH, q));
        R(poll(&p, 1, 1000));
        R(read(master, &status, 1));
        printf("flushed %d: %d\n", q, status);
    }
    MUST(fcntl(master, F_SETFL, O_NONBLOCK));
    MUST(ioctl(master, TCFLSH, TCIOFLUSH));
    R(read(master, &status, 1));
}

int main(void)
{
    char dir[] = "/tmp/edges-XXXXXX", command[64];

    if (!mkdtemp(dir) || chmod(dir, 0755) < 0 || chdir(dir) < 0)
        return 2;
    directories();
    files();
    others();
    memory();
    seals();
    processes();
    parent_thread();
    altstack();
    vectors();
    timers();
    packets();
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) != 0;
}
