#include "agent/node/host.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static bool from_errno(char *detail, size_t size)
{
    (void)snprintf(detail, size, "%s", strerror(errno));
    return false;
}

static bool check_root(char *detail, size_t size)
{
    (void)snprintf(detail, size, "uid %d", (int)geteuid());
    return geteuid() == 0;
}

static bool check_kernel(char *detail, size_t size)
{
    struct utsname u;
    int major = 0, minor = 0;

    if (uname(&u) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "%s", u.release);
    (void)sscanf(u.release, "%d.%d", &major, &minor);
    return major > 5 || (major == 5 && minor >= 15);
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

static bool check_bpf(char *detail, size_t size)
{
    CLEANUP(close_fd) int fd = load_program(BPF_PROG_TYPE_SCHED_CLS);

    if (fd < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "programs load");
    return true;
}

/* tcx is there if linking to no device fails for want of the device, and not of the feature. */
static bool check_tcx(char *detail, size_t size)
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
        return true;
    }
    (void)snprintf(detail, size, "not available: clsact is used");
    return false;
}

static bool check_bpffs(char *detail, size_t size)
{
    struct statfs st;

    if (statfs("/sys/fs/bpf", &st) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, st.f_type == 0xcafe4a11 ? "mounted" : "not mounted");
    return st.f_type == 0xcafe4a11;
}

/* Any answer but an error: the subsystem is there (the kernel loads its module for that). */
static bool check_nft(char *detail, size_t size)
{
    struct {
        struct nlmsghdr header;
        struct nfgenmsg message;
    } request = {{.nlmsg_len = sizeof(request),
                  .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                  .nlmsg_flags = NLM_F_REQUEST},
                 {.nfgen_family = AF_UNSPEC}};
    CLEANUP(close_fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    char answer[4096] __attribute__((aligned(8)));
    const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
    struct timeval patience = {.tv_sec = 2};
    ssize_t n;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        send(fd, &request, sizeof(request), 0) < 0 || (n = recv(fd, answer, sizeof(answer), 0)) < 0)
        return from_errno(detail, size);
    if ((size_t)n >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) && h->nlmsg_type == NLMSG_ERROR) {
        errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
        return from_errno(detail, size);
    }
    (void)snprintf(detail, size, "nf_tables answers");
    return true;
}

/* A clsact qdisc on the loopback device of a network namespace of our own. */
static int try_clsact(void)
{
    struct {
        struct nlmsghdr header;
        struct tcmsg message;
        struct rtattr kind;
        char name[8];
    } request = {{.nlmsg_len = sizeof(request),
                  .nlmsg_type = RTM_NEWQDISC,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
                 {.tcm_family = AF_UNSPEC,
                  .tcm_ifindex = 1,
                  .tcm_parent = TC_H_CLSACT,
                  .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0)},
                 {.rta_len = RTA_LENGTH(7), .rta_type = TCA_KIND},
                 "clsact"};
    char answer[1024] __attribute__((aligned(8)));
    const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
    CLEANUP(close_fd) int fd = -1;
    ssize_t n;

    if (unshare(CLONE_NEWNET) < 0)
        return errno;
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0 ||
        (n = recv(fd, answer, sizeof(answer), 0)) < 0)
        return errno;
    if ((size_t)n < NLMSG_LENGTH(sizeof(struct nlmsgerr)) || h->nlmsg_type != NLMSG_ERROR)
        return EPROTO;
    return -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static bool in_child(int (*fn)(void), char *detail, size_t size)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fn());
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return from_errno(detail, size);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    return errno ? from_errno(detail, size) : true;
}

static bool check_clsact(char *detail, size_t size)
{
    if (!in_child(try_clsact, detail, size))
        return false;
    (void)snprintf(detail, size, "can be made");
    return true;
}

static bool check_seccomp(char *detail, size_t size)
{
    uint32_t action = SECCOMP_RET_TRAP;

    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
        return from_errno(detail, size);
    (void)snprintf(detail, size, "filters can trap");
    return true;
}

