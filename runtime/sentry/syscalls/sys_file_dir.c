/* Directories and names: getdents, chdir, mkdir, rename, link, mount ... */
#include "runtime/sentry/syscalls/sys_file.h"

#include "runtime/sentry/task/userns.h"

#include <string.h>

/* ---- getdents ---------------------------------------------------------------------------------*/
enum { DENTS_MAX = 65536 };

struct dents {
    struct dir_emitter d;
    char *buf;
    size_t used, size;
    bool old; /* getdents: type in the last byte */
    bool full;
};

struct dent_head {
    uint64_t ino, off;
    uint16_t reclen;
} __attribute__((packed));

static bool emit_dent(struct dir_emitter *d, const char *name, size_t name_len, uint64_t ino,
                      unsigned type, uint64_t next_pos)
{
    struct dents *s = container_of(d, struct dents, d);
    size_t fixed = sizeof(struct dent_head) + 2 /* type, NUL */;
    size_t reclen = (fixed + name_len + 7) & ~(size_t)7;
    struct dent_head h = {.ino = ino, .off = next_pos, .reclen = (uint16_t)reclen};
    char *p = s->buf + s->used;

    if (reclen > s->size - s->used) {
        s->full = true;
        return false;
    }
    memset(p + reclen - 8, 0, 8);
    memcpy(p, &h, sizeof(h));
    p += sizeof(h);
    if (!s->old)
        *p++ = (char)type;
    memcpy(p, name, name_len);
    p[name_len] = '\0';
    if (s->old)
        s->buf[s->used + reclen - 1] = (char)type;
    s->used += reclen;
    return true;
}

/* How many of `size` bytes could be copied to addr, by whole pages. */
static size_t copy_prefix(struct task *t, gaddr_t addr, const char *buf, size_t size)
{
    size_t done = 0;

    while (done < size) {
        size_t n = MIN(size - done, 4096 - ((addr + done) & 4095));

        if (copy_out_now(t, addr + done, buf + done, n) < 0)
            break;
        done += n;
    }
    return done;
}

/* Entries for addr; where it ends sooner than it says, those that fit before. pos_lock is held. */
static int list_into(struct task *t, struct file *f, struct dents *s, gaddr_t addr)
{
    int64_t start = f->pos;
    int r = f->ops->iterate(t, f, &s->d);

    if (!s->used)
        return r;
    if ((addr & 4095) + s->used <= 4096) /* all of it or nothing */
        return copy_out(t, addr, s->buf, s->used);
    if (copy_out_now(t, addr, s->buf, s->used) == 0)
        return 0;
    s->size = copy_prefix(t, addr, s->buf, s->used);
    s->used = 0;
    f->pos = start;
    r = s->size ? f->ops->iterate(t, f, &s->d) : -EFAULT;
    if (r < 0)
        return r;
    return s->used && copy_out_now(t, addr, s->buf, s->used) == 0 ? 0 : -EFAULT;
}

static long get_dents(struct task *t, const struct sysargs *a, bool old)
{
    AUTO_FILE f = fd_get(t, (int)a->v[0]);
    struct dents s = {.d = {.emit = emit_dent}, .old = old, .size = (uint32_t)a->v[2]};
    CLEANUP(free_ptr) char *buf = NULL;
    int r;

    if (!f)
        return -EBADF;
    if (!f->ops->iterate)
        return -ENOTDIR;
    if (a->v[2] > INT32_MAX)
        return -EINVAL;
    s.size = MIN(s.size, (size_t)DENTS_MAX);
    buf = s.buf = malloc(s.size + 8);
    if (!buf)
        return -ENOMEM;
    mutex_lock(&f->pos_lock);
    r = list_into(t, f, &s, a->v[1]);
    mutex_unlock(&f->pos_lock);
    if (r < 0)
        return r;
    return s.used ? (long)s.used : s.full ? -EINVAL : 0;
}

long sys_getdents(struct task *t, const struct sysargs *a)
{
    return get_dents(t, a, true);
}

long sys_getdents64(struct task *t, const struct sysargs *a)
{
    return get_dents(t, a, false);
}

/* ---- root and working directory ---------------------------------------------------------------*/
/* Walks read these under g_tree_lock alone, so they change under both locks. */
static void set_fs_path(struct task *t, struct path *slot, struct path *p)
{
    vfs_set_fs_path(t->fs, slot, p);
}

static int check_enter(struct task *t, const struct path *p)
{
    if (!S_ISDIR(p->dentry->inode->mode))
        return -ENOTDIR;
    return inode_permission(t, p->dentry->inode, MAY_EXEC);
}

