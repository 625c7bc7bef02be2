/* ioctls of terminals (ioctl_tty(2)). */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/install.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

/* ---- window
 * ------------------------------------------------------------------------------------------- */
static long get_window(struct task *t, struct tty *tty, gaddr_t arg)
{
    struct winsize size;

    mutex_lock(&tty->lock);
    size = tty->size;
    mutex_unlock(&tty->lock);
    return copy_out(t, arg, &size, sizeof(size));
}

static long set_window(struct task *t, struct tty *tty, gaddr_t arg)
{
    struct winsize size;
    bool changed;

    if (copy_in(t, &size, arg, sizeof(size)) < 0)
        return -EFAULT;
    mutex_lock(&tty->lock);
    changed = memcmp(&size, &tty->size, sizeof(size)) != 0;
    tty->size = size;
    if (changed)
        host_resized_locked(tty);
    mutex_unlock(&tty->lock);
    if (changed)
        tty_signal_foreground(tty, SIGWINCH);
    return 0;
}

/* ---- sessions
 * ------------------------------------------------------------------------------------------ */
static long get_group(struct task *t, struct tty *tty, gaddr_t arg, bool master)
{
    int nr = 0;

    mutex_lock(&g_tasks_lock);
    if (!master && t->process->tty != tty)
        nr = -ENOTTY;
    else if (tty->foreground)
        nr = pid_in(tty->foreground, task_pidns(t));
    mutex_unlock(&g_tasks_lock);
    return nr < 0 ? nr : copy_out(t, arg, &nr, sizeof(nr));
}

static int set_group_locked(struct task *t, struct tty *tty, int nr, struct pid **ret_old)
{
    struct pid *group;

    if (t->process->tty != tty || tty->session != t->process->session)
        return -ENOTTY;
    group = pid_find_locked(task_pidns(t), nr);
    if (!group || list_empty(&group->pgrp))
        return group ? -EPERM : -ESRCH;
    if (list_entry(group->pgrp.next, struct process, pgrp_link)->session != t->process->session)
        return -EPERM;
    *ret_old = tty->foreground;
    tty->foreground = pid_get(group);
    return 0;
}

