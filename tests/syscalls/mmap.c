/* Memory: mapping in all kinds, protection, moving, sharing, advice. */
#include "t.h"
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/shm.h>

enum { PAGE = 4096 };
static sigjmp_buf back;

static void on_fault(int sig)
{
    siglongjmp(back, sig);
}

/* What touching p gives: the byte, or the signal's name. */
static void touch(const char *name, volatile char *p, bool write)
{
    int sig = sigsetjmp(back, 1);

    if (sig)
        printf("%s: %s\n", name, sigabbrev_np(sig));
    else if (write)
        *p = 'w', printf("%s: written\n", name);
    else
        printf("%s: %d\n", name, *p);
    (void)fflush(stdout);
}

static char *map(size_t size, int prot, int flags, int fd, off_t at)
{
    char *p = mmap(NULL, size, prot, flags, fd, at);

    if (p == MAP_FAILED)
        printf("mmap: %s\n", strerrorname_np(errno));
    return p;
}

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static void arguments(void)
{
    SECTION("arguments");
    R(mmap(NULL, 0, PROT_READ, ANON, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, 100) == MAP_FAILED ? -1 : 0);
    R(mmap((void *)100, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, 1UL << 48, PROT_READ, ANON, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, ANON | MAP_HUGETLB, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, ~0, 0, 0) == MAP_FAILED ? -1 : 0);
    R(munmap((void *)100, PAGE));
    R(munmap((void *)0x10000, 0));
    R(munmap((void *)0x10000000, PAGE));
    R(mprotect((void *)0x10000000, PAGE, PROT_READ));
    R(mprotect((void *)0x10000001, PAGE, PROT_READ));
    int ro = MUST(open("f", O_RDONLY)), wo = MUST(open("f", O_WRONLY));
    R(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, ro, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED ? -1 : 0);
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
    R(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
    int d = MUST(open(".", O_RDONLY)), ends[2];
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, d, 0) == MAP_FAILED ? -1 : 0);
    MUST(pipe(ends));
    R(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0) == MAP_FAILED ? -1 : 0);
    char *z = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, MUST(open("/dev/zero", O_RDWR)), 0);
    touch("/dev/zero", z, false);
    p = map(3 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
    R(mmap(p + PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
    R(mmap(p + PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p + PAGE);
    R(mmap(p + PAGE, PAGE, PROT_READ, ANON, -1, 0) != p + PAGE);
}

static void protections(void)
{
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

    SECTION("protection");
    memset(p, 'x', 4 * PAGE);
    R(mprotect(p + PAGE, PAGE, PROT_READ));
    touch("read", p + PAGE, false);
    touch("write", p + PAGE, true);
    R(mprotect(p + PAGE, PAGE, PROT_NONE));
    touch("read of none", p + PAGE, false);
    R(read(MUST(open("f", O_RDONLY)), p + PAGE, 5));
    R(write(MUST(open("g", O_CREAT | O_RDWR, 0600)), p + PAGE - 3, 10));
    R(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
    touch("again", p + PAGE, false);
    R(munmap(p + 2 * PAGE, PAGE));
    touch("hole", p + 2 * PAGE, false);
    touch("behind", p + 3 * PAGE, false);
    R(mprotect(p, 4 * PAGE, PROT_READ));
    R(munmap(p, 4 * PAGE));
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    p = map(PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
    memcpy(p, code, sizeof(code));
    MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
    R(((int (*)(void))(void *)p)());
}

static void files(void)
{
    int fd = MUST(open("f", O_RDWR));
    char *s = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *v = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), b[8] = "";

    SECTION("files");
    printf("%.5s\n", s);
    R(pwrite(fd, "HE", 2, 0));
    printf("%.5s\n", s);
    s[2] = 'Q';
    R(pread(fd, b, 5, 0));
    puts(b);
    v[0] = 'p';
    R(pread(fd, b, 5, 0));
    puts(b);
    touch("rest of the page", s + 100, false);
    touch("page behind the end", s + PAGE, false);
    MUST(ftruncate(fd, 2 * PAGE));
    touch("after growing", s + PAGE, true);
    MUST(ftruncate(fd, 10));
    touch("after shrinking", s + PAGE, false);
    R(msync(s, PAGE, MS_SYNC));
    R(msync(s + 1, PAGE, MS_SYNC));
    R(msync(s, PAGE, MS_SYNC | MS_ASYNC));
    CHILD("shared with a child", s[3] = 'C');
    R(s[3]);
    R(close(fd));
    R(unlink("f"));
    R(s[3]);
    put("f", "hello\n");
    fd = MUST(open("big", O_CREAT | O_RDWR, 0600));
    MUST(pwrite(fd, "end", 3, 5 * PAGE));
    s = map(PAGE, PROT_READ, MAP_PRIVATE, fd, 5 * PAGE);
    printf("%s\n", s);
}

static bool moved(int fd, const struct timespec *since, bool atime)
{
    struct stat st;

    MUST(fstat(fd, &st));
    return memcmp(since, atime ? &st.st_atim : &st.st_mtim, sizeof(*since)) != 0;
}

/* Reading, mapping and writing through a mapping show in a file's times. */
static void times_of(void)
{
    struct timespec pause = {0, 20000000};
    struct stat st;
    int fd = MUST(open("times", O_CREAT | O_RDWR, 0600));
    char *s, b[4];

    SECTION("times");
    MUST(write(fd, "hello", 5));
    MUST(fstat(fd, &st));
    (void)nanosleep(&pause, NULL);
    R(pread(fd, b, 4, 0));
    TRUTH("a read moves atime", moved(fd, &st.st_atim, true));
    TRUTH("and not mtime", !moved(fd, &st.st_mtim, false));
    MUST(pwrite(fd, "H", 1, 0));
    TRUTH("a write moves mtime", moved(fd, &st.st_mtim, false));
    MUST(fstat(fd, &st));
    (void)nanosleep(&pause, NULL);
    s = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRUTH("mmap moves atime", moved(fd, &st.st_atim, true));
    MUST(fstat(fd, &st));
    (void)nanosleep(&pause, NULL);
    s[1] = 'E';
    R(msync(s, PAGE, MS_SYNC));
    TRUTH("msync moves mtime", moved(fd, &st.st_mtim, false));
    R(munmap(s, PAGE));
    R(close(fd));
    R(unlink("times"));
}

static void sharing(void)
{
    int *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

    SECTION("sharing");
    *p = *q = 1;
    CHILD("child", {
        *p = 2;
        *q = 2;
    });
    printf("%d %d\n", *p, *q);
    CHILD("grandchild", CHILD("inner", *p += 5));
    R(*p);
    R(madvise(q, PAGE, MADV_DONTFORK));
    CHILD("not inherited", {
        (void)signal(SIGSEGV, SIG_DFL);
        *q = 3;
    });
    R(madvise(q, PAGE, MADV_DOFORK));
    R(madvise(q, PAGE, MADV_WIPEONFORK));
    CHILD("wiped", R(*q));
    R(madvise(q, PAGE, MADV_DONTNEED));
    R(*q);
    R(madvise(p, PAGE, MADV_DONTNEED));
    R(*p);
    R(madvise(p, PAGE, 9999));
    R(madvise((char *)p + 1, PAGE, MADV_NORMAL));
    R(madvise(bad_address, 0, MADV_NORMAL));
    int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
    int *a = shmat(id, NULL, 0), *b = shmat(id, NULL, 0);
    *a = 77;
    R(*b);
    CHILD("shm", *b = 78);
    R(*a);
    R(shmdt(a));
    R(shmdt(a));
    R(shmctl(id, IPC_RMID, NULL));
    R(*b);
    R(shmdt(b));
}

static void moving(void)
{
    char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0), *q;

    SECTION("mremap");
    strcpy(p, "moved");
    q = mremap(p, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    R(q != MAP_FAILED && !strcmp(q, "moved"));
    q[63 * PAGE] = 1;
    R(mremap(q, 64 * PAGE, PAGE, 0) == q);
    touch("cut off", q + PAGE, false);
    p = map(4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
    R(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE);
    puts(p + PAGE);
    touch("old place", q, false);
    R(mremap(p, 2 * PAGE, 8 * PAGE, 0) == MAP_FAILED);
    R(mremap((void *)0x10000000, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    R(mremap(p + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    R(mremap(p, PAGE, 0, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    R(mremap(p, PAGE, PAGE, 99) == MAP_FAILED ? -1 : 0);
    int fd = MUST(memfd_create("m", 0));
    MUST(ftruncate(fd, 4 * PAGE));
    char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
    strcpy(m, "file");
    m = mremap(m, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    puts(m);
    m[PAGE] = 'z';
    char c;
    MUST(pread(fd, &c, 1, 2 * PAGE));
    R(c);
    SECTION("mremap of nothing: a copy");
    p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(p + PAGE, "shared");
    q = mremap(p + PAGE, 0, PAGE, MREMAP_MAYMOVE);
    R(q != MAP_FAILED && !strcmp(q, "shared"));
    strcpy(q, "through the copy");
    puts(p + PAGE);
    R(munmap(p, 2 * PAGE));
    puts(q);
    R(mremap(q, 0, PAGE, 0) == MAP_FAILED ? -1 : 0);
    p = map(2 * PAGE, PROT_READ, ANON, -1, 0);
    R(mremap(q, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
    puts(p);
    R(mremap(p + PAGE, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    R(mremap(m, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m) == MAP_FAILED ? -1 : 0);
}

static void breaks(void)
{
    char *start = sbrk(0);

    SECTION("brk");
    R(brk(start + 3 * PAGE));
    start[2 * PAGE] = 'b';
    R(sbrk(0) == (void *)(start + 3 * PAGE));
    R(brk(start + PAGE));
    touch("given back", start + 3 * PAGE, false);
    R(brk(start + 3 * PAGE));
    touch("fresh again", start + 2 * PAGE, false);
    R(syscall(SYS_brk, 0) == (long)(start + 3 * PAGE));
    R(syscall(SYS_brk, 100) == (long)(start + 3 * PAGE));
}

static void locking(void)
{
    unsigned char vec[4] = {0};
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

    SECTION("mlock, mincore");
    R(mlock(p, 2 * PAGE));
    R(mincore(p, 2 * PAGE, vec));
    R((vec[0] & 1) + (vec[1] & 1));
    R(munlock(p, 2 * PAGE));
    R(mlock((void *)0x10000000, PAGE));
    memset(p, 1, PAGE);
    R(mincore(p, PAGE, vec));
    R(vec[0] & 1);
    R(mincore(p + 1, PAGE, vec));
    R(mincore((void *)0x10000000, PAGE, vec));
    R(syscall(SYS_mlock2, p, PAGE, 1));
    R(munlockall());
}

static void advice(void)
{
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *s = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    SECTION("advice");
    R(mlock(p, 4096));
    R(madvise(p, 4096, MADV_DONTNEED));
    R(msync(p, 4096, MS_ASYNC | MS_INVALIDATE));
    R(munlock(p, 4096));
    R(madvise(p, 4096, MADV_DONTNEED));
    R(madvise(s, 4096, MADV_FREE));
    R(madvise(s, 4096, MADV_WIPEONFORK));
    int fd = open("f", O_RDWR);
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | (1 << 9), fd, 0) == MAP_FAILED);
    R(errno == EOPNOTSUPP);
    (void)close(fd);
}

static void remaps(void)
{
    int fd = (int)MUST(memfd_create("m", 0));
    char *p, *q;

    SECTION("remap_file_pages, MREMAP_DONTUNMAP");
    MUST(ftruncate(fd, 4 * PAGE));
    p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int i = 0; i < 4; i++)
        p[i * PAGE] = (char)('a' + i);
    R(remap_file_pages(p, PAGE, 0, 3, 0));
    printf("%c%c%c%c\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
    R(remap_file_pages(p, PAGE, PROT_READ, 3, 0));
    R(remap_file_pages(p, 8 * PAGE, 0, 0, 0));
    q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(remap_file_pages(q, PAGE, 0, 0, 0));
    q[0] = 'x';
    p = mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    TRUTH("moved", p != MAP_FAILED && p != q && p[0] == 'x');
    TRUTH("left empty", q[0] == 0);
    TRUTH("without MAYMOVE", mremap(q, PAGE, PAGE, MREMAP_DONTUNMAP) == MAP_FAILED);
    TRUTH("other size", mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) == MAP_FAILED);
    fd = (int)MUST(open("/dev/zero", O_RDONLY));
    q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    R(mprotect(q, PAGE, PROT_READ | PROT_WRITE));
}

/* ---- what is there: mincore, smaps, getrusage ---- */
static long smaps_kb(const void *at, const char *field)
{
    char line[256], want[40];
    FILE *f = fopen("/proc/self/smaps", "r");
    bool here = false;
    long kb = -1, v;

    (void)snprintf(want, sizeof(want), "%lx-", (unsigned long)at);
    while (f && fgets(line, sizeof(line), f)) {
        if (strchr(line, '-') && strstr(line, "-") < strchr(line, ' '))
            here = strncmp(line, want, strlen(want)) == 0;
        if (here && strncmp(line, field, strlen(field)) == 0 &&
            sscanf(line + strlen(field), ": %ld", &v) == 1)
            kb = v;
    }
    if (f)
        (void)fclose(f);
    return kb;
}

static void residency(void)
{
    enum { PAGES = 4096 };
    unsigned char vec[PAGES] = {0};
    struct rusage before, after;
    size_t there = 0;
    char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    SECTION("what is there");
    MUST(madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE));
    /* So that no neighbour is merged with it. */
    MUST(mprotect(p, PAGE, PROT_NONE));
    MUST(mprotect(p + (PAGES - 1) * PAGE, PAGE, PROT_NONE));
    MUST(getrusage(RUSAGE_SELF, &before));
    memset(p + PAGE, 1, 2000 * PAGE);
    MUST(getrusage(RUSAGE_SELF, &after));
    OK(after.ru_minflt - before.ru_minflt >= 2000 && after.ru_minflt - before.ru_minflt < 2100);
    OK(after.ru_maxrss >= 2000 * 4 && after.ru_maxrss < 40000);
    R(mincore(p, PAGES * PAGE, vec));
    for (size_t i = 0; i < PAGES; i++)
        there += vec[i] & 1;
    R(there);
    OK(!(vec[0] & 1) && (vec[1] & 1) && (vec[2000] & 1) && !(vec[2001] & 1));
    R(smaps_kb(p + PAGE, "Size"));
    R(smaps_kb(p + PAGE, "Rss"));
    R(smaps_kb(p + PAGE, "Private_Dirty"));
    R(madvise(p + PAGE, 1000 * PAGE, MADV_DONTNEED));
    R(smaps_kb(p + PAGE, "Rss"));
    R(getrusage(RUSAGE_THREAD, &after));
    OK(after.ru_minflt >= 2000);
    MUST(munmap(p, PAGES * PAGE));
}

/* ---- a stack of one's own ---- */
static void growing(void)
{
    enum { ROOM = 1024, GUARD = 256 };
    char *room = mmap(NULL, ROOM * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *top = room + (ROOM - 1) * PAGE, *p;

    SECTION("MAP_GROWSDOWN");
    MUST(munmap(room, ROOM * PAGE));
    p = mmap(top, PAGE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    OK(p == top);
    for (int i = 1; i <= 64; i++)
        p[-i * PAGE] = (char)i;
    OK(p[-PAGE] == 1 && p[-64 * PAGE] == 64);
    R(munmap(p - 64 * PAGE, 65 * PAGE));
    /* Something below keeps its distance. */
    MUST((long)mmap(room, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    p = mmap(room + (GUARD + 8) * PAGE, PAGE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    p[-PAGE] = 1;
    OK(p[-PAGE] == 1);
    CHILD("into the guard gap", {
        (void)signal(SIGSEGV, SIG_DFL);
        p[-8 * PAGE] = 1;
    });
}

int main(void)
{
    struct sigaction sa = {.sa_handler = on_fault};

    enter_scratch();
    MUST(sigaction(SIGSEGV, &sa, NULL));
    MUST(sigaction(SIGBUS, &sa, NULL));
    put("f", "hello\n");
    arguments();
    protections();
    files();
    times_of();
    sharing();
    moving();
    breaks();
    locking();
    advice();
    remaps();
    residency();
    growing();
    leave_scratch();
    return 0;
}