long sys_chdir(struct task *t, const struct sysargs *a)
{
    AUTO_PATH p = {0};
    int r = user_path(t, AT_FDCWD, a->v[0], WALK_FOLLOW | WALK_DIRECTORY, &p);

    if (r == 0)
        r = check_enter(t, &p);
    if (r == 0)
        set_fs_path(t, &t->fs->cwd, &p);
    return r;
}

long sys_fchdir(struct task *t, const struct sysargs *a)
{
    AUTO_FILE f = fd_get_any(t, (int)a->v[0]);
    AUTO_PATH p = {0};
    int r;

    if (!f)
        return -EBADF;
    if (!f->path.dentry)
        return -ENOTDIR;
    r = check_enter(t, &f->path);
    if (r < 0)
        return r;
    p = f->path;
    path_get(&p);
    set_fs_path(t, &t->fs->cwd, &p);
    return 0;
}

long sys_chroot(struct task *t, const struct sysargs *a)
{
    AUTO_PATH p = {0};
    int r = user_path(t, AT_FDCWD, a->v[0], WALK_FOLLOW | WALK_DIRECTORY, &p);

    if (r == 0)
        r = check_enter(t, &p);
    if (r == 0 && !cred_capable_in(t->cred, t->cred->userns, CAP_SYS_CHROOT))
        r = -EPERM;
    if (r == 0)
        set_fs_path(t, &t->fs->root, &p);
    return r;
}

long sys_getcwd(struct task *t, const struct sysargs *a)
{
    char buf[PATH_MAX + 16];
    struct path root, cwd;
    ssize_t n;

    vfs_fs_paths(t, &root, &cwd);
    n = cwd.dentry->unlinked ? -ENOENT : path_name(&cwd, &root, false, buf, sizeof(buf) - 1);
    path_put(&root);
    path_put(&cwd);
    if (n < 0)
        return n;
    buf[n++] = '\0';
    if ((uint64_t)n > a->v[1])
        return -ERANGE;
    return copy_out(t, a->v[0], buf, (size_t)n) < 0 ? -EFAULT : n;
}

/* ---- making and removing ----------------------------------------------------------------------*/
static long mkdir_at(struct task *t, int dirfd, gaddr_t name, uint32_t mode)
{
    char path[PATH_MAX];
    int r = copy_in_path(t, path, name, false);

    return r < 0 ? r : vfs_mkdir(t, dirfd, path, mode);
}

long sys_mkdir(struct task *t, const struct sysargs *a)
{
    return mkdir_at(t, AT_FDCWD, a->v[0], (uint32_t)a->v[1]);
}

long sys_mkdirat(struct task *t, const struct sysargs *a)
{
    return mkdir_at(t, (int)a->v[0], a->v[1], (uint32_t)a->v[2]);
}

static long mknod_at(struct task *t, int dirfd, gaddr_t name, uint32_t mode, uint32_t dev)
{
    char path[PATH_MAX];
    int r = copy_in_path(t, path, name, false);

    return r < 0 ? r : vfs_mknod(t, dirfd, path, mode & (S_IFMT | 07777), dev);
}

long sys_mknod(struct task *t, const struct sysargs *a)
{
    return mknod_at(t, AT_FDCWD, a->v[0], (uint32_t)a->v[1], (uint32_t)a->v[2]);
}

long sys_mknodat(struct task *t, const struct sysargs *a)
{
    return mknod_at(t, (int)a->v[0], a->v[1], (uint32_t)a->v[2], (uint32_t)a->v[3]);
}

static long remove_at(struct task *t, int dirfd, gaddr_t name, bool dir)
{
    char path[PATH_MAX];
    int r = copy_in_path(t, path, name, false);

    if (r < 0)
        return r;
    return dir ? vfs_rmdir(t, dirfd, path) : vfs_unlink(t, dirfd, path);
}

long sys_rmdir(struct task *t, const struct sysargs *a)
{
    return remove_at(t, AT_FDCWD, a->v[0], true);
}

long sys_unlink(struct task *t, const struct sysargs *a)
{
    return remove_at(t, AT_FDCWD, a->v[0], false);
}

long sys_unlinkat(struct task *t, const struct sysargs *a)
{
    int flags = (int)a->v[2];

    return flags & ~AT_REMOVEDIR ? -EINVAL
                                 : remove_at(t, (int)a->v[0], a->v[1], flags & AT_REMOVEDIR);
}

/* Two names at once. */
struct two_names {
    char old[PATH_MAX], new[PATH_MAX];
};

