/* Tracing as strace and debuggers do it. */
#include "t.h"
#include <elf.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

/* Waits for pid's next stop or end and prints it. */
static int next_stop(const char *name, pid_t pid)
{
    int st;

    MUST(waitpid(pid, &st, __WALL));
    if (WIFSTOPPED(st))
        printf("%s: stopped %s event %d\n", name, sigabbrev_np(WSTOPSIG(st) & 0x7f), st >> 16);
    else
        wait_status(name, st);
    (void)fflush(stdout);
    return st;
}

static pid_t stopped_child(void (*body)(void))
{
    pid_t pid;
    int st;

    (void)fflush(stdout);
    pid = fork();
    if (!pid) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        body();
        _exit(0);
    }
    MUST(waitpid(pid, &st, 0));
    return pid;
}

static void tracing(void)
{
    int st, calls = 0;
    struct user_regs_struct regs;
    static volatile long word = 5;

    SECTION("ptrace");
    (void)fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        word = 6;
        (void)syscall(SYS_getppid);
        _exit((int)word);
    }
    MUST(waitpid(pid, &st, 0));
    wait_status("tracee", st);
    R(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD));
    errno = 0;
    R(ptrace(PTRACE_PEEKDATA, pid, &word, NULL));
    bool seen = false;
    for (;;) {
        MUST(ptrace(PTRACE_SYSCALL, pid, NULL, NULL));
        MUST(waitpid(pid, &st, 0));
        if (!WIFSTOPPED(st))
            break;
        if (WSTOPSIG(st) != (SIGTRAP | 0x80))
            continue;
        calls++;
        MUST(ptrace(PTRACE_GETREGS, pid, NULL, &regs));
        if (regs.orig_rax == SYS_getppid && !seen) {
            seen = true;
            MUST(ptrace(PTRACE_POKEDATA, pid, &word, 42L));
        }
    }
    wait_status("tracee", st);
    TRUTH("saw it", seen && calls >= 3);
    R(ptrace(PTRACE_ATTACH, 99999999, NULL, NULL));
    pid = fork();
    if (!pid)
        for (;;)
            (void)pause();
    R(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    MUST(waitpid(pid, &st, 0));
    wait_status("attached", st);
    R(ptrace(PTRACE_DETACH, pid, NULL, NULL));
    R(ptrace(PTRACE_CONT, pid, NULL, NULL));
    MUST(kill(pid, SIGKILL));
    MUST(waitpid(pid, &st, 0));
}

static void forks(void)
{
    int st;
    pid_t pid = fork();

    if (!pid)
        _exit(4);
    MUST(waitpid(pid, &st, 0));
    (void)execl("/bin/true", "true", (char *)NULL);
}

