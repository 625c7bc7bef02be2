/*
 * Reaches for what is outside: other processes by every door that /proc and the process calls
 * offer, the host's devices and tunables, the root beyond the root, forged descriptors in flight.
 * Arguments: a directory that is shared for writing, and one next to it that is not; outside of a
 * sandbox ("outside") most of it works, which is what that control shows. "root" and "forged": only
 * what the controls of one protection look for.
 */
#include "attack.h"
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static int bad;

static void is(bool refused, const char *what)
{
    if (refused)
        return;
    fprintf(stderr, "got: %s\n", what);
    bad++;
}

/* Host pids that must not be there: the first processes' names tell. */
static void processes(void)
{
    char path[64], text[64], *local = text;
    struct iovec l = {local, sizeof(text)}, r = {(void *)0x400000, sizeof(text)};
    int seen = 0;

    for (pid_t pid = 1; pid < 3000; pid++) {
        static const char *const doors[] = {
            "root/etc/hostname", "cwd/.", "fd/0", "mem", "exe", "ns/pid", "maps"};

        if (pid == getpid() || pid == getppid() || pid == 1)
            continue;
        if (kill(pid, 0) == 0)
            seen++;
        for (size_t i = 0; i < sizeof(doors) / sizeof(*doors); i++) {
            snprintf(path, sizeof(path), "/proc/%d/%s", pid, doors[i]);
            if (access(path, F_OK) == 0)
                is(false, path);
        }
        if (pid < 300 && process_vm_writev(pid, &l, 1, &r, 1, 0) > 0)
            is(false, "process_vm_writev to another process");
        if (pid < 300 && ptrace(PTRACE_ATTACH, pid, 0, 0) == 0)
            is(false, "ptrace of another process");
        if (pid < 300 && syscall(SYS_pidfd_open, pid, 0) >= 0)
            is(false, "pidfd of another process");
    }
    is(seen == 0, "signals to processes of the host");
}

static void devices(const char *dir)
{
    static const struct {
        const char *name;
        mode_t type;
        int major, minor;
    } nodes[] = {{"mem", S_IFCHR, 1, 1},
                 {"kmsg", S_IFCHR, 1, 11},
                 {"disk", S_IFBLK, 254, 0},
                 {"loop", S_IFBLK, 7, 0},
                 {"fuse", S_IFCHR, 10, 229}};
    static const char *const files[] = {"/dev/mem",
                                        "/dev/kmem",
                                        "/dev/port",
                                        "/dev/kvm",
                                        "/dev/vda",
                                        "/dev/sda",
                                        "/dev/loop-control",
                                        "/dev/net/tun",
                                        "/proc/sysrq-trigger",
                                        "/proc/sys/vm/panic_on_oom",
                                        "/proc/kcore",
                                        "/proc/kmem",
                                        "/proc/1/mem",
                                        "/sys/kernel/uevent_helper",
                                        "/sys/fs/cgroup/release_agent",
                                        "/sys/kernel/debug/x",
                                        "/sys/firmware/efi/efivars/x"};
    char path[256];

    int own = open("/proc/sys/kernel/core_pattern", O_WRONLY); /* the sandbox's, if anybody's */

    (void)!write(own, "|/pwned", 7);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, nodes[i].name);
        (void)mknod(path, nodes[i].type | 0666, makedev(nodes[i].major, nodes[i].minor));
        is(open(path, O_RDWR | O_NONBLOCK) < 0, path);
        (void)unlink(path);
        snprintf(path, sizeof(path), "/tmp/%s.node", nodes[i].name);
        (void)mknod(path, nodes[i].type | 0666, makedev(nodes[i].major, nodes[i].minor));
        is(open(path, O_RDWR | O_NONBLOCK) < 0, path);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (strcmp(files[i], "/proc/1/mem") || getpid() != 1)
            is(open(files[i], O_WRONLY) < 0 || !strcmp(files[i], "/proc/1/mem"), files[i]);
}

/* The other directory lies outside of the shared one: what we do to it must stay ours. */
static void files(const char *dir, const char *other)
{
    char a[512], b[512];
    int fd = open(dir, O_RDONLY | O_DIRECTORY), out;

    snprintf(a, sizeof(a), "%s/canary", other);
    snprintf(b, sizeof(b), "%s/hard", dir);
    is(link(a, b) < 0, "hard link to a file outside");
    is(linkat(AT_FDCWD, a, AT_FDCWD, b, AT_SYMLINK_FOLLOW) < 0, "hard link, followed");
    is(rename(a, b) < 0, "rename from outside");
    snprintf(b, sizeof(b), "%s/link", dir);
    (void)symlink(a, b);
    out = open(b, O_WRONLY | O_TRUNC); /* our own copy */
    (void)!write(out, "pwned", 5);
    (void)chmod(b, 04777);
    (void)truncate(b, 1);
    snprintf(b, sizeof(b), "../%s/canary", strrchr(other, '/') + 1);
    out = openat(fd, b, O_WRONLY | O_TRUNC);
    (void)!write(out, "pwned", 5);
    (void)unlinkat(fd, b, 0);
    (void)mkdirat(fd, "up", 0755);
    snprintf(b, sizeof(b), "up/../../%s/made", strrchr(other, '/') + 1);
    (void)mkdirat(fd, b, 0755);
    (void)renameat(fd, "up", fd, "../moved-out");
    snprintf(a, sizeof(a), "%s/made2", other);
    (void)mkdir(a, 0777);
    (void)mknodat(fd, "whiteout", S_IFCHR, 0);
}

