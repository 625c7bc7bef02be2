/* Signals: delivery, masks, queues, restart, stacks, faults, frames. */
#include "t.h"
#include <fenv.h>
#include <setjmp.h>
#include <sys/signalfd.h>
#include <ucontext.h>

static volatile int hits, order[64];
static volatile siginfo_t last;

static void count(int sig)
{
    if (hits < 64)
        order[hits] = sig;
    hits++;
}

static void inform(int sig, siginfo_t *info, void *uc)
{
    (void)uc;
    last = *info;
    count(sig);
}

static void handle(int sig, int flags)
{
    struct sigaction sa = {.sa_flags = flags};

    if (flags & SA_SIGINFO)
        sa.sa_sigaction = inform;
    else
        sa.sa_handler = count;
    MUST(sigaction(sig, &sa, NULL));
}

static void mask(int how, int sig)
{
    sigset_t s;

    (void)sigemptyset(&s);
    if (sig)
        (void)sigaddset(&s, sig);
    MUST(sigprocmask(how, &s, NULL));
}

static void basics(void)
{
    struct sigaction old;
    sigset_t s;

    SECTION("basics");
    R(kill(getpid(), 0));
    R(kill(getpid(), 65));
    R(kill(getpid(), -1));
    R(kill(99999999, 0));
    R(sigaction(SIGKILL, &(struct sigaction){.sa_handler = count}, NULL));
    R(sigaction(SIGSTOP, NULL, &old));
    R(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
    R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4));
    R(syscall(SYS_rt_sigprocmask, 77, &s, NULL, 8));
    handle(SIGUSR1, 0);
    R(raise(SIGUSR1));
    R(hits);
    mask(SIG_BLOCK, SIGUSR1);
    (void)raise(SIGUSR1), (void)raise(SIGUSR1);
    R(hits);
    R(sigpending(&s));
    R(sigismember(&s, SIGUSR1));
    mask(SIG_UNBLOCK, SIGUSR1);
    R(hits); /* a plain signal counts once */
    handle(SIGUSR1, SA_RESETHAND);
    (void)raise(SIGUSR1);
    MUST(sigaction(SIGUSR1, NULL, &old));
    R(old.sa_handler == SIG_DFL);
    handle(SIGUSR2, SA_SIGINFO);
    R(kill(getpid(), SIGUSR2));
    TRUTH("si_code, pid, uid",
          last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid());
    R(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2));
    R(last.si_code == SI_TKILL);
    R(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42}));
    printf("%d %d\n", last.si_code == SI_QUEUE, last.si_value.sival_int);
    R(syscall(SYS_tgkill, getpid(), 0, 0));
    R(syscall(SYS_tgkill, 1, gettid(), 0) == -1 || getpid() == 1);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)raise(SIGUSR1);
    mask(SIG_BLOCK, SIGUSR1);
    (void)raise(SIGUSR1);
    MUST(sigpending(&s));
    R(sigismember(&s, SIGUSR1)); /* ignored, but blocked: Linux keeps it */
    (void)signal(SIGUSR1, SIG_IGN);
    MUST(sigpending(&s));
    R(sigismember(&s, SIGUSR1)); /* ignoring drops it */
    mask(SIG_UNBLOCK, SIGUSR1);
}

