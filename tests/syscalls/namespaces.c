/* Namespaces as an unprivileged sandbox makes them; seccomp in the guest. */
#include "t.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static void map_root(uid_t uid, gid_t gid)
{
    char line[64];

    put("/proc/self/setgroups", "deny");
    (void)snprintf(line, sizeof(line), "0 %u 1\n", uid);
    put("/proc/self/uid_map", line);
    (void)snprintf(line, sizeof(line), "0 %u 1\n", gid);
    put("/proc/self/gid_map", line);
}

static void users(void)
{
    SECTION("user namespaces");
    CHILD("unshared", {
        MUST(setresgid(2000, 2000, 2000));
        MUST(setresuid(2000, 2000, 2000));
        MUST(prctl(PR_SET_DUMPABLE, 1)); /* changing ids made /proc/self root's */
        R(unshare(CLONE_NEWUSER));
        printf("%u %u\n", getuid(), getgid());
        R(open("/proc/self/gid_map", O_WRONLY) >= 0);
        map_root(2000, 2000);
        printf("%u %u\n", getuid(), getgid());
        show_file("/proc/self/setgroups");
        R(sethostname("x", 1));
        R(unshare(CLONE_NEWUTS));
        R(sethostname("inner", 5));
        struct utsname u;
        MUST(uname(&u));
        puts(u.nodename);
        R(setuid(5));
        R(chown(".", 5, 5));
        R(unshare(CLONE_NEWNS));
        R(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
        R(mount("tmpfs", "/tmp", "tmpfs", 0, "size=1m"));
        put("/tmp/inside", "x");
        R(access("/tmp/inside", F_OK));
        R(umount("/tmp"));
        R(access("/tmp/inside", F_OK));
    });
    CHILD("not twice", {
        MUST(setresuid(2000, 2000, 2000));
        R(unshare(CLONE_NEWUTS));
        R(unshare(0x1));
    });
}

/* The number that /proc/self leads to, after it was told what the maker calls this process. */
static void own_number(int from)
{
    char link[32] = "";
    pid_t outer;

    MUST(read(from, &outer, sizeof(outer)));
    MUST(readlink("/proc/self", link, sizeof(link) - 1));
    TRUTH("/proc/self is the number of who mounted /proc", atoi(link) == outer);
    put("/proc/self/comm", "renamed");
    CHILD("another", {
        MUST(readlink("/proc/self", link, sizeof(link) - 1));
        TRUTH("has another one", atoi(link) > outer);
    });
}

static void pids(void)
{
    int p[2], st;
    pid_t pid;

    SECTION("pid namespaces");
    if (!fork()) {
        MUST(pipe(p));
        MUST(unshare(CLONE_NEWUSER | CLONE_NEWPID));
        pid = fork();
        if (!pid) {
            own_number(p[0]);
            _exit(0);
        }
        MUST(write(p[1], &pid, sizeof(pid)));
        MUST(wait(&st));
        wait_status("first", st);
        _exit(0);
    }
    MUST(wait(&st));
    CHILD("maker", {
        MUST(unshare(CLONE_NEWUSER | CLONE_NEWPID));
        CHILD("init", {
            R(getpid());
            R(getppid());
            CHILD("second", R(getpid()));
            R(kill(1, SIGKILL));
            (void)signal(SIGTERM, SIG_DFL);
            R(kill(1, SIGTERM)); /* nobody kills init from inside */
        });
        R(fork() == -1 ? -1 : 0); /* init is gone */
    });
}

static void networks(void)
{
    SECTION("network namespaces");
    CHILD("isolated", {
        MUST(unshare(CLONE_NEWUSER | CLONE_NEWNET));
        int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
        struct sockaddr_in in = {
            .sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0x08080808)}};
        R(connect(s, (struct sockaddr *)&in, sizeof(in)));
        int u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        R(sendto(u, "x", 1, 0, (struct sockaddr *)&in, sizeof(in)));
    });
}

static void filters(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 99),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

    SECTION("seccomp");
    CHILD("filtered", {
        MUST(setresuid(2000, 2000, 2000));
        R(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        R(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
        R(prctl(PR_GET_SECCOMP));
        errno = 0;
        R(syscall(SYS_getppid));
        R(errno);
        CHILD("inherited", (void)syscall(SYS_getpgid, 0));
        (void)syscall(SYS_getpgid, 0);
    });
    CHILD("strict", {
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
        (void)!write(1, "still\n", 6);
        (void)syscall(SYS_getpid);
    });
    CHILD("bad programs", {
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        prog.len = 0;
        R(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
        prog.len = 1;
        R(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
        R(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, bad_address));
        R(prctl(PR_SET_SECCOMP, 7, &prog));
    });
}

static struct {
    pthread_barrier_t step;
    bool own_filter;
    atomic_int tid, status_mode;
} other;

static struct sock_filter all_allowed[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
static struct sock_fprog allow = {1, all_allowed};

static void *other_thread(void *arg)
{
    (void)arg;
    other.tid = gettid();
    if (other.own_filter)
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &allow));
    (void)pthread_barrier_wait(&other.step);
    (void)pthread_barrier_wait(&other.step);
    other.status_mode = prctl(PR_GET_SECCOMP);
    return NULL;
}

/* A filter for all threads: as long as none has one that the caller's do not contain. */
static void synchronized(bool own_filter)
{
    pthread_t t;
    long r;

    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    (void)pthread_barrier_init(&other.step, NULL, 2);
    other.own_filter = own_filter;
    MUST(pthread_create(&t, NULL, other_thread, NULL) ? -1 : 0);
    (void)pthread_barrier_wait(&other.step);
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, &allow);
    RESULT("with ESRCH", r);
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &allow);
    TRUTH("names the thread", r > 0 && r == other.tid);
    TRUTH("done", r == 0);
    (void)pthread_barrier_wait(&other.step);
    (void)pthread_join(t, NULL);
    RESULT("mode of the other", other.status_mode);
    R(prctl(PR_GET_SECCOMP));
}

