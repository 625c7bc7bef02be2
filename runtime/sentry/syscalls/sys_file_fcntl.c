/* fcntl, flock, and the part of ioctl that is the same for all files. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/signal/signal.h"
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/vfs/async.h"
#include "runtime/sentry/vfs/lend.h"
#include "runtime/sentry/vfs/lockfile.h"

#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum {
    L_O_LARGEFILE = 0100000,
    L_F_DUPFD_QUERY = 1027,
    SETTABLE_FLAGS = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC
};

/* ---- record locks -----------------------------------------------------------------------------*/
static int lock_range(struct file *f, const struct flock *l, struct record_lock *ret)
{
    int64_t base = 0, start, end;

    if (l->l_type != F_RDLCK && l->l_type != F_WRLCK && l->l_type != F_UNLCK)
        return -EINVAL;
    if (l->l_whence == SEEK_CUR)
        base = f->pos;
    else if (l->l_whence == SEEK_END)
        base = f->inode ? (int64_t)__atomic_load_n(&f->inode->size, __ATOMIC_ACQUIRE) : 0;
    else if (l->l_whence != SEEK_SET)
        return -EINVAL;
    if (__builtin_add_overflow(base, l->l_start, &start))
        return -EOVERFLOW;
    if (l->l_len < 0) {
        end = start - 1;
        start += l->l_len;
    } else if (l->l_len == 0) {
        end = INT64_MAX;
    } else if (__builtin_add_overflow(start, l->l_len - 1, &end)) {
        return -EOVERFLOW;
    }
    if (start < 0)
        return -EINVAL;
    *ret = (struct record_lock){.type = l->l_type, .start = start, .end = end};
    return 0;
}

static long set_lock(struct task *t, struct file *f, gaddr_t arg, bool ofd, bool wait)
{
    const void *owner = ofd ? (const void *)f : t->files;
    struct record_lock r;
    struct flock l;
    int e = copy_in(t, &l, arg, sizeof(l));

    if (e < 0)
        return e;
    if (ofd && l.l_pid)
        return -EINVAL;
    e = lock_range(f, &l, &r);
    if (e < 0)
        return e;
    if ((r.type == F_RDLCK && !file_readable(f)) || (r.type == F_WRLCK && !file_writable(f)))
        return -EBADF;
    r.pid = ofd ? -1 : task_tgid(t);
    return record_lock_set(f, owner, &r, wait);
}

static long get_lock(struct task *t, struct file *f, gaddr_t arg, bool ofd)
{
    const void *owner = ofd ? (const void *)f : t->files;
    struct record_lock r;
    struct flock l;
    int e = copy_in(t, &l, arg, sizeof(l));

    if (e < 0)
        return e;
    if (l.l_type == F_UNLCK || (ofd && l.l_pid))
        return -EINVAL;
    e = lock_range(f, &l, &r);
    if (e < 0)
        return e;
    record_lock_test(f, owner, &r);
    l.l_type = (short)r.type;
    if (r.type != F_UNLCK) {
        l.l_whence = SEEK_SET;
        l.l_start = r.start;
        l.l_len = r.end == INT64_MAX ? 0 : r.end - r.start + 1;
        l.l_pid = r.pid;
    }
    return copy_out(t, arg, &l, sizeof(l));
}

long sys_flock(struct task *t, const struct sysargs *a)
{
    int op = (int)a->v[1] & ~LOCK_NB;
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    if (!f)
        return -EBADF;
    if (op != LOCK_SH && op != LOCK_EX && op != LOCK_UN)
        return -EINVAL;
    return flock_set(t, f, op, !(a->v[1] & LOCK_NB));
}

