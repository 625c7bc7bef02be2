/*
 * A process of the sandbox's own that an attacker has taken over: part of the build without
 * protection (`make unguarded`). BERM_TEST_TAKEN names a role ("sentry" or "gofer"); where
 * that process installs its filter it first makes a child for each attack. The child is what the
 * process would be from then on: the same root, user, capabilities and namespaces, and the filter.
 * It tries to reach what is outside. What became of it is written to the file BERM_TEST_REPORT,
 * mapped before anything is confined; tests/escape/run.sh judges.
 *
 * BERM_TEST_OUTSIDE: a directory of the host with a file "canary" and an abstract socket of that
 * name. BERM_TEST_VICTIM: a process of the host.
 */
#include "runtime/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT_SIZE = 65536, CALLS = 512, PATIENCE = 2 };

static char *report;
static size_t used;
static const char *outside, *role_wanted;
static char canary[256];
static pid_t victim;

__attribute__((constructor)) static void prepare(void)
{
    const char *path = getenv("BERM_TEST_REPORT"), *v = getenv("BERM_TEST_VICTIM");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

    role_wanted = getenv("BERM_TEST_TAKEN");
    outside = getenv("BERM_TEST_OUTSIDE");
    victim = v ? atoi(v) : 0;
    (void)snprintf(canary, sizeof(canary), "%s/canary", outside ? outside : "");
    if (fd < 0 || ftruncate(fd, REPORT_SIZE) < 0)
        return;
    report = mmap(NULL, REPORT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (report == MAP_FAILED)
        report = NULL;
}

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    used += (size_t)vsnprintf(report + used, REPORT_SIZE - used, fmt, args);
    va_end(args);
}

/* ---- attacks: 0 if it got what it wanted, else -1 and errno -----------------------------------*/
static int take(long r)
{
    return r < 0 ? -1 : 0;
}

static int read_file(const char *path)
{
    char byte;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);

    return fd < 0 ? -1 : take(syscall(SYS_read, fd, &byte, 1));
}

static int file_outside(void)
{
    return read_file(canary);
}

static int file_above(void)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "../../../../../../..%s", canary);
    return read_file(path);
}

static int file_by_proc(void)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "/proc/1/root%s", canary);
    return read_file(path);
}

static int file_by_handle(void)
{
    char handle[128] = {8};

    return take(syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY));
}

static int file_written(void)
{
    long fd = syscall(SYS_openat, AT_FDCWD, canary, O_WRONLY | O_APPEND);

    return fd < 0 ? -1 : take(syscall(SYS_write, fd, "taken\n", 6));
}

static int passwords(void)
{
    return read_file("/etc/shadow");
}

static int program(void)
{
    char name[] = "true", *const argv[] = {name, NULL};

    return take(syscall(SYS_execve, "/bin/true", argv, NULL));
}

static int child(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    return take(pid);
}

static int code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? -1
               : 0;
}

static int signalled(void)
{
    return take(syscall(SYS_kill, victim, SIGTERM));
}

static int signalled_by_pidfd(void)
{
    long fd = syscall(SYS_pidfd_open, victim, 0);

    return fd < 0 ? -1 : take(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
}

static int traced(void)
{
    return take(syscall(SYS_ptrace, PTRACE_SEIZE, victim, 0, 0));
}

static int memory_read(void)
{
    char byte;
    struct iovec l = {&byte, 1}, r = {(void *)0x400000, 1};

    return take(syscall(SYS_process_vm_readv, victim, &l, 1, &r, 1, 0));
}

static int mounted(void)
{
    return take(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
}

static int user_namespace(void)
{
    return take(syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS));
}

static int root_again(void)
{
    return take(syscall(SYS_setresuid, 0, 0, 0));
}

static int device(void)
{
    return take(syscall(SYS_mknodat, AT_FDCWD, "/disk", S_IFBLK | 0600, 0x801));
}

static int host_socket(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    long fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    size_t n = strlen(outside);

    if (fd < 0)
        return -1;
    memcpy(a.sun_path + 1, outside, n);
    return take(syscall(SYS_connect, fd, &a, offsetof(struct sockaddr_un, sun_path) + 1 + n));
}

static int packet_socket(void)
{
    return take(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0));
}

