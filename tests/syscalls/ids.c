/* User and group ids, capabilities, scheduling, names of the system, odds and ends. */
#include "t.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/utsname.h>

static void show(void)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;

    MUST(getresuid(&r, &e, &s));
    MUST(getresgid(&gr, &ge, &gs));
    printf("%u %u %u, %u %u %u\n", r, e, s, gr, ge, gs);
    (void)fflush(stdout);
}

static bool cap(int bit)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];

    if (syscall(SYS_capget, &h, d) < 0)
        return false;
    return d[bit / 32].effective >> (bit % 32) & 1;
}

static void users(void)
{
    SECTION("users");
    CHILD("set", {
        R(setresuid(1, 2, 3));
        show();
        R(setuid(9));
        R(setuid(3));
        show();
        R(setreuid(2, 1));
        R(seteuid(1));
        show();
    });
    CHILD("setuid drops all", {
        R(cap(CAP_CHOWN));
        R(setuid(1000));
        show();
        R(cap(CAP_CHOWN));
        R(setuid(0));
        R(setgroups(0, NULL));
    });
    CHILD("keepcaps", {
        R(prctl(PR_SET_KEEPCAPS, 1));
        R(setuid(1000));
        R(cap(CAP_CHOWN));
        R(prctl(PR_GET_KEEPCAPS));
    });
    CHILD("effective", {
        R(seteuid(1000));
        R(cap(CAP_CHOWN));
        R(seteuid(0));
        R(cap(CAP_CHOWN));
    });
    CHILD("setreuid", {
        R(setreuid(5, 6));
        show();
    });
    CHILD("groups", {
        R(setresgid(7, 8, 9));
        show();
        R(setgid(10));
        show();
        gid_t g[3] = {30, 10, 20};
        R(setgroups(3, g));
        gid_t out[3];
        R(getgroups(3, out));
        printf("%u %u %u\n", out[0], out[1], out[2]);
        R(getgroups(1, out));
        R(getgroups(-1, out));
        R(setgroups(70000, g));
    });
    CHILD("fsuid", {
        R(setfsuid(77));
        R(setfsuid(-1));
        R(cap(CAP_CHOWN));
        R(setfsuid(0));
    });
    R(setuid(-1));
    struct __user_cap_header_struct h = {0x1234, 0};
    R(syscall(SYS_capget, &h, NULL));
    R(h.version == _LINUX_CAPABILITY_VERSION_3);
    CHILD("bounding", {
        R(prctl(PR_CAPBSET_READ, CAP_CHOWN));
        R(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
        R(prctl(PR_CAPBSET_READ, CAP_CHOWN));
        R(prctl(PR_CAPBSET_READ, 99));
    });
}

static void scheduling(void)
{
    struct sched_param p = {0};
    cpu_set_t set;
    struct timespec ts;

    SECTION("scheduling");
    R(sched_getscheduler(0));
    R(sched_getparam(0, &p));
    R(sched_get_priority_max(SCHED_FIFO));
    R(sched_get_priority_min(SCHED_RR));
    R(sched_get_priority_max(99));
    R(sched_yield());
    R(sched_getaffinity(0, sizeof(set), &set));
    R(CPU_COUNT(&set) >= 1);
    R(sched_setaffinity(0, sizeof(set), &set));
    CPU_ZERO(&set);
    R(sched_setaffinity(0, sizeof(set), &set));
    R(syscall(SYS_sched_getaffinity, 0, 1, &set));
    R(sched_rr_get_interval(0, &ts));
    p.sched_priority = 5;
    R(sched_setscheduler(0, SCHED_OTHER, &p));
    p.sched_priority = 0;
    R(sched_setscheduler(0, SCHED_BATCH, &p));
    R(sched_getscheduler(0));
    R(sched_getscheduler(99999999));
    R(getpriority(PRIO_PROCESS, 99999999));
    R(getpriority(9, 0));
}

static void odds(void)
{
    SECTION("odds and ends");
    R(syscall(9999));
    R(syscall(SYS_restart_syscall));
    R(personality(0xffffffff));
    R(umask(0));
    R(syscall(SYS_getcpu, &(unsigned){0}, NULL, NULL));
    R(syscall(SYS_membarrier, 0, 0, 0) >= 0);
    R(syscall(SYS_arch_prctl, 0x1003, &(unsigned long){0}));
    R(syscall(SYS_arch_prctl, 0x9999, 0));
    R(syscall(SYS_set_tid_address, NULL) == gettid());
    R(syscall(SYS_rseq, NULL, 0, 0, 0));
    R(getdomainname((char[65]){0}, 65));
    R(sethostname("x", -1));
    R(sethostname("x", 100));
    int copy = dup(0), other = open("/dev/null", O_RDONLY);
    pid_t self = getpid();
    R(syscall(SYS_kcmp, self, self, KCMP_FILE, 0, copy));
    TRUTH("kcmp: an order", syscall(SYS_kcmp, self, self, KCMP_FILE, 0, other) +
                                    syscall(SYS_kcmp, self, self, KCMP_FILE, other, 0) ==
                                3);
    R(syscall(SYS_kcmp, self, self, KCMP_FILE, 0, 999));
    R(syscall(SYS_kcmp, self, self, KCMP_VM, 0, 0));
    R(syscall(SYS_kcmp, self, self, 99, 0, 0));
    R(syscall(SYS_kcmp, self, 0x7fffffff, KCMP_VM, 0, 0));
    CHILD("kcmp: of another user", {
        MUST(setresuid(2000, 2000, 2000));
        R(syscall(SYS_kcmp, getpid(), self, KCMP_VM, 0, 0));
    });
    close(copy);
    close(other);
    R(chroot("/none"));
    R(acct("/none") == -1);
    R(swapon("/none", 0) == -1);
    R(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0));
    char a[8] = "abcdefg";
    char b[8] = "";
    struct iovec l = {b, 8}, r = {a, 8};
    R(syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 0));
    puts(b);
    r.iov_base = bad_address;
    R(syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 0));
    CHILD("chroot", {
        MUST(chroot("/proc"));
        MUST(chdir("/"));
        R(access("/self", F_OK));
        R(access("/../../etc", F_OK));
    });
}

static void io_priorities(void)
{
    SECTION("input and output priorities");
    R(syscall(SYS_ioprio_get, 9, 0));
    R(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
    R(syscall(SYS_ioprio_get, 1, 0));
    R(syscall(SYS_ioprio_set, 1, 0, 4));
    R(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
    R(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    R(sched_get_priority_max(6));
}

static void refused(void)
{
    SECTION("refused");
    R(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    R(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 1000, 0, 0));
    R(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0));
    CHILD("a filter that isn't there", {
        MUST(setresuid(1000, 1000, 1000));
        R(prctl(PR_SET_SECCOMP, 2, bad_address));
    });
}

int main(void)
{
    io_priorities();
    users();
    scheduling();
    odds();
    refused();
    return 0;
}