/* ---- flags, owners, seals ---------------------------------------------------------------------*/
static long set_flags(struct task *t, struct file *f, int fd, unsigned flags)
{
    unsigned now, next;
    int r;

    if ((flags & O_NOATIME) && !(f->flags & O_NOATIME) && f->inode &&
        !inode_owner_or_capable(t, f->inode))
        return -EPERM;
    if (f->ops->set_flags) {
        r = f->ops->set_flags(t, f, flags);
        if (r < 0)
            return r;
    }
    now = __atomic_load_n(&f->flags, __ATOMIC_RELAXED);
    if (!f->ops->async) /* stays as it was opened */
        flags = (flags & ~(unsigned)O_ASYNC) | (now & O_ASYNC);
    if ((now ^ flags) & O_ASYNC) {
        r = async_set(t, f, fd, flags & O_ASYNC);
        if (r < 0)
            return r;
    }
    do
        next = (now & ~(unsigned)SETTABLE_FLAGS) | (flags & SETTABLE_FLAGS);
    while (!__atomic_compare_exchange_n(&f->flags, &now, next, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    if (now != next)
        lend_recall_file(f);
    return 0;
}

static long set_owner_ex(struct task *t, struct file *f, gaddr_t arg)
{
    struct f_owner_ex o;

    return copy_in(t, &o, arg, sizeof(o)) < 0 ? -EFAULT : async_set_owner(t, f, o.type, o.pid);
}

static long get_owner_ex(struct task *t, struct file *f, gaddr_t arg)
{
    struct f_owner_ex o;
    int type;

    async_owner(t, f, &type, &o.pid);
    o.type = type;
    return copy_out(t, arg, &o, sizeof(o));
}

static long add_seals(struct file *f, uint64_t seals)
{
    const uint64_t known =
        F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | 0x20;
    struct inode *i = f->inode;
    long r = 0;

    if (!i || !i->sealable || (seals & ~known))
        return -EINVAL;
    if (!file_writable(f))
        return -EPERM;
    mutex_lock(&i->io_lock);
    if (i->seals & F_SEAL_SEAL)
        r = -EPERM;
    else if ((seals & F_SEAL_WRITE) && !(i->seals & F_SEAL_WRITE) &&
             __atomic_load_n(&i->shared_writable, __ATOMIC_ACQUIRE))
        r = -EBUSY;
    else
        i->seals |= (uint32_t)seals;
    mutex_unlock(&i->io_lock);
    return r;
}

static long dup_fd(struct task *t, int fd, uint64_t min, bool cloexec)
{
    struct file *f = fd_get_any(t, fd);
    int r;

    if (!f)
        return -EBADF;
    r = min >= task_rlimit(t, RLIMIT_NOFILE) ? -EINVAL : fd_install(t, f, cloexec, (int)min);
    if (r < 0)
        file_put(f);
    return r;
}

static long same_file(struct task *t, const struct file *f, int other)
{
    AUTO_FILE o = fd_get_any(t, other);

    return o ? o == f : -EBADF;
}

/* What works on O_PATH files too. */
static long fcntl_any(struct task *t, int fd, unsigned cmd, uint64_t arg, struct file *f)
{
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return dup_fd(t, fd, arg, cmd == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return fd_get_cloexec(t, fd);
    case F_SETFD:
        return fd_set_cloexec(t, fd, arg & FD_CLOEXEC);
    case F_GETFL:
        return (long)__atomic_load_n(&f->flags, __ATOMIC_RELAXED);
    case L_F_DUPFD_QUERY:
        return same_file(t, f, (int)arg);
    default:
        return -ENOSYS;
    }
}

static long fcntl_locks(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
    switch (cmd) {
    case F_GETLK:
    case F_OFD_GETLK:
        return get_lock(t, f, arg, cmd == F_OFD_GETLK);
    case F_SETLK:
    case F_SETLKW:
        return set_lock(t, f, arg, false, cmd == F_SETLKW);
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return set_lock(t, f, arg, true, cmd == F_OFD_SETLKW);
    case F_GETLEASE:
        return F_UNLCK;
    case F_SETLEASE:
        return (int)arg == F_UNLCK ? 0 : -EAGAIN; /* as if somebody had it open */
    default:
        return -ENOSYS;
    }
}

static long fcntl_rest(struct task *t, struct file *f, int fd, unsigned cmd, uint64_t arg)
{
    switch (cmd) {
    case F_SETFL:
        return set_flags(t, f, fd, (unsigned)arg);
    case F_SETOWN:
        return async_set_owner_id(t, f, (int)arg);
    case F_GETOWN:
        return async_owner_id(t, f);
    case F_SETOWN_EX:
        return set_owner_ex(t, f, arg);
    case F_GETOWN_EX:
        return get_owner_ex(t, f, arg);
    case F_SETSIG:
        return async_set_signal(f, arg);
    case F_GETSIG:
        return async_signal(f);
    case F_NOTIFY:
        return async_watch_dir(t, f, fd, (uint32_t)arg);
    case F_SETPIPE_SZ:
        return pipe_set_size(t, f, (uint32_t)arg);
    case F_GETPIPE_SZ:
        return pipe_get_size(f);
    case F_ADD_SEALS:
        return add_seals(f, (uint32_t)arg);
    case F_GET_SEALS:
        return f->inode && f->inode->sealable ? (long)f->inode->seals : -EINVAL;
    default:
        return -EINVAL;
    }
}

long sys_fcntl(struct task *t, const struct sysargs *a)
{
    int fd = (int)a->v[0];
    unsigned cmd = (unsigned)a->v[1];
    AUTO_FILE f = fd_get_any(t, fd);
    long r;

    if (!f)
        return -EBADF;
    r = fcntl_any(t, fd, cmd, a->v[2], f);
    if (r != -ENOSYS)
        return r;
    if (f->flags & O_PATH)
        return -EBADF;
    r = fcntl_locks(t, f, cmd, a->v[2]);
    return r == -ENOSYS ? fcntl_rest(t, f, fd, cmd, a->v[2]) : r;
}

/* ---- ioctl ------------------------------------------------------------------------------------*/
static long set_flag_by_int(struct task *t, struct file *f, int fd, gaddr_t arg, unsigned flag)
{
    unsigned flags = __atomic_load_n(&f->flags, __ATOMIC_RELAXED);
    int on;

    if (copy_in(t, &on, arg, sizeof(on)) < 0)
        return -EFAULT;
    if (flag == O_ASYNC && !(flags & flag) == (on != 0) && !f->ops->async)
        return -ENOTTY;
    return set_flags(t, f, fd, on ? flags | flag : flags & ~flag);
}

static long regular_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    int64_t left;
    int n;

    switch (cmd) {
    case FIONREAD:
        left = f->inode->size - f->pos;
        n = left > INT32_MAX ? INT32_MAX : left < 0 ? 0 : (int)left;
        return copy_out(t, arg, &n, sizeof(n));
    case 2: /* FIGETBSZ */
        n = 4096;
        return copy_out(t, arg, &n, sizeof(n));
    case FIOQSIZE:
        return copy_out(t, arg, &f->inode->size, sizeof(f->inode->size));
    default:
        return -ENOTTY;
    }
}

long sys_ioctl(struct task *t, const struct sysargs *a)
{
    unsigned cmd = (unsigned)a->v[1];
    AUTO_FILE f = fd_get(t, (int)a->v[0]);

    if (!f)
        return -EBADF;
    switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
        return fd_set_cloexec(t, (int)a->v[0], cmd == FIOCLEX);
    case FIONBIO:
        return set_flag_by_int(t, f, (int)a->v[0], a->v[2], O_NONBLOCK);
    case FIOASYNC:
        return set_flag_by_int(t, f, (int)a->v[0], a->v[2], O_ASYNC);
    }
    if (f->ops->ioctl)
        return f->ops->ioctl(t, f, cmd, a->v[2]);
    return f->inode && S_ISREG(f->inode->mode) ? regular_ioctl(t, f, cmd, a->v[2]) : -ENOTTY;
}
