/* Core files (core(5)): when one is written, and what is in it. */
#include "t.h"
#include <elf.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>

static char marker[64] = "this was in memory";
static pthread_barrier_t both;

static void limit(rlim_t n)
{
    struct rlimit l = {n, n};

    MUST(setrlimit(RLIMIT_CORE, &l));
}

static void *other(void *arg)
{
    (void)pthread_barrier_wait(&both);
    for (;;)
        pause();
    return arg;
}

/* Ends by sig in a child: how, and whether with a core. */
static void die(const char *name, int sig, rlim_t n, void (*before)(void))
{
    siginfo_t info = {0};
    int status;
    pid_t pid;

    (void)unlink("core");
    (void)fflush(stdout);
    pid = MUST(fork());
    if (!pid) {
        limit(n);
        if (before)
            before();
        (void)raise(sig);
        _exit(9);
    }
    MUST(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    MUST(waitpid(pid, &status, 0));
    printf("%s: %s, %s, code %d, file %s\n", name, sigabbrev_np(WTERMSIG(status)),
           WCOREDUMP(status) ? "dumped" : "no dump", info.si_code,
           access("core", F_OK) == 0 ? "there" : "none");
}

static void undumpable(void)
{
    MUST(prctl(PR_SET_DUMPABLE, 0));
}

static void in_the_way(void)
{
    MUST(symlink("elsewhere", "core"));
}

static void changed_directory(void)
{
    MUST(chdir("sub"));
}

static void threads(void)
{
    pthread_t t;

    (void)pthread_barrier_init(&both, NULL, 2);
    (void)pthread_create(&t, NULL, other, NULL);
    (void)pthread_barrier_wait(&both);
    strcpy(marker, "changed before the end");
}

static void note(const Elf64_Nhdr *n, const char *desc, int *n_threads)
{
    const struct elf_prstatus *status = (const void *)desc;
    const struct elf_prpsinfo *info = (const void *)desc;
    const siginfo_t *si = (const void *)desc;
    bool first;

    switch (n->n_type) {
    case NT_PRSTATUS:
        first = (*n_threads)++ == 0;
        printf("thread %d: size %u, signal %d, %s\n", *n_threads, n->n_descsz, status->pr_cursig,
               first ? "the first" : "another");
        OK(((const struct { unsigned long r[27]; } *)&status->pr_reg)->r[16] != 0);
        break;
    case NT_PRPSINFO:
        printf("process: size %u, %s, uid %d\n", n->n_descsz, info->pr_fname, info->pr_uid);
        break;
    case NT_SIGINFO:
        printf("information: size %u, signal %d, code %d\n", n->n_descsz, si->si_signo,
               si->si_code);
        break;
    case NT_PRFPREG:
        printf("floating point: size %u\n", n->n_descsz);
        break;
    case NT_AUXV:
    case NT_FILE:
        printf("%s\n", n->n_type == NT_AUXV ? "auxiliary vector" : "mapped files");
        break;
    default:
        break;
    }
}

static void look(void)
{
    int fd = MUST(open("core", O_RDONLY)), n_threads = 0;
    struct stat st;
    char *core;
    Elf64_Ehdr *e;
    Elf64_Phdr *p;
    bool found = false;

    MUST(fstat(fd, &st));
    printf("mode %o\n", st.st_mode);
    core = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    e = (void *)core;
    OK(memcmp(e->e_ident, ELFMAG, 4) == 0 && e->e_type == ET_CORE && e->e_machine == EM_X86_64);
    p = (void *)(core + e->e_phoff);
    for (int i = 0; i < e->e_phnum; i++) {
        if (p[i].p_type == PT_NOTE)
            for (size_t at = 0; at < p[i].p_filesz;) {
                const Elf64_Nhdr *n = (void *)(core + p[i].p_offset + at);
                size_t name = (n->n_namesz + 3u) & ~3u, desc = (n->n_descsz + 3u) & ~3u;

                note(n, (const char *)(n + 1) + name, &n_threads);
                at += sizeof(*n) + name + desc;
            }
        if (p[i].p_type == PT_LOAD && (uintptr_t)marker >= p[i].p_vaddr &&
            (uintptr_t)marker < p[i].p_vaddr + p[i].p_filesz)
            found = strcmp(core + p[i].p_offset + ((uintptr_t)marker - p[i].p_vaddr),
                           "changed before the end") == 0;
    }
    R(n_threads);
    TRUTH("memory is in it", found);
}

static long filter(const char *set)
{
    int fd = MUST(open("/proc/self/coredump_filter", O_RDWR));
    char now[32] = "";
    long r = set ? write(fd, set, strlen(set)) : 0;

    if (r >= 0) {
        MUST(pread(fd, now, sizeof(now) - 1, 0));
        printf("filter %s", now);
        (void)fflush(stdout);
    }
    (void)close(fd);
    return r;
}

/* The same core without anonymous memory: marker is in the program's data, which is. */
static void nothing_of_ours(void)
{
    (void)filter("0x10");
}

static void smaller(void)
{
    struct stat whole, part;

    SECTION("filter");
    die("all", SIGABRT, RLIM_INFINITY, NULL);
    MUST(stat("core", &whole));
    die("headers", SIGABRT, RLIM_INFINITY, nothing_of_ours);
    MUST(stat("core", &part));
    OK(part.st_size < whole.st_size);
    R(filter(NULL));
    R(filter("0xffff"));
    R(filter("21\n"));
    R(filter("-1"));
    R(filter("x"));
    CHILD("inherited", filter(NULL));
    R(filter("0x33"));
}

int main(void)
{
    enter_scratch();
    MUST(mkdir("sub", 0755));
    die("no limit given", SIGABRT, 0, NULL);
    die("below a page", SIGABRT, 100, NULL);
    die("abort", SIGABRT, RLIM_INFINITY, NULL);
    die("segmentation fault", SIGSEGV, RLIM_INFINITY, NULL);
    die("quit", SIGQUIT, RLIM_INFINITY, NULL);
    die("terminate", SIGTERM, RLIM_INFINITY, NULL);
    die("kill", SIGKILL, RLIM_INFINITY, NULL);
    die("not dumpable", SIGABRT, RLIM_INFINITY, undumpable);
    die("a link in the way", SIGABRT, RLIM_INFINITY, in_the_way);
    die("elsewhere", SIGABRT, RLIM_INFINITY, changed_directory);
    OK(access("sub/core", F_OK) == 0);
    die("cut off", SIGABRT, 8192, NULL);
    die("two threads", SIGABRT, RLIM_INFINITY, threads);
    look();
    smaller();
    leave_scratch();
    return 0;
}
