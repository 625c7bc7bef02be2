/*
 * Structures whose words change while a call reads them: what was checked must be what is used. One
 * thread flips words of a page between plausible and hostile values, another makes calls with
 * pointers into it; each kind of call in a process of its own.
 */
#include "attack.h"
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/timerfd.h>

enum { WORDS = 128, EACH_MS = 30, KILL_MS = 400 };

static volatile uint64_t *page; /* WORDS of it change */
static char buffer[65536];
static int pair[2], file, tty, ep;

static uint64_t word(void)
{
    const uint64_t list[] = {
        0,          1,    8,          16,      64, (uint64_t)buffer,  (uint64_t)page,
        0xffffffff, 4096, UINT64_MAX, 1 << 20, 3,  (uint64_t)pair[0], 1ULL << 63};

    return rnd() % 3 ? list[rnd() % (sizeof(list) / sizeof(*list))] : rnd() >> (rnd() % 64);
}

static void *flip(void *arg)
{
    for (;;)
        page[rnd() % WORDS] = word();
    return arg;
}

#define P(n) ((void *)(uintptr_t)(page + (n)))
#define CALLS(X)                                                                                   \
    X(readv, syscall(SYS_readv, file, P(0), 16))                                                   \
    X(writev, syscall(SYS_writev, pair[0], P(0), 16))                                              \
    X(preadv2, syscall(SYS_preadv2, file, P(0), 16, 0, 0, 0))                                      \
    X(vmsplice, syscall(SYS_vmsplice, pair[0], P(0), 16, 1))                                       \
    X(process_vm_readv, syscall(SYS_process_vm_readv, getpid(), P(0), 8, P(16), 8, 0))             \
    X(sendmsg, syscall(SYS_sendmsg, pair[0], P(0), MSG_DONTWAIT))                                  \
    X(recvmsg, syscall(SYS_recvmsg, pair[1], P(0), MSG_DONTWAIT))                                  \
    X(sendmmsg, syscall(SYS_sendmmsg, pair[0], P(0), 8, MSG_DONTWAIT))                             \
    X(recvmmsg, syscall(SYS_recvmmsg, pair[1], P(0), 8, MSG_DONTWAIT, P(64)))                      \
    X(connect, syscall(SYS_connect, pair[0], P(0), 110))                                           \
    X(futex_waitv, syscall(449, P(0), 8, 0, P(64), CLOCK_MONOTONIC))                               \
    X(openat2, syscall(SYS_openat2, AT_FDCWD, "/etc", P(0), 8 * (rnd() % 8)))                      \
    X(statx, syscall(SYS_statx, AT_FDCWD, P(0), 0, 0xfff, P(32)))                                  \
    X(tcsets, ioctl(tty, 0x5402, P(0)))                                                            \
    X(winsize, ioctl(tty, 0x5414, P(0)))                                                           \
    X(ifconf, ioctl(pair[0], 0x8912, P(0)))                                                        \
    X(select, syscall(SYS_select, 1024, P(0), P(16), P(32), P(48)))                                \
    X(poll, syscall(SYS_poll, P(0), 64, 0))                                                        \
    X(epoll_ctl, syscall(SYS_epoll_ctl, ep, 1 + rnd() % 3, pair[0], P(0)))                         \
    X(epoll_wait, syscall(SYS_epoll_wait, ep, P(0), 16, 0))                                        \
    X(sched_setattr, syscall(SYS_sched_setattr, 0, P(0), 0))                                       \
    X(sched_getattr, syscall(SYS_sched_getattr, 0, P(0), 56, 0))                                   \
    X(mount_setattr, syscall(442, AT_FDCWD, "/tmp", 0, P(0), 8 * (rnd() % 8)))                     \
    X(capset, syscall(SYS_capset, P(0), P(1)))                                                     \
    X(semop, syscall(SYS_semtimedop, 0, P(0), 32, P(64)))                                          \
    X(msgsnd, syscall(SYS_msgsnd, 0, P(0), 512, IPC_NOWAIT))                                       \
    X(mq_open, syscall(SYS_mq_open, "q", O_CREAT | O_RDWR, 0600, P(0)))                            \
    X(io_submit, syscall(SYS_io_submit, page[100], 8, P(0)))                                       \
    X(setgroups, syscall(SYS_setgroups, 64, P(0)))                                                 \
    X(timer, syscall(SYS_timer_create, CLOCK_REALTIME, P(0), P(16)))                               \
    X(itimer, syscall(SYS_setitimer, ITIMER_VIRTUAL, P(0), P(8)))                                  \
    X(robust, syscall(SYS_set_robust_list, P(0), 24))                                              \
    X(seccomp, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, P(0)))                             \
    X(filter, setsockopt(pair[0], SOL_SOCKET, SO_ATTACH_FILTER, P(0), 16))                         \
    X(execve, syscall(SYS_execve, "/proc/self/exe", P(0), P(32)))                                  \
    X(ptrace_regs, syscall(SYS_ptrace, 0x4205, 1, 1, P(0)))                                        \
    X(getdents, syscall(SYS_getdents64, file, P(0), 512))                                          \
    X(sigaction, syscall(SYS_rt_sigaction, 12, P(0), P(8), 8))                                     \
    X(sigqueue, syscall(SYS_rt_sigqueueinfo, getpid(), 0, P(0)))                                   \
    X(clone3, syscall(SYS_clone3, P(0), 8 * (rnd() % 12)) == 0 ? (_exit(0), 0) : 0)

#define X(name, call)                                                                              \
    static void do_##name(void)                                                                    \
    {                                                                                              \
        (void)(call);                                                                              \
    }
CALLS(X)
#undef X
static const struct {
    const char *name;
    void (*run)(void);
} calls[] = {
#define X(name, call) {#name, do_##name},
    CALLS(X)
#undef X
};

static void attempt(void *arg)
{
    size_t which = *(size_t *)arg;
    double end = now() + EACH_MS / 1000.0;
    pthread_t t;

    (void)!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
    file = open("/proc/self/exe", O_RDONLY);
    tty = open("/dev/ptmx", O_RDWR);
    ep = epoll_create1(0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)!pthread_create(&t, NULL, flip, NULL);
    while (now() < end)
        calls[which].run();
    _exit(0);
}

int main(int argc, char **argv)
{
    int bad = 0, deaths = 0;

    if (getppid() != 0) /* not a sandbox's first process: started by the attack on execve */
        return 0;
    become_judge();
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        if (argc == 2 && strcmp(argv[1], calls[i].name) != 0)
            continue;
        deaths += apart(attempt, &i, KILL_MS) != 0;
        if (!healthy()) {
            fprintf(stderr, "%s: SICK\n", calls[i].name);
            bad++;
        }
    }
    fprintf(stderr, "%zu kinds of calls, %d processes died\n", sizeof(calls) / sizeof(*calls),
            deaths);
    return verdict(bad, "flip");
}
