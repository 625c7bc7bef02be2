/* /proc, /sys and /dev as programs read them. */
#include "t.h"
#include <ctype.h>
#include <dirent.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static char text[262144];

static const char *slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    ssize_t r;

    text[0] = 0;
    if (fd < 0)
        return NULL;
    while (n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)r;
    text[n] = 0;
    (void)close(fd);
    return text;
}

static bool has(const char *path, const char *what)
{
    return slurp(path) && strstr(text, what);
}

static void self(void)
{
    char path[64], to[256];
    unsigned long start, end;
    char perm[5];
    bool stack = false, code = false, sorted = true;
    unsigned long before = 0, local = (unsigned long)&start, fn = (unsigned long)&self;

    SECTION("maps");
    if (!slurp("/proc/self/maps"))
        puts("none");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "%lx-%lx %4s", &start, &end, perm) != 3) {
            printf("odd line\n");
            continue;
        }
        sorted &= start >= before && end > start;
        before = end;
        if (local >= start && local < end)
            stack = !strncmp(perm, "rw-p", 4) && strstr(line, "[stack]");
        if (fn >= start && fn < end)
            code = !strncmp(perm, "r-xp", 4) && strchr(line, '/');
    }
    printf("%d %d %d\n", stack, code, sorted);
    OK(has("/proc/self/maps", "[vdso]"));
    OK(has("/proc/self/smaps", "Rss:"));
    SECTION("status");
    static const char *const keys[] = {"Name:\t",          "State:\tR (running)",
                                       "Tgid:\t",          "Pid:\t",
                                       "PPid:\t",          "Uid:\t0\t0\t0\t0",
                                       "Gid:\t0\t0\t0\t0", "Threads:\t1",
                                       "VmRSS:",           "VmSize:",
                                       "SigCgt:",          "CapEff:",
                                       "NoNewPrivs:\t",    "Seccomp:\t",
                                       "Cpus_allowed:",    "FDSize:",
                                       "SigBlk:"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        TRUTH(keys[i], has("/proc/self/status", keys[i]));
    int pid = 0, ppid = 0;
    char comm[32], state;
    MUST(prctl(PR_SET_NAME, "a (name) b"));
    R(sscanf(slurp("/proc/self/stat"), "%d (%31[^\n]", &pid, comm));
    R(pid == getpid());
    R(sscanf(strrchr(text, ')') + 2, "%c %d", &state, &ppid));
    printf("%c %d\n", state, ppid == getppid());
    show_file("/proc/self/comm");
    int fields = 0;
    for (char *s = strrchr(text, ')'); *s; s++)
        fields += *s == ' ';
    R(fields);
    R(slurp("/proc/self/statm") && sscanf(text, "%lu %lu", &start, &end) == 2 && start > end);
    SECTION("links");
    R(readlink("/proc/self/exe", to, sizeof(to)) > 0);
    R(readlink("/proc/self", to, sizeof(to)) > 0);
    (void)snprintf(path, sizeof(path), "/proc/%d/cwd", getpid());
    R(readlink(path, to, sizeof(to)) > 0);
    to[MUST(readlink("/proc/self/root", to, sizeof(to)))] = 0;
    puts(to);
    int fd = MUST(open("/dev/null", O_RDWR | O_APPEND)), p[2];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    to[MUST(readlink(path, to, sizeof(to)))] = 0;
    puts(to);
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    OK(has(path, "pos:\t0\nflags:\t0102002\n") || has(path, "pos:\t0\nflags:\t02002\n"));
    MUST(pipe(p));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
    to[MUST(readlink(path, to, sizeof(to)))] = 0;
    R(strncmp(to, "pipe:[", 6));
    int again = open(path, O_WRONLY); /* opening a pipe through /proc */
    R(again >= 0 && write(again, "x", 1) == 1);
    R(read(p[0], to, 1));
    R(access("/proc/self/fd/999", F_OK));
    int n = 0, first = -1;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));)
        if (isdigit(e->d_name[0]))
            n++, first = first < 0 ? atoi(e->d_name) : first;
    R(n >= 5);
    (void)closedir(d);
    (void)snprintf(path, sizeof(path), "/proc/%d", getpid());
    d = opendir("/proc");
    n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += atoi(e->d_name) == getpid();
    R(n);
    R(access("/proc/99999999", F_OK));
    R(mkdir("/proc/x", 0700) == -1);
    R(open("/proc/new", O_CREAT | O_RDWR, 0600) == -1);
    R(unlink("/proc/version") == -1);
}

static void memory(void)
{
    static volatile int word = 1234;
    int fd = MUST(open("/proc/self/mem", O_RDWR)), v = 0;

    SECTION("mem, environ, cmdline");
    R(pread(fd, &v, sizeof(v), (off_t)(uintptr_t)&word));
    R(v);
    v = 4321;
    R(pwrite(fd, &v, sizeof(v), (off_t)(uintptr_t)&word));
    R(word);
    R(pread(fd, &v, sizeof(v), 8));
    slurp("/proc/self/cmdline");
    R(strlen(text) > 0);
    OK(has("/proc/self/environ", "="));
    OK(has("/proc/self/limits", "Max open files"));
    OK(has("/proc/self/mounts", " / "));
    OK(has("/proc/self/mountinfo", " / / "));
    OK(has("/proc/self/cgroup", ":/"));
    OK(slurp("/proc/self/oom_score_adj") && isdigit(text[strspn(text, "-")]));
    OK(slurp("/proc/self/io") == NULL || strstr(text, "rchar"));
    OK(access("/proc/self/task", X_OK) == 0);
    OK(access("/proc/self/ns/mnt", F_OK) == 0);
    OK(access("/proc/thread-self/comm", F_OK) == 0);
}