static void real_time(void)
{
    SECTION("real-time order");
    hits = 0;
    for (int i = 0; i < 4; i++)
        handle(SIGRTMIN + i, SA_SIGINFO);
    sigset_t all, old;
    (void)sigfillset(&all);
    MUST(sigprocmask(SIG_SETMASK, &all, &old));
    handle(SIGUSR1, SA_SIGINFO);
    for (int i = 0; i < 3; i++) {
        (void)sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i});
        (void)sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i + 10});
    }
    (void)raise(SIGUSR1);
    siginfo_t info;
    sigset_t some;
    (void)sigemptyset(&some);
    (void)sigaddset(&some, SIGRTMIN + 1);
    struct timespec zero = {0, 0};
    R(sigtimedwait(&some, &info, &zero) == SIGRTMIN + 1);
    R(info.si_value.sival_int);
    MUST(sigprocmask(SIG_SETMASK, &old, NULL));
    /* frames are stacked: the highest number's handler runs first */
    for (int i = 0; i < hits; i++)
        printf("%d ", order[i] >= SIGRTMIN ? 100 + order[i] - SIGRTMIN : order[i]);
    puts("");
    R(sigtimedwait(&some, &info, &zero));
    (void)sigaddset(&some, SIGALRM);
    mask(SIG_BLOCK, SIGALRM);
    (void)alarm(1);
    R(sigwaitinfo(&some, &info) == SIGALRM);
    R(info.si_code == SI_KERNEL);
    mask(SIG_UNBLOCK, SIGALRM);
}

static void later(int ms)
{
    struct itimerval it = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};

    MUST(setitimer(ITIMER_REAL, &it, NULL));
}

static void restarting(void)
{
    int p[2], st;
    char c;

    SECTION("interrupted calls");
    MUST(pipe(p));
    handle(SIGALRM, 0);
    later(30);
    R(read(p[0], &c, 1));
    handle(SIGALRM, SA_RESTART);
    pid_t pid = fork();
    if (!pid) {
        sleep_ms(250);
        (void)!write(p[1], "x", 1);
        _exit(0);
    }
    hits = 0;
    later(30);
    R(read(p[0], &c, 1)); /* restarted */
    R(hits);
    MUST(waitpid(pid, &st, 0));
    later(30);
    R(poll(NULL, 0, 1000));
    later(30);
    R(pause());
    struct timespec ts = {1, 0}, left;
    later(30);
    R(nanosleep(&ts, &left));
    R(left.tv_sec == 0 && left.tv_nsec > 500000000);
    later(30);
    R(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &left) == EINTR);
    pid = fork();
    if (!pid) {
        sleep_ms(250);
        _exit(7);
    }
    hits = 0;
    later(30);
    R(waitpid(pid, &st, 0) == pid); /* restarted */
    R(hits);
    handle(SIGALRM, 0);
    pid = fork();
    if (!pid) {
        sleep_ms(250);
        _exit(7);
    }
    later(30);
    R(waitpid(pid, &st, 0));
    MUST(waitpid(pid, &st, 0));
    sigset_t none;
    (void)sigemptyset(&none);
    mask(SIG_BLOCK, SIGALRM);
    later(10);
    sleep_ms(30);
    hits = 0;
    R(sigsuspend(&none));
    R(hits);
    sigset_t now;
    MUST(sigprocmask(SIG_BLOCK, NULL, &now));
    R(sigismember(&now, SIGALRM)); /* the old mask is back */
    later(10);
    sleep_ms(30);
    struct timespec second = {1, 0};
    hits = 0;
    R(ppoll(NULL, 0, &second, &none));
    R(hits);
    mask(SIG_UNBLOCK, SIGALRM);
    /* SIGSTOP and SIGCONT restart by themselves */
    pid = fork();
    if (!pid) {
        struct timespec t = {0, 200000000};
        _exit(nanosleep(&t, NULL) ? 1 : 0);
    }
    sleep_ms(30);
    MUST(kill(pid, SIGSTOP));
    MUST(waitpid(pid, &st, WUNTRACED));
    wait_status("child", st);
    MUST(kill(pid, SIGCONT));
    MUST(waitpid(pid, &st, WCONTINUED));
    wait_status("child", st);
    MUST(waitpid(pid, &st, 0));
    wait_status("child", st);
}

/* ---- stacks and frames ---- */
static char stack[65536];
static volatile bool on_stack;
static sigjmp_buf back;

static void check_stack(int sig)
{
    char c;

    (void)sig;
    on_stack = &c >= stack && &c < stack + sizeof(stack);
}

