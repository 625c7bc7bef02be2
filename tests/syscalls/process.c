/* Processes: fork, exec, wait, groups, sessions, limits. */
#include "t.h"
#include <elf.h>
#include <linux/sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void waiting(void)
{
    int st;
    siginfo_t info;
    struct rusage ru;

    SECTION("wait");
    R(wait(&st));
    CHILD("exit 3", _exit(3));
    CHILD("exit 259", _exit(259));
    CHILD("SIGTERM", (void)raise(SIGTERM));
    CHILD("SIGKILL", (void)raise(SIGKILL));
    pid_t pid = fork();
    if (!pid) {
        (void)raise(SIGSTOP);
        sleep_ms(100);
        _exit(5);
    }
    R(waitpid(pid, &st, WNOHANG) == 0 || WIFSTOPPED(st));
    R(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT));
    printf("%d %d %d\n", info.si_code == CLD_STOPPED, info.si_status == SIGSTOP,
           info.si_pid == pid);
    R(waitpid(pid, &st, WUNTRACED) == pid);
    wait_status("it", st);
    R(waitpid(pid, &st, WUNTRACED | WNOHANG));
    R(kill(pid, SIGCONT));
    R(waitpid(pid, &st, WCONTINUED) == pid);
    wait_status("it", st);
    R(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    printf("%d %d\n", info.si_code == CLD_EXITED, info.si_status);
    R(kill(pid, 0)); /* a zombie can be signalled */
    R(wait4(pid, &st, 0, &ru) == pid);
    wait_status("it", st);
    R(kill(pid, 0));
    R(waitpid(pid, &st, 0));
    R(waitpid(-1, &st, 0));
    R(waitpid(1, &st, 0));
    R(waitpid(-99999, &st, 0));
    R(waitpid(-1, &st, 0x100));
    R(waitid(P_PID, 1, &info, 0));
    R(waitid(99, 1, &info, WEXITED));
    (void)signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (!pid)
        _exit(1);
    R(waitpid(pid, &st, 0)); /* nobody's zombie */
    (void)signal(SIGCHLD, SIG_DFL);
    for (int i = 0; i < 3; i++)
        if (!fork())
            _exit(i);
    int sum = 0;
    while (wait(&st) > 0)
        sum += WEXITSTATUS(st);
    R(sum);
}

static volatile siginfo_t child_info;
static volatile int children;
static void on_child(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)uc;
    child_info = *info;
    children++;
}

static void child_signals(void)
{
    int st;

    SECTION("SIGCHLD");
    struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(SIGCHLD, &sa, NULL));
    pid_t pid = fork();
    if (!pid)
        _exit(9);
    MUST(waitpid(pid, &st, 0));
    printf("%d %d %d %d\n", children, child_info.si_code == CLD_EXITED, child_info.si_status,
           child_info.si_pid == pid);
    pid = fork();
    if (!pid)
        for (;;)
            (void)pause();
    MUST(kill(pid, SIGSTOP));
    MUST(waitpid(pid, &st, WUNTRACED));
    R(child_info.si_code == CLD_STOPPED);
    sa.sa_flags |= SA_NOCLDSTOP;
    MUST(sigaction(SIGCHLD, &sa, NULL));
    children = 0;
    MUST(kill(pid, SIGCONT));
    MUST(waitpid(pid, &st, WCONTINUED));
    R(children);
    MUST(kill(pid, SIGKILL));
    MUST(waitpid(pid, &st, 0));
    R(child_info.si_code == CLD_KILLED);
    (void)signal(SIGCHLD, SIG_DFL);
    /* another signal at exit */
    (void)signal(SIGUSR1, SIG_IGN);
    pid = (pid_t)syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
    if (!pid)
        _exit(4);
    R(waitpid(pid, &st, 0));
    R(waitpid(pid, &st, __WALL) == pid);
    wait_status("clone child", st);
}