static void events(void)
{
    unsigned long message = 0;
    pid_t pid, child;

    SECTION("events");
    pid = stopped_child(forks);
    R(ptrace(PTRACE_SETOPTIONS, pid, NULL,
             PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
    R(ptrace(PTRACE_SETOPTIONS, pid, NULL, 1UL << 30));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("fork", pid);
    R(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &message));
    child = (pid_t)message;
    TRUTH("message is a child", child > 0 && child != pid);
    next_stop("the child", child);
    MUST(ptrace(PTRACE_CONT, child, NULL, NULL));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("the child's exit", child);
    MUST(ptrace(PTRACE_GETEVENTMSG, child, NULL, &message));
    printf("status %lx\n", message);
    MUST(ptrace(PTRACE_CONT, child, NULL, NULL));
    next_stop("the child", child);
    next_stop("SIGCHLD", pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("exec", pid);
    MUST(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &message));
    TRUTH("message is its number", (pid_t)message == pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("exit", pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("the end", pid);
}

static volatile int handled;

static void on_usr1(int sig)
{
    handled = sig;
}

static void signals_itself(void)
{
    (void)signal(SIGUSR1, on_usr1);
    (void)signal(SIGUSR2, on_usr1);
    (void)raise(SIGUSR1);
    if (handled)
        _exit(90);
    (void)raise(SIGUSR1);
    _exit(handled);
}

/* Signals: kept back, another one in its place, information. */
static void signal_stops(void)
{
    siginfo_t info;
    uint64_t mask = 0;
    pid_t pid;

    SECTION("signals of tracees");
    pid = stopped_child(signals_itself);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("first", pid);
    R(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
    TRUTH("info", info.si_signo == SIGUSR1 && info.si_code == SI_TKILL && info.si_pid == pid);
    R(ptrace(PTRACE_GETSIGMASK, pid, 8, &mask));
    R(ptrace(PTRACE_GETSIGMASK, pid, 4, &mask));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("second", pid);
    R(ptrace(PTRACE_CONT, pid, NULL, 99L));
    MUST(ptrace(PTRACE_CONT, pid, NULL, (long)SIGUSR2));
    next_stop("the end", pid);
}

static void computes(void)
{
    volatile long a = 1;

    for (int i = 0; i < 50; i++)
        a += i;
    (void)syscall(SYS_getppid);
    __asm__ volatile("int3");
    (void)raise(SIGKILL);
}

static void stepping(void)
{
    struct user_regs_struct regs;
    siginfo_t info;
    int st, steps = 0;
    bool moved = true;
    pid_t pid;

    SECTION("single steps");
    pid = stopped_child(computes);
    for (unsigned long long last = 0; steps < 200; steps++) {
        MUST(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
        MUST(waitpid(pid, &st, 0));
        MUST(ptrace(PTRACE_GETREGS, pid, NULL, &regs));
        moved = moved && WIFSTOPPED(st) && WSTOPSIG(st) == SIGTRAP && regs.rip != last &&
                !(regs.eflags & 0x100);
        last = regs.rip;
    }
    TRUTH("each moves on", moved);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("breakpoint", pid);
    MUST(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
    TRUTH("SI_KERNEL", info.si_code == SI_KERNEL);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("the end", pid);
}

static long text(long a)
{
    return a + 1;
}

static void calls_text(void)
{
    long (*volatile f)(long) = text;

    _exit((int)f(40));
}

/* Registers of all kinds; text is written although it may not be. */
static void state(void)
{
    struct user_regs_struct regs;
    struct user_fpregs_struct fp;
    static char xstate[8192];
    struct iovec v = {xstate, sizeof(xstate)};
    long code, was;
    pid_t pid;

    SECTION("state");
    pid = stopped_child(calls_text);
    v = (struct iovec){&regs, sizeof(regs)};
    R(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
    TRUTH("size", v.iov_len == sizeof(regs));
    errno = 0;
    TRUTH("PEEKUSER",
          ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL) == (long)regs.rip);
    R(ptrace(PTRACE_PEEKUSER, pid, 1L, NULL));
    R(ptrace(PTRACE_PEEKUSER, pid, 65536L, NULL));
    R(ptrace(PTRACE_GETFPREGS, pid, NULL, &fp));
    fp.xmm_space[60] = 0x12345678;
    R(ptrace(PTRACE_SETFPREGS, pid, NULL, &fp));
    memset(&fp, 0, sizeof(fp));
    MUST(ptrace(PTRACE_GETFPREGS, pid, NULL, &fp));
    TRUTH("vector register", fp.xmm_space[60] == 0x12345678);
    v = (struct iovec){xstate, sizeof(xstate)};
    R(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &v));
    TRUTH("extended state", v.iov_len > 512 + 64 && (xstate[464] & 3) == 3);
    R(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &v));
    R(ptrace(PTRACE_GETREGSET, pid, 0x7777, &v));
    regs.cs = 0;
    R(ptrace(PTRACE_SETREGS, pid, NULL, &regs));
    errno = 0;
    code = was = ptrace(PTRACE_PEEKTEXT, pid, (void *)text, NULL);
    memset(&code, 0xcc, 1);
    R(ptrace(PTRACE_POKETEXT, pid, (void *)text, code));
    TRUTH("own text is as it was", *(volatile long *)text == was);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("breakpoint", pid);
    MUST(ptrace(PTRACE_POKETEXT, pid, (void *)text, was));
    MUST(ptrace(PTRACE_GETREGS, pid, NULL, &regs));
    TRUTH("behind it", regs.rip == (unsigned long)text + 1);
    regs.rip--;
    regs.rdi = 60;
    MUST(ptrace(PTRACE_SETREGS, pid, NULL, &regs));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("the end", pid);
    R(ptrace(PTRACE_CONT, pid, NULL, NULL));
}

static void waits(void)
{
    for (;;)
        (void)pause();
}

/* PTRACE_SEIZE: no stop of its own, interrupts, listening to group stops. */
static void seizing(void)
{
    int st;
    pid_t pid;

    SECTION("seize");
    (void)fflush(stdout);
    pid = fork();
    if (!pid)
        waits();
    sleep_ms(50);
    R(ptrace(PTRACE_SEIZE, pid, 1L, NULL));
    R(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD));
    R(ptrace(PTRACE_SEIZE, pid, NULL, NULL));
    R(ptrace(PTRACE_LISTEN, pid, NULL, NULL));
    R(waitpid(pid, &st, WNOHANG));
    R(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
    next_stop("interrupted", pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    MUST(kill(pid, SIGSTOP));
    next_stop("signal", pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, (long)SIGSTOP));
    next_stop("group stop", pid);
    R(ptrace(PTRACE_LISTEN, pid, NULL, NULL));
    R(ptrace(PTRACE_CONT, pid, NULL, NULL));
    MUST(kill(pid, SIGCONT));
    next_stop("continued", pid);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("signal", pid);
    R(ptrace(PTRACE_DETACH, pid, NULL, NULL));
    MUST(kill(pid, SIGTERM));
    next_stop("the end", pid);
}

/* System calls seen, changed, left out. */
static void asks(void)
{
    long a = syscall(SYS_getppid), b = syscall(SYS_getpgid, 0), c;

    c = syscall(SYS_getsid, 11);
    _exit(a == -1 && errno == ENOSYS && b == 77 && c == 0 ? 6 : 1);
}

static void changed_calls(void)
{
    struct __ptrace_syscall_info info;
    struct user_regs_struct regs;
    int st;
    pid_t pid;

    SECTION("changed calls");
    pid = stopped_child(asks);
    MUST(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    TRUTH("no call", ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) == 24 && !info.op);
    for (;;) {
        MUST(ptrace(PTRACE_SYSCALL, pid, NULL, NULL));
        MUST(waitpid(pid, &st, 0));
        if (!WIFSTOPPED(st))
            break;
        MUST(ptrace(PTRACE_GETREGS, pid, NULL, &regs));
        MUST(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info));
        if (regs.orig_rax != SYS_getppid && regs.orig_rax != SYS_getpgid &&
            regs.orig_rax != SYS_getsid)
            continue;
        printf("op %d arch %d args %llu\n", info.op, info.arch == AUDIT_ARCH_X86_64,
               info.op == 1 && info.entry.nr == SYS_getsid ? info.entry.args[0] : 0);
        if (regs.orig_rax == SYS_getppid && info.op == 1)
            regs.orig_rax = -1ULL;
        else if (regs.orig_rax == SYS_getpgid && info.op == 2)
            regs.rax = 77;
        else if (regs.orig_rax == SYS_getsid && info.op == 1)
            regs.orig_rax = SYS_alarm, regs.rdi = 5;
        MUST(ptrace(PTRACE_SETREGS, pid, NULL, &regs));
    }
    wait_status("first", st);
}

static void filtered(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 42),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};

    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    _exit(syscall(SYS_getpgid, 0) == 8 ? 3 : 2);
}

static void seccomp_event(void)
{
    struct user_regs_struct regs;
    unsigned long message = 0;
    pid_t pid;

    SECTION("seccomp event");
    pid = stopped_child(filtered);
    MUST(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESECCOMP));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("filtered", pid);
    MUST(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &message));
    printf("data %lu\n", message);
    MUST(ptrace(PTRACE_GETREGS, pid, NULL, &regs));
    regs.orig_rax = -1ULL;
    regs.rax = 8;
    MUST(ptrace(PTRACE_SETREGS, pid, NULL, &regs));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("the end", pid);
    (void)fflush(stdout);
    CHILD("without tracer", filtered());
}

