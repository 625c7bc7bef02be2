/* Names: links, renames, directories, listing, working directory, openat2. */
#include "t.h"
#include <dirent.h>
#include <linux/openat2.h>

static int openat2_(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .resolve = resolve};

    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path)
{
    char *names[64];
    size_t n = 0;
    DIR *d = opendir(path);
    struct dirent *e;

    if (!d) {
        printf("%s: %s\n", path, strerrorname_np(errno));
        return;
    }
    while ((e = readdir(d)) && n < 64)
        (void)asprintf(&names[n++], "%s(%d)", e->d_name, e->d_type);
    (void)closedir(d);
    qsort(names, n, sizeof(*names), compare);
    printf("%s:", path);
    for (size_t i = 0; i < n; i++)
        printf(" %s", names[i]);
    puts("");
}

static void links(void)
{
    struct stat st;
    char b[64] = "";

    SECTION("links");
    put("a", "data");
    R(link("a", "b"));
    R(link("a", "b"));
    R(stat("b", &st));
    R(st.st_nlink);
    R(unlink("a"));
    show_file("b");
    R(link("none", "c"));
    MUST(mkdir("d", 0755));
    R(link("d", "e"));
    R(symlink("b", "s"));
    R(symlink("x", "s"));
    R(symlink("", "t"));
    R(readlink("s", b, 64));
    R(readlink("s", b, 1));
    R(readlink("b", b, 64));
    R(readlink("s", b, 0));
    R(lstat("s", &st));
    printf("%o %ld\n", st.st_mode, (long)st.st_size);
    R(linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
    R(linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
    R(lstat("s2", &st));
    R(S_ISLNK(st.st_mode));
    R(lstat("s3", &st));
    R(S_ISREG(st.st_mode));
    int fd = MUST(open("b", O_RDONLY));
    R(unlink("b"));
    R(fstat(fd, &st));
    R(st.st_nlink);
    R(read(fd, b, 4));
    R(unlink("d"));
    R(unlink("none"));
    R(unlink("s/"));
    fd = MUST(open(".", O_TMPFILE | O_RDWR, 0644));
    R(write(fd, "tmp", 3));
    (void)snprintf(b, sizeof(b), "/proc/self/fd/%d", fd);
    R(linkat(AT_FDCWD, b, AT_FDCWD, "tmp", AT_SYMLINK_FOLLOW));
    show_file("tmp");
    list(".");
}

static void directories(void)
{
    SECTION("directories");
    R(mkdir("x", 0777));
    R(mkdir("x", 0777));
    R(mkdir("x/", 0777));
    R(mkdir("n/o", 0777));
    R(mkdir("x/y", 0777));
    R(rmdir("x"));
    R(rmdir("x/y"));
    R(rmdir("x/."));
    R(rmdir("x/.."));
    R(rmdir("tmp"));
    R(rmdir("none"));
    R(mkdir("x/z", 0777));
    struct stat st;
    R(stat("x", &st));
    R(mkdirat(999, "q", 0777));
    R(mkdirat(999, "/tmp", 0777));
    int fd = MUST(open("x/z", O_RDONLY | O_DIRECTORY));
    R(rmdir("x/z"));
    R(openat(fd, "new", O_CREAT | O_RDWR, 0600));
    R(mkdirat(fd, "new", 0700));
    R(openat(fd, ".", O_RDONLY) >= 0);
    R(read(fd, &st, 1));
    R(write(fd, &st, 1));
    R(rmdir("x"));
    R(mknod("fifo", S_IFIFO | 0600, 0));
    R(mknod("sock", S_IFSOCK | 0600, 0));
    R(mknod("reg", S_IFREG | 0600, 0));
    R(mknod("dir", S_IFDIR | 0600, 0));
    R(open("sock", O_RDONLY));
    list(".");
    list("tmp");
    list("none");
}

static void renames(void)
{
    SECTION("rename");
    put("r1", "one");
    put("r2", "two");
    R(rename("r1", "r2"));
    show_file("r2");
    show_file("r1");
    R(rename("none", "r2"));
    R(rename("r2", "none/x"));
    MUST(mkdir("da", 0755));
    MUST(mkdir("db", 0755));
    put("db/f", "");
    R(rename("r2", "da"));
    R(rename("da", "r2"));
    R(rename("da", "db"));
    R(unlink("db/f"));
    R(rename("da", "db"));
    R(rename("db", "db/sub"));
    R(rename("r2", "r2"));
    put("h1", "");
    R(link("h1", "h2"));
    R(rename("h1", "h2"));
    R(access("h1", F_OK));
    R(renameat2(AT_FDCWD, "h1", AT_FDCWD, "h2", RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, "h1", AT_FDCWD, "h3", RENAME_NOREPLACE));
    put("e1", "e-one");
    put("e2", "e-two");
    R(renameat2(AT_FDCWD, "e1", AT_FDCWD, "e2", RENAME_EXCHANGE));
    show_file("e1");
    R(renameat2(AT_FDCWD, "e1", AT_FDCWD, "none", RENAME_EXCHANGE));
    R(renameat2(AT_FDCWD, "e1", AT_FDCWD, "e2", RENAME_EXCHANGE | RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, "e1", AT_FDCWD, "e9", 0x80));
    R(rename("/", "x"));
    R(rename(".", "x"));
    R(rename("e1", "e3/"));
    R(rename("db", "dc/"));
    int fd = MUST(open("dc", O_RDONLY));
    R(rename("dc", "dd"));
    R(mkdirat(fd, "inside", 0755));
    list("dd");
}

static void working(void)
{
    char b[256], start[256];

    SECTION("working directory");
    MUST(getcwd(start, sizeof(start)) ? 0 : -1);
    R(chdir("dd/inside"));
    R(getcwd(b, sizeof(b)) ? strcmp(b + strlen(start), "/dd/inside") : -1);
    R(getcwd(b, 3) ? 0 : -1);
    R(chdir(".."));
    R(access("inside", X_OK));
    R(chdir("none"));
    R(chdir(start));
    R(chdir("e1"));
    int fd = MUST(open("dd", O_RDONLY));
    R(fchdir(fd));
    R(access("inside", F_OK));
    R(fchdir(MUST(open("../e1", O_RDONLY))));
    R(chdir("inside"));
    R(rmdir("../inside"));
    R(syscall(SYS_getcwd, b, sizeof(b)));
    R(open("x", O_CREAT | O_RDWR, 0600));
    R(chdir(".."));
    R(chdir(start));
}

static void resolving(void)
{
    SECTION("openat2");
    MUST(mkdir("o", 0755));
    put("o/f", "f");
    MUST(symlink("f", "o/l"));
    MUST(symlink("../e1", "o/up"));
    MUST(symlink("/etc", "o/abs"));
    int d = MUST(open("o", O_RDONLY));
    R(openat2_(d, "f", O_RDONLY, RESOLVE_BENEATH) >= 0);
    R(openat2_(d, "../e1", O_RDONLY, RESOLVE_BENEATH));
    R(openat2_(d, "up", O_RDONLY, RESOLVE_BENEATH));
    R(openat2_(d, "abs", O_RDONLY, RESOLVE_BENEATH));
    R(openat2_(d, "/f", O_RDONLY, RESOLVE_BENEATH));
    R(openat2_(d, "/f", O_RDONLY, RESOLVE_IN_ROOT) >= 0);
    R(openat2_(d, "../../f", O_RDONLY, RESOLVE_IN_ROOT) >= 0);
    R(openat2_(d, "abs", O_RDONLY, RESOLVE_IN_ROOT));
    R(openat2_(d, "l", O_RDONLY, RESOLVE_NO_SYMLINKS));
    R(openat2_(d, "l", O_RDONLY, 0) >= 0);
    R(openat2_(AT_FDCWD, "/proc/self/exe", O_RDONLY, RESOLVE_NO_MAGICLINKS));
    R(openat2_(AT_FDCWD, "/proc/version", O_RDONLY, RESOLVE_NO_XDEV));
    R(openat2_(d, "f", O_RDONLY, 0x1000));
    R(openat2_(d, "f", 1ULL << 40, 0));
    R(openat2_(d, "f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
    struct open_how how = {.mode = 0644};
    R(syscall(SYS_openat2, d, "f", &how, sizeof(how)));
    R(syscall(SYS_openat2, d, "f", &how, 4));
}

static void listing(void)
{
    char buf[2048], name[32];
    size_t seen = 0;
    long n;

    SECTION("getdents64");
    MUST(mkdir("many", 0755));
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "many/file-%03d", i);
        put(name, "");
    }
    int fd = MUST(open("many", O_RDONLY));
    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n; at += *(unsigned short *)(buf + at + 16))
            seen++;
    R(n);
    R(seen);
    R(lseek(fd, 0, SEEK_SET));
    R(syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0);
    R(syscall(SYS_getdents64, fd, buf, 10));
    R(syscall(SYS_getdents64, fd, bad_address, 1000));
    R(syscall(SYS_getdents64, MUST(open("e1", O_RDONLY)), buf, sizeof(buf)));
    DIR *d = opendir("many");
    seen = 0;
    for (struct dirent *e; (e = readdir(d));) /* removing while reading */
        if (e->d_name[0] != '.') {
            (void)snprintf(buf, sizeof(buf), "many/%s", e->d_name);
            seen += unlink(buf) == 0;
        }
    R(seen);
    R(rmdir("many"));
}

int main(void)
{
    enter_scratch();
    (void)umask(022);
    links();
    directories();
    renames();
    working();
    resolving();
    listing();
    leave_scratch();
    return 0;
}