static void groups(void)
{
    int p[2];
    char c;

    SECTION("groups and sessions");
    R(getpgid(0) == getpgrp());
    R(getpgid(99999999));
    R(getsid(0) > 0);
    R(setpgid(99999999, 0));
    R(setpgid(0, -1));
    MUST(pipe(p));
    pid_t pid = fork();
    if (!pid) {
        (void)!read(p[0], &c, 1);
        _exit(getpgrp() == getpid() ? 0 : 1);
    }
    R(setpgid(pid, pid));
    R(getpgid(pid) == pid);
    R(setpgid(pid, 99999));
    MUST(write(p[1], "x", 1));
    int st;
    MUST(waitpid(-pid, &st, 0));
    wait_status("own group", st);
    CHILD("session", {
        R(setsid() == getpid());
        R(setsid());
        R(getsid(0) == getpid());
        R(getpgrp() == getpid());
        R(setpgid(0, 0));
        R(open("/dev/tty", O_RDWR));
    });
    pid = fork();
    if (!pid) {
        (void)setpgid(0, 0);
        for (int i = 0; i < 2; i++)
            if (!fork())
                for (;;)
                    (void)pause();
        (void)!write(p[1], "y", 1);
        while (wait(NULL) > 0)
            ;
        _exit(0);
    }
    MUST(read(p[0], &c, 1));
    R(kill(-pid, SIGKILL));
    MUST(waitpid(pid, &st, 0));
    wait_status("group killed", st);
}

static char **many(int n, const char *text)
{
    char **v = calloc((size_t)n + 2, sizeof(*v));

    v[0] = (char *)"/proc/self/exe";
    for (int i = 1; i <= n; i++)
        v[i] = (char *)text;
    return v;
}

/* Nothing in it is writable, so nothing but its stack is written before it runs. */
static void bare_image(unsigned n_segments)
{
    static const unsigned char code[] = {0xb8, 60, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05};
    struct image {
        Elf64_Ehdr h;
        Elf64_Phdr p[2];
        unsigned char code[sizeof(code)];
    } e = {.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                 .e_type = ET_EXEC,
                 .e_machine = EM_X86_64,
                 .e_version = EV_CURRENT,
                 .e_ehsize = sizeof(Elf64_Ehdr),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phoff = sizeof(Elf64_Ehdr),
                 .e_phnum = (uint16_t)n_segments}};
    int fd;

    memcpy(e.code, code, sizeof(code));
    e.h.e_entry = 0x400000 + offsetof(struct image, code);
    for (unsigned i = 0; i < n_segments; i++)
        e.p[i] = (Elf64_Phdr){.p_type = PT_LOAD,
                              .p_flags = PF_R | (i ? 0 : PF_X),
                              .p_vaddr = 0x400000 + 4096 * i,
                              .p_filesz = sizeof(e),
                              .p_memsz = sizeof(e),
                              .p_align = 4096};
    fd = MUST(open("bare", O_WRONLY | O_CREAT | O_TRUNC, 0755));
    MUST(write(fd, &e, sizeof(e)));
    (void)close(fd);
    CHILD("bare image", (void)execl("bare", "bare", NULL));
}

static void executing(char *self)
{
    char text[140000], *const no[] = {NULL};

    SECTION("exec");
    bare_image(1);
    bare_image(2);
    R(execv("/none", (char *const[]){(char *)"x", NULL}));
    R(execv("/tmp", (char *const[]){(char *)"x", NULL}));
    put("plain", "not a program\n");
    R(execv("plain", (char *const[]){(char *)"x", NULL}));
    MUST(chmod("plain", 0755));
    R(execv("plain", (char *const[]){(char *)"x", NULL}));
    put("script", "#!/bin/sh\necho script $0 $1 $2\nexit 4\n");
    MUST(chmod("script", 0755));
    CHILD("script", (void)execl("./script", "ignored", "a", "b", NULL));
    put("script2", "#! ./none\n");
    MUST(chmod("script2", 0755));
    R(execl("./script2", "x", NULL));
    put("script3", "#!/bin/sh -e two words\n");
    MUST(chmod("script3", 0755));
    CHILD("script with options", {
        (void)close(2);
        (void)execl("./script3", "x", NULL);
    });
    CHILD("arguments", (void)execve(self,
                                    (char *const[]){(char *)"name", (char *)"args", (char *)"",
                                                    (char *)"two words", NULL},
                                    (char *const[]){(char *)"A=1", NULL}));
    CHILD("10000 arguments", (void)execve(self, many(10000, "args"), no));
    memset(text, 'x', sizeof(text));
    text[131071 - 0] = 0;
    CHILD("longest string", {
        (void)execve(self, (char *const[]){(char *)"n", (char *)"args", text, NULL}, no);
        R(errno);
    });
    text[131071] = 'x';
    text[131072] = 0;
    CHILD("too long a string", {
        (void)execve(self, (char *const[]){(char *)"n", (char *)"args", text, NULL}, no);
        printf("%s\n", strerrorname_np(errno));
    });
    text[100000] = 0;
    CHILD("too many bytes", {
        (void)execve(self, many(200, text), no);
        printf("%s\n", strerrorname_np(errno));
    });
    int keep = MUST(open("plain", O_RDONLY)), drop = MUST(open("plain", O_RDONLY | O_CLOEXEC));
    char a[16], b[16];
    (void)snprintf(a, sizeof(a), "%d", keep);
    (void)snprintf(b, sizeof(b), "%d", drop);
    CHILD("descriptors", (void)execl(self, "x", "fds", a, b, NULL));
    CHILD("by descriptor", {
        int fd = MUST(open(self, O_RDONLY | O_CLOEXEC));
        (void)fexecve(fd, (char *const[]){(char *)"fd", (char *)"args", NULL}, no);
    });
    CHILD("signals", {
        (void)signal(SIGUSR1, SIG_IGN);
        (void)signal(SIGUSR2, exit);
        sigset_t s;
        (void)sigemptyset(&s);
        (void)sigaddset(&s, SIGHUP);
        (void)sigprocmask(SIG_BLOCK, &s, NULL);
        (void)raise(SIGHUP);
        (void)execl(self, "x", "signals", NULL);
    });
    put("busy", "");
    int st;
    pid_t pid = vfork();
    if (!pid) {
        (void)execle(self, "x", "args", NULL, no);
        _exit(1);
    }
    MUST(waitpid(pid, &st, 0));
    wait_status("vfork", st);
    static volatile int shared;
    pid = vfork();
    if (!pid) {
        shared = 5;
        _exit(2);
    }
    MUST(waitpid(pid, &st, 0));
    printf("vfork shares memory: %d\n", shared);
}