static long set_group(struct task *t, struct tty *tty, gaddr_t arg)
{
    struct pid *old = NULL;
    int r = tty_check_background(t, tty, SIGTTOU), nr;

    if (r < 0)
        return r;
    if (copy_in(t, &nr, arg, sizeof(nr)) < 0)
        return -EFAULT;
    if (nr < 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    r = set_group_locked(t, tty, nr, &old);
    mutex_unlock(&g_tasks_lock);
    if (old)
        pid_put(old);
    return r;
}

static long get_session(struct task *t, struct tty *tty, gaddr_t arg, bool master)
{
    int nr;

    mutex_lock(&g_tasks_lock);
    if ((!master && t->process->tty != tty) || !tty->session)
        nr = -ENOTTY;
    else
        nr = pid_in(tty->session, task_pidns(t));
    mutex_unlock(&g_tasks_lock);
    return nr < 0 ? nr : copy_out(t, arg, &nr, sizeof(nr));
}

/* ---- buffers and flow
 * ------------------------------------------------------------------------------------ */
static long flush(struct task *t, struct tty *tty, uint64_t which, bool master)
{
    struct tty_due due = {.writable = true};
    int r = tty_check_background(t, tty, SIGTTOU);

    if (r < 0)
        return r;
    if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
        return -EINVAL;
    mutex_lock(&tty->lock);
    if (which != TCOFLUSH)
        ldisc_flush_in(&tty->ld);
    if (which != TCIFLUSH)
        ldisc_flush_out(&tty->ld);
    if (tty->packet && !master) {
        tty->packet_status |= which == TCIFLUSH   ? TIOCPKT_FLUSHREAD
                              : which == TCOFLUSH ? TIOCPKT_FLUSHWRITE
                                                  : TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE;
        due.output = true;
    }
    mutex_unlock(&tty->lock);
    tty_do_due(tty, &due);
    waitq_wake(&tty->master_wait, POLLOUT | POLLWRNORM);
    return 0;
}

static long flow(struct task *t, struct tty *tty, uint64_t what)
{
    struct tty_due due = {0};
    int r = tty_check_background(t, tty, SIGTTOU);

    if (r < 0)
        return r;
    if (what > TCION)
        return -EINVAL;
    mutex_lock(&tty->lock);
    if (what == TCOOFF || what == TCOON)
        tty->ld.stopped = what == TCOOFF;
    tty->ld.flow_changed = true;
    tty_collect_locked(tty, &due);
    mutex_unlock(&tty->lock);
    tty_do_due(tty, &due);
    return 0;
}

static long count(struct task *t, struct tty *tty, gaddr_t arg, bool input)
{
    int n;

    mutex_lock(&tty->lock);
    n = (int)(input ? ldisc_available(&tty->ld) : ldisc_out_size(&tty->ld));
    mutex_unlock(&tty->lock);
    return copy_out(t, arg, &n, sizeof(n));
}

static long flag_in(struct task *t, struct tty *tty, gaddr_t arg, bool *field)
{
    int v;

    if (copy_in(t, &v, arg, sizeof(v)) < 0)
        return -EFAULT;
    mutex_lock(&tty->lock);
    *field = v;
    mutex_unlock(&tty->lock);
    return 0;
}

static long int_out(struct task *t, gaddr_t arg, int v)
{
    return copy_out(t, arg, &v, sizeof(v));
}

static long line_discipline(struct task *t, gaddr_t arg)
{
    int which;

    if (copy_in(t, &which, arg, sizeof(which)) < 0)
        return -EFAULT;
    return which == 0 ? 0 : -EINVAL; /* N_TTY is the only one */
}

/* ---- pairs
 * ------------------------------------------------------------------------------------------------
 */
static long open_peer(struct task *t, struct tty *tty, struct file *f, unsigned flags)
{
    struct path base = f->path, path;
    struct file *peer;
    char name[16];
    int r;

    if (!f->inode || !f->path.mount)
        return -EIO;
    base.dentry = f->inode->super->root;
    (void)snprintf(name, sizeof(name), "%u", tty->index);
    r = path_lookup_at(t, &base, name, 0, &path);
    if (r < 0)
        return -EIO;
    r = vfs_open_path(t, &path, flags & (O_ACCMODE | O_NOCTTY | O_NONBLOCK), &peer);
    path_put(&path);
    return r < 0 ? r : install_file(t, peer, flags & O_CLOEXEC);
}

static long send_signal(struct task *t, struct tty *tty, gaddr_t arg)
{
    int sig = (int)arg;

    (void)t;
    if (sig != SIGINT && sig != SIGQUIT && sig != SIGTSTP)
        return -EINVAL;
    tty_signal_foreground(tty, sig);
    return 0;
}

static long master_only(struct task *t, struct tty *tty, struct file *f, unsigned cmd, gaddr_t arg)
{
    switch (cmd) {
    case TIOCSPTLCK:
        return flag_in(t, tty, arg, &tty->locked);
    case TIOCGPTLCK:
        return int_out(t, arg, tty->locked);
    case TIOCPKT:
        return flag_in(t, tty, arg, &tty->packet);
    case TIOCGPKT:
        return int_out(t, arg, tty->packet);
    case TIOCGPTN:
        return int_out(t, arg, (int)tty->index);
    case TIOCGPTPEER:
        return open_peer(t, tty, f, (unsigned)arg);
    case TIOCSIG:
        return send_signal(t, tty, arg);
    default:
        return -ENOTTY;
    }
}

static long common(struct task *t, struct tty *tty, unsigned cmd, gaddr_t arg, bool master)
{
    switch (cmd) {
    case TIOCGWINSZ:
        return get_window(t, tty, arg);
    case TIOCSWINSZ:
        return set_window(t, tty, arg);
    case TIOCGPGRP:
        return get_group(t, tty, arg, master);
    case TIOCSPGRP:
        return set_group(t, tty, arg);
    case TIOCGSID:
        return get_session(t, tty, arg, master);
    case TIOCSCTTY:
        return tty_set_session(t, tty, arg == 1);
    case TIOCNOTTY:
        return tty_leave(t, tty);
    case TCFLSH:
        return flush(t, tty, arg, master);
    case TCXONC:
        return flow(t, tty, arg);
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
        return 0; /* no line to break; output is never behind what a wait could tell */
    case TIOCINQ:
        /* On the master: what the slave wrote. */
        return count(t, tty, arg, !master);
    case TIOCOUTQ:
        return count(t, tty, arg, master);
    case TIOCEXCL:
    case TIOCNXCL:
        mutex_lock(&tty->lock);
        tty->exclusive = cmd == TIOCEXCL;
        mutex_unlock(&tty->lock);
        return 0;
    case TIOCGEXCL:
        return int_out(t, arg, tty->exclusive);
    case TIOCGETD:
        return int_out(t, arg, 0);
    case TIOCSETD:
        return line_discipline(t, arg);
    case TIOCSTI:
        return -EIO; /* typing for somebody else: as with dev.tty.legacy_tiocsti=0 */
    case TIOCVHANGUP:
        if (!capable(t, CAP_SYS_ADMIN))
            return -EPERM;
        tty_hangup(tty);
        return 0;
    default:
        return -ENOTTY;
    }
}

long tty_ioctl(struct task *t, struct tty *tty, struct file *f, unsigned cmd, gaddr_t arg,
               bool master)
{
    long r;

    if (tty->hung_up && !master)
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    r = master ? master_only(t, tty, f, cmd, arg) : -ENOTTY;
    if (r == -ENOTTY)
        r = tty_settings_ioctl(t, tty, cmd, arg);
    return r == -ENOTTY ? common(t, tty, cmd, arg, master) : r;
}
