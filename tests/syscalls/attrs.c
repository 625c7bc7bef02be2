/* Attributes and permissions, also as another user. */
#include "t.h"
#include <grp.h>
#include <sys/xattr.h>

static void show(const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        printf("%s: %s\n", path, strerrorname_np(errno));
    else
        printf("%s: %o %u:%u %ld\n", path, st.st_mode, st.st_uid, st.st_gid, (long)st.st_size);
}

static void modes(void)
{
    SECTION("modes");
    (void)umask(027);
    (void)close(MUST(open("a", O_CREAT | O_RDWR, 0777)));
    show("a");
    MUST(mkdir("d", 0777));
    show("d");
    R(umask(022));
    R(chmod("a", 06755));
    show("a");
    R(chown("a", 1000, 1001));
    show("a"); /* set-id bits go */
    R(chmod("a", 07777));
    R(chown("a", -1, -1));
    show("a");
    R(chmod("none", 0));
    R(fchmodat(AT_FDCWD, "a", 0600, 0));
    MUST(symlink("a", "l"));
    R(lchown("l", 5, 6));
    show("l");
    show("a");
    R(fchownat(AT_FDCWD, "l", 7, 8, 0));
    show("a");
    R(chown("none", 0, 0));
    MUST(chmod("d", 02775));
    MUST(chown("d", 0, 777));
    (void)close(MUST(open("d/f", O_CREAT | O_RDWR, 0644)));
    show("d/f"); /* the directory's group */
    MUST(mkdir("d/s", 0755));
    show("d/s");
    R(mkdir("st", 01777));
    show("st");
}

