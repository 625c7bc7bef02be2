/*
 * Every system call number with hostile arguments, from ordinary code. With an argument only what
 * the controls of one protection look for: "native", whether a call reaches the host's kernel;
 * "pointer", one bad pointer.
 */
#include "attack.h"

enum { ROUNDS = 6, LAST = 470, EACH_MS = 20 };

static char page[8192] __attribute__((aligned(4096)));
static uint64_t unmapped;

static uint64_t hostile(int round)
{
    static const uint64_t list[] = {
        0,
        1,
        3,
        (uint64_t)-1,
        (uint64_t)-2,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        1ULL << 47,
        (1ULL << 47) - 1,
        (1ULL << 47) - 4096,
        0xffff800000000000,
        1ULL << 62,
        1ULL << 63,
        (uint64_t)INT64_MAX,
        4095,
        4096,
        65536,
    };
    uint64_t r = rnd();

    if (round == 0)
        return (uint64_t)-1;
    switch (r % 6) {
    case 0:
        return unmapped;
    case 1:
        return (uint64_t)page;
    case 2:
        return (uint64_t)page + 4096 * 2 - (r >> 8) % 64; /* crosses the end */
    case 3:
        return (r >> 8) % 16;
    default:
        return list[(r >> 8) % (sizeof(list) / sizeof(*list))];
    }
}

static const long odd[] = {0x40000000L, 0x40000001L,        0x3fffffffL, -1L,
                           0x7fffffffL, (long)0x80000000U,  1L << 32,    (1L << 32) + 59,
                           1L << 62,    (long)(1ULL << 63), 1000,        4096};

static void attempt(void *arg, long i)
{
    int round = *(int *)arg;
    long nr = i <= LAST ? i : odd[i - LAST - 1];
    uint64_t v[6];

    for (size_t k = 0; k < sizeof(page); k += 8)
        *(volatile uint64_t *)(void *)(page + k) = round & 1 ? hostile(1) : rnd();
    for (int k = 0; k < 6; k++)
        v[k] = hostile(round);
    syscall(nr, v[0], v[1], v[2], v[3], v[4], v[5]);
}

/* Each signal to each number that hostile() may name: none may reach who judges. */
static void signals(void *arg)
{
    for (int sig = 1; sig <= 64; sig++)
        for (pid_t pid = -1; pid < 16; pid++)
            if (pid != getpid() && (pid || sig != SIGKILL))
                (void)kill(pid, sig);
    (void)kill(0, SIGKILL);
    (void)arg;
}

/* A guest without descriptor 0 hears EBADF. Where the call is the host's to answer, its descriptor
 * 0 is the stub's way to the sentry. */
static bool heard_natively(void)
{
    struct msghdr m = {0};
    int own = fcntl(0, F_DUPFD_CLOEXEC, 64);
    bool native;

    close(0);
    native = syscall(SYS_recvmsg, 0, &m, MSG_DONTWAIT) >= 0 || errno != EBADF;
    if (own >= 0 && dup2(own, 0) == 0)
        close(own);
    if (native)
        fprintf(stderr, "got: the stub's own descriptor\n");
    return native;
}

int main(int argc, char **argv)
{
    int taken = 0;

    become_judge();
    if (argc > 1 && strcmp(argv[1], "native") == 0)
        return verdict(heard_natively(), "calls");
    if (argc > 1) {
        syscall(SYS_uname, (void *)0x10); /* below whatever a process may map */
        return verdict(0, "calls");
    }
    (void)apart(signals, NULL, 1000);
    unmapped = (uint64_t)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap((void *)unmapped, 4096);
    for (int round = 0; round < ROUNDS; round++) {
        rnd();
        taken += batch(attempt, &round, LAST + 1 + (long)(sizeof(odd) / sizeof(*odd)), EACH_MS);
    }
    fprintf(stderr, "%d calls, %d processes\n", ROUNDS * (LAST + 1), taken);
    return verdict(heard_natively(), "calls");
}