static struct two_names *copy_in_two(struct task *t, gaddr_t old, gaddr_t new, bool empty_old,
                                     int *ret_error)
{
    struct two_names *n = malloc(sizeof(*n));

    *ret_error = n ? copy_in_path(t, n->old, old, empty_old) : -ENOMEM;
    if (*ret_error == 0)
        *ret_error = copy_in_path(t, n->new, new, false);
    if (*ret_error < 0) {
        free(n);
        return NULL;
    }
    return n;
}

static long rename_at(struct task *t, int old_dirfd, gaddr_t old, int new_dirfd, gaddr_t new,
                      unsigned flags)
{
    int r;
    struct two_names *n = copy_in_two(t, old, new, false, &r);

    if (!n)
        return r;
    r = vfs_rename(t, old_dirfd, n->old, new_dirfd, n->new, flags);
    free(n);
    return r;
}

long sys_rename(struct task *t, const struct sysargs *a)
{
    return rename_at(t, AT_FDCWD, a->v[0], AT_FDCWD, a->v[1], 0);
}

long sys_renameat(struct task *t, const struct sysargs *a)
{
    return rename_at(t, (int)a->v[0], a->v[1], (int)a->v[2], a->v[3], 0);
}

long sys_renameat2(struct task *t, const struct sysargs *a)
{
    return rename_at(t, (int)a->v[0], a->v[1], (int)a->v[2], a->v[3], (unsigned)a->v[4]);
}

static long link_at(struct task *t, int old_dirfd, gaddr_t old, int new_dirfd, gaddr_t new,
                    int flags)
{
    int r;
    struct two_names *n;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    n = copy_in_two(t, old, new, flags & AT_EMPTY_PATH, &r);
    if (!n)
        return r;
    r = vfs_link(t, old_dirfd, n->old, new_dirfd, n->new, flags);
    free(n);
    return r;
}

long sys_link(struct task *t, const struct sysargs *a)
{
    return link_at(t, AT_FDCWD, a->v[0], AT_FDCWD, a->v[1], 0);
}

long sys_linkat(struct task *t, const struct sysargs *a)
{
    return link_at(t, (int)a->v[0], a->v[1], (int)a->v[2], a->v[3], (int)a->v[4]);
}

static long symlink_at(struct task *t, gaddr_t target, int dirfd, gaddr_t name)
{
    int r;
    struct two_names *n = copy_in_two(t, target, name, false, &r);

    if (!n)
        return r;
    r = vfs_symlink(t, n->old, dirfd, n->new);
    free(n);
    return r;
}

long sys_symlink(struct task *t, const struct sysargs *a)
{
    return symlink_at(t, a->v[0], AT_FDCWD, a->v[1]);
}

long sys_symlinkat(struct task *t, const struct sysargs *a)
{
    return symlink_at(t, a->v[0], (int)a->v[1], a->v[2]);
}

/* ---- mounts -----------------------------------------------------------------------------------*/
long sys_pivot_root(struct task *t, const struct sysargs *a)
{
    int r;
    struct two_names *n = copy_in_two(t, a->v[0], a->v[1], false, &r);

    if (!n)
        return r;
    r = vfs_pivot_root(t, n->old, n->new);
    free(n);
    return r;
}

struct mount_names {
    char source[PATH_MAX], target[PATH_MAX], type[64], options[4096];
};

static int copy_in_mount(struct task *t, const struct sysargs *a, struct mount_names *n)
{
    int r = copy_in_path(t, n->target, a->v[1], false);

    n->source[0] = n->type[0] = n->options[0] = '\0';
    if (r == 0 && a->v[0])
        r = copy_in_path(t, n->source, a->v[0], true);
    if (r == 0 && a->v[2])
        r = (int)MIN(copy_in_string(t, n->type, a->v[2], sizeof(n->type)), 0);
    if (r == 0 && a->v[4] && !(a->v[3] & (MS_BIND | MS_MOVE)))
        r = (int)MIN(copy_in_string(t, n->options, a->v[4], sizeof(n->options)), 0);
    return r;
}

long sys_mount(struct task *t, const struct sysargs *a)
{
    struct mount_names *n = malloc(sizeof(*n));
    int r = n ? copy_in_mount(t, a, n) : -ENOMEM;

    if (r == 0)
        r = vfs_mount(t, n->source, n->target, n->type, a->v[3], n->options);
    free(n);
    return r;
}

long sys_umount2(struct task *t, const struct sysargs *a)
{
    char path[PATH_MAX];
    int r = copy_in_path(t, path, a->v[0], false);

    return r < 0 ? r : vfs_umount(t, path, (int)a->v[1]);
}
