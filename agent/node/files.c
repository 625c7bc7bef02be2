#include "agent/node/files.h"

#include "agent/loop.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define UNDO  ".berm-undo"
#define FRESH ".berm-new"
#define LABEL "security.selinux"

int host_read(const char *path, char **ret, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = file_read_all(AT_FDCWD, path, HOST_FILE_MAX, ret, NULL, &why);

    if (r == -ENOENT) {
        *ret = NULL;
        return 0;
    }
    return r < 0 ? error_set(err, r, "%s", why.msg) : 0;
}

/* -- one file
 * --------------------------------------------------------------------------------------- */

static void beside(const char *path, const char *suffix, char out[PATH_MAX])
{
    text_format(out, PATH_MAX, "%s%s", path, suffix);
}

static int sync_folder(const char *path)
{
    CLEANUP(free_ptr) char *copy = strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    CLEANUP(close_fd) int fd = -1;

    if (!slash)
        return -EINVAL;
    slash[slash == copy] = 0;
    fd = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* As the file that it replaces: a configuration that only root may read stays so. */
static int make_alike(int fd, const char *path)
{
    char label[256];
    struct stat st;
    ssize_t n;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0)
        return -errno;
    n = getxattr(path, LABEL, label, sizeof(label));
    if (n > 0)
        (void)fsetxattr(fd, LABEL, label, (size_t)n, 0);
    return 0;
}

static int write_beside(const char *path, const char *text, char fresh[PATH_MAX], struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    int r;

    beside(path, FRESH, fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return error_errno(err, -errno, "create '%s'", fresh);
    r = make_alike(fd, path);
    if (r == 0)
        r = write_full(fd, text, strlen(text));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(fresh);
    return r < 0 ? error_errno(err, r, "write '%s'", fresh) : 0;
}

static int keep_earlier(struct host_change *c, struct error *err)
{
    char undo[PATH_MAX];

    if (c->crowded)
        return host_read(c->path, &c->earlier, err);
    beside(c->path, UNDO, undo);
    (void)unlink(undo);
    if (link(c->path, undo) < 0)
        return error_errno(err, -errno, "keep '%s' as '%s'", c->path, undo);
    return 0;
}

static int put_earlier_back(struct host_change *c, struct error *err)
{
    char from[PATH_MAX];

    if (!c->crowded)
        beside(c->path, UNDO, from);
    else if (write_beside(c->path, c->earlier ? c->earlier : "", from, err) < 0)
        return err ? err->code : -EIO;
    return rename(from, c->path) < 0 ? error_errno(err, -errno, "put '%s' back", c->path) : 0;
}

static void forget_earlier(struct host_change *c)
{
    free_ptr(&c->earlier);
    c->path[0] = 0;
}

static int swap_in(struct host_change *c, const char *text, struct error *err)
{
    char fresh[PATH_MAX], undo[PATH_MAX];
    int r = 0;

    beside(c->path, UNDO, undo);
    if (text && write_beside(c->path, text, fresh, err) < 0)
        return err ? err->code : -EIO;
    if (c->existed)
        r = keep_earlier(c, err);
    if (r == 0 && (text ? rename(fresh, c->path) : unlink(c->path)) < 0) {
        r = error_errno(err, -errno, "replace '%s'", c->path);
        (void)unlink(undo);
    }
    if (r < 0 && text)
        (void)unlink(fresh);
    return r;
}

int host_replace(struct host_change *c, const char *path, const char *text, struct error *err)
{
    int r;

    /* A link (as some distributions have it) is followed: what it names is replaced. */
    c->existed = realpath(path, c->path) != NULL;
    if (!c->existed)
        text_format(c->path, sizeof(c->path), "%s", path);
    if (strlen(c->path) + sizeof(UNDO) >= PATH_MAX)
        r = error_errno(err, -ENAMETOOLONG, "'%s'", path);
    else
        r = swap_in(c, text, err);
    if (r < 0) {
        forget_earlier(c);
        return r;
    }
    (void)sync_folder(c->path);
    return 0;
}

int host_undo(struct host_change *c, struct error *err)
{
    int r = 0;

    if (!*c->path)
        return 0;
    if (c->existed)
        r = put_earlier_back(c, err);
    else if (unlink(c->path) < 0 && errno != ENOENT)
        r = error_errno(err, -errno, "put '%s' back", c->path);
    (void)sync_folder(c->path);
    forget_earlier(c);
    return r;
}

void host_keep(struct host_change *c)
{
    char undo[PATH_MAX];

    if (!*c->path)
        return;
    beside(c->path, UNDO, undo);
    (void)unlink(undo);
    forget_earlier(c);
}

bool host_leftover(const char *path, bool keep)
{
    char real[PATH_MAX], undo[PATH_MAX], fresh[PATH_MAX];
    bool any;

    if (!realpath(path, real))
        text_format(real, sizeof(real), "%s", path);
    beside(real, UNDO, undo);
    beside(real, FRESH, fresh);
    any = unlink(fresh) == 0;
    if (access(undo, F_OK) < 0)
        return any;
    if (keep)
        (void)unlink(undo);
    else
        (void)rename(undo, real);
    (void)sync_folder(real);
    return true;
}

/* -- programs
 * ------------------------------------------------------------------------------------------ */

static int read_to_end(int fd, pid_t pid, unsigned timeout_s, struct buf *out)
{
    uint64_t end = loop_now_ms() + timeout_s * UINT64_C(1000);
    char data[4096];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        uint64_t now = loop_now_ms();
        int r = now < end ? poll(&p, 1, (int)(end - now)) : 0;
        ssize_t n;

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            (void)kill(pid, SIGKILL);
            return r < 0 ? -errno : -ETIMEDOUT;
        }
        n = read(fd, data, sizeof(data));
        if (n <= 0)
            return n < 0 ? -errno : 0;
        if (out->size + (size_t)n > HOST_FILE_MAX || buf_append(out, data, (size_t)n) < 0) {
            (void)kill(pid, SIGKILL);
            return -EFBIG;
        }
    }
}

int host_run(const char *const *argv, unsigned timeout_s, struct buf *ret, int *ret_status,
             struct error *err)
{
    int pipes[2], status = 0, r;
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    pid = fork();
    if (pid == 0) {
        sigset_t none;

        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)signal(SIGPIPE, SIG_DFL);
        if (dup2(pipes[1], 1) >= 0 && dup2(pipes[1], 2) >= 0)
            (void)execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(pipes[1]);
    r = pid < 0 ? -errno : read_to_end(pipes[0], pid, timeout_s, ret);
    (void)close(pipes[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (r < 0)
        return error_errno(err, r, "run '%s'", argv[0]);
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return buf_puts(ret, "");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int host_remove_tree(const char *path, struct error *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return error_errno(err, -errno, "remove '%s'", path);
    return 0;
}

int host_copy_program(int from, const char *to, struct error *err)
{
    CLEANUP(close_fd) int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    char data[65536];
    off_t at = 0;
    ssize_t n;
    int r = 0;

    if (fd < 0)
        return error_errno(err, -errno, "create '%s'", to);
    while (r == 0 && (n = pread(from, data, sizeof(data), at)) != 0) {
        r = n < 0 ? -errno : write_full(fd, data, (size_t)n);
        at += MAX(n, 0);
    }
    if (r == 0 && (fchmod(fd, 0755) < 0 || fsync(fd) < 0))
        r = -errno;
    return r < 0 ? error_errno(err, r, "write '%s'", to) : 0;
}