static int raw_socket(void)
{
    return take(syscall(SYS_socket, AF_INET, SOCK_RAW, 1));
}

static int kernel_program(void)
{
    return take(syscall(SYS_bpf, 5, canary, sizeof(canary)));
}

static int uring(void)
{
    char params[120] = {0};

    return take(syscall(SYS_io_uring_setup, 1, params));
}

static int page_faults(void)
{
    return take(syscall(SYS_userfaultfd, 1));
}

static int keys(void)
{
    return take(syscall(SYS_add_key, "user", "k", "v", 1, -3));
}

static int typed(void)
{
    return take(syscall(SYS_ioctl, 0, 0x5412, "x"));
}

/* getpid by the i386 entry: the numbers there mean other calls. */
static int i386_call(void)
{
    long r = 20;

    __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
    return r > 0 ? 0 : -1;
}

static int x32_call(void)
{
    return take(syscall(0x40000000 | SYS_getpid));
}

static const struct {
    const char *name;
    int (*fn)(void);
} attacks[] = {
    {"reads a file of the host", file_outside},
    {"reads it by '..'", file_above},
    {"reads it by /proc", file_by_proc},
    {"reads a file by its handle", file_by_handle},
    {"writes a file of the host", file_written},
    {"reads the host's passwords", passwords},
    {"runs a program", program},
    {"makes a process", child},
    {"makes code", code},
    {"signals a process of the host", signalled},
    {"signals it by a pidfd", signalled_by_pidfd},
    {"traces it", traced},
    {"reads its memory", memory_read},
    {"mounts", mounted},
    {"makes a user namespace", user_namespace},
    {"becomes root", root_again},
    {"makes a device", device},
    {"connects to a unix socket of the host", host_socket},
    {"opens a packet socket", packet_socket},
    {"opens a raw socket", raw_socket},
    {"loads a program into the kernel", kernel_program},
    {"makes an io_uring", uring},
    {"handles page faults", page_faults},
    {"adds a key", keys},
    {"types into a terminal", typed},
    {"calls by the i386 entry", i386_call},
    {"calls by an x32 number", x32_call},
};

/* ---- running them -----------------------------------------------------------------------------*/
static int in_child(const char *role, int (*install)(const void *), const void *filter,
                    int (*fn)(void), long call)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct sigaction dfl = {.sa_handler = SIG_DFL};

        (void)sigaction(SIGALRM, &dfl, NULL);
        (void)alarm(PATIENCE);
        if (install(filter) < 0)
            _exit(200);
        if (fn)
            syscall(SYS_exit_group, fn() == 0 ? 0 : errno ? errno : 201);
        (void)syscall(call, -1L, -1L, -1L, -1L, -1L, -1L);
        syscall(SYS_exit_group, 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        tell("%s: no child\n", role);
    return status;
}

static void tell_outcome(const char *role, const char *what, int status)
{
    if (WIFSIGNALED(status))
        tell("%s: %s: %s\n", role, what,
             WTERMSIG(status) == SIGSYS ? "killed" : strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 0)
        tell("%s: %s: GOT\n", role, what);
    else
        tell("%s: %s: %s\n", role, what, strerrorname_np(WEXITSTATUS(status)) ?: "?");
}

/* Which numbers come back at all, with arguments that nothing accepts. Only behind a filter. */
static void every_number(const char *role, int (*install)(const void *), const void *filter)
{
    tell("%s lives:", role);
    for (long call = 0; call < CALLS; call++) {
        int status = in_child(role, install, filter, NULL, call);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            tell(" %ld", call);
    }
    tell("\n");
}

void taken_over(const char *role, int (*install)(const void *), const void *filter, bool guarded)
{
    if (!report || !role_wanted || strcmp(role, role_wanted) != 0)
        return;
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
        tell_outcome(role, attacks[i].name, in_child(role, install, filter, attacks[i].fn, 0));
    if (guarded)
        every_number(role, install, filter);
    tell("%s: done\n", role);
}