static bool check_cgroup(char *detail, size_t size)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs st;

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (statfs(places[i], &st) == 0 && st.f_type == 0x63677270) {
            (void)snprintf(detail, size, "at %s", places[i]);
            return true;
        }
    (void)snprintf(detail, size, "no version 2 hierarchy is mounted");
    return false;
}

/*
 * An installer in a container has changed its root to the host's, and the kernel gives processes
 * with a changed root no user namespace: entering the mount namespace that it is in undoes that.
 */
static int try_userns(void)
{
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (self >= 0)
        (void)setns(self, CLONE_NEWNS);
    return unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0 ? errno : 0;
}

static bool check_userns(char *detail, size_t size)
{
    if (!in_child(try_userns, detail, size))
        return false;
    (void)snprintf(detail, size, "can be made");
    return true;
}

static bool check_overlay(char *detail, size_t size)
{
    CLEANUP(close_file) FILE *f = fopen("/proc/filesystems", "re");
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (strstr(line, "\toverlay")) {
            (void)snprintf(detail, size, "available");
            return true;
        }
    (void)snprintf(detail, size, "not in /proc/filesystems");
    return false;
}

static bool check_runc(char *detail, size_t size)
{
    int status = system("command -v runc >/dev/null 2>&1"); /* NOLINT(cert-env33-c): fixed text */

    (void)snprintf(detail, size, status == 0 ? "found" : "not on PATH");
    return status == 0;
}

static bool check_core_scheduling(char *detail, size_t size)
{
    unsigned long cookie = 0;

    if (prctl(62 /* PR_SCHED_CORE */, 0 /* get */, 0, 0, &cookie) < 0) {
        (void)snprintf(detail, size, "not available");
        return false;
    }
    (void)snprintf(detail, size, "available");
    return true;
}

static bool read_line(const char *path, char *out, size_t size)
{
    CLEANUP(close_file) FILE *f = fopen(path, "re");

    if (!f || !fgets(out, (int)size, f))
        return false;
    out[strcspn(out, "\n")] = 0;
    return true;
}

static bool check_smt(char *detail, size_t size)
{
    char line[16] = "";

    if (!read_line("/sys/devices/system/cpu/smt/active", line, sizeof(line)) ||
        strcmp(line, "1") != 0) {
        (void)snprintf(detail, size, "off, or not told of");
        return true;
    }
    (void)snprintf(detail, size, "on: two threads share a core");
    return prctl(62 /* PR_SCHED_CORE */, 0, 0, 0, &(unsigned long){0}) == 0;
}

#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"

/* Those for which the kernel itself says so. */
static bool check_vulnerabilities(char *detail, size_t size)
{
    CLEANUP(close_dir) DIR *dir = opendir(VULNERABILITIES);
    struct dirent *d;
    size_t n = 0;

    while (dir && (d = readdir(dir))) {
        char path[400], line[128] = "";

        (void)snprintf(path, sizeof(path), VULNERABILITIES "/%s", d->d_name);
        if (d->d_name[0] == '.' || !read_line(path, line, sizeof(line)) ||
            strncmp(line, "Vulnerable", 10) != 0)
            continue;
        if (n < size)
            n += (size_t)snprintf(detail + n, size - n, "%s%s", n ? ", " : "", d->d_name);
    }
    if (!n)
        (void)snprintf(detail, size, dir ? "none that the kernel knows" : "the kernel doesn't say");
    return n == 0;
}

const struct host_check host_checks[] = {
    {"root", true, check_root, "run as root"},
    {"kernel", true, check_kernel, "Linux 5.15 or later is needed"},
    {"bpf", true, check_bpf, "a kernel with CONFIG_BPF_SYSCALL, and CAP_BPF or CAP_SYS_ADMIN"},
    {"tcx", false, check_tcx, "Linux 6.6 or later has it"},
    {"clsact", true, check_clsact, "a kernel with CONFIG_NET_CLS_ACT and CONFIG_NET_SCH_INGRESS"},
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
    {"smt", false, check_smt, "disable SMT where tenants must not share a core"},
    {"cpu", false, check_vulnerabilities, "newer microcode or kernel, and no mitigations=off"},
};
const size_t host_n_checks = ARRAY_SIZE(host_checks);