static int after_exec(int argc, char **argv)
{
    extern char **environ;
    int n = 0;

    while (environ[n])
        n++;
    if (!strcmp(argv[1], "args")) {
        size_t bytes = 0;
        for (int i = 0; i < argc; i++)
            bytes += strlen(argv[i]) + 1;
        printf("argc %d bytes %zu environment %d %s\n", argc, bytes - strlen(argv[0]), n,
               n ? environ[0] : "");
        return 0;
    }
    if (!strcmp(argv[1], "fds")) {
        R(fcntl(atoi(argv[2]), F_GETFD));
        R(fcntl(atoi(argv[3]), F_GETFD));
        return 0;
    }
    struct sigaction sa;
    sigset_t s;
    MUST(sigaction(SIGUSR1, NULL, &sa));
    printf("ignored stays: %d\n", sa.sa_handler == SIG_IGN);
    MUST(sigaction(SIGUSR2, NULL, &sa));
    printf("handlers go: %d\n", sa.sa_handler == SIG_DFL);
    MUST(sigprocmask(SIG_BLOCK, NULL, &s));
    printf("mask stays: %d\n", sigismember(&s, SIGHUP));
    MUST(sigpending(&s));
    printf("pending stays: %d\n", sigismember(&s, SIGHUP));
    return 0;
}

static void parents(void)
{
    int p[2];
    pid_t who;

    SECTION("parents");
    MUST(pipe(p));
    CHILD("reparented", {
        MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
        pid_t me = getpid();
        int st;
        pid_t pid = fork();
        if (!pid) {
            if (!fork()) {
                while (getppid() != me)
                    sleep_ms(2);
                (void)!write(p[1], &me, sizeof(me));
                _exit(33);
            }
            _exit(0);
        }
        MUST(waitpid(pid, &st, 0));
        MUST(read(p[0], &who, sizeof(who)));
        R(who == me);
        R(wait(&st) > 0);
        wait_status("grandchild", st);
    });
    CHILD("parent death signal", {
        MUST(pipe(p));
        pid_t pid = fork();
        if (!pid) {
            pid_t inner = fork();
            if (!inner) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)!write(p[1], "r", 1);
                sleep_ms(3000);
                (void)!write(p[1], "!", 1);
                _exit(0);
            }
            char c;
            (void)!read(p[0], &c, 1);
            _exit(0);
        }
        MUST(waitpid(pid, NULL, 0));
        (void)close(p[1]);
        char c;
        R(read(p[0], &c, 1)); /* end of file: the inner one died at once */
    });
}

