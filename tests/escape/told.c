/*
 * Calls that a stub has answered are told later (runtime/platform/slot.h, struct watches). Who
 * writes that list makes calls by it: none that the process's own seccomp filter would not allow.
 */
/* The layout, as an attacker has read it. */
#include "runtime/platform/slot.h"

#include "stub.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

enum { THREADS = 4 };

static bool forbid_close(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

static void tell_close(uint8_t *stub, int fd)
{
    struct watches *w = (struct watches *)(stub + SLOTS_END + WATCH_OFF);
    struct slot *slots = (struct slot *)(stub + STUB_SLOTS);

    w->ops[0] = (struct plat_told){.fd = fd, .op = PLAT_TOLD_CLOSE};
    w->n = 1;
    for (int i = 0; i < THREADS; i++)
        slots[i].changed = 1;
    (void)syscall(SYS_getpgid, 0);
}

/* Exit status: 0 the filter holds, 1 it does not, 2 nothing is told at all. */
static void try(void *arg)
{
    uint8_t *stub = arg;
    int fd = open("/etc/passwd", O_RDONLY);

    tell_close(stub, fd);
    if (fcntl(fd, F_GETFD) >= 0)
        _exit(2);
    fd = open("/etc/passwd", O_RDONLY);
    if (fd < 0 || !forbid_close() || close(fd) == 0)
        _exit(3);
    tell_close(stub, fd);
    _exit(fcntl(fd, F_GETFD) < 0);
}

int main(void)
{
    uint8_t *stub;
    int status;

    become_judge();
    catch_faults();
    stub = find_stub();
    if (!stub) {
        fprintf(stderr, "the stub is not found\n");
        return 3;
    }
    status = apart(try, stub, 5000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
        fprintf(stderr, "the list is not reached: status %#x\n", status);
        return 3;
    }
    return verdict(WEXITSTATUS(status), "calls told behind a filter");
}
