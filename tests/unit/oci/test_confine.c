/* What is left to a process after confinement. Needs root, and CAP_SYS_ADMIN for a root of its own.
 */
#include "capable.h"
#include "common/cleanup.h"
#include "runtime/security/confine.h"
#include "runtime/security/filter.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs fn in a child: its exit status, or 1000 + the signal. */
static int in_child(int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fn());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool prepare(void)
{
    struct error err;

    return confine_capabilities(0, &err) == 0 && confine_no_new_privs(&err) == 0;
}

static int empty_root(void)
{
    struct error err;
    int n = 0;
    DIR *d;

    if (unshare(CLONE_NEWNS) < 0 || confine_root_begin(0, &err) < 0 ||
        confine_root_finish(&err) < 0)
        return 1;
    d = opendir("/");
    while (d && readdir(d))
        n++;
    if (!d || n != 2)
        return 2;
    if (mkdir("/x", 0700) == 0 || errno != EROFS)
        return 3;
    if (!prepare() || chdir("..") < 0 || open("etc", O_RDONLY) >= 0)
        return 4;
    return prctl(PR_CAPBSET_READ, 0, 0, 0, 0) == 0 ? 0 : 5;
}

static int descriptors(void)
{
    int a = dup(0), b = dup(0), c = fcntl(0, F_DUPFD, 500), d = dup(0), keep[] = {c, -1, b, b};
    struct error err;

    if (confine_descriptors(keep, 4, &err) < 0)
        return 1;
    return fcntl(a, F_GETFD) < 0 && fcntl(d, F_GETFD) < 0 && fcntl(b, F_GETFD) >= 0 &&
                   fcntl(c, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0
               ? 0
               : 2;
}

static int filtered(enum filter_role role)
{
    struct error err;

    return prepare() && filter_install(role, &err) == 0 ? 0 : 1;
}

static int sentry_may(void)
{
    if (filtered(FILTER_SENTRY))
        return 1;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
        return 2;
    if (socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP) < 0)
        return 3;
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        return 4;
    return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS ? 0 : 5;
}

static int sentry_execve(void)
{
    return filtered(FILTER_SENTRY) ?: (int)syscall(SYS_execve, "/bin/true", NULL, NULL);
}

static int sentry_map_executable(void)
{
    return filtered(FILTER_SENTRY)
               ?: mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                      NULL;
}

static int sentry_fork(void)
{
    return filtered(FILTER_SENTRY) ?: (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int sentry_packet_socket(void)
{
    return filtered(FILTER_SENTRY) ?: socket(AF_PACKET, SOCK_DGRAM, 0) >= 0;
}

static int sentry_raw_socket(void)
{
    return filtered(FILTER_SENTRY) ?: socket(AF_INET, SOCK_RAW, 1) >= 0;
}

static int sentry_tiocsti(void)
{
    return filtered(FILTER_SENTRY) ?: (int)syscall(SYS_ioctl, 0, 0x5412, "x");
}

static int gofer_ptrace(void)
{
    return filtered(FILTER_GOFER) ?: (int)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static int monitor_open(void)
{
    return filtered(FILTER_MONITOR) ?: (int)syscall(SYS_openat, AT_FDCWD, "/etc/shadow", 0);
}

static int broker_open(void)
{
    return filtered(FILTER_BROKER) ?: (int)syscall(SYS_openat, AT_FDCWD, "/etc/shadow", 0);
}

static int broker_connect(void)
{
    return filtered(FILTER_BROKER) ?: socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static const struct {
    const char *name;
    int (*fn)(void);
    int expected;
    int needs; /* a capability, or -1 */
} cases[] = {
    {"an empty root, read-only, no way back", empty_root, 0, CAP_SYS_ADMIN},
    {"descriptors are closed but for those kept", descriptors, 0, -1},
    {"the sentry may do what it needs", sentry_may, 0, CAP_SETPCAP},
    {"the sentry may not execve", sentry_execve, 1000 + SIGSYS, CAP_SETPCAP},
    {"the sentry may not map executable memory", sentry_map_executable, 1000 + SIGSYS, CAP_SETPCAP},
    {"the sentry may not fork", sentry_fork, 1000 + SIGSYS, CAP_SETPCAP},
    {"the sentry may not open packet sockets", sentry_packet_socket, 1000 + SIGSYS, CAP_SETPCAP},
    {"the sentry may not open raw sockets", sentry_raw_socket, 1000 + SIGSYS, CAP_SETPCAP},
    {"the sentry may not type into a terminal", sentry_tiocsti, 1000 + SIGSYS, CAP_SETPCAP},
    {"the gofer may not ptrace", gofer_ptrace, 1000 + SIGSYS, CAP_SETPCAP},
    {"the monitor may not open files", monitor_open, 1000 + SIGSYS, CAP_SETPCAP},
    {"the broker may not open files", broker_open, 1000 + SIGSYS, CAP_SETPCAP},
    {"the broker may not open streams", broker_connect, 1000 + SIGSYS, CAP_SETPCAP},
};

Test(confine, every_case)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (cases[i].needs < 0 || capable(cases[i].needs))
            cr_expect_eq(in_child(cases[i].fn), cases[i].expected, "%s", cases[i].name);
}
