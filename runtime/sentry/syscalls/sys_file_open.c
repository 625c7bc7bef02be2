/* Descriptors: open, close, dup. */
#include "runtime/sentry/syscalls/sys_file.h"

#include <linux/close_range.h>
#include <linux/openat2.h>
#include <string.h>

enum { L_O_LARGEFILE = 0100000 };

int user_path(struct task *t, int dirfd, gaddr_t name, unsigned walk, struct path *ret)
{
    char path[PATH_MAX];
    int r = copy_in_path(t, path, name, walk & WALK_EMPTY);

    return r < 0 ? r : path_lookup(t, dirfd, path, walk, ret);
}

unsigned walk_of_at(int flags)
{
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) |
           (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0U);
}

static long do_open(struct task *t, int dirfd, gaddr_t name, const struct open_how_k *how)
{
    char path[PATH_MAX];
    struct file *f;
    int r = copy_in_path(t, path, name, false), fd;

    if (r < 0)
        return r;
    fd = fd_reserve(t, how->flags & O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    r = vfs_open(t, dirfd, path, how, &f);
    if (r < 0) {
        fd_unreserve(t, fd);
        return r;
    }
    if (!(f->flags & O_PATH))
        f->flags |= L_O_LARGEFILE;
    fd_fill(t, fd, file_get(f));
    fd_was_opened(t, fd, f);
    file_put(f);
    return fd;
}

static long open_at(struct task *t, int dirfd, gaddr_t name, unsigned flags, uint32_t mode)
{
    /* open(2) ignores flags that it doesn't know, and the mode unless it makes a file */
    const unsigned known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                           O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW |
                           O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
    struct open_how_k how = {.flags = flags & known};

    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE)
        how.mode = mode & 07777;
    return do_open(t, dirfd, name, &how);
}

long sys_open(struct task *t, const struct sysargs *a)
{
    return open_at(t, AT_FDCWD, a->v[0], (unsigned)a->v[1], (uint32_t)a->v[2]);
}

long sys_openat(struct task *t, const struct sysargs *a)
{
    return open_at(t, (int)a->v[0], a->v[1], (unsigned)a->v[2], (uint32_t)a->v[3]);
}

long sys_creat(struct task *t, const struct sysargs *a)
{
    return open_at(t, AT_FDCWD, a->v[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a->v[1]);
}

static const struct {
    uint64_t resolve;
    unsigned walk;
} resolve_bits[] = {
    {RESOLVE_NO_XDEV, WALK_NO_XDEV},
    {RESOLVE_NO_MAGICLINKS, WALK_NO_MAGIC},
    {RESOLVE_NO_SYMLINKS, WALK_NO_SYMLINKS | WALK_NO_MAGIC},
    {RESOLVE_BENEATH, WALK_BENEATH},
    {RESOLVE_IN_ROOT, WALK_IN_ROOT},
    {RESOLVE_CACHED, WALK_CACHED},
};

static int check_how(const struct open_how *h, struct open_how_k *ret)
{
    const uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                           O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | L_O_LARGEFILE | O_DIRECTORY |
                           O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
    bool makes = (h->flags & O_CREAT) || (h->flags & O_TMPFILE) == O_TMPFILE;
    uint64_t resolve = h->resolve;
    size_t i;

    if ((h->flags & ~known) || (h->mode & ~07777ULL) || (h->mode && !makes))
        return -EINVAL;
    if ((h->flags & O_PATH) &&
        (h->flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
        return -EINVAL;
    if ((h->flags & O_CREAT) && (h->flags & O_DIRECTORY) && (h->flags & O_TMPFILE) != O_TMPFILE)
        return -EINVAL;
    *ret = (struct open_how_k){.flags = (unsigned)h->flags & ~(unsigned)L_O_LARGEFILE,
                               .mode = (uint32_t)h->mode};
    for (i = 0; i < ARRAY_SIZE(resolve_bits); i++)
        if (resolve & resolve_bits[i].resolve) {
            ret->resolve |= resolve_bits[i].walk;
            resolve &= ~resolve_bits[i].resolve;
        }
    if (resolve || (ret->resolve & (WALK_BENEATH | WALK_IN_ROOT)) == (WALK_BENEATH | WALK_IN_ROOT))
        return -EINVAL;
    if ((ret->resolve & WALK_CACHED) && (makes || (h->flags & O_TRUNC)))
        return -EAGAIN;
    return 0;
}

long sys_openat2(struct task *t, const struct sysargs *a)
{
    uint64_t size = a->v[3], left, word;
    struct open_how how;
    struct open_how_k k;
    int r;

    if (size < sizeof(how))
        return -EINVAL;
    if (size > 4096)
        return -E2BIG;
    r = copy_in(t, &how, a->v[2], sizeof(how));
    for (left = sizeof(how); r == 0 && left < size; left += 8) {
        word = 0;
        r = copy_in(t, &word, a->v[2] + left, MIN(size - left, sizeof(word)));
        if (r == 0 && word)
            r = -E2BIG; /* a newer structure asks for what we don't know */
    }
    if (r == 0)
        r = check_how(&how, &k);
    return r < 0 ? r : do_open(t, (int)a->v[0], a->v[1], &k);
}

long sys_close(struct task *t, const struct sysargs *a)
{
    return fd_close(t, (int)a->v[0]);
}

/* CLOSE_RANGE_UNSHARE: t gets a table of its own first. */
static int unshare_files(struct task *t)
{
    struct fdtable *old = t->files, *own;

    if (!fdtable_shared(old))
        return 0;
    own = fdtable_clone(old);
    if (!own)
        return -ENOMEM;
    mutex_lock(&g_tasks_lock);
    t->files = own;
    mutex_unlock(&g_tasks_lock);
    fdtable_put(t, old);
    return 0;
}

long sys_close_range(struct task *t, const struct sysargs *a)
{
    unsigned first = (unsigned)a->v[0], last = (unsigned)a->v[1], flags = (unsigned)a->v[2];
    int r = 0;

    if ((flags & ~(unsigned)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
        return -EINVAL;
    if (flags & CLOSE_RANGE_UNSHARE)
        r = unshare_files(t);
    return r < 0 ? r : fd_close_range(t, first, last, flags & CLOSE_RANGE_CLOEXEC);
}

long sys_dup(struct task *t, const struct sysargs *a)
{
    struct file *f = fd_get_any(t, (int)a->v[0]);
    int fd;

    if (!f)
        return -EBADF;
    fd = fd_install(t, f, false, 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

static long dup_to(struct task *t, int from, int to, bool cloexec)
{
    struct file *f = fd_get_any(t, from);
    int r;

    if (!f)
        return -EBADF;
    r = fd_replace(t, f, to, cloexec);
    if (r < 0)
        file_put(f);
    return r;
}

long sys_dup2(struct task *t, const struct sysargs *a)
{
    int from = (int)a->v[0], to = (int)a->v[1];

    if (from == to) {
        AUTO_FILE f = fd_get_any(t, from);

        return f ? to : -EBADF;
    }
    return dup_to(t, from, to, false);
}

long sys_dup3(struct task *t, const struct sysargs *a)
{
    int from = (int)a->v[0], to = (int)a->v[1], flags = (int)a->v[2];

    if ((flags & ~O_CLOEXEC) || from == to)
        return -EINVAL;
    return dup_to(t, from, to, flags & O_CLOEXEC);
}