/* From a root that is all that the process has. */
static bool leaves_jail(void)
{
    struct stat jail, after;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        stat("/tmp/jail", &jail);
        if (chroot("/tmp/jail") < 0 || chdir("/") < 0)
            _exit(2);
        for (int i = 0; i < 64; i++)
            (void)!chdir("..");
        stat(".", &after);
        _exit(after.st_ino != jail.st_ino);
    }
    status = reap(pid, 1000);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void beyond_root(void)
{
    struct stat before, after;

    stat("/", &before);
    (void)mkdir("/tmp/jail", 0755);
    is(!leaves_jail(), "the way out of a chroot");
    if (chroot("/tmp/jail") == 0) {
        for (int i = 0; i < 64; i++)
            (void)!chdir("..");
        (void)!chroot(".");
        stat("/", &after);
        is(after.st_ino == before.st_ino, "another root by chroot");
    }
}

static void no_such_calls(void)
{
    struct {
        unsigned bytes;
        int type;
        unsigned char h[128];
    } handle = {.bytes = 8, .type = 1, .h = {2}};

    is(syscall(SYS_open_by_handle_at, open("/", O_RDONLY), &handle, O_RDONLY) < 0,
       "a file by its handle");
    (void)mkdir("/tmp/m", 0755);
    for (const char *const *t = (const char *const[]){"ext4", "devtmpfs", "cgroup", "debugfs",
                                                      "securityfs", "bpf", NULL};
         *t; t++)
        is(mount("/dev/vda", "/tmp/m", *t, 0, NULL) < 0, *t);
    is(syscall(SYS_bpf, 0, &handle, 64) < 0, "bpf");
    is(syscall(SYS_init_module, "x", 1, "") < 0, "init_module");
    is(syscall(SYS_kexec_load, 0, 0, 0, 0) < 0, "kexec");
    is(syscall(SYS_perf_event_open, &handle, 0, -1, -1, 0) < 0, "perf_event_open");
    is(syscall(SYS_userfaultfd, 0) < 0, "userfaultfd");
    is(syscall(SYS_io_uring_setup, 8, &handle) < 0, "io_uring");
    is(syscall(SYS_iopl, 3) < 0, "iopl");
}

/* A message of no length, of a level that nobody looks at: who goes on to the next stays there. */
static void endless(void *arg)
{
    char buf[256] __attribute__((aligned(8))) = {0};
    struct iovec iov = {buf, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf)};
    int p[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, p) == 0)
        (void)sendmsg(p[0], &m, MSG_DONTWAIT);
    (void)arg;
}

static void forged(void)
{
    char buf[65536] __attribute__((aligned(8)));
    int p[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, p) < 0)
        return;
    for (int i = 0; i < 3000; i++) {
        struct iovec iov = {buf, 1};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = buf,
                           .msg_controllen = rnd() % 3 ? rnd() % 4096 : rnd()};
        struct cmsghdr *h = (void *)buf;

        for (int k = 0; k < 64; k++)
            ((uint32_t *)(void *)buf)[k + 4] = (uint32_t)(rnd() % 8 ? rnd() % 10 : rnd());
        h->cmsg_len = rnd() % 3 ? rnd() % 600 : rnd();
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = 1 + (int)(rnd() % 3);
        (void)sendmsg(p[0], &m, MSG_DONTWAIT);
        m.msg_controllen = rnd() % 5000;
        if (recvmsg(p[1], &m, MSG_DONTWAIT) > 0 && m.msg_controllen)
            syscall(SYS_close_range, p[1] + 1, ~0U, 0);
    }
}

static void abstract_names(const char *canary)
{
    static const char *const names[] = {"/run/dbus/system_bus_socket",
                                        "/run/containerd/containerd.sock", "/run/berm/agent.sock",
                                        "/run/systemd/private", "/var/run/docker.sock"};
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        int s = socket(AF_UNIX, i == 2 ? SOCK_SEQPACKET : SOCK_STREAM, 0);

        strcpy(a.sun_path, names[i]);
        is(connect(s, (void *)&a, sizeof(a)) < 0, names[i]);
    }
    /* The host's listener of the test: abstract, named like the directory outside. */
    a.sun_path[0] = 0;
    strncpy(a.sun_path + 1, canary, sizeof(a.sun_path) - 2);
    is(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(canary))) < 0,
       "an abstract socket of the host");
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    if (argc > 3 && strcmp(argv[3], "root") == 0) {
        beyond_root();
        return verdict(bad, "reach");
    }
    if (argc > 3 && strcmp(argv[3], "forged") == 0) {
        become_judge();
        (void)apart(endless, NULL, 500);
        return verdict(bad, "reach");
    }
    if (argc > 3) { /* only what harms nobody */
        files(argv[1], argv[2]);
        abstract_names(argv[2]);
        fprintf(stderr, "%d got\n", bad);
        return bad ? 0 : 1;
    }
    processes();
    devices(argv[1]);
    files(argv[1], argv[2]);
    abstract_names(argv[2]);
    forged();
    endless(NULL);
    no_such_calls();
    beyond_root();
    return verdict(bad, "reach");
}