static void limits(void)
{
    struct rlimit l;

    SECTION("limits");
    R(getrlimit(99, &l));
    CHILD("descriptors", {
        l = (struct rlimit){10, 20};
        R(setrlimit(RLIMIT_NOFILE, &l));
        int n = 0;
        while (dup(0) >= 0)
            n++;
        R(errno);
        R(n + 3 <= 10);
        l = (struct rlimit){30, 20};
        R(setrlimit(RLIMIT_NOFILE, &l));
        R(dup2(0, 9));
        R(dup2(0, 10));
    });
    CHILD("file size", {
        l = (struct rlimit){100, 100};
        R(setrlimit(RLIMIT_FSIZE, &l));
        char b[200] = "";
        int fd = MUST(open("big", O_CREAT | O_RDWR, 0600));
        R(write(fd, b, 200));
        (void)signal(SIGXFSZ, SIG_IGN);
        R(write(fd, b, 200));
        R(ftruncate(fd, 200));
        (void)signal(SIGXFSZ, SIG_DFL);
        R(write(fd, b, 1));
    });
    CHILD("address space", {
        l = (struct rlimit){64 << 20, 64 << 20};
        R(setrlimit(RLIMIT_AS, &l));
        R(mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
        R(errno);
    });
    CHILD("not to raise", {
        MUST(setresuid(2000, 2000, 2000));
        l = (struct rlimit){5, 5};
        R(setrlimit(RLIMIT_CORE, &l));
        l = (struct rlimit){6, 6};
        R(setrlimit(RLIMIT_CORE, &l));
    });
    CHILD("cpu", {
        l = (struct rlimit){1, 2};
        (void)setrlimit(RLIMIT_CPU, &l);
        for (;;)
            ;
    });
    (void)setpriority(PRIO_PROCESS, 0, 0); /* whatever the suite runs at */
    R(getpriority(PRIO_PROCESS, 0));
    R(nice(5));
    R(getpriority(PRIO_PROCESS, 0));
    CHILD("nice", {
        MUST(setresuid(2000, 2000, 2000));
        R(setpriority(PRIO_PROCESS, 0, 0));
        R(setpriority(PRIO_PROCESS, 0, 10));
    });
    char name[16];
    R(prctl(PR_SET_NAME, "a-name-that-is-too-long"));
    R(prctl(PR_GET_NAME, name));
    puts(name);
    R(prctl(9999, 0, 0, 0, 0));
    R(prctl(PR_GET_DUMPABLE));
    R(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    R(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    R(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void clones(void)
{
    struct clone_args a = {.exit_signal = SIGCHLD};
    int st, fd = -1;

    SECTION("clone");
    pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
    if (!pid)
        _exit(6);
    R(waitpid(pid, &st, 0) == pid);
    wait_status("clone3", st);
    a.flags = CLONE_PIDFD;
    a.pidfd = (uintptr_t)&fd;
    pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
    if (!pid) {
        sleep_ms(30);
        _exit(8);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    R(poll(&p, 1, 3000));
    R(p.revents);
    siginfo_t info;
    R(waitid((idtype_t)3 /* P_PIDFD */, (id_t)fd, &info, WEXITED));
    R(info.si_status);
    R(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    R(syscall(SYS_pidfd_open, getpid(), 0) >= 0);
    R(syscall(SYS_pidfd_open, 99999999, 0));
    R(syscall(SYS_clone3, &a, 8));
    R(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    R(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0));
    R(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
    int shared = MUST(open("/dev/null", O_RDONLY));
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
    if (!pid) {
        (void)close(shared);
        (void)chdir("/");
        _exit(0);
    }
    MUST(waitpid(pid, &st, 0));
    R(fcntl(shared, F_GETFD));
    char cwd[64];
    (void)!getcwd(cwd, sizeof(cwd));
    puts(cwd);
}

static volatile sig_atomic_t n_chld;

static void count_chld(int sig)
{
    (void)sig;
    n_chld++;
}

/* The child is found even though its signal has a handler without SA_RESTART. */
static void waited_with_handler(void)
{
    struct sigaction sa = {.sa_handler = count_chld}, old;
    int st = 0, found = 0;

    SECTION("wait with a handler");
    MUST(sigaction(SIGCHLD, &sa, &old));
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (!pid) {
            (void)usleep(2000);
            _exit(3);
        }
        found += waitpid(pid, &st, 0) == pid;
        while (waitpid(pid, &st, 0) == -1 && errno == EINTR)
            ;
    }
    R(found);
    OK(n_chld > 0);
    (void)sigaction(SIGCHLD, &old, NULL);
}

int main(int argc, char **argv)
{
    char self[256];

    if (argc > 1)
        return after_exec(argc, argv);
    self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = 0;
    enter_scratch();
    char dir[256];
    (void)!getcwd(dir, sizeof(dir));
    waiting();
    waited_with_handler();
    child_signals();
    groups();
    executing(self);
    parents();
    limits();
    clones();
    (void)!chdir(dir);
    leave_scratch();
    return 0;
}