static void synchronizing(void)
{
    SECTION("seccomp for all threads");
    CHILD("all follow", synchronized(false));
    CHILD("one has its own", synchronized(true));
}

static ino_t inode_of(int fd)
{
    struct stat st;

    MUST(fstat(fd, &st));
    return st.st_ino;
}

/* Entering the namespaces of a child, and asking namespaces for their relatives. */
static void entering(void)
{
    int to_child[2], ready[2], fd, mine, parent, st;
    char path[64], name[65] = "", c;
    uid_t owner = 77;
    pid_t pid;

    SECTION("entering namespaces");
    MUST(pipe(to_child));
    MUST(pipe(ready));
    (void)fflush(stdout);
    pid = fork();
    if (!pid) {
        MUST(unshare(CLONE_NEWUSER | CLONE_NEWUTS));
        MUST(sethostname("inner", 5));
        MUST(write(ready[1], "x", 1));
        (void)!read(to_child[0], &c, 1);
        _exit(0);
    }
    MUST(read(ready[0], &c, 1));
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
    fd = MUST(open(path, O_RDONLY));
    mine = MUST(open("/proc/self/ns/user", O_RDONLY));
    R(ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWUSER);
    parent = (int)MUST(ioctl(fd, NS_GET_PARENT));
    TRUTH("parent is ours", inode_of(parent) == inode_of(mine));
    R(ioctl(fd, NS_GET_OWNER_UID, &owner));
    TRUTH("owner", owner == getuid());
    R(setns(fd, CLONE_NEWUTS));
    R(setns(-1, 0));
    R(setns(0, 0));
    (void)fflush(stdout);
    if (!fork()) {
        R(setns(mine, 0));
        R(setns(fd, CLONE_NEWUSER));
        R(setns(fd, CLONE_NEWUSER));
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/uts", pid);
        st = MUST(open(path, O_RDONLY));
        R(ioctl(st, NS_GET_PARENT));
        R(setns(st, 0));
        MUST(gethostname(name, sizeof(name)));
        printf("name %s\n", name);
        (void)fflush(stdout);
        _exit(0);
    }
    MUST(wait(&st));
    if (!fork()) {
        int pidfd = (int)MUST(syscall(SYS_pidfd_open, pid, 0));

        R(setns(pidfd, 0));
        R(setns(pidfd, CLONE_NEWUSER | CLONE_NEWUTS));
        MUST(gethostname(name, sizeof(name)));
        printf("name %s\n", name);
        (void)fflush(stdout);
        _exit(0);
    }
    MUST(wait(&st));
    MUST(write(to_child[1], "xx", 2));
    MUST(wait(&st));
}

/* Into another root without a place for the old one: it lies over the new one at "." until it is
 * detached. */
static void roots(void)
{
    int st;

    SECTION("pivot_root onto itself");
    if (!fork()) {
        uid_t uid = getuid();
        gid_t gid = getgid();

        MUST(unshare(CLONE_NEWUSER | CLONE_NEWNS));
        map_root(uid, gid);
        R(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
        MUST(mkdir("new", 0755));
        R(umount2("new", MNT_DETACH));
        R(mount("none", "new", "tmpfs", 0, "mode=755"));
        MUST(chdir("new"));
        MUST(mkdir("in", 0755));
        R(syscall(SYS_pivot_root, ".", "."));
        TRUTH("the new one is at /", access("/in", F_OK) == 0 && access("/etc", F_OK) < 0);
        R(umount2("in", MNT_DETACH));
        R(umount2(".", MNT_DETACH));
        R(chdir(".."));
        TRUTH("and nothing else", access("in", F_OK) == 0 && access("etc", F_OK) < 0);
        R(mount("none", "in", "tmpfs", 0, NULL));
        MUST(chdir("in"));
        R(mount("none", ".", "tmpfs", 0, NULL));
        R(umount2(".", 0));
        R(umount2(".", 0));
        R(umount2(".", MNT_DETACH));
        R(umount2(".", MNT_DETACH));
        _exit(0);
    }
    MUST(wait(&st));
    wait_status("st", st);
}

int main(void)
{
    enter_scratch();
    MUST(chmod(".", 0777));
    users();
    pids();
    networks();
    filters();
    synchronizing();
    entering();
    roots();
    leave_scratch();
    return 0;
}