static volatile int depth, deepest;
static void nested(int sig)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (++hits < 3)
        (void)raise(sig);
    depth--;
}

static void stacks(void)
{
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)}, old;

    SECTION("stacks");
    R(sigaltstack(&ss, NULL));
    R(sigaltstack(NULL, &old));
    R(old.ss_flags);
    R(old.ss_size == sizeof(stack));
    struct sigaction sa = {.sa_handler = check_stack, .sa_flags = SA_ONSTACK};
    MUST(sigaction(SIGUSR1, &sa, NULL));
    (void)raise(SIGUSR1);
    R(on_stack);
    sa.sa_flags = 0;
    MUST(sigaction(SIGUSR1, &sa, NULL));
    (void)raise(SIGUSR1);
    R(on_stack);
    ss.ss_size = 100;
    R(sigaltstack(&ss, NULL));
    ss.ss_flags = 77;
    R(sigaltstack(&ss, NULL));
    ss = (stack_t){.ss_flags = SS_DISABLE};
    R(sigaltstack(&ss, NULL));
    sa = (struct sigaction){.sa_handler = nested, .sa_flags = SA_NODEFER};
    MUST(sigaction(SIGUSR1, &sa, NULL));
    hits = 0;
    (void)raise(SIGUSR1);
    R(deepest);
    hits = deepest = 0;
    sa.sa_flags = 0;
    MUST(sigaction(SIGUSR1, &sa, NULL));
    (void)raise(SIGUSR1);
    R(deepest); /* deferred, one after the other */
}

static volatile double spoiled;
static void spoil(int sig)
{
    (void)sig;
    double d[16];

    for (int i = 0; i < 16; i++)
        d[i] = i * 3.5;
    __asm__ volatile("movups %0, %%xmm0; movups %0, %%xmm1; movups %0, %%xmm7; movups %0, %%xmm15"
                     :
                     : "m"(d[3])
                     : "xmm0", "xmm1", "xmm7", "xmm15");
    for (int i = 0; i < 16; i++)
        spoiled += d[i];
    (void)fesetround(FE_UPWARD);
}

static void frames(void)
{
    uint64_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] = {0};
    pid_t pid = getpid();

    SECTION("registers over a handler");
    MUST(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = spoil}, NULL));
    long r;
    __asm__ volatile("movups (%[in]), %%xmm0; movups 16(%[in]), %%xmm1\n"
                     "movups 32(%[in]), %%xmm7; movups 48(%[in]), %%xmm15\n"
                     "mov $0x1234, %%r12; std\n"
                     "mov $62, %%eax; syscall\n"
                     "pushf; pop %%r13; cld\n"
                     "movups %%xmm0, (%[out]); movups %%xmm1, 16(%[out])\n"
                     "movups %%xmm7, 32(%[out]); movups %%xmm15, 48(%[out])\n"
                     "shr $10, %%r13; and $1, %%r13; shl $16, %%r13; add %%r13, %%r12\n"
                     "mov %%r12, %[r]\n"
                     : [r] "=&r"(r)
                     : [in] "r"(in), [out] "r"(out), "D"((long)pid), "S"((long)SIGUSR1)
                     : "rax", "rcx", "r11", "r12", "r13", "memory", "xmm0", "xmm1", "xmm7",
                       "xmm15");
    OK(!memcmp(in, out, sizeof(in)));
    R(r == 0x11234);
    R(fegetround() == FE_TONEAREST);
    R(spoiled > 0);
}

static void jump(int sig, siginfo_t *info, void *uc)
{
    ucontext_t *c = uc;

    last = *info;
    hits = c->uc_mcontext.gregs[REG_RIP] != 0;
    siglongjmp(back, sig);
}

#define FAULT(name, ...)                                                                           \
    do {                                                                                           \
        int sig_ = sigsetjmp(back, 1);                                                             \
        if (!sig_) {                                                                               \
            __VA_ARGS__;                                                                           \
            printf("%s: nothing\n", name);                                                         \
        } else {                                                                                   \
            printf("%s: %s code %d\n", name, sigabbrev_np(sig_), last.si_code);                    \
        }                                                                                          \
    } while (0)

