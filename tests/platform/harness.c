/* Namespaces, zygote and helpers for the platform's tests. */
#include "tests/platform/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct plat *plat;
static int n_test, n_failed;
void run_tests(int argc, char **argv);

void check(int ok, const char *name, const char *fmt, ...)
{
    va_list ap;

    printf("%sok %d - %s", ok ? "" : "not ", ++n_test, name);
    n_failed += !ok;
    if (fmt) {
        printf(" (");
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        printf(")");
    }
    printf("\n");
    fflush(stdout);
}

double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

struct plat_thread *guest_new(const char *start, const char *end)
{
    struct plat_thread *th = NULL;
    int r = plat_space_new(plat, &th);
    struct plat_regs *regs;

    if (r < 0) {
        printf("Bail out! plat_space_new: %s\n", strerror(-r));
        exit(1);
    }
    regs = plat_regs(th);
    r = plat_mmap(th, CODE, MAP_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, NULL);
    r |= plat_mmap(th, DATA, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
                   NULL);
    r |= plat_mmap(th, STACK, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
                   NULL);
    r |= plat_copy_out(th, CODE, start, (size_t)(end - start));
    r |= plat_flush(th);
    if (r < 0)
        printf("# guest_new: %d\n", r);
    regs->rip = CODE;
    regs->rsp = STACK + MAP_BYTES - 64;
    return th;
}

void run_to(struct plat_thread *th, enum plat_event event, struct plat_exit *ret)
{
    plat_run(th, ret);
    if (ret->event == event)
        return;
    printf("# event %d instead of %d: signo %d code %d address %lx trapno %lu err %lx op %u %d; "
           "nr %ld rip %lx rax %lx rdi %lx\n",
           (int)ret->event, (int)event, ret->signo, ret->code, ret->address, ret->trapno, ret->err,
           ret->op_index, ret->op_errno, (long)plat_regs(th)->orig_rax, plat_regs(th)->rip,
           plat_regs(th)->rax, plat_regs(th)->rdi);
}

struct plat_regs *run_to_call(struct plat_thread *th, long nr)
{
    struct plat_exit e;

    run_to(th, PLAT_SYSCALL, &e);
    if (e.event == PLAT_SYSCALL && (long)plat_regs(th)->orig_rax != nr)
        printf("# call %ld instead of %ld\n", (long)plat_regs(th)->orig_rax, nr);
    return plat_regs(th);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("# %s: %s\n", path, strerror(errno));
    close(fd);
}

static int sentry(int argc, char **argv)
{
    struct __user_cap_header_struct cap_header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct no_caps[2] = {{0}};
    int pair[2], r;

    /* As the real one: the sandbox's init, no capabilities left. */
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    if (unshare(CLONE_NEWPID) < 0)
        printf("# unshare: %s\n", strerror(errno));
    if (fork() == 0) {
        r = plat_zygote_exec(pair[1]);
        fprintf(stderr, "zygote: %s\n", strerror(-r));
        _exit(1);
    }
    close(pair[1]);
    /* The kernel won't start threads while new children go to another pid namespace. */
    if (setns(open("/proc/self/ns/pid", O_RDONLY), CLONE_NEWPID) < 0)
        printf("# setns: %s\n", strerror(errno));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_capset, &cap_header, no_caps) < 0)
        printf("# capset: %s\n", strerror(errno));
    r = plat_new(pair[0], false, &plat);
    if (r < 0)
        printf("Bail out! plat_new: %s\n", strerror(-r));
    else
        run_tests(argc, argv);
    plat_free(plat);
    printf("1..%d\n", n_test);
    fflush(stdout);
    return n_failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    int status = 0;
    pid_t pid;

    alarm(120);
    if (unshare(CLONE_NEWUSER) < 0) {
        printf("1..0 # SKIP no user namespaces: %s\n", strerror(errno));
        return 0;
    }
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 0 1");
    write_file("/proc/self/gid_map", "0 0 1");
    if (unshare(CLONE_NEWPID) < 0)
        return 1;
    pid = fork();
    if (pid == 0)
        _exit(sentry(argc, argv));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
