/* Regular files: opening, positions, appending, vectors, duplicates, holes, errors. */
#include "t.h"
#include <sys/sendfile.h>

static void opening(void)
{
    SECTION("open");
    RESULT("missing", open("none", O_RDONLY));
    int fd = MUST(open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
    RESULT("exists", open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
    RESULT("not a directory", open("f/x", O_RDONLY));
    RESULT("O_DIRECTORY on a file", open("f", O_RDONLY | O_DIRECTORY));
    MUST(mkdir("d", 0755));
    RESULT("write a directory", open("d", O_WRONLY));
    RESULT("create in place of a directory", open("d", O_RDONLY | O_CREAT, 0644));
    RESULT("create with slash", open("new/", O_RDONLY | O_CREAT, 0644));
    MUST(symlink("f", "l"));
    MUST(symlink("loop", "loop"));
    RESULT("O_NOFOLLOW", open("l", O_RDONLY | O_NOFOLLOW));
    RESULT("loop", open("loop", O_RDONLY));
    RESULT("exclusive through a link", open("l", O_CREAT | O_EXCL | O_WRONLY, 0600));
    char name[300];
    memset(name, 'x', sizeof(name) - 1);
    name[299] = 0;
    RESULT("long name", open(name, O_RDONLY));
    name[255] = 0;
    RESULT("longest name", open(name, O_RDONLY | O_CREAT, 0600) >= 0);
    RESULT("empty name", open("", O_RDONLY));
    RESULT("bad pointer", syscall(SYS_open, bad_address, O_RDONLY));
    RESULT("bad dirfd", openat(999, "f", O_RDONLY));
    RESULT("dirfd is a file", openat(fd, "f", O_RDONLY));
    RESULT("absolute name ignores dirfd", openat(999, "/", O_RDONLY) >= 0);
    int p = MUST(open("f", O_PATH));
    char c;
    RESULT("read of O_PATH", read(p, &c, 1));
    RESULT("fstat of O_PATH", fstat(p, &(struct stat){0}));
    RESULT("fchmod of O_PATH", fchmod(p, 0600));
    struct stat st;
    MUST(fstat(fd, &st));
    printf("mode %o size %ld nlink %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    RESULT("write on read-only", write(MUST(open("f", O_RDONLY)), "x", 1));
    RESULT("read on write-only", read(MUST(open("f", O_WRONLY)), &c, 1));
    RESULT("O_TRUNC", write(MUST(open("f", O_WRONLY)), "12345", 5));
    (void)close(MUST(open("f", O_WRONLY | O_TRUNC)));
    MUST(fstat(fd, &st));
    printf("size %ld\n", (long)st.st_size);
    RESULT("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600) >= 0);
    RESULT("O_TMPFILE read-only", open(".", O_TMPFILE | O_RDONLY, 0600));
}

static void positions(void)
{
    SECTION("positions");
    char b[32] = "";
    int fd = MUST(open("p", O_RDWR | O_CREAT, 0644));
    R(write(fd, "0123456789", 10));
    R(lseek(fd, 0, SEEK_CUR));
    R(lseek(fd, -3, SEEK_END));
    R(read(fd, b, 32));
    R(read(fd, b, 32));
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, 5, 99));
    R(pread(fd, b, 3, 4));
    R(strncmp(b, "456", 3));
    R(pread(fd, b, 3, -1));
    R(pwrite(fd, "xy", 2, 20));
    R(lseek(fd, 0, SEEK_END));
    R(pread(fd, b, 12, 10));
    OK(!memcmp(b, "\0\0\0\0\0\0\0\0\0\0xy", 12));
    R(ftruncate(fd, 5));
    R(lseek(fd, 0, SEEK_END));
    R(ftruncate(fd, -1));
    R(ftruncate(MUST(open("p", O_RDONLY)), 3));
    R(truncate("p", 7));
    R(truncate("none", 7));
    R(truncate("d", 7));
    R(lseek(MUST(open("/dev/null", O_RDONLY)), 5, SEEK_SET));
    int ends[2];
    MUST(pipe(ends));
    R(lseek(ends[0], 0, SEEK_CUR));
    R(pread(ends[0], b, 1, 0));
    R(ftruncate(ends[1], 0));
    R(read(fd, bad_address, 4));
    R(lseek(fd, 0, SEEK_SET));
    R(read(fd, bad_address, 4));
    R(write(fd, bad_address, 4));
    R(read(999, b, 1));
    R(write(fd, b, 0));
    R(lseek(fd, 1L << 40, SEEK_SET));
    R(write(fd, "z", 1));
    struct stat st;
    MUST(fstat(fd, &st));
    printf("sparse %ld, few blocks %d\n", (long)st.st_size, st.st_blocks < 1000);
    R(lseek(fd, 0, SEEK_DATA) >= 0);
    R(lseek(fd, st.st_size, SEEK_DATA));
    R(lseek(fd, st.st_size, SEEK_HOLE));
}

static void appending(void)
{
    SECTION("append");
    char b[16] = "";
    int a = MUST(open("a", O_RDWR | O_CREAT | O_APPEND, 0644)), w = MUST(open("a", O_WRONLY));
    R(write(a, "one", 3));
    R(write(w, "X", 1));
    R(lseek(a, 0, SEEK_SET));
    R(write(a, "two", 3));
    R(lseek(a, 0, SEEK_CUR));
    R(pread(a, b, 16, 0));
    puts(b);
    R(pwrite(a, "!", 1, 0)); /* Linux appends */
    memset(b, 0, sizeof(b));
    R(pread(a, b, 16, 0));
    puts(b);
    R(fcntl(a, F_SETFL, 0));
    R(pwrite(a, "?", 1, 0));
    show_file("a");
    R(fcntl(w, F_SETFL, O_APPEND));
    R(write(w, "end", 3));
    show_file("a");
    R((fcntl(w, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY));
}

static void vectors(void)
{
    SECTION("vectors");
    char x[4] = "", y[8] = "";
    struct iovec io[3] = {{x, 3}, {NULL, 0}, {y, 7}};
    int fd = MUST(open("v", O_RDWR | O_CREAT, 0644));
    struct iovec out[2] = {{(void *)"abc", 3}, {(void *)"defgh", 5}};
    R(writev(fd, out, 2));
    R(lseek(fd, 0, SEEK_SET));
    R(readv(fd, io, 3));
    printf("%s %s\n", x, y);
    R(preadv(fd, io, 3, 2));
    R(pwritev(fd, out, 2, 100));
    R(preadv2(fd, io, 3, -1, 0));
    R(preadv2(fd, io, 1, 0, RWF_HIPRI) >= -1);
    R(preadv2(fd, io, 1, 0, 0x4000));
    R(writev(fd, out, -1));
    R(writev(fd, out, 1025));
    R(writev(fd, bad_address, 1));
    R(writev(fd, NULL, 0));
    struct iovec bad[2] = {{(void *)"ok", 2}, {bad_address, 5}};
    R(lseek(fd, 0, SEEK_SET));
    R(writev(fd, bad, 2) == 2 || errno == EFAULT);
    struct iovec huge = {x, (size_t)-1};
    R(readv(fd, &huge, 1));
}

static void duplicates(void)
{
    SECTION("dup");
    char b[8];
    int fd = MUST(open("p", O_RDWR)), d = MUST(dup(fd));
    R(lseek(fd, 3, SEEK_SET));
    R(lseek(d, 0, SEEK_CUR));
    R(dup2(fd, 100));
    R(dup2(fd, fd) == fd);
    R(dup2(999, 5));
    R(dup2(fd, -1));
    R(dup3(fd, fd, 0));
    R(dup3(fd, 101, O_CLOEXEC));
    R(fcntl(101, F_GETFD));
    R(fcntl(100, F_GETFD));
    R(dup3(fd, 102, O_APPEND));
    R(fcntl(fd, F_DUPFD, 50) >= 50);
    R(fcntl(fd, F_DUPFD, -1));
    R(fcntl(fd, F_DUPFD_CLOEXEC, 60) >= 60);
    R(fcntl(fd, F_SETFD, FD_CLOEXEC));
    R(fcntl(fd, F_GETFD));
    R(fcntl(d, F_GETFD));
    R(fcntl(fd, 9999, 0));
    R(close(d));
    R(close(d));
    R(read(100, b, 2));
    R(close_range(100, 102, 0));
    R(fcntl(100, F_GETFD));
    R(syscall(SYS_close_range, 5, 4, 0));
    R(dup2(fd, 100000000));
}

static void copies(void)
{
    SECTION("copies");
    char b[64];
    int a = MUST(open("src", O_RDWR | O_CREAT, 0644)),
        c = MUST(open("dst", O_RDWR | O_CREAT, 0644));
    R(write(a, "hello, world", 12));
    off_t at = 7;
    R(sendfile(c, a, &at, 100));
    R(at);
    R(sendfile(c, a, NULL, 100));
    R(lseek(a, 0, SEEK_SET));
    R(sendfile(c, a, NULL, 5));
    show_file("dst");
    off_t in = 0, to = 20;
    R(copy_file_range(a, &in, c, &to, 5, 0));
    printf("%ld %ld\n", (long)in, (long)to);
    R(copy_file_range(a, &in, c, &to, 5, 1));
    R(pread(c, b, 64, 0));
    R(fallocate(c, 0, 0, 100));
    R(lseek(c, 0, SEEK_END));
    R(fallocate(c, 0x40, 0, 100) == -1);
    R(fallocate(c, FALLOC_FL_KEEP_SIZE, 0, 1000));
    R(lseek(c, 0, SEEK_END));
    R(fallocate(c, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5));
    R(pread(c, b, 6, 0));
    OK(!memcmp(b, "\0\0\0\0\0", 5));
    R(fallocate(c, 0, -1, 5));
    R(fallocate(MUST(open("dst", O_RDONLY)), 0, 0, 5));
    R(fsync(c));
    R(fdatasync(c));
    R(fsync(999));
    R(posix_fadvise(c, 0, 0, POSIX_FADV_DONTNEED));
    R(readahead(c, 0, 4096));
    R(sync_file_range(c, 0, 10, 0));
}

int main(void)
{
    enter_scratch();
    opening();
    positions();
    appending();
    vectors();
    duplicates();
    copies();
    leave_scratch();
    return 0;
}
