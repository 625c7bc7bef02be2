/*
 * Is this node able? Each check probes by doing, not by version numbers, and says what to do. Rows
 * are in the table at the end: needed ones fail the whole, others warn.
 */
#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum result { GOOD, BAD, UNKNOWN };

static enum result from_errno(char *detail, size_t size)
{
    (void)snprintf(detail, size, "%s", strerror(errno));
    return BAD;
}

static enum result check_root(char *detail, size_t size)
{
    (void)snprintf(detail, size, "uid %d", (int)geteuid());
    return geteuid() == 0 ? GOOD : BAD;
}

static enum result check_kernel(char *detail, size_t size)
{
    struct utsname u;
    int major = 0, minor = 0;

    if (uname(&u) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "%s", u.release);
    (void)sscanf(u.release, "%d.%d", &major, &minor);
    return major > 5 || (major == 5 && minor >= 10) ? GOOD : BAD;
}

/* A socket filter that returns 0: the smallest program that the verifier takes. */
static int load_program(enum bpf_prog_type type)
{
    static const char license[] = "MIT";
    const struct bpf_insn code[] = {{.code = 0xb7}, {.code = 0x95}};
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = type;
    attr.insn_cnt = ARRAY_SIZE(code);
    attr.insns = (uint64_t)(uintptr_t)code;
    attr.license = (uint64_t)(uintptr_t)license;
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static enum result check_bpf(char *detail, size_t size)
{
    CLEANUP(close_fd) int fd = load_program(BPF_PROG_TYPE_SCHED_CLS);

    if (fd < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "programs load");
    return GOOD;
}

/* tcx is there if linking to no device fails for want of the device, and not of the feature. */
static enum result check_tcx(char *detail, size_t size)
{
    CLEANUP(close_fd) int fd = load_program(BPF_PROG_TYPE_SCHED_CLS);
    struct {
        uint32_t prog_fd, target, attach_type, flags;
        uint64_t rest[8];
    } attr = {.prog_fd = (uint32_t)fd, .target = 0x7ffffffe, .attach_type = 46 /* ingress */};

    if (fd < 0)
        return from_errno(detail, size);
    if (syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) < 0 && errno == ENODEV) {
        (void)snprintf(detail, size, "available");
        return GOOD;
    }
    (void)snprintf(detail, size, "not available: clsact is used");
    return BAD;
}

static enum result check_bpffs(char *detail, size_t size)
{
    struct statfs st;

    if (statfs("/sys/fs/bpf", &st) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, st.f_type == 0xcafe4a11 ? "mounted" : "not mounted");
    return st.f_type == 0xcafe4a11 ? GOOD : BAD;
}

static enum result check_nft(char *detail, size_t size)
{
    CLEANUP(close_fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    if (fd < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "netfilter's socket opens");
    return GOOD;
}

static enum result check_seccomp(char *detail, size_t size)
{
    uint32_t action = SECCOMP_RET_TRAP;

    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "filters can trap");
    return GOOD;
}

static enum result check_cgroup(char *detail, size_t size)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs st;

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (statfs(places[i], &st) == 0 && st.f_type == 0x63677270) {
            (void)snprintf(detail, size, "at %s", places[i]);
            return GOOD;
        }
    (void)snprintf(detail, size, "no version 2 hierarchy is mounted");
    return BAD;
}

static enum result check_userns(char *detail, size_t size)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0 ? errno : 0);
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return from_errno(detail, size);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    if (errno)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "can be made");
    return GOOD;
}

static enum result check_overlay(char *detail, size_t size)
{
    CLEANUP(close_file) FILE *f = fopen("/proc/filesystems", "re");
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (strstr(line, "\toverlay")) {
            (void)snprintf(detail, size, "available");
            return GOOD;
        }
    (void)snprintf(detail, size, "not in /proc/filesystems");
    return BAD;
}

static enum result check_runc(char *detail, size_t size)
{
    int status = system("command -v runc >/dev/null 2>&1"); /* NOLINT(cert-env33-c): fixed text */

    (void)snprintf(detail, size, status == 0 ? "found" : "not on PATH");
    return status == 0 ? GOOD : BAD;
}

static enum result check_core_scheduling(char *detail, size_t size)
{
    unsigned long cookie = 0;

    if (prctl(62 /* PR_SCHED_CORE */, 0 /* get */, 0, 0, &cookie) < 0) {
        (void)snprintf(detail, size, "not available");
        return BAD;
    }
    (void)snprintf(detail, size, "available");
    return GOOD;
}

static const struct check {
    const char *name;
    bool needed;
    enum result (*fn)(char *detail, size_t size);
    const char *remedy;
} checks[] = {
    {"root", true, check_root, "run as root"},
    {"kernel", true, check_kernel, "Linux 5.10 or later is needed"},
    {"bpf", true, check_bpf, "a kernel with CONFIG_BPF_SYSCALL, and CAP_BPF or CAP_SYS_ADMIN"},
    {"tcx", false, check_tcx, "Linux 6.6 or later has it"},
    {"bpffs", false, check_bpffs, "mount -t bpf bpf /sys/fs/bpf (the agent does it by itself)"},
    {"nft", false, check_nft, "a kernel with CONFIG_NF_TABLES"},
    {"seccomp", true, check_seccomp, "a kernel with CONFIG_SECCOMP_FILTER"},
    {"cgroup2", false, check_cgroup, "mount -t cgroup2 none /sys/fs/cgroup/unified"},
    {"userns", true, check_userns,
     "sysctl user.max_user_namespaces=10000; kernel.apparmor_restrict_unprivileged_userns=0"},
    {"overlay", true, check_overlay, "modprobe overlay"},
    {"runc", false, check_runc, "apt-get install runc (for pods without runtimeClassName)"},
    {"core-sched", false, check_core_scheduling,
     "CONFIG_SCHED_CORE; without it disable SMT where tenants must not share a core"},
};

int ctl_doctor(const struct ctl *ctl, int argc, char **argv)
{
    bool able = true;

    (void)ctl;
    (void)argv;
    if (argc != 1)
        return ctl_usage("doctor takes no arguments");
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        char detail[160] = "";
        enum result r = checks[i].fn(detail, sizeof(detail));

        printf("%-4s %-10s %s\n",
               r == GOOD          ? "ok"
               : checks[i].needed ? "FAIL"
                                  : "warn",
               checks[i].name, detail);
        if (r != GOOD)
            printf("     %-10s -> %s\n", "", checks[i].remedy);
        able = able && (r == GOOD || !checks[i].needed);
    }
    puts(able ? "this node is able to run berm" : "this node is NOT able to run berm");
    return able ? 0 : 1;
}