static void *thread_main(void *arg)
{
    (void)syscall(SYS_exit, 3);
    return arg;
}

static void has_threads(void)
{
    pthread_t th;

    MUST(pthread_create(&th, NULL, thread_main, NULL) ? -1 : 0);
    sleep_ms(200);
    _exit(9);
}

static void threads(void)
{
    unsigned long tid = 0;
    pid_t pid;

    SECTION("threads");
    pid = stopped_child(has_threads);
    MUST(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACECLONE));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("clone", pid);
    MUST(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &tid));
    next_stop("new thread", (pid_t)tid);
    MUST(ptrace(PTRACE_CONT, (pid_t)tid, NULL, NULL));
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
    next_stop("its end", (pid_t)tid);
    next_stop("the end", pid);
}

static volatile int watched;

static void writes(void)
{
    for (int i = 0; i < 5; i++)
        watched = i;
    _exit(watched);
}

static void watchpoints(void)
{
    size_t dr = offsetof(struct user, u_debugreg);
    int st, stops = 0;
    pid_t pid;

    SECTION("watchpoints");
    pid = stopped_child(writes);
    R(ptrace(PTRACE_POKEUSER, pid, dr, -1L));
    R(ptrace(PTRACE_POKEUSER, pid, dr, (long)(uintptr_t)&watched));
    R(ptrace(PTRACE_POKEUSER, pid, dr + 7 * 8, 0xd0001L));
    for (;;) {
        MUST(ptrace(PTRACE_CONT, pid, NULL, NULL));
        MUST(waitpid(pid, &st, 0));
        if (!WIFSTOPPED(st))
            break;
        stops += ptrace(PTRACE_PEEKUSER, pid, dr + 6 * 8, NULL) & 1;
        MUST(ptrace(PTRACE_POKEUSER, pid, dr + 6 * 8, 0L));
    }
    TRUTH("stops", stops >= 4);
    wait_status("the end", st);
}

/* A parent waits for its child although another process traces it; the tracer's end lets go. */
static void third_party(void)
{
    int to_tracer[2], st;
    char c;
    pid_t child, tracer;

    SECTION("third party");
    MUST(pipe(to_tracer));
    (void)fflush(stdout);
    child = fork();
    if (!child) {
        (void)!read(to_tracer[0], &c, 1);
        _exit(12);
    }
    tracer = fork();
    if (!tracer) {
        MUST(ptrace(PTRACE_SEIZE, child, NULL, NULL));
        (void)!write(to_tracer[1], "x", 1);
        MUST(waitpid(child, &st, __WALL));
        wait_status("seen by the tracer", st);
        _exit(0);
    }
    MUST(waitpid(tracer, &st, 0));
    wait_status("tracer", st);
    MUST(waitpid(child, &st, 0));
    wait_status("child", st);
}

int main(void)
{
    tracing();
    events();
    signal_stops();
    stepping();
    state();
    seizing();
    changed_calls();
    seccomp_event();
    threads();
    watchpoints();
    third_party();
    return 0;
}