static void times(void)
{
    struct timespec ts[2] = {{1000, 5}, {2000, 7}};
    struct stat st;
    struct statx sx;

    SECTION("times");
    R(utimensat(AT_FDCWD, "a", ts, 0));
    MUST(stat("a", &st));
    printf("%ld %ld %ld %ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
    ts[0].tv_nsec = UTIME_OMIT;
    ts[1].tv_nsec = UTIME_NOW;
    R(utimensat(AT_FDCWD, "a", ts, 0));
    MUST(stat("a", &st));
    printf("%ld %d\n", st.st_atim.tv_sec, st.st_mtim.tv_sec > 1000000000);
    ts[0].tv_nsec = 2000000000;
    R(utimensat(AT_FDCWD, "a", ts, 0));
    R(utimensat(AT_FDCWD, "none", NULL, 0));
    R(utimensat(AT_FDCWD, "l", NULL, AT_SYMLINK_NOFOLLOW));
    int fd = MUST(open("t", O_CREAT | O_RDWR, 0644));
    struct timespec old[2] = {{1, 0}, {1, 0}};
    MUST(futimens(fd, old));
    R(write(fd, "x", 1));
    MUST(fstat(fd, &st));
    TRUTH("write changes mtime", st.st_mtim.tv_sec > 1 && st.st_atim.tv_sec == 1);
    MUST(futimens(fd, old));
    MUST(chmod("t", 0600));
    MUST(fstat(fd, &st));
    TRUTH("chmod changes ctime only", st.st_mtim.tv_sec == 1 && st.st_ctim.tv_sec > 1);
    MUST(futimens(fd, old));
    MUST(ftruncate(fd, 0));
    MUST(fstat(fd, &st));
    TRUTH("truncate changes mtime", st.st_mtim.tv_sec > 1);
    R(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx));
    printf("%o %u\n", sx.stx_mode, sx.stx_nlink);
    TRUTH("mask", (sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    R(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
    R(statx(fd, "", 0, STATX_SIZE, &sx));
    R(statx(AT_FDCWD, "a", 0x40000000, 0, &sx));
    R(fstatat(fd, "", &st, AT_EMPTY_PATH));
}

static void accesses(void)
{
    SECTION("access");
    R(access("a", R_OK | W_OK));
    R(access("a", X_OK));
    R(access("a", 8));
    R(access("none", F_OK));
    R(access("a/b", F_OK));
    R(faccessat(AT_FDCWD, "l", F_OK, AT_SYMLINK_NOFOLLOW));
    R(chmod("a", 0));
    R(access("a", R_OK | W_OK)); /* root */
    R(access("a", X_OK));
}

static void xattrs(void)
{
    char b[64];

    SECTION("xattrs");
    put("x", "");
    if (setxattr("x", "user.one", "1", 1, 0) < 0 && errno == EOPNOTSUPP) {
        puts("not here");
        return;
    }
    R(getxattr("x", "user.one", b, 64));
    R(getxattr("x", "user.two", b, 64));
    R(setxattr("x", "user.one", "22", 2, XATTR_CREATE));
    R(setxattr("x", "user.two", "22", 2, XATTR_REPLACE));
    R(setxattr("x", "user.one", "22", 2, XATTR_REPLACE));
    R(getxattr("x", "user.one", b, 1));
    R(getxattr("x", "user.one", NULL, 0));
    R(listxattr("x", b, 64) > 0);
    R(removexattr("x", "user.one"));
    R(removexattr("x", "user.one"));
    R(setxattr("x", "bad", "1", 1, 0));
    R(setxattr("x", "user.", "1", 1, 0));
}

static void other_user(void)
{
    SECTION("another user");
    MUST(chmod("a", 0640));
    MUST(chown("a", 0, 1234));
    MUST(close(MUST(open("set-id", O_CREAT | O_WRONLY, 0600))));
    MUST(chmod("set-id", 04755));
    MUST(mkdir("priv", 0700));
    put("priv/f", "secret");
    put("world", "hi");
    MUST(chmod("world", 0666));
    MUST(chmod(".", 0777));
    put("st/root", "");
    MUST(chmod("st", 01777));
    CHILD("stranger", {
        MUST(setgroups(0, NULL));
        MUST(setresgid(2000, 2000, 2000));
        MUST(setresuid(2000, 2000, 2000));
        R(open("a", O_RDONLY));
        R(open("priv/f", O_RDONLY));
        R(access("priv/f", F_OK));
        R(chdir("priv"));
        R(open("world", O_RDWR) >= 0);
        R(chmod("world", 0600));
        R(chown("world", 2000, -1));
        R(chown("world", -1, -1));
        R(lchown("set-id", -1, -1));
        R(chown("set-id", -1, -1));
        R(unlink("st/root"));
        R(rename("st/root", "st/x"));
        R(open("st/mine", O_CREAT | O_RDWR, 0600) >= 0);
        show("st/mine");
        R(chown("st/mine", 0, -1));
        R(chown("st/mine", -1, 0));
        R(chown("st/mine", 2000, 2000));
        R(chmod("st/mine", 04755));
        show("st/mine");
        R(write(MUST(open("st/mine", O_WRONLY)), "x", 1));
        show("st/mine"); /* writing takes the set-id bit away */
        R(unlink("st/mine"));
        R(utimensat(AT_FDCWD, "world", NULL, 0));
        struct timespec ts[2] = {{1, 0}, {1, 0}};
        R(utimensat(AT_FDCWD, "world", ts, 0));
        R(open("/proc/1/mem", O_RDONLY) < 0);
        R(mknod("dev", S_IFCHR | 0600, 0x103));
        R(setuid(0));
        R(sethostname("x", 1));
        R(chroot("."));
    });
    CHILD("by group", {
        gid_t groups[2] = {99, 1234};
        MUST(setgroups(2, groups));
        MUST(setresuid(2000, 2000, 2000));
        R(open("a", O_RDONLY) >= 0);
        R(open("a", O_RDWR));
        R(getgroups(0, NULL));
    });
    CHILD("real and effective", {
        MUST(setresuid(2000, 0, 0));
        R(access("priv/f", F_OK));
        R(faccessat(AT_FDCWD, "priv/f", F_OK, AT_EACCESS));
        R(open("priv/f", O_RDONLY) >= 0);
        MUST(setresuid(2000, 2000, 0));
        R(open("priv/f", O_RDONLY));
        R(seteuid(0));
        R(open("priv/f", O_RDONLY) >= 0);
    });
}

int main(void)
{
    enter_scratch();
    modes();
    times();
    accesses();
    xattrs();
    other_user();
    leave_scratch();
    return 0;
}
