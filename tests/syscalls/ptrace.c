/* Tracing as strace and debuggers do it. */
#include "t.h"
#include <sys/ptrace.h>
#include <sys/user.h>

static void tracing(void)
{
    int st, calls = 0;
    struct user_regs_struct regs;
    static volatile long word = 5;

    SECTION("ptrace");
    if (ptrace(PTRACE_PEEKDATA, 99999999, NULL, NULL) == -1 && errno == ENOSYS) {
        puts("not offered");
        return;
    }
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

int main(void)
{
    tracing();
    return 0;
}