static void faults(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    volatile int zero = 0, x = 1;

    SECTION("faults");
    for (size_t i = 0; i < 5; i++)
        MUST(sigaction(signals[i],
                       &(struct sigaction){.sa_sigaction = jump, .sa_flags = SA_SIGINFO}, NULL));
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FAULT("null", *(volatile int *)bad_address = 1);
    R((long)last.si_addr);
    FAULT("read-only", *(volatile char *)page = 1);
    R(last.si_addr == (void *)page);
    FAULT("divide", x = x / zero);
    FAULT("illegal", __asm__ volatile("ud2"));
    FAULT("trap", __asm__ volatile("int3"));
    FAULT("general protection", *(volatile char *)0x8000000000000000 = 1);
    FAULT("hlt", __asm__ volatile("hlt"));
    int fd = MUST(open("/tmp", O_TMPFILE | O_RDWR, 0600));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FAULT("behind the end of a file", *(volatile char *)m = 1);
    CHILD("uncaught", {
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile int *)bad_address = 1;
    });
    CHILD("ignored", {
        (void)signal(SIGSEGV, SIG_IGN);
        *(volatile int *)bad_address = 1;
    });
    CHILD("blocked", {
        (void)signal(SIGSEGV, SIG_DFL);
        mask(SIG_BLOCK, SIGSEGV);
        *(volatile int *)bad_address = 1;
    });
    CHILD("abort", abort());
    CHILD("SIGQUIT", (void)raise(SIGQUIT));
    CHILD("SIGCHLD by default", (void)raise(SIGCHLD));
    CHILD("no stack left", {
        struct sigaction sa = {.sa_handler = count, .sa_flags = SA_ONSTACK};
        (void)sigaction(SIGUSR1, &sa, NULL);
        stack_t ss = {.ss_sp = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                      .ss_size = 8192};
        (void)sigaltstack(&ss, NULL);
        (void)signal(SIGSEGV, SIG_DFL);
        (void)raise(SIGUSR1);
    });
}

static void descriptors(void)
{
    sigset_t s;
    struct signalfd_siginfo si[4];

    SECTION("signalfd");
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGUSR1);
    (void)sigaddset(&s, SIGRTMIN);
    MUST(sigprocmask(SIG_BLOCK, &s, NULL));
    int fd = MUST(signalfd(-1, &s, SFD_NONBLOCK));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    R(read(fd, si, sizeof(si)));
    R(poll(&p, 1, 0));
    (void)raise(SIGUSR1);
    (void)sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
    (void)sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6});
    R(poll(&p, 1, 0));
    R(read(fd, si, 10));
    R(read(fd, si, sizeof(si)));
    printf("%d %d %d\n", si[0].ssi_signo == SIGUSR1, si[1].ssi_int, si[2].ssi_int);
    R(read(fd, si, sizeof(si)));
    R(signalfd(fd, &s, 0) == fd);
    R(signalfd(0, &s, 0));
    R(signalfd(-1, &s, 0x1000));
}

static void permissions(void)
{
    SECTION("permissions");
    CHILD("another user", {
        pid_t parent = getppid();
        MUST(setresuid(2000, 2000, 2000));
        R(kill(parent, 0));
        R(kill(parent, SIGTERM));
        R(kill(getpid(), 0));
        R(kill(-1, 0) == -1 || 1);
        pid_t pid = fork();
        if (!pid)
            for (;;)
                (void)pause();
        R(kill(pid, SIGKILL));
        int st;
        MUST(waitpid(pid, &st, 0));
        wait_status("its own child", st);
    });
}

int main(void)
{
    basics();
    real_time();
    restarting();
    stacks();
    frames();
    faults();
    descriptors();
    permissions();
    return 0;
}
