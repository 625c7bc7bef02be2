/*
 * Data of gofer files: on donated host descriptors, directly. A node's descriptors stay while a
 * file is open on it; idle ones are kept in a bounded list, so that opening a known file again asks
 * nobody.
 */
#include "runtime/sentry/fs/gofer/goferfs.h"
#include "runtime/sentry/vfs/hostio.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct mutex g_fds_lock = MUTEX_INIT;
static struct list g_idle = LIST_INIT(g_idle); /* oldest first */
static unsigned g_n_idle;

void gofer_fds_init(struct gofer_node *n)
{
    n->fd = n->wfd = -1;
    list_init(&n->idle);
}

static void leave_idle_locked(struct gofer_node *n)
{
    if (list_empty(&n->idle))
        return;
    list_remove(&n->idle);
    g_n_idle--;
}

void gofer_fds_close(struct gofer_node *n)
{
    mutex_lock(&g_fds_lock);
    leave_idle_locked(n);
    mutex_unlock(&g_fds_lock);
    close_fd(&n->fd);
    close_fd(&n->wfd);
}

static void enter_idle_locked(struct gofer_node *n)
{
    struct gofer_node *old;

    if (n->fd < 0 && n->wfd < 0)
        return;
    list_append(&g_idle, &n->idle);
    if (++g_n_idle <= GOFERFS_IDLE_FDS)
        return;
    old = list_entry(g_idle.next, struct gofer_node, idle);
    leave_idle_locked(old);
    close_fd(&old->fd);
    close_fd(&old->wfd);
}

static void use(struct gofer_node *n)
{
    mutex_lock(&g_fds_lock);
    leave_idle_locked(n);
    n->users++;
    mutex_unlock(&g_fds_lock);
}

static void unuse(struct gofer_node *n)
{
    mutex_lock(&g_fds_lock);
    if (--n->users == 0) {
        if (n->gone) { /* nobody will open it again */
            close_fd(&n->fd);
            close_fd(&n->wfd);
        } else {
            enter_idle_locked(n);
        }
    }
    mutex_unlock(&g_fds_lock);
}

void gofer_fds_adopt(struct gofer_node *n, int wfd)
{
    use(n);
    n->wfd = wfd;
    unuse(n);
}

/* The node is in use. Gets the descriptor if it isn't there yet. */
static int need_fd(struct gofer_node *n, bool write)
{
    struct goferfs *fs = goferfs_of(&n->inode);
    int *slot = write ? &n->wfd : &n->fd, fd;
    char path[GOFER_PATH_MAX];
    struct gofer_attr a;

    fd = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (fd >= 0)
        return fd;
    fd = gofer_path(n, NULL, path);
    if (fd == 0 && !write && fs->exclusive && fs->readonly)
        fd = gofer_ahead_open(n, path, &a);
    else if (fd == 0)
        fd = gofer_open(fs->g, fs->mount, path, write ? O_RDWR : O_RDONLY, &a);
    fd = hostio_admit(fd);
    if (fd < 0)
        return fd;
    if (a.ino != n->host_ino || a.dev != n->host_dev) { /* replaced behind our back */
        (void)close(fd);
        return -ESTALE;
    }
    if (!fs->exclusive)
        gofer_store_attr(&n->inode, &a);
    mutex_lock(&g_fds_lock);
    if (*slot >= 0)
        (void)close(fd);
    else
        __atomic_store_n(slot, fd, __ATOMIC_RELEASE);
    fd = *slot;
    mutex_unlock(&g_fds_lock);
    return fd;
}

int gofer_file_open(struct task *t, struct inode *i, struct file *f)
{
    struct gofer_node *n = gofer_node(i);
    bool write = file_writable(f);
    int fd;

    (void)t;
    if (!S_ISREG(i->mode))
        return 0;
    use(n);
    if (!write && n->wfd >= 0 && n->fd < 0)
        fd = n->wfd;
    else
        fd = need_fd(n, write);
    if (fd < 0) {
        unuse(n);
        return fd;
    }
    if (!write && n->fd >= 0)
        f->host_fd = n->fd;
    return 0;
}

void gofer_file_close(struct inode *i, struct file *f)
{
    (void)f;
    if (S_ISREG(i->mode))
        unuse(gofer_node(i));
}

static int any_fd(struct gofer_node *n)
{
    int fd = __atomic_load_n(&n->fd, __ATOMIC_ACQUIRE);

    if (fd < 0)
        fd = __atomic_load_n(&n->wfd, __ATOMIC_ACQUIRE);
    return fd < 0 ? need_fd(n, false) : fd;
}

ssize_t gofer_read(struct inode *i, struct uio *u, int64_t pos)
{
    struct gofer_node *n = gofer_node(i);
    uint64_t size = u->left;
    int fd = any_fd(n);

    if (fd < 0)
        return fd;
    if (goferfs_of(i)->exclusive) { /* the end is known: no second read to find it */
        int64_t end = __atomic_load_n(&i->size, __ATOMIC_ACQUIRE);

        if (pos >= end)
            return 0;
        if (size > (uint64_t)(end - pos))
            size = (uint64_t)(end - pos);
    }
    return size ? hostio_read(fd, u, pos, size) : 0;
}

ssize_t gofer_write(struct inode *i, struct uio *u, int64_t pos)
{
    int fd = need_fd(gofer_node(i), true);
    ssize_t n;

    if (fd < 0)
        return fd;
    n = hostio_write(fd, u, pos, u->left);
    if (n > 0)
        inode_grew(i, pos + n);
    return n;
}

int gofer_data_fd(struct inode *i, bool writable)
{
    return need_fd(gofer_node(i), writable);
}

int gofer_truncate_fd(struct gofer_node *n, int64_t size)
{
    if (!n->users || n->wfd < 0)
        return -ENOENT;
    return ftruncate(n->wfd, size) < 0 ? -EIO : 0;
}

int gofer_fallocate(struct inode *i, int mode, int64_t offset, int64_t size)
{
    int fd = need_fd(gofer_node(i), true);

    if (fd < 0)
        return fd;
    if (fallocate(fd, mode, offset, size) < 0)
        return errno == ENOSPC || errno == EFBIG || errno == EDQUOT ? -errno : -EOPNOTSUPP;
    if (!(mode & FALLOC_FL_KEEP_SIZE))
        inode_grew(i, offset + size);
    return 0;
}

int64_t gofer_seek_data(struct inode *i, int64_t offset, int whence)
{
    int fd = any_fd(gofer_node(i));
    off_t r = fd < 0 ? fd : lseek(fd, offset, whence);

    return r < 0 ? -ENXIO : r;
}

int gofer_fsync(struct inode *i, bool data_only)
{
    struct gofer_node *n = gofer_node(i);
    int fd;

    if (!S_ISREG(i->mode))
        return 0;
    fd = n->wfd >= 0 ? n->wfd : any_fd(n);
    if (fd < 0)
        return fd;
    if ((data_only ? fdatasync(fd) : fsync(fd)) < 0)
        return errno == ENOSPC || errno == EDQUOT ? -errno : -EIO;
    return 0;
}