static void machine(void)
{
    struct utsname u;
    struct sysinfo si;
    double up;

    SECTION("machine");
    OK(has("/proc/cpuinfo", "processor\t: 0"));
    OK(has("/proc/meminfo", "MemTotal:") && strstr(text, "MemAvailable:"));
    OK(has("/proc/stat", "cpu ") && strstr(text, "btime "));
    R(slurp("/proc/uptime") && sscanf(text, "%lf", &up) == 1 && up > 0);
    R(slurp("/proc/loadavg") && strlen(text) > 10);
    OK(has("/proc/version", "Linux version "));
    OK(has("/proc/filesystems", "proc"));
    OK(has("/proc/devices", "Character devices"));
    OK(slurp("/proc/sys/kernel/pid_max") && atoi(text) > 1000);
    OK(slurp("/proc/sys/kernel/ostype") && !strcmp(text, "Linux\n"));
    OK(slurp("/proc/sys/kernel/random/uuid") && strlen(text) == 37);
    OK(slurp("/proc/sys/vm/overcommit_memory") && isdigit(text[0]));
    OK(slurp("/proc/sys/fs/file-max") && isdigit(text[0]));
    OK(has("/proc/net/dev", "lo:"));
    OK(has("/proc/net/tcp", "local_address"));
    OK(has("/proc/net/unix", "RefCount"));
    OK(has("/proc/net/route", "Iface"));
    OK(access("/sys/class/net/lo", F_OK) == 0);
    OK(slurp("/sys/devices/system/cpu/online") && text[0] == '0');
    R(uname(&u));
    puts(u.sysname);
    puts(u.machine);
    R(sysinfo(&si));
    R(si.totalram > 0 && si.uptime > 0 && si.procs > 0);
    R(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    struct statfs sf;
    R(statfs("/proc", &sf));
    printf("%lx\n", (long)sf.f_type);
}

static void devices(void)
{
    char b[64];
    struct stat st;
    static const char *const names[] = {"/dev/null",    "/dev/zero", "/dev/full", "/dev/random",
                                        "/dev/urandom", "/dev/tty",  "/dev/ptmx"};

    SECTION("devices");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (stat(names[i], &st) < 0)
            printf("%s: %s\n", names[i], strerrorname_np(errno));
        else
            printf("%s: %d %lx\n", names[i], S_ISCHR(st.st_mode), (long)st.st_rdev & 0xffff);
    }
    R(read(MUST(open("/dev/null", O_RDWR)), b, 64));
    R(write(MUST(open("/dev/null", O_RDWR)), b, 64));
    R(read(MUST(open("/dev/zero", O_RDWR)), b, 64));
    R(b[63]);
    R(write(MUST(open("/dev/full", O_RDWR)), b, 64));
    R(read(MUST(open("/dev/urandom", O_RDONLY)), b, 64));
    R(read(MUST(open("/dev/random", O_RDONLY)), b, 16));
    R(access("/dev/shm", W_OK));
    R(access("/dev/pts", X_OK));
    R(access("/dev/fd/0", F_OK));
    R(access("/dev/stdin", F_OK));
    R(getentropy(b, 64));
    R(syscall(SYS_getrandom, b, 64, 0));
    R(syscall(SYS_getrandom, b, 64, 0x100));
}

/* /proc/PID/task/TID/children, of which supervisors and tests learn whom a process has started. */
static void children(void)
{
    char path[64], is[64] = "", expected[64];
    int p[2], fd, n;
    pid_t a, b;

    SECTION("children");
    MUST(pipe(p));
    a = fork();
    if (a == 0) { /* has none itself, for all that its file says */
        snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
        n = (int)read(open(path, O_RDONLY), is, sizeof(is));
        _exit(read(p[0], is, 1) == 1 ? n : 99);
    }
    b = fork();
    if (b == 0)
        _exit(0);
    MUST(waitid(P_PID, (id_t)b, &(siginfo_t){0}, WEXITED | WNOWAIT)); /* a zombie is one */
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", getpid(), getpid());
    snprintf(expected, sizeof(expected), "%d %d ", a, b);
    fd = MUST(open(path, O_RDONLY));
    n = (int)read(fd, is, sizeof(is) - 1);
    TRUTH("both, in order", n > 0 && strcmp(is, expected) == 0);
    MUST(waitpid(b, NULL, 0));
    memset(is, 0, sizeof(is));
    n = (int)pread(fd, is, sizeof(is) - 1, 0);
    TRUTH("one is left", n == (int)strlen(is) && n > 0 && atoi(is) == a);
    MUST((int)write(p[1], "x", 1));
    MUST(waitpid(a, &n, 0));
    RESULT("of one without children", WEXITSTATUS(n));
    RESULT("then none", pread(fd, is, sizeof(is), 0));
    close(fd);
}

/* What does not fit is cut off, whoever makes the text. */
static void short_of_room(void)
{
    static const char *const links[] = {"/proc/self/exe",    "/proc/self/cwd", "/proc/self/fd/1",
                                        "/proc/self/ns/pid", "/proc/self",     "/proc/mounts"};
    char b[8];

    SECTION("links, short of room");
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        memset(b, '#', sizeof(b));
        RESULT(links[i], readlink(links[i], b, 1));
        OK(b[0] != '#' && b[1] == '#');
    }
}

int main(void)
{
    self();
    children();
    memory();
    machine();
    devices();
    short_of_room();
    return 0;
}
